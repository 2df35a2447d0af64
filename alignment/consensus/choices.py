"""Rankings as choices: from the items that are left, a ranking chooses its next tier.

The Davidson–Luce model (Firth, Kosmidis and Turner 2019, "Davidson–Luce model for multi-item choice with ties";
Turner, van Etten, Firth and Kosmidis 2020, "Modelling rankings in R: the PlackettLuce package", equation 1): of the
items that are left, a set S of k of them is chosen as the next tier with a probability in proportion to
``δ_k (∏_{i∈S} α_i)^{1/k}``, α_i the worth of item i, δ_k the prevalence of ties of k items, δ_1 = 1. So a choice is
multinomial with logits that are linear in the scores log α_i: the mean score of the set, plus log δ_k.

Two extensions are linear too. An annotator's adherence multiplies the scores (Turner et al. 2020, section on
adherence, after Raman and Joachims 2014), and covariates of an item in a ranking are added to its score.

Choices of one shape, m items of which c were chosen, are computed side by side. Arrays end in the axis of choices, so
that every operation runs along it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from alignment.consensus.tie_sets import Sets

SMALL_SET = 8
"""Items of a connected set whose posterior is integrated by cubature, as almost all tasks' are; with more the rule's
weights would not all be positive."""
# Of a choice's temporary arrays, so many numbers at once stay in a processor's cache.
AT_ONCE = 2**17
CORES = min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """Where the likelihood is looked at."""

    scores: np.ndarray
    """Shape: ``(items,)``, in the blocks' order."""
    adherence: np.ndarray | None
    """Shape: ``(annotators,)``; none: all 1."""
    ties: np.ndarray
    """log δ of each order of tie. Shape: ``(orders,)``."""
    effects: np.ndarray
    """Of the covariates. Shape: ``(covariates,)``."""


@dataclass(slots=True, eq=False)
class Choices:
    """Choices of one shape. The items chosen stand first."""

    sets: Sets
    chosen: int
    """How many items were chosen."""
    item: np.ndarray
    """Shape: ``(m, choices)``, in the blocks' order."""
    between: np.ndarray
    """Where in a block matrix the entry of each two items stands. Shape: ``(pairs, choices)``."""
    annotator: np.ndarray | None
    """Shape: ``(choices,)``."""
    weight: np.ndarray
    """Shape: ``(choices,)``."""
    covariates: np.ndarray | None
    """Shape: ``(covariates, m, choices)``."""
    telling: bool
    """Whether they tell of the parameters that all share; see `alignment.consensus.grouping`."""
    of_sets: int
    """How many items their connected sets have, if that is at most `SMALL_SET`; else 0."""

    def each(self, look: Callable[[Part], T]) -> list[T]:
        """Return what ``look`` says of each part, in order. NumPy lets threads compute at once, so they share the work;
        they live no longer than this call, for a process that forks must have none."""
        step = max(64, AT_ONCE // len(self.sets.share))
        parts = [Part(self, slice(at, min(at + step, len(self)))) for at in range(0, len(self), step)]
        if len(parts) < 2 * CORES:
            return [look(part) for part in parts]
        with ThreadPoolExecutor(CORES) as threads:
            return list(threads.map(look, parts))

    def only(self, rows: np.ndarray, *, telling: bool, of_sets: int) -> Choices:
        """Return some of the choices."""
        if len(rows) == len(self):
            return replace(self, telling=telling, of_sets=of_sets)
        return replace(
            self,
            item=self.item[:, rows],
            between=self.between[:, rows],
            annotator=None if self.annotator is None else self.annotator[rows],
            weight=self.weight[rows],
            covariates=None if self.covariates is None else self.covariates[:, :, rows],
            telling=telling,
            of_sets=of_sets,
        )

    def __len__(self) -> int:
        return len(self.weight)


class Part:
    """Some choices, few enough for the processor's cache, at a point.

    With p the probabilities of the sets and B their shares, all derivatives are moments of B under p.
    """

    __slots__ = ("_expected", "adherence", "choices", "log_chance", "p", "rows", "utility", "weight")

    def __init__(self, choices: Choices, rows: slice) -> None:
        self.choices, self.rows = choices, rows
        self.weight = choices.weight[rows]

    def at(self, point: Point) -> Part:
        choices = self.choices
        self.adherence = self.adherences(point)
        self.utility = self.utilities(point)
        self.utility -= _largest(self.utility)
        scaled = self.utility if self.adherence is None else self.utility * self.adherence
        logits = self._logits(scaled, point.ties)
        # The best item's own logit is 0, so the sum is at least 1.
        self.log_chance = logits[choices.sets.spans[choices.chosen].start].copy()
        self.p = np.exp(logits, out=logits)
        total = self.p.sum(axis=0)
        self.log_chance -= np.log(total)
        self.p /= total
        self._expected: np.ndarray | None = None
        return self

    def utilities(self, point: Point) -> np.ndarray:
        """Return scores with what covariates add. Shape: ``(m, choices)``."""
        found = point.scores[self.choices.item[:, self.rows]]
        if self.choices.covariates is not None:
            found += np.tensordot(point.effects, self.choices.covariates[:, :, self.rows], 1)
        return found

    def adherences(self, point: Point) -> np.ndarray | None:
        """Return the adherence behind each choice, if not all are alike. Shape: ``(choices,)``."""
        if point.adherence is None or self.choices.annotator is None:
            return None
        return point.adherence[self.choices.annotator[self.rows]]

    def chance_at(self, utility: np.ndarray, adherence: np.ndarray | None, ties: np.ndarray) -> np.ndarray:
        """Return the log-likelihood at other utilities. Shape: ``(choices,)``."""
        logits = self._logits(self._scaled_down(utility, adherence), ties)
        hit = logits[self.choices.sets.spans[self.choices.chosen].start].copy()
        return self.weight * (hit - np.log(np.exp(logits, out=logits).sum(axis=0)))

    def slopes_at(self, utility: np.ndarray, adherence: np.ndarray | None, ties: np.ndarray) -> np.ndarray:
        """Return the log-likelihood's derivatives at other utilities, by the logarithm of the adherence, by ties and by
        covariates' effects. Shape: ``(1 + orders + covariates, choices)``."""
        choices, orders = self.choices, len(ties)
        sets = choices.sets
        utility = self._scaled_down(utility, adherence)
        logits = self._logits(utility, ties)
        sums = sets.sums @ np.exp(logits, out=logits)
        sums[1:] /= -sums[0]
        surplus = sums[1 + orders :]
        surplus[: choices.chosen] += 1 / choices.chosen
        sums *= self.weight
        sums[0] = np.einsum("mn,mn->n", surplus, utility)
        if choices.chosen > 1:
            sums[1 + sets.tie[sets.spans[choices.chosen].start]] += self.weight
        if choices.covariates is None:
            return sums[: 1 + orders]
        if adherence is not None:
            surplus *= adherence
        by_effect = np.einsum("cmn,mn->cn", choices.covariates[:, :, self.rows], surplus)
        return np.concatenate([sums[: 1 + orders], by_effect])

    def _scaled_down(self, utility: np.ndarray, adherence: np.ndarray | None) -> np.ndarray:
        """Utilities less the largest, times adherence: so their exponentials' sum is at least 1."""
        found = utility - _largest(utility)
        if adherence is not None:
            found *= adherence
        return found

    def _logits(self, utility: np.ndarray, ties: np.ndarray) -> np.ndarray:
        sets = self.choices.sets
        found = sets.share @ utility
        for k, span in sets.spans.items():
            if k > 1:
                found[span] += ties[sets.tie[span.start]]
        return found

    @property
    def expected(self) -> np.ndarray:
        """The mean of B under p. Shape: ``(m, choices)``."""
        if self._expected is None:
            self._expected = self.choices.sets.share.T @ self.p
        return self._expected

    def scaled(self, values: np.ndarray, power: int) -> np.ndarray:
        """Return values times weight and a power of adherence. Shape: ``(..., choices)``."""
        factor = self.weight
        for _ in range(power if self.adherence is not None else 0):
            factor = factor * self.adherence
        return values * factor

    def slope(self) -> np.ndarray:
        """The log-likelihood's derivative by each item's utility. Shape: ``(m, choices)``."""
        surplus = -self.expected
        surplus[: self.choices.chosen] += 1 / self.choices.chosen
        return self.scaled(surplus, 1)

    def slope_by_adherence(self) -> np.ndarray:
        """Its derivative by the logarithm of the adherence. Shape: ``(choices,)``."""
        surplus = self.utility[: self.choices.chosen].mean(axis=0)
        surplus -= (self.expected * self.utility).sum(axis=0)
        return self.scaled(surplus, 1)

    def curvature(self) -> np.ndarray:
        """Its second derivative by each two items' utilities. Shape: ``(pairs, choices)``."""
        sets, expected = self.choices.sets, self.expected
        covariance = sets.product.T @ self.p
        covariance -= expected[sets.left] * expected[sets.right]
        return self.scaled(covariance, 2)

    def of_ties(self, values: np.ndarray, orders: int) -> np.ndarray:
        """Sum values, ``(sets, choices)``, over the sets of each order of tie. Shape: ``(orders, choices)``."""
        found = np.zeros((orders, values.shape[1]))
        for k, span in self.choices.sets.spans.items():
            if k > 1:
                found[self.choices.sets.tie[span.start]] = values[span].sum(axis=0)
        return found

    def tie_chosen(self, orders: int) -> np.ndarray:
        """1 for the order of tie that was chosen. Shape: ``(orders,)``."""
        found = np.zeros(orders)
        if self.choices.chosen > 1:
            found[self.choices.sets.tie[self.choices.sets.spans[self.choices.chosen].start]] = 1
        return found

    def of_covariates(self, values: np.ndarray) -> np.ndarray:
        """Sum values of items, ``(m, choices)``, times their covariates. Shape: ``(covariates,)``."""
        covariates = self.choices.covariates
        if covariates is None:
            return np.zeros(0)
        return np.einsum("cmn,mn->c", covariates[:, :, self.rows], values)


def _largest(rows: np.ndarray) -> np.ndarray:
    """Return the largest of each column: a few rows that are compared whole are faster than a reduction."""
    found = rows[0].copy()
    for row in rows[1:]:
        np.maximum(found, row, out=found)
    return found
