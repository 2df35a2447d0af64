"""Posterior moments of small sets' scores, by cubature: Laplace's approximation errs where rankings are few.

Around a set's mode the posterior is compared with the normal distribution of Laplace's approximation, at points that
lie on spheres: in the directions of the items and of pairs of them, the spherical part of Mysovskikh's rule of degree
5 (see Cools 2003, "An encyclopaedia of cubature formulas"), at the radii of a Gauss–Radau rule, which for two items
makes it Gauss–Hermite's with five points. The rule looks the same from every item, so how items are numbered changes
nothing. In the direction of all scores alike the posterior is the prior.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix, hstack
from scipy.special import gamma, roots_genlaguerre

from alignment.consensus.blocks import Run
from alignment.consensus.choices import SMALL_SET, Choices, Part, Point
from alignment.consensus.posterior import Posterior, Settled
from alignment.consensus.priors import Spread

SETS_A_PARAMETER = 10
"""Sets that must tell of shared parameters, for each of them, for the sets' slopes to say how certain they are."""
LARGEST_RATIO = 30.0
"""Logarithm of how much more likely than Laplace's approximation a point is taken to be at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    mean: np.ndarray
    """Of the scores. Shape: ``(items,)``."""
    covariance: np.ndarray
    """Of the scores, a block matrix."""
    slope: np.ndarray
    """The derivative of the log of the shared parameters' posterior, by them. Shape: ``(shared,)``."""
    information: np.ndarray | None
    """On the shared parameters, from how the sets' slopes differ (Berndt, Hall, Hall and Hausman 1974). None where
    sets are too few or too large to tell. Shape: ``(shared, shared)``."""


def moments(posterior: Posterior, settled: Settled) -> Moments:
    """Return the posterior moments of scores at their prior's spread, and the slope that follows from them: it is the
    mean of the joint posterior's slope (Fisher's identity)."""
    likelihood, blocks = posterior.likelihood, posterior.likelihood.blocks
    point, spread = settled.point, posterior.spread(settled.shared)
    clouds = {
        run.size: _Cloud.of(run, view, point.scores, spread)
        for run, view in zip(blocks.runs, blocks.views(settled.covariance), strict=True)
        if 1 < run.size <= SMALL_SET
    }
    first_set = {run.size: sets.start for run, sets in zip(blocks.runs, blocks.sets_of_runs, strict=True)}
    sets_of = [blocks.set_of[group.item[0]] for group in likelihood.choices]
    for group, sets in zip(likelihood.choices, sets_of, strict=True):
        if group.of_sets:
            clouds[group.of_sets].heighten(group, sets - first_set[group.of_sets], point)
    mean, covariance = point.scores.copy(), settled.covariance.copy()
    for cloud in clouds.values():
        cloud.weigh()
        shift, of_run = cloud.moments()
        mean[cloud.run.items] += shift
        covariance[cloud.run.entries] = of_run
    square = mean**2 + blocks.diagonal(covariance)
    slopes = []
    for group, sets in zip(likelihood.choices, sets_of, strict=True):
        if group.telling:
            local = sets - first_set[group.of_sets] if group.of_sets else sets
            slopes.append(_Slopes(group, sets, _mean_slopes(group, local, point, clouds.get(group.of_sets))))
    slope = np.sum([each.total(likelihood.annotators) for each in slopes], axis=0)
    large = [group for group in likelihood.choices if group.telling and not group.of_sets]
    if large:
        of_determinant, drift = likelihood.determinant_slope(point, settled.covariance, large)
        slope = slope - of_determinant / 2
        square -= point.scores * drift
    return Moments(
        mean=mean,
        covariance=covariance,
        slope=posterior.slope_of(settled.shared, slope, square),
        information=None if large else _information(posterior, settled, slopes, square),
    )


@dataclass(slots=True, eq=False)
class _Cloud:
    """The points around the modes of the sets of one size."""

    run: Run
    rule: _Rule
    root: np.ndarray
    """What a rule's points are multiplied by to be steps of scores. Shape: ``(sets, size, size)``."""
    spread: float
    height: np.ndarray
    """The log-posterior at the points, less Laplace's approximation of it, but for a constant. Then the points'
    weights, which sum to one. Shape: ``(points, sets)``."""

    @classmethod
    def of(cls, run: Run, covariance: np.ndarray, scores: np.ndarray, spread: float) -> _Cloud:
        """Start with what the prior says.

        Args:
            covariance: of the scores. Shape: ``(sets, size, size)``.
            scores: of all items, at their mode. Shape: ``(items,)``.
        """
        rule = _Rule.of(run.size)
        centre = np.eye(run.size) - 1 / run.size
        # Symmetric roots of the covariances of contrasts: how items are numbered changes nothing.
        values, vectors = np.linalg.eigh(centre @ covariance @ centre)
        root = (vectors * np.sqrt(np.maximum(values, 0))[:, None]) @ vectors.transpose(0, 2, 1)
        of_run = scores[run.items].reshape(-1, run.size)
        along = np.einsum("nij,nj->ni", root, of_run) @ rule.points.T
        squares = (root @ root).reshape(len(root), -1) @ rule.squares.T
        height = (along + squares / 2).T / -(spread**2) + (rule.points**2).sum(axis=1)[:, None] / 2
        return cls(run, rule, root, spread, height)

    def heighten(self, group: Choices, sets: np.ndarray, point: Point) -> None:
        """Add the log-likelihood of choices.

        Args:
            sets: the choices' sets, numbered within the run. Shape: ``(choices,)``.
        """

        def look(part: Part) -> tuple[np.ndarray, np.ndarray]:
            here, local = np.unique(sets[part.rows], return_inverse=True)
            utility, steps, adherence = part.utilities(point), self.steps(part), part.adherences(point)
            found = np.empty((len(self.height), len(here)))
            for number, at in enumerate(self.rule.points):
                chance = part.chance_at(utility + steps @ at, adherence, point.ties)
                found[number] = np.bincount(local, chance, len(here))
            return here, found

        for here, found in group.each(look):
            self.height[:, here] += found

    def steps(self, part: Part) -> np.ndarray:
        """What the items of choices move by, for each coordinate of a point. Shape: ``(m, choices, size)``."""
        places = part.choices.item[:, part.rows] - self.run.items.start
        return self.root.reshape(-1, self.run.size)[places]

    def weigh(self) -> None:
        """Make weights of the heights."""
        self.height -= self.height[0].copy()
        np.exp(np.minimum(self.height, LARGEST_RATIO, out=self.height), out=self.height)
        self.height *= self.rule.weights[:, None]
        self.height /= self.height.sum(axis=0)

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the means less the modes, ``(items,)``, and the covariances, a part of a block matrix."""
        share = self.height.T
        shift = np.einsum("nij,nj->ni", self.root, share @ self.rule.points)
        second = self.root @ (share @ self.rule.squares).reshape(self.root.shape) @ self.root
        second -= shift[:, :, None] * shift[:, None, :]
        # The rule knows nothing of the direction of all scores alike, where the posterior is the prior.
        return shift.reshape(-1), (second + self.spread**2 / self.run.size).reshape(-1)


def _mean_slopes(group: Choices, sets: np.ndarray, point: Point, cloud: _Cloud | None) -> np.ndarray:
    """Return choices' derivatives by the shared parameters, the mean over the points; at the mode if there is no cloud.
    Shape: ``(1 + orders + covariates, choices)``."""

    def look(part: Part) -> np.ndarray:
        utility, adherence = part.utilities(point), part.adherences(point)
        if cloud is None:
            return part.slopes_at(utility, adherence, point.ties)
        here, steps = sets[part.rows], cloud.steps(part)
        found: np.ndarray | None = None
        for weights, at in zip(cloud.height, cloud.rule.points, strict=True):
            slopes = part.slopes_at(utility + steps @ at, adherence, point.ties) * weights[here]
            found = slopes if found is None else found + slopes
        assert found is not None
        return found

    return np.concatenate(group.each(look), axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class _Slopes:
    """Derivatives of choices' log-likelihood by the shared parameters."""

    group: Choices
    sets: np.ndarray
    """Shape: ``(choices,)``."""
    of_choices: np.ndarray
    """By the adherence, then by ties, then by covariates' effects. Shape: ``(1 + orders + covariates, choices)``."""

    def total(self, annotators: int) -> np.ndarray:
        """Shape: ``(shared,)``."""
        by_adherence = np.zeros(annotators)
        if annotators and self.group.annotator is not None:
            by_adherence += np.bincount(self.group.annotator, self.of_choices[0], annotators)
        return np.concatenate([by_adherence, self.of_choices[1:].sum(axis=1)])


def _information(
    posterior: Posterior, settled: Settled, slopes: list[_Slopes], square: np.ndarray
) -> np.ndarray | None:
    likelihood, blocks = posterior.likelihood, posterior.likelihood.blocks
    if posterior.telling.sum() < SETS_A_PARAMETER * posterior.shared:
        return None
    count = likelihood.annotators
    rows, columns, values = [], [], []
    others = np.zeros((blocks.sets, posterior.shared - count))
    for each in slopes:
        for n, of_choices in enumerate(each.of_choices[1:]):
            others[:, n] += np.bincount(each.sets, of_choices, blocks.sets)
        if count and each.group.annotator is not None:
            rows.append(each.sets)
            columns.append(each.group.annotator)
            values.append(each.of_choices[0])
    if isinstance(posterior.prior, Spread):
        by_item = square / posterior.spread(settled.shared) ** 2 - 1
        others[:, -1] = np.bincount(blocks.set_of, by_item, blocks.sets) * posterior.telling
    of_annotators = csr_matrix((blocks.sets, count))
    if rows:
        places = (np.concatenate(rows), np.concatenate(columns))
        of_annotators = coo_matrix((np.concatenate(values), places), shape=of_annotators.shape).tocsr()
    slopes_of_sets = hstack([of_annotators, csr_matrix(others)], format="csr")
    return posterior.with_priors(settled.shared, (slopes_of_sets.T @ slopes_of_sets).toarray())


@dataclass(frozen=True, slots=True, eq=False)
class _Rule:
    points: np.ndarray
    """Contrasts of the items; the first is zero. Shape: ``(points, size)``."""
    weights: np.ndarray
    """Shape: ``(points,)``, summing to one."""
    squares: np.ndarray
    """Products of each two coordinates. Shape: ``(points, size · size)``."""

    @classmethod
    @cache
    def of(cls, size: int) -> _Rule:
        d = size - 1
        corners = np.eye(size) - 1 / size
        corners /= np.linalg.norm(corners[0])
        ends = [(corners, (7 - d) * d / (2 * (d + 1) ** 2 * (d + 2)))]
        if d > 1:
            middles = np.array([one + other for one, other in combinations(corners, 2)])
            middles /= np.linalg.norm(middles[0])
            ends.append((middles, 2 * (d - 1) ** 2 / (d * (d + 1) ** 2 * (d + 2))))
        halves, shares = roots_genlaguerre(2, d / 2)  # of the squared radius
        shares = shares / halves / gamma(d / 2)
        points, weights = [np.zeros((1, size))], [np.array([1 - shares.sum()])]
        for radius, share in zip(np.sqrt(2 * halves), shares, strict=True):
            for directions, weight in ends:
                for sign in (1, -1):
                    points.append(sign * radius * directions)
                    weights.append(np.full(len(directions), share * weight))
        # Of two items the corners, and of four the middles, are each other's opposites.
        distinct, where = np.unique(np.round(np.concatenate(points), 12) + 0.0, axis=0, return_inverse=True)
        total = np.bincount(where.ravel(), np.concatenate(weights))
        centre_first = np.argsort((distinct**2).sum(axis=1), kind="stable")
        distinct = distinct[centre_first]
        squares = (distinct[:, :, None] * distinct[:, None, :]).reshape(len(distinct), -1)
        return cls(distinct, total[centre_first], squares)
