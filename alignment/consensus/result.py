"""What a fit found, and what follows from it."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy.sparse import csr_matrix
from scipy.special import ndtri

from alignment.consensus.blocks import Blocks
from alignment.consensus.predicting import predictive


@dataclass(frozen=True, slots=True)
class Difference:
    """Of two scores, the first less the second, in log-worth."""

    estimate: float
    standard_error: float
    low: float
    high: float
    """The interval's ends."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A parameter that all rankings share, in its own unit."""

    value: float
    standard_error: float


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fit's arrays, in the blocks' order."""

    index: dict[Hashable, int]
    """The number of each item."""
    blocks: Blocks
    scores: np.ndarray
    """Shape: ``(items,)``."""
    within: np.ndarray
    """The scores' covariance, the shared parameters held, a block matrix."""
    crossed: csr_matrix
    """Minus the second derivative by scores and shared parameters. Shape: ``(items, shared)``."""
    shared: np.ndarray
    """Covariance of the shared parameters. Shape: ``(shared, shared)``."""
    people: np.ndarray
    """Adherences of the people who compared something. Shape: ``(people,)``."""
    free: bool
    """Whether nothing but rankings ties scores down, so that only differences within a connected set mean anything."""

    @cached_property
    def response(self) -> csr_matrix:
        """How the scores follow the shared parameters, but for the sign. Shape: ``(items, shared)``."""
        return self.blocks.as_sparse(self.within) @ self.crossed


@dataclass(frozen=True, eq=False)
class Consensus:
    """What `fit` found. Of two items, P(i preferred to j) = σ(score of i − score of j), ties left out."""

    ties: dict[int, Estimate]
    """For each number of items that some ranking ties, log δ, the log of how common such ties are (Turner et al. 2020,
    equation 1). Two equal items tie with probability δ_2 / (2 + δ_2)."""
    effects: dict[str, Estimate]
    """For each covariate, what one unit of it adds to a score."""
    spread: Estimate | None
    """Standard deviation of the normal prior of scores, with the standard error of its logarithm: 0 where it was given.
    None without such a prior."""
    log_likelihood: float
    """Of the rankings at the estimates; natural logarithm, without the prior."""
    converged: bool
    trouble: str
    """Why it has not converged; empty if it has."""
    iterations: int
    """Steps of the shared parameters; where there are none, Newton steps of the scores."""
    _fitted: Fitted = field(repr=False)
    _adherence: dict[Hashable, Estimate] = field(repr=False)

    @cached_property
    def scores(self) -> dict[Hashable, float]:
        """Log-worth of each item, in the order of the items."""
        return self._by_item(self._fitted.scores)

    @cached_property
    def predictive_scores(self) -> dict[Hashable, float]:
        """Scores of which σ(score of i − score of j) is the probability that the next person to compare i and j, of
        whom nothing is known, prefers i: see `alignment.consensus.predicting`. They are each linked set's `scores`
        times a factor of its own, the smaller the less is known of the set."""
        fitted = self._fitted
        return self._by_item(
            predictive(
                fitted.blocks, fitted.scores, fitted.within, fitted.response, fitted.shared, fitted.people
            )
        )

    @cached_property
    def standard_errors(self) -> dict[Hashable, float]:
        """Of each score; infinite for an item that nothing was compared with, without a prior.

        Without a prior they are of the score less the mean of its connected set.
        """
        return self._by_item(np.sqrt(self._variances()))

    @property
    def reliability(self) -> dict[Hashable, float]:
        """Adherence of each annotator who compared something: the exponent that their rankings put on worth. 1 is the
        average person; 0 ranks at random. Empty where no annotators were given."""
        return {who: estimate.value for who, estimate in self._adherence.items()}

    @property
    def reliability_errors(self) -> dict[Hashable, float]:
        """Standard error of the logarithm of each adherence."""
        return {who: estimate.standard_error for who, estimate in self._adherence.items()}

    def probability(self, item: Hashable, other: Hashable) -> float:
        """Return the probability at the estimates that ``item`` is preferred to ``other`` by an annotator of adherence
        1 who does not tie them."""
        return 1 / (1 + math.exp(self.scores[other] - self.scores[item]))

    def covariance(self, items: Sequence[Hashable]) -> np.ndarray:
        """Return the covariance of the items' scores, that of the shared parameters included. Shape: ``(items,
        items)``."""
        fitted, blocks = self._fitted, self._fitted.blocks
        places = blocks.place[[fitted.index[item] for item in items]]
        same = blocks.set_of[places][:, None] == blocks.set_of[places]
        where = blocks.row[places][:, None] + blocks.column[places]
        found = np.where(same, fitted.within[np.where(same, where, 0)], 0.0)
        response = fitted.response[places].toarray()
        return found + response @ fitted.shared @ response.T

    def difference(self, item: Hashable, other: Hashable, level: float = 0.95) -> Difference:
        """Return the difference of two scores, with an interval of that level.

        Raises:
            ValueError: there was no prior, and rankings do not link the items.
        """
        estimate = self.scores[item] - self.scores[other]
        blocks, index = self._fitted.blocks, self._fitted.index
        sets = [blocks.set_of[blocks.place[index[each]]] for each in (item, other)]
        if self._fitted.free and sets[0] != sets[1]:
            raise ValueError(
                f"no chain of rankings links {item!r} and {other!r}, and there is no prior: they cannot be compared"
            )
        covariance = self.covariance([item, other])
        error = math.sqrt(max(0.0, covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]))
        reach = float(ndtri((1 + level) / 2)) * error
        return Difference(estimate, error, estimate - reach, estimate + reach)

    def quasi_standard_errors(self, items: Sequence[Hashable] | None = None) -> dict[Hashable, float]:
        """Return a standard error for each item such that that of any difference is about the root of the sum of both
        squares (Firth and de Menezes 2004, "Quasi-variances").

        They are what one draws beside scores: intervals of items that differ do not overlap, by and large. With two
        items they are not determined, and each gets half.

        Args:
            items: of one connected set, by default all.

        Raises:
            ValueError: fewer than two items.
        """
        chosen = list(self._fitted.index) if items is None else list(items)
        if len(chosen) < 2:
            raise ValueError("quasi-standard errors are of two items or more")
        return dict(zip(chosen, np.sqrt(quasi_variances(self.covariance(chosen))).tolist(), strict=True))

    def _by_item(self, values: np.ndarray) -> dict[Hashable, float]:
        fitted = self._fitted
        return dict(zip(fitted.index, values[fitted.blocks.place].tolist(), strict=True))

    def _variances(self) -> np.ndarray:
        fitted, blocks = self._fitted, self._fitted.blocks
        found = blocks.diagonal(fitted.within) + _diagonal(fitted.response, fitted.shared)
        if fitted.free:
            alone = np.bincount(blocks.set_of)[blocks.set_of] == 1
            found[alone] = math.inf
        return np.maximum(found, 0.0)


def quasi_variances(covariance: np.ndarray) -> np.ndarray:
    """Return the quasi-variances whose sums come closest to the variances of all differences, on the log scale: by the
    Levenberg–Marquardt method.

    Args:
        covariance: of two estimates or more. Shape: ``(items, items)``.
    """
    size = len(covariance)
    own = np.diag(covariance)
    others = ~np.eye(size, dtype=bool)
    target = np.log(np.where(others, own[:, None] + own - 2 * covariance, 1.0))
    if size == 2:
        return np.full(2, math.exp(float(target[0, 1])) / 2)

    def misfit(logs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Residuals, and the first item's part of each two items' sum. Shape: ``(items, items)``."""
        variance = np.exp(logs)
        total = variance[:, None] + variance
        return np.where(others, np.log(total) - target, 0.0), np.where(others, variance[:, None] / total, 0.0)

    logs = np.full(size, float(target[others].mean()) - math.log(2))
    residual, part = misfit(logs)
    damping = 1e-3
    for _ in range(200):
        slope = (part * residual).sum(axis=1)
        curvature = part * part.T
        curvature[np.diag_indices(size)] = (part**2).sum(axis=1) * (1 + damping)
        step = np.linalg.solve(curvature, slope)
        trial = misfit(logs - step)
        if (trial[0] ** 2).sum() <= (residual**2).sum():
            logs, (residual, part), damping = logs - step, trial, damping / 10
            if np.abs(step).max() < 1e-10:
                break
        else:
            damping *= 10
            if damping > 1e10:
                break
    return np.exp(logs)


def _diagonal(rows: csr_matrix, matrix: np.ndarray) -> np.ndarray:
    """Return the diagonal of ``rows · matrix · rowsᵀ``: rows have few entries where there are many of them."""
    counts = np.diff(rows.indptr)
    found = np.zeros(rows.shape[0])
    for count in np.unique(counts[counts > 0]):
        numbers = np.flatnonzero(counts == count)
        step = max(1, 2**21 // int(count) ** 2)
        for start in range(0, len(numbers), step):
            some = numbers[start : start + step]
            entries = rows.indptr[some][:, None] + np.arange(count)
            column, value = rows.indices[entries], rows.data[entries]
            square = matrix[column[:, :, None], column[:, None, :]]
            found[some] = np.einsum("ni,nij,nj->n", value, square, value)
    return found
