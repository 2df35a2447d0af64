"""Sums over all choices: the log-likelihood, and its derivatives by scores and by the parameters that tasks share.

The shared parameters are, in this order, the logarithms of the annotators' adherences, log δ of each order of tie, and
the effects of the covariates.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix, hstack

from alignment.consensus.blocks import Blocks
from alignment.consensus.choices import Choices, Part, Point

OfPart = tuple[np.ndarray, np.ndarray]
"""Sums over a part's choices of derivatives by log δ, ``(orders,)``, and by covariates' effects, ``(covariates,)``."""


@dataclass(frozen=True, slots=True, eq=False)
class Slopes:
    """The log-likelihood and its derivatives at a point."""

    value: np.ndarray
    """Of each connected set. Shape: ``(sets,)``."""
    scores: np.ndarray
    """By the scores. Shape: ``(items,)``."""
    shared: np.ndarray
    """Of the telling sets, by the shared parameters. Shape: ``(shared,)``."""
    information: np.ndarray
    """Minus its second derivative by the scores, a block matrix."""


@dataclass(frozen=True, slots=True, eq=False)
class Likelihood:
    choices: Sequence[Choices]
    blocks: Blocks
    annotators: int
    """How many have an adherence; 0 where all are taken to be alike."""
    orders: tuple[int, ...]
    """Numbers of items that tie."""
    covariates: int

    @property
    def shared(self) -> int:
        return self.annotators + len(self.orders) + self.covariates

    def slopes(self, point: Point) -> Slopes:
        """Return the log-likelihood with all first derivatives and the information on the scores."""
        blocks = self.blocks
        value, scores = np.zeros(blocks.sets), np.zeros(len(blocks.order))
        between, shared = np.zeros(blocks.entries), _Shared(self)
        for group in self.choices:
            chance, by_adherence = np.empty(len(group)), np.empty(len(group))
            slope, curvature = np.empty(group.item.shape), np.empty(group.between.shape)
            look = partial(self._look, point, chance, slope, curvature, by_adherence)
            of_parts = group.each(look)
            if group.telling:
                shared.add(group, by_adherence, of_parts)
            _add_up(value, blocks.set_of[group.item[0]], chance)
            _add_up(scores, group.item.ravel(), slope.ravel())
            _add_up(between, group.between.ravel(), curvature.ravel())
        return Slopes(value, scores, shared.found, blocks.laplacian(between))

    def determinant_slope(
        self, point: Point, covariance: np.ndarray, choices: Sequence[Choices]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the derivative of ``log det`` of the information that some of the choices give on scores by the shared
        parameters, the scores moving with them to stay at their mode, ``(shared,)``; and covariance times its
        derivative by the scores, ``(items,)``.

        Args:
            covariance: the inverse of the information, prior included, a block matrix.
        """
        blocks = self.blocks
        pull = np.zeros(len(blocks.order))
        shared = _Shared(self)
        variance = blocks.diagonal(covariance)
        for group in choices:
            by_item, by_adherence = np.empty(group.item.shape), np.empty(len(group))
            look = partial(self._look_at_trace, point, covariance, variance, by_item, by_adherence)
            shared.add(group, by_adherence, group.each(look))
            _add_up(pull, group.item.ravel(), by_item.ravel())
        drift = blocks.times(covariance, pull)
        for group in choices:
            by_adherence = np.empty(len(group))
            shared.add(group, by_adherence, group.each(partial(self._look_along, point, drift, by_adherence)))
        return shared.found, drift

    def _look(
        self,
        point: Point,
        chance: np.ndarray,
        slope: np.ndarray,
        curvature: np.ndarray,
        by_adherence: np.ndarray,
        part: Part,
    ) -> OfPart:
        """Fill in what the log-likelihood and its derivatives are for the choices of a part."""
        rows = part.at(point).rows
        chance[rows] = part.weight * part.log_chance
        slope[:, rows] = by_item = part.slope()
        curvature[:, rows] = part.curvature()
        by_adherence[rows] = part.slope_by_adherence()
        orders = len(self.orders)
        chosen = part.tie_chosen(orders) * part.weight.sum()
        return chosen - part.of_ties(part.p, orders) @ part.weight, part.of_covariates(by_item)

    def _look_at_trace(
        self,
        point: Point,
        covariance: np.ndarray,
        variance: np.ndarray,
        by_item: np.ndarray,
        by_adherence: np.ndarray,
        part: Part,
    ) -> OfPart:
        """Fill in the derivatives of the trace of covariance times information, the covariance held."""
        choices, rows, expected = part.at(point).choices, part.rows, part.expected
        sets, p = choices.sets, part.p
        entry = np.concatenate([variance[choices.item[:, rows]], covariance[choices.between[:, rows]]])
        m = len(choices.item)
        towards = entry[:m] * expected
        for pair, (left, right) in enumerate(zip(sets.left, sets.right, strict=True)):
            towards[left] += entry[m + pair] * expected[right]
            towards[right] += entry[m + pair] * expected[left]
        # The variance of the difference of each set's mean score from the expected one, but for a constant.
        spread = sets.square @ entry - 2 * (sets.share @ towards)
        weighed = p * spread
        mean = weighed.sum(axis=0)
        by_item[:, rows] = pull = part.scaled(sets.share.T @ weighed - mean * expected, 3)
        trace = part.scaled(mean + (expected * towards).sum(axis=0), 2)
        by_adherence[rows] = 2 * trace + (pull * part.utility).sum(axis=0)
        orders = len(self.orders)
        by_tie = part.of_ties(weighed, orders) - mean * part.of_ties(p, orders)
        return part.scaled(by_tie, 2).sum(axis=1), part.of_covariates(pull)

    def _look_along(self, point: Point, drift: np.ndarray, by_adherence: np.ndarray, part: Part) -> OfPart:
        """Fill in the second derivatives by the scores, along ``drift``, and by the shared parameters."""
        choices, expected = part.at(point).choices, part.expected
        sets, p = choices.sets, part.p
        along = drift[choices.item[:, part.rows]]
        weighed = p * (sets.share @ along)
        mean = (expected * along).sum(axis=0)
        covariance = part.scaled(sets.share.T @ weighed - mean * expected, 2)
        by_adherence[part.rows] = (part.slope() * along - covariance * part.utility).sum(axis=0)
        orders = len(self.orders)
        by_tie = part.of_ties(weighed, orders) - mean * part.of_ties(p, orders)
        return -part.scaled(by_tie, 1).sum(axis=1), -part.of_covariates(covariance)

    def shared_information(
        self, point: Point, *, observed: bool, everything: bool = False
    ) -> tuple[np.ndarray, csr_matrix]:
        """Return the information on the shared parameters, ``(shared, shared)``, and that on scores and them, ``(items,
        shared)``.

        Args:
            observed: minus the second derivative; otherwise what is expected of it, which is positive
                semidefinite. They differ for adherences alone.
            everything: of all choices, not of the telling ones alone.
        """
        first = self.annotators
        width = self.shared - first
        among = np.zeros((self.shared, self.shared))
        crossed = np.zeros((len(self.blocks.order), width))
        rows, columns, values = [], [], []
        for group in self.choices:
            if not (group.telling or everything):
                continue
            alone = np.empty(len(group))
            beside = np.empty((width, len(group)))
            by_item = np.empty(group.item.shape)
            across = np.empty((width, *group.item.shape))
            look = partial(self._look_at_moments, point, observed, alone, beside, by_item, across)
            for of_part in group.each(look):
                among[first:, first:] += of_part
            for n in range(width):
                _add_up(crossed[:, n], group.item.ravel(), across[n].ravel())
            if group.annotator is None or not first:
                continue
            diagonal = np.bincount(group.annotator, alone, first)
            among[np.arange(first), np.arange(first)] += diagonal
            for n in range(width):
                of_order = np.bincount(group.annotator, beside[n], first)
                among[:first, first + n] += of_order
                among[first + n, :first] += of_order
            rows.append(group.item.ravel())
            columns.append(np.broadcast_to(group.annotator, group.item.shape).ravel())
            values.append(by_item.ravel())
        shape = (len(self.blocks.order), first)
        of_annotators = csr_matrix(shape)
        if rows:
            places = (np.concatenate(rows), np.concatenate(columns))
            of_annotators = coo_matrix((np.concatenate(values), places), shape=shape).tocsr()
        return among, hstack([of_annotators, csr_matrix(crossed)], format="csr")

    def _look_at_moments(
        self,
        point: Point,
        observed: bool,
        alone: np.ndarray,
        beside: np.ndarray,
        by_item: np.ndarray,
        across: np.ndarray,
        part: Part,
    ) -> np.ndarray:
        """Fill in covariances under p of the logits' derivatives: by the adherence with itself, ``(choices,)``, and
        with the other shared parameters, ``(others, choices)``; by utilities with the adherence, ``(m, choices)``,
        and with the others, ``(others, m, choices)``. Return those of the others with each other, summed."""
        choices, p = part.at(point).choices, part.p
        rows, sets = part.rows, choices.sets

        def centred(derivative: np.ndarray) -> np.ndarray:
            return derivative - (p * derivative).sum(axis=0)

        others = [centred(np.equal(sets.tie, n)[:, None].astype(float)) for n in range(len(self.orders))]
        if choices.covariates is not None:
            for covariate in choices.covariates:
                of_set = sets.share @ covariate[:, rows]
                others.append(centred(of_set if part.adherence is None else of_set * part.adherence))
        among = np.zeros((len(others), len(others)))
        for n, one in enumerate(others):
            weighed = p * one
            across[n][:, rows] = part.scaled(sets.share.T @ weighed, 1)
            for k, other in enumerate(others[: n + 1]):
                among[n, k] = among[k, n] = (weighed * other).sum(axis=0) @ part.weight
        if part.adherence is None:
            return among
        own = centred((sets.share @ part.utility) * part.adherence)
        weighed = p * own
        alone[rows] = part.weight * (weighed * own).sum(axis=0)
        by_item[:, rows] = part.scaled(sets.share.T @ weighed, 1)
        for n, other in enumerate(others):
            beside[n][rows] = part.weight * (weighed * other).sum(axis=0)
        if observed:
            slope = part.slope()
            alone[rows] -= (slope * part.utility).sum(axis=0)
            by_item[:, rows] -= slope
            if choices.covariates is not None:
                for n, covariate in enumerate(choices.covariates, len(self.orders)):
                    beside[n][rows] -= (slope * covariate[:, rows]).sum(axis=0)
        return among


def _add_up(total: np.ndarray, places: np.ndarray, values: np.ndarray) -> None:
    """Add values to their places, of which some are the same."""
    # A count of all places, zeros too, is fast where they are many; shapes that are rare have few.
    if len(places) < len(total) / 4:
        np.add.at(total, places, values)
    else:
        total += np.bincount(places, values, len(total))


class _Shared:
    """Sums of derivatives by the shared parameters."""

    __slots__ = ("annotators", "found", "orders")

    def __init__(self, likelihood: Likelihood) -> None:
        self.annotators, self.orders = likelihood.annotators, len(likelihood.orders)
        self.found = np.zeros(likelihood.shared)

    def add(self, choices: Choices, by_adherence: np.ndarray, of_parts: Iterable[OfPart]) -> None:
        """Add the derivatives by log-adherence, ``(choices,)``, which the parts fill in, and theirs by the others."""
        after = self.annotators + self.orders
        for by_tie, by_covariate in of_parts:
            self.found[self.annotators : after] += by_tie
            self.found[after:] += by_covariate
        if choices.annotator is not None and self.annotators:
            self.found[: self.annotators] += np.bincount(choices.annotator, by_adherence, self.annotators)
