"""The posterior of scores given the shared parameters, and of the shared parameters.

Scores are of single tasks, ranked by a few; adherences, ties and covariates' effects are of all tasks together. Were
all put at their joint mode, errors of the many scores would bias the few shared parameters, however many tasks there
were (Neyman and Scott 1948), and the scale of the scores would run off into the adherences. So where the prior of
scores is normal, shared parameters are at the mode of their own posterior, the scores integrated out by Laplace's
approximation (Tierney and Kadane 1986): of each connected set, ``log p(rankings, ŝ) − ½ log det H(ŝ)``, ŝ the scores'
mode and H minus the second derivative there. `alignment.consensus.moments` betters it where rankings are few. Sets
with a single ranking are left out: they tell nothing of adherence and spread, and the approximation's error would.
With pseudo-rankings or no prior all are at their joint mode, as in Turner et al. 2020.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix, hstack

from alignment.consensus.choices import Point
from alignment.consensus.likelihood import Likelihood, Slopes
from alignment.consensus.priors import TIE_SPREAD, Adherence, Prior, PseudoRankings, Spread, imagined, normal

STEPS = 60
SCORE_TOLERANCE = 1e-9
"""Log-worth by which Newton's next step would move any score at most."""
LONGEST_STEP = 3.0
"""Log-worth by which one step moves a score at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """The scores at their mode, given the shared parameters."""

    shared: np.ndarray
    point: Point
    slopes: Slopes
    covariance: np.ndarray
    """Of the scores, a block matrix."""
    value: float
    """What the shared parameters are to maximise."""
    reached: bool
    """Whether Newton's method got there."""
    steps: int


@dataclass(frozen=True, slots=True, eq=False)
class Posterior:
    """Shared parameters are, in this order, free log-adherences, log δ of each order of tie, covariates' effects, and,
    where it is learned, the log of the spread of scores.

    Where scores have a normal prior, adherences are the exponentials of the free ones divided by their mean over
    people: else the scores' scale and the adherences' would be traded against each other.
    """

    likelihood: Likelihood
    prior: Prior
    adherence: Adherence
    people: np.ndarray
    """Which annotators are people. Shape: ``(annotators,)``."""
    telling: np.ndarray
    """Which sets tell of the shared parameters. Shape: ``(sets,)``."""

    @property
    def integrated(self) -> bool:
        """Whether scores are integrated out."""
        return isinstance(self.prior, float | Spread)

    @property
    def shared(self) -> int:
        return self.likelihood.shared + isinstance(self.prior, Spread)

    def spread(self, shared: np.ndarray) -> float:
        """Return the standard deviation of the normal prior of scores."""
        if isinstance(self.prior, Spread):
            return math.exp(shared[-1])
        assert isinstance(self.prior, float)
        return self.prior

    def point(self, shared: np.ndarray, scores: np.ndarray) -> Point:
        likelihood = self.likelihood
        count, after = likelihood.annotators, likelihood.annotators + len(likelihood.orders)
        adherence = None
        if count:
            adherence = np.exp(shared[:count])
            if self.integrated:
                adherence = adherence / adherence[self.people].mean()
        return Point(scores, adherence, shared[count:after], shared[after : likelihood.shared])

    def settle(self, shared: np.ndarray, scores: np.ndarray, tolerance: float = SCORE_TOLERANCE) -> Settled:
        """Return the scores' mode by Newton's method from ``scores``; a set that a step makes worse gets half of it.

        Args:
            tolerance: how far off scores may be; if above `SCORE_TOLERANCE`, in quadratic mean.

        Raises:
            numpy.linalg.LinAlgError: rankings say nothing of some difference of scores, to double precision.
        """
        blocks = self.likelihood.blocks
        steps = 0
        point = self.point(shared, scores)
        slopes, height, slope, information = self._look(shared, point)
        while True:
            covariance, log_determinants = blocks.inverse(information, free=self.prior is None)
            step = blocks.times(covariance, slope)
            # Short of the mode it is the sum of squares that the value lacks; at it, every score is to be right.
            close = tolerance > SCORE_TOLERANCE
            off = math.sqrt(float(np.mean(step**2))) if close else float(np.abs(step).max(initial=0.0))
            reached = off <= tolerance
            if reached or steps == STEPS:
                break
            steps += 1
            step *= np.minimum(1, LONGEST_STEP / np.maximum(self._longest(step), 1e-300))
            share = np.ones(blocks.sets)
            for _ in range(30):
                point_there = self.point(shared, point.scores + share[blocks.set_of] * step)
                slopes, there, slope, information = self._look(shared, point_there)
                # A sum's rounding hides smaller losses, and near the mode a step gains less than that.
                worse = there < height - 1e-11 * (1 + np.abs(height))
                if not worse.any():
                    break
                share[worse] /= 2
            point, height = point_there, there
        value = self._of_shared(shared)
        if self.integrated:
            value += float((height - log_determinants / 2)[self.telling].sum())
        else:
            value += float(height.sum())
        return Settled(shared, point, slopes, covariance, value, reached, steps)

    def slope(self, settled: Settled) -> np.ndarray:
        """Return the derivative of ``settled.value`` by the shared parameters. Shape: ``(shared,)``."""
        found, scores = settled.slopes.shared, settled.point.scores
        if not self.integrated:
            return self.slope_of(settled.shared, found, None)
        telling = [group for group in self.likelihood.choices if group.telling]
        of_determinant, drift = self.likelihood.determinant_slope(settled.point, settled.covariance, telling)
        square = scores * (scores - drift) + self.likelihood.blocks.diagonal(settled.covariance)
        return self.slope_of(settled.shared, found - of_determinant / 2, square)

    def slope_of(self, shared: np.ndarray, found: np.ndarray, square: np.ndarray | None) -> np.ndarray:
        """Return the derivative by the shared parameters, priors included. Shape: ``(shared,)``.

        Args:
            found: the log-likelihood's by log-adherences, ties and covariates' effects.
            square: the scores' mean squares, where they are integrated out. Shape: ``(items,)``.
        """
        likelihood = self.likelihood
        count, after = likelihood.annotators, likelihood.annotators + len(likelihood.orders)
        found = found.copy()
        if self.integrated:
            found[count:after] -= shared[count:after] / TIE_SPREAD**2
            if count:
                found[:count] -= self._share_of_mean(shared) * found[:count].sum()
        found[:count] += self.adherence.shape - 1 - self.adherence.rate * np.exp(shared[:count])
        if isinstance(self.prior, Spread):
            assert square is not None
            telling = self.telling[likelihood.blocks.set_of]
            by_spread = (square / self.spread(shared) ** 2 - 1)[telling].sum()
            by_spread -= (shared[-1] - math.log(self.prior.guess)) / self.prior.doubt**2
            found = np.append(found, by_spread)
        return found

    def information(self, settled: Settled, *, observed: bool) -> np.ndarray:
        """Return the information on the shared parameters, what scores take of it taken off. Shape: ``(shared,
        shared)``."""
        likelihood, shared = self.likelihood, settled.shared
        found = np.zeros((self.shared, self.shared))
        among, crossed = likelihood.shared_information(settled.point, observed=observed)
        found[: likelihood.shared, : likelihood.shared] = among
        if isinstance(self.prior, Spread):
            telling = self.telling[likelihood.blocks.set_of]
            crossed = self._with_spread(crossed, settled, telling)
            variances = likelihood.blocks.diagonal(settled.covariance)
            square = (settled.point.scores**2 + variances)[telling].sum()
            found[-1, -1] = 2 * square / self.spread(shared) ** 2
        inner = likelihood.blocks.as_sparse(settled.covariance)
        found -= (crossed.T @ (inner @ crossed)).toarray()
        return self.with_priors(shared, found)

    def with_priors(self, shared: np.ndarray, found: np.ndarray) -> np.ndarray:
        """Return information on the shared parameters, given that on log-adherences and the others, with their priors'.
        Shape: ``(shared, shared)``."""
        count, orders = self.likelihood.annotators, len(self.likelihood.orders)
        found = found.copy()
        if self.integrated and count:
            share = self._share_of_mean(shared)
            found[:count] -= np.outer(share, found[:count].sum(axis=0))
            found[:, :count] -= np.outer(found[:, :count].sum(axis=1), share)
        where = np.arange(count)
        found[where, where] += self.adherence.rate * np.exp(shared[:count])
        if self.integrated:
            where = np.arange(count, count + orders)
            found[where, where] += TIE_SPREAD**-2
        if isinstance(self.prior, Spread):
            found[-1, -1] += self.prior.doubt**-2
        return (found + found.T) / 2

    def crossed(self, settled: Settled) -> csr_matrix:
        """Return minus the second derivative by all scores and the shared parameters. Shape: ``(items, shared)``."""
        _, crossed = self.likelihood.shared_information(settled.point, observed=True, everything=True)
        if isinstance(self.prior, Spread):
            return self._with_spread(crossed, settled, np.ones(len(settled.point.scores), bool))
        return crossed

    def start(self) -> np.ndarray:
        """Return shared parameters to start from: annotators alike, ties as common as if all items were equal."""
        likelihood = self.likelihood
        count = likelihood.annotators
        found = np.zeros(self.shared)
        made, possible = np.full(len(likelihood.orders), 0.5), np.full(len(likelihood.orders), 0.5)
        for group in likelihood.choices:
            weight = float(group.weight.sum())
            for n, order in enumerate(likelihood.orders):
                span = group.sets.spans.get(order)
                if span is not None and group.chosen in (1, order):
                    made[n] += weight * (group.chosen == order)
                    ways = (span.stop - span.start) / len(group.item)
                    possible[n] += weight * (group.chosen == 1) * ways
        found[count : count + len(likelihood.orders)] = np.log(made / possible)
        found[:count] = np.log((self.adherence.shape - 1) / self.adherence.rate)
        if isinstance(self.prior, Spread):
            found[-1] = math.log(self.prior.guess)
        return found

    def with_adherences(self, shared: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        """Return a covariance of the shared parameters with the log-adherences in place of the free ones."""
        count = self.likelihood.annotators
        if not (self.integrated and count):
            return matrix
        share, found = self._share_of_mean(shared), matrix.copy()
        found[:count] -= share @ found[:count]
        found[:, :count] -= (found[:, :count] @ share)[:, None]
        return found

    def _look(self, shared: np.ndarray, point: Point) -> tuple[Slopes, np.ndarray, np.ndarray, np.ndarray]:
        """Return the likelihood's slopes, and of the posterior the height of each set, slope and information."""
        blocks = self.likelihood.blocks
        slopes = self.likelihood.slopes(point)
        if self.prior is None:
            return slopes, slopes.value, slopes.scores, slopes.information
        value, slope, curvature = (
            imagined(self.prior, point.scores)
            if isinstance(self.prior, PseudoRankings)
            else normal(self.spread(shared), point.scores)
        )
        information = slopes.information.copy()
        information[blocks.row + blocks.column] += curvature
        height = slopes.value + np.bincount(blocks.set_of, value, blocks.sets)
        return slopes, height, slopes.scores + slope, information

    def _longest(self, step: np.ndarray) -> np.ndarray:
        """The largest step within the connected set of each place. Shape: ``(items,)``."""
        set_of = self.likelihood.blocks.set_of
        starts = np.flatnonzero(np.diff(set_of, prepend=-1))
        return np.maximum.reduceat(np.abs(step), starts)[set_of] if len(starts) else step

    def _of_shared(self, shared: np.ndarray) -> float:
        """The prior's log-density of the shared parameters, but for a constant."""
        count, orders = self.likelihood.annotators, len(self.likelihood.orders)
        free = shared[:count]
        found = float(((self.adherence.shape - 1) * free - self.adherence.rate * np.exp(free)).sum())
        if self.integrated:
            found -= float((shared[count : count + orders] ** 2).sum()) / (2 * TIE_SPREAD**2)
        if isinstance(self.prior, Spread):
            found -= (shared[-1] - math.log(self.prior.guess)) ** 2 / (2 * self.prior.doubt**2)
        return found

    def _with_spread(self, crossed: csr_matrix, settled: Settled, items: np.ndarray) -> csr_matrix:
        column = np.where(items, -2 * settled.point.scores / self.spread(settled.shared) ** 2, 0.0)
        return hstack([crossed, csr_matrix(column[:, None])], format="csr")

    def _share_of_mean(self, shared: np.ndarray) -> np.ndarray:
        """Each annotator's part of the mean adherence of people. Shape: ``(annotators,)``."""
        found = np.exp(shared[: self.likelihood.annotators]) * self.people
        return found / found.sum()
