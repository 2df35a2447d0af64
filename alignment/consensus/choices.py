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
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from math import comb
from typing import TypeVar

import numpy as np

from alignment.consensus.blocks import Blocks
from alignment.consensus.rankings import Rankings

MOST_SETS = 2**14
"""Sets that a choice may be from. Nine items tied in any number make 511."""
SMALL_SET = 8
"""Items of a connected set whose posterior is integrated by cubature, as almost all tasks' are; with more the rule's
weights would not all be positive."""
# Of a choice's temporary arrays, so many numbers at once stay in a processor's cache.
AT_ONCE = 2**17
CORES = min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Sets:
    """The sets that can be chosen from m items: singles first, then ties by their number of items."""

    share: np.ndarray
    """1/k for the k items of a set, 0 for the others. Shape: ``(sets, m)``."""
    square: np.ndarray
    """Products of two shares, first each one's own, then those of different items, twice. Shape: ``(sets, m +
    pairs)``."""
    product: np.ndarray
    """Products of the shares of two different items. Shape: ``(sets, pairs)``."""
    tie: np.ndarray
    """Which tie parameter a set has; −1 if none. Shape: ``(sets,)``."""
    spans: dict[int, slice]
    """Where the sets of each number of items stand."""
    sums: np.ndarray
    """What sums over all sets, over those of each order of tie, and over the sets' shares of each item. Shape: ``(1 +
    orders + m, sets)``."""
    left: np.ndarray
    right: np.ndarray
    """The items of each pair. Shape: ``(pairs,)``."""

    @classmethod
    def of(cls, m: int, orders: tuple[int, ...]) -> Sets:
        """Return the sets of 1 and of as many items as ``orders`` says.

        Raises:
            ValueError: they are too many.
        """
        sizes = [1, *(k for k in orders if k <= m)]
        number = sum(comb(m, k) for k in sizes)
        if number > MOST_SETS:
            raise ValueError(
                f"a ranking of {m} items beside ties of {max(sizes)} makes {number} ways to choose a tier, more than "
                f"{MOST_SETS}; break the ranking into smaller ones, or its ties"
            )
        share, tie, spans = np.zeros((number, m)), np.full(number, -1), {}
        row = 0
        for k in sizes:
            spans[k] = slice(row, row + comb(m, k))
            for chosen in combinations(range(m), k):
                share[row, list(chosen)] = 1 / k
                tie[row] = orders.index(k) if k > 1 else -1
                row += 1
        left, right = np.triu_indices(m, 1)
        product = share[:, left] * share[:, right]
        of_orders = np.equal(tie, np.arange(len(orders))[:, None]).astype(float)
        sums = np.vstack([np.ones(number), of_orders, share.T])
        return cls(share, np.hstack([share**2, 2 * product]), product, tie, spans, sums, left, right)


_sets = cache(Sets.of)


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
    """Whether they tell of the parameters that all share; see `choices_of`."""
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


def choices_of(
    rankings: Rankings, also_tied: tuple[int, ...] = ()
) -> tuple[list[Choices], Blocks, tuple[int, ...]]:
    """Return the choices that rankings are made of, grouped by shape, the blocks of their items, and the numbers of
    items, above one, that are tied somewhere.

    Where neither annotators nor covariates tell them apart, choices that are alike become one with their weight.

    Telling are the choices of connected sets with more than one ranking. Of items that are alike before anyone ranks
    them, one ranking is as likely as another, whoever gave it.

    Args:
        also_tied: further numbers of items that may tie.
    """
    usable = np.ones(len(rankings), bool) if rankings.weight is None else rankings.weight > 0
    shapes = _by_shape(rankings, usable)
    orders = tuple(sorted({*also_tied, *(chosen for _, chosen in shapes if chosen > 1)}))
    weight = np.ones(len(rankings)) if rankings.weight is None else rankings.weight
    alike = rankings.annotator is None and rankings.covariates is None
    drafts: list[tuple[int, np.ndarray, np.ndarray | None, np.ndarray, np.ndarray | None]] = []
    for (_, chosen), (entries, ranking) in sorted(shapes.items()):
        item = rankings.item[entries]
        weights = weight[ranking]
        if alike:
            item, weights = _merged(item, weights, chosen, len(rankings.items))
            drafts.append((chosen, item, None, weights, None))
            continue
        who = None if rankings.annotator is None else rankings.annotator[ranking]
        covariates = None
        if rankings.covariates is not None:
            covariates = np.ascontiguousarray(rankings.covariates[entries].transpose(2, 0, 1))
        drafts.append((chosen, item, who, weights, covariates))
    links = [(np.broadcast_to(item[:1], item[1:].shape).ravel(), item[1:].ravel()) for _, item, *_ in drafts]
    empty = np.zeros(0, np.int64)
    left = np.concatenate([empty, *(one for one, _ in links)])
    right = np.concatenate([empty, *(other for _, other in links)])
    blocks = Blocks.of(len(rankings.items), left, right)
    compared = np.flatnonzero(usable & (rankings.sizes > 1))
    first = rankings.item[(np.cumsum(rankings.sizes) - rankings.sizes)[compared]]
    counted = np.bincount(blocks.set_of[blocks.place[first]], weight[compared], blocks.sets)
    telling = counted > 1 + 1e-9
    size = np.bincount(blocks.set_of, minlength=blocks.sets)
    kind = np.where(size <= SMALL_SET, size, 0) * 2 + telling
    found = []
    for draft in drafts:
        whole = _placed(draft, blocks, orders)
        of_choice = kind[blocks.set_of[whole.item[0]]]
        for each in _present(of_choice):
            rows = np.flatnonzero(of_choice == each)
            found.append(whole.only(rows, telling=bool(each % 2), of_sets=each // 2))
    return found, blocks, orders


def _by_shape(rankings: Rankings, usable: np.ndarray) -> dict[tuple[int, int], tuple[np.ndarray, np.ndarray]]:
    """Return the entries, ``(m, choices)``, and the ranking of the choices from m items of which c were chosen."""
    found: dict[tuple[int, int], list[tuple[np.ndarray, np.ndarray]]] = defaultdict(list)
    for size in _present(rankings.sizes):
        if size < 2:
            continue
        entries, tier = _sorted_entries(rankings, size, usable)
        ranking = np.flatnonzero((rankings.sizes == size) & usable)
        lengths = _run_lengths(tier)
        for at in range(size - 1):
            starts = np.ones(len(ranking), bool) if at == 0 else tier[at] != tier[at - 1]
            for chosen in _present(lengths[at][starts]):
                rows = np.flatnonzero(starts & (lengths[at] == chosen))
                found[size - at, chosen].append((entries[at:, rows], ranking[rows]))
    return {
        shape: parts[0]
        if len(parts) == 1
        else (
            np.concatenate([entries for entries, _ in parts], axis=1),
            np.concatenate([ranking for _, ranking in parts]),
        )
        for shape, parts in found.items()
    }


def _present(numbers: np.ndarray) -> list[int]:
    """Return the different ones of small whole numbers, in order."""
    return np.flatnonzero(np.bincount(numbers)).tolist()


def _sorted_entries(rankings: Rankings, size: int, usable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return entries and tiers, ``(size, rankings)``, of the rankings of that size, best first."""
    wanted = (rankings.sizes == size) & usable
    if wanted.all():
        entries = np.arange(len(rankings.item)).reshape(-1, size).T.copy()
        tier = np.ascontiguousarray(rankings.tier.reshape(-1, size).T)
    else:
        starts = np.cumsum(rankings.sizes) - rankings.sizes
        entries = starts[wanted] + np.arange(size)[:, None]
        tier = rankings.tier[entries]
    if size == 2:
        turned = (tier[0] > tier[1]).astype(np.int64)
        entries[0] += turned
        entries[1] -= turned
        return entries, np.stack([np.minimum(tier[0], tier[1]), np.maximum(tier[0], tier[1])])
    if (tier[1:] < tier[:-1]).any():
        order = np.argsort(tier, axis=0, kind="stable")
        entries, tier = np.take_along_axis(entries, order, 0), np.take_along_axis(tier, order, 0)
    return entries, tier


def _run_lengths(tier: np.ndarray) -> np.ndarray:
    """From each place of sorted tiers on, how many are the same. Shape: ``(size, rankings)``."""
    lengths = np.ones(tier.shape, np.int8 if len(tier) < 100 else np.int64)
    for at in range(len(tier) - 2, -1, -1):
        np.add(lengths[at], lengths[at + 1], out=lengths[at], where=tier[at] == tier[at + 1])
    return lengths


def _merged(item: np.ndarray, weight: np.ndarray, chosen: int, items: int) -> tuple[np.ndarray, np.ndarray]:
    """Make one of the choices with the same items chosen of the same items."""
    m = len(item)
    if chosen > 1:
        item = np.concatenate([np.sort(item[:chosen], axis=0), item[chosen:]])
    if m - chosen > 1:
        item = np.concatenate([item[:chosen], np.sort(item[chosen:], axis=0)])
    if items**m >= 2**62:
        kept, where = np.unique(item, axis=1, return_inverse=True)
        return kept, np.bincount(where.ravel(), weight)
    key = item[0].copy()
    for row in item[1:]:
        key *= items
        key += row
    if items**m <= 4 * len(weight):
        total = np.bincount(key, weight, items**m)
        keys = np.flatnonzero(total)
        total = total[keys]
    else:
        keys, where = np.unique(key, return_inverse=True)
        total = np.bincount(where, weight)
    kept = np.empty((m, len(keys)), np.int64)
    for row in range(m - 1, -1, -1):
        keys, kept[row] = np.divmod(keys, items)
    return kept, total


def _placed(
    draft: tuple[int, np.ndarray, np.ndarray | None, np.ndarray, np.ndarray | None],
    blocks: Blocks,
    orders: Sequence[int],
) -> Choices:
    """Bring a draft's choices into the blocks' order, those of one connected set together."""
    chosen, item, annotator, weight, covariates = draft
    item = blocks.place[item]
    rows = np.argsort(blocks.set_of[item[0]], kind="stable")
    if len(rows) and blocks.sets > 1:
        item, weight = item[:, rows], weight[rows]
        annotator = None if annotator is None else annotator[rows]
        covariates = None if covariates is None else covariates[:, :, rows]
    sets = _sets(len(item), tuple(orders))
    return Choices(
        sets=sets,
        chosen=chosen,
        item=item,
        between=blocks.row[item[sets.left]] + blocks.column[item[sets.right]],
        annotator=annotator,
        weight=weight,
        covariates=covariates,
        telling=True,
        of_sets=0,
    )
