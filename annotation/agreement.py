"""How far people who ranked the same tasks agree: as a share, corrected for chance, and as rank correlations.

A response in no tier is not compared; two in one tier are tied, which is an opinion as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from annotation.opinions import UNRANKED, Opinions, Tiers, tier_table

FEWEST_TASKS_FOR_INTERVAL = 10
RESAMPLES = 2000
MOST_RESAMPLED = 2000
UNITS_AT_ONCE = 20_000


@dataclass(frozen=True, slots=True)
class Agreement:
    """What the rankings of one set of tasks say. A figure that nothing can be told by is None.

    Attributes:
        agreement: the probability, from 0 to 1, that two annotators who both ordered a pair of responses ordered it
            alike.
        pairs: how many such couples of opinions it rests on.
        low, high: the 95 % interval of ``agreement``; None where the tasks are too few or too alike to tell it.
        nominal_alpha: Krippendorff's α of the same opinions (over, under, tied): 1 is perfect, 0 is what chance gives.
        nominal_alpha_low, nominal_alpha_high: its 95 % interval.
        ordinal_alpha: Krippendorff's α of the places that responses were given, where a near miss counts for less
            than a far one.
        kendall_tau_b: Kendall's τ-b, from −1 to 1, on average over every two annotators of a task.
        kendall_w: Kendall's coefficient of concordance, from 0 to 1, on average over the tasks. Chance alone gives
            1 / m with m annotators a task.
    """

    agreement: float | None = None
    pairs: int = 0
    low: float | None = None
    high: float | None = None
    nominal_alpha: float | None = None
    nominal_alpha_low: float | None = None
    nominal_alpha_high: float | None = None
    ordinal_alpha: float | None = None
    kendall_tau_b: float | None = None
    kendall_w: float | None = None


def measure_agreement(
    rankings_by_task: Mapping[Any, Sequence[Tiers]] | Iterable[Sequence[Tiers]], *, seed: int = 0
) -> Agreement:
    """Measure how far the annotators of each task agree; see `agreement_of`.

    Args:
        rankings_by_task: for each task, its annotators' tiers: one ranking an annotator.
        seed: fixes the resamples.
    """
    by_task = rankings_by_task.values() if isinstance(rankings_by_task, Mapping) else rankings_by_task
    return agreement_of(Opinions.of([list(of_task) for of_task in by_task if len(of_task) > 1]), seed=seed)


def agreement_of(opinions: Opinions, *, seed: int = 0) -> Agreement:
    """Measure how far the annotators of each task agree.

    The share is pooled over tasks, pairs of responses and couples of annotators. α is Krippendorff's ("Computing
    Krippendorff's Alpha-Reliability", 2011): for the nominal one a unit is a pair of responses of a task and a value
    one of three opinions on it; for the ordinal one a unit is a response of a task and a value its mid-rank among the
    responses that its annotator ranked, over their number. τ-b and W are Kendall's ("Rank Correlation Methods", 1948,
    chapters 3 and 6), both corrected for ties.

    Intervals are the percentile bootstrap's over tasks, since opinions on one task hang together (Efron and Tibshirani
    1993, "An Introduction to the Bootstrap", section 13.3). Over few tasks it is too narrow (Hesterberg 2015, "What
    Teachers Should Know About the Bootstrap"), and over tasks that all agree alike it shrinks to a point; there is none
    below ``FEWEST_TASKS_FOR_INTERVAL`` tasks, or where all agree alike. More than ``MOST_RESAMPLED`` tasks are first
    put together at random into so many groups, whose sums vary as those of the tasks do.

    Args:
        opinions: one ranking an annotator of each task.
        seed: fixes the resamples.
    """
    tallies = tallies_of(opinions.counts)
    tallies = tallies[tallies[:, 1] > 0]
    agreement, alpha = pooled(tallies.sum(axis=0))
    low, high, alpha_low, alpha_high = _intervals(tallies, seed)
    return Agreement(
        agreement=agreement,
        pairs=int(tallies[:, 1].sum()),
        low=low,
        high=high,
        nominal_alpha=alpha,
        nominal_alpha_low=alpha_low,
        nominal_alpha_high=alpha_high,
        ordinal_alpha=_ordinal_alpha(opinions),
        kendall_tau_b=_mean_tau_b(opinions),
        kendall_w=_mean(kendall_w(opinions)),
    )


def order_of(tiers: Tiers) -> dict[tuple[int, int], int]:
    """For each pair (i, j), i < j, that is ranked: −1 where i is over j, 1 where under, 0 where tied."""
    tier_of = {number: position for position, tier in enumerate(tiers) for number in tier}
    return {
        (i, j): (tier_of[i] > tier_of[j]) - (tier_of[i] < tier_of[j])
        for i, j in combinations(sorted(tier_of), 2)
    }


def kendall_tau_b(one: np.ndarray, other: np.ndarray, both: np.ndarray) -> np.ndarray:
    """Kendall's τ-b of couples of orders over the responses that both rank; NaN where either ties all of them.

    Args:
        one, other: opinions on each pair of responses: −1, 0 or 1. Shape: ``(couples, pairs)``.
        both: whether both order the pair. Shape: ``(couples, pairs)``.
    """
    one, other = one * both, other * both
    untied = np.sqrt((one != 0).sum(axis=1) * (other != 0).sum(axis=1))
    return np.divide((one * other).sum(axis=1), untied, out=np.full(len(one), np.nan), where=untied > 0)


def kendall_w(opinions: Opinions) -> np.ndarray:
    """Each task's Kendall's W, corrected for ties, over the responses that every ranking of the task has.

    NaN where they are fewer than two, or tied by all, or rankings fewer than two. Shape: ``(tasks,)``.
    """
    number = opinions.sizes
    common = opinions.by_task((opinions.tier != UNRANKED).astype(np.int64)) == number[:, None]
    ranks, tied = _mid_ranks(opinions.tier, common[opinions.task])
    common &= (number > 1)[:, None]
    responses = common.sum(axis=1)
    off = opinions.by_task(ranks) - (number * (responses + 1) / 2)[:, None]
    spread = (off**2 * common).sum(axis=1)
    ties = opinions.by_task(((tied**2 - 1) * common[opinions.task]).sum(axis=1))
    most = number**2 * (responses**3 - responses) - number * ties
    return np.divide(
        12 * spread, most, out=np.full(opinions.tasks, np.nan), where=(responses > 1) & (most > 0)
    )


def mid_ranks(tiers: Tiers) -> dict[int, float]:
    """Each ranked response's rank from 1, the best; tied ones share the mean of the ranks that they take up."""
    ranks: dict[int, float] = {}
    for tier in tiers:
        ranks |= dict.fromkeys(tier, len(ranks) + (len(tier) + 1) / 2)
    return ranks


def krippendorff_alpha(counts: np.ndarray, distances: np.ndarray) -> float | None:
    """Krippendorff's α.

    Args:
        counts: how many annotators gave each unit each value. Shape: ``(units, values)``. Units of fewer than two are
            left out.
        distances: the metric's squared difference of every two values. Shape: ``(values, values)``.

    Returns:
        None where no unit has two values, or all values are alike.
    """
    counts = counts[counts.sum(axis=1) > 1]
    if not len(counts):
        return None
    # Each unit's couples of values, itself excluded; the diagonal has no distance.
    coincidences = sum(
        (some / (some.sum(axis=1, keepdims=True) - 1)).T @ some
        for some in (counts[n : n + UNITS_AT_ONCE] for n in range(0, len(counts), UNITS_AT_ONCE))
    )
    observed = float((coincidences * distances).sum())
    totals = counts.sum(axis=0)
    expected = float((np.outer(totals, totals) * distances).sum())
    return 1 - (totals.sum() - 1) * observed / expected if expected else None


def ordinal_distances(totals: np.ndarray) -> np.ndarray:
    """Krippendorff's ordinal metric: as many values as lie from one to the other, the ends by half, squared.

    Args:
        totals: how often each value was given, in the values' order. Shape: ``(values,)``.
    """
    middles = np.cumsum(totals) - totals / 2
    return np.asarray(np.subtract.outer(middles, middles) ** 2)


def tallies_of(counts: np.ndarray) -> np.ndarray:
    """Of each task: couples of opinions that agree; couples; the observed disagreement of α's coincidences; and how
    often over, tied and under were said of a pair that two annotators ordered.

    Args:
        counts: how often each was said of each pair. Shape: ``(tasks, pairs, 3)``.

    Returns:
        Shape: ``(tasks, 6)``.
    """
    counts = counts.astype(np.float64) * (counts.sum(axis=2, keepdims=True) > 1)
    number = counts.sum(axis=2)
    alike = (counts * (counts - 1)).sum(axis=2)
    disagreement = number - np.divide(alike, number - 1, out=np.zeros_like(alike), where=number > 1)
    return np.column_stack(
        [
            alike.sum(axis=1) / 2,
            (number * (number - 1)).sum(axis=1) / 2,
            disagreement.sum(axis=1),
            counts.sum(axis=1),
        ]
    )


def pooled(sums: np.ndarray) -> tuple[float | None, float | None]:
    """The share that agrees and the nominal α, of tallies summed over tasks. Shape: ``(6,)``."""
    agreeing, couples, disagreement, *said = map(float, sums)
    number = sum(said)
    expected = number**2 - sum(count**2 for count in said)
    return (
        agreeing / couples if couples else None,
        1 - (number - 1) * disagreement / expected if expected else None,
    )


@dataclass(frozen=True, slots=True)
class AsKnown:
    """Of ``pairs`` that known answers order, how many were ordered likewise (``right``; halves for undecided ones)."""

    right: float = 0.0
    pairs: int = 0

    @property
    def share(self) -> float | None:
        """From 0 to 1; None where there are no pairs."""
        return self.right / self.pairs if self.pairs else None

    def __add__(self, other: AsKnown) -> AsKnown:
        return AsKnown(self.right + other.right, self.pairs + other.pairs)


def as_known(tiers: Tiers, known: Tiers, *, undecided: float = 0.5) -> AsKnown:
    """Compare one ranking with the known answer; see `pairs_as_known`."""
    width = 1 + max((number for each in (tiers, known) for tier in each for number in tier), default=0)
    own, answer = (Opinions(np.zeros(1, np.int64), tier_table([each], width), 1) for each in (tiers, known))
    right, pairs = pairs_as_known(own, answer, undecided=undecided)
    return AsKnown(float(right[0]), int(pairs[0]))


def pairs_as_known(
    own: Opinions, known: Opinions, *, undecided: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """Compare rankings with known answers, pair by pair of those that the known answer ranks.

    A pair that is tied in one of them alone, or left unranked, is undecided. Half for it is Kendall's distance with the
    penalty ½ of Fagin et al. (2006, "Comparing Partial Rankings", section 3): who ties everything gets half of all, and
    nobody gains by leaving out what is hard.

    Args:
        own, known: rankings, and the known answer to the task of each, row by row.
        undecided: what an undecided pair counts, from 0 to 1.

    Returns:
        Of each ranking, what is right and of how many pairs. Shapes: ``(rankings,)``.
    """
    open_ones = ~own.ordered | ((own.opinion == 0) != (known.opinion == 0))
    right = np.where(open_ones, undecided, own.opinion == known.opinion) * known.ordered
    return right.sum(axis=1), known.ordered.sum(axis=1)


def _intervals(tallies: np.ndarray, seed: int) -> tuple[float | None, ...]:
    """The 95 % intervals of the share and of the nominal α."""
    if len(tallies) < FEWEST_TASKS_FOR_INTERVAL or not np.ptp(tallies[:, 0] / tallies[:, 1]):
        return None, None, None, None
    sums = _resampled(tallies, seed)
    low, high = np.quantile(sums[:, 0] / sums[:, 1], [0.025, 0.975])
    alphas = [alpha for one in sums if (alpha := pooled(one)[1]) is not None]
    alpha_low, alpha_high = np.quantile(alphas, [0.025, 0.975])
    return float(low), float(high), float(alpha_low), float(alpha_high)


def _resampled(tallies: np.ndarray, seed: int) -> np.ndarray:
    """The tallies' sums in each resample of the items. Shape: ``(items, tallies)`` to ``(RESAMPLES, tallies)``."""
    dice = np.random.default_rng(seed)
    if len(tallies) > MOST_RESAMPLED:
        group = dice.permutation(len(tallies)) % MOST_RESAMPLED
        tallies = np.column_stack([np.bincount(group, column, MOST_RESAMPLED) for column in tallies.T])
    drawn = dice.integers(len(tallies), size=(RESAMPLES, len(tallies)))
    return np.column_stack([column[drawn].sum(axis=1) for column in tallies.T])


def _ordinal_alpha(opinions: Opinions) -> float | None:
    ranked = opinions.tier != UNRANKED
    ranks, _ = _mid_ranks(opinions.tier, ranked)
    places = (ranks - 0.5) / np.maximum(ranked.sum(axis=1, keepdims=True), 1)
    if not ranked.any():
        return None
    # Rounded, since one place in two lists of different length must be one value.
    values, column = np.unique(np.round(places[ranked], 9), return_inverse=True)
    row, number = np.nonzero(ranked)
    unit = opinions.task[row] * opinions.tier.shape[1] + number
    units = opinions.tasks * opinions.tier.shape[1]
    counts = np.bincount(unit * len(values) + column, minlength=units * len(values)).reshape(units, -1)
    counts = counts[counts.sum(axis=1) > 1]
    return krippendorff_alpha(counts, ordinal_distances(counts.sum(axis=0)))


def _mid_ranks(tier: np.ndarray, counted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each response's rank among those that count, from 1, the mean of the ranks that tied ones take up, and how many
    are tied, itself included; 0 where it does not count. All shapes: ``(rankings, responses)``."""
    better, tied = np.zeros(tier.shape), np.zeros(tier.shape)
    for number in range(tier.shape[1]):
        there, own = counted[:, [number]], tier[:, [number]]
        better += there & (own < tier)
        tied += there & (own == tier)
    return (better + (tied + 1) / 2) * counted, tied * counted


def _mean_tau_b(opinions: Opinions) -> float | None:
    each = [
        kendall_tau_b(
            opinions.opinion[one], opinions.opinion[other], opinions.ordered[one] & opinions.ordered[other]
        )
        for one, other in opinions.couples()
    ]
    return _mean(np.concatenate(each)) if each else None


def _mean(figures: np.ndarray) -> float | None:
    known = figures[~np.isnan(figures)]
    return float(known.mean()) if len(known) else None
