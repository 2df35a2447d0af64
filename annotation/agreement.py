"""How far people who ranked the same tasks agree: as a share, corrected for chance, and as rank correlations.

A response in no tier is not compared; two in one tier are tied, which is an opinion as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

Tiers = Sequence[Sequence[int]]
Order = Mapping[tuple[int, int], int]

FEWEST_TASKS_FOR_INTERVAL = 10
RESAMPLES = 2000
RESAMPLED_TASKS_AT_ONCE = 2_000_000


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
    """Measure how far the annotators of each task agree.

    The share is pooled over tasks, pairs of responses and couples of annotators. α is Krippendorff's ("Computing
    Krippendorff's Alpha-Reliability", 2011): for the nominal one a unit is a pair of responses of a task and a value
    one of three opinions on it; for the ordinal one a unit is a response of a task and a value its mid-rank among the
    responses that its annotator ranked, over their number. τ-b and W are Kendall's ("Rank Correlation Methods", 1948,
    chapters 3 and 6), both corrected for ties.

    Intervals are the percentile bootstrap's over tasks, since opinions on one task hang together (Efron and Tibshirani
    1993, "An Introduction to the Bootstrap", section 13.3). Over few tasks it is too narrow (Hesterberg 2015, "What
    Teachers Should Know About the Bootstrap"), and over tasks that all agree alike it shrinks to a point; there is none
    below ``FEWEST_TASKS_FOR_INTERVAL`` tasks, or where all agree alike.

    Args:
        rankings_by_task: for each task, its annotators' tiers: one ranking an annotator.
        seed: fixes the resamples.
    """
    by_task = rankings_by_task.values() if isinstance(rankings_by_task, Mapping) else rankings_by_task
    several = [list(of_task) for of_task in by_task if len(of_task) > 1]
    orders = [[order_of(tiers) for tiers in of_task] for of_task in several]
    tallies = np.array([_tally(of_task) for of_task in orders], dtype=np.float64).reshape(-1, 6)
    tallies = tallies[tallies[:, 1] > 0]
    agreement, alpha = _pooled(tallies.sum(axis=0))
    low, high, alpha_low, alpha_high = _intervals(tallies, seed)
    return Agreement(
        agreement=agreement,
        pairs=int(tallies[:, 1].sum()),
        low=low,
        high=high,
        nominal_alpha=alpha,
        nominal_alpha_low=alpha_low,
        nominal_alpha_high=alpha_high,
        ordinal_alpha=_ordinal_alpha(several),
        kendall_tau_b=_mean(
            kendall_tau_b(one, other) for of_task in orders for one, other in combinations(of_task, 2)
        ),
        kendall_w=_mean(kendall_w(of_task) for of_task in several),
    )


def order_of(tiers: Tiers) -> dict[tuple[int, int], int]:
    """For each pair (i, j), i < j, that is ranked: −1 where i is over j, 1 where under, 0 where tied."""
    tier_of = {number: position for position, tier in enumerate(tiers) for number in tier}
    return {
        (i, j): (tier_of[i] > tier_of[j]) - (tier_of[i] < tier_of[j])
        for i, j in combinations(sorted(tier_of), 2)
    }


def kendall_tau_b(one: Order, other: Order) -> float | None:
    """Kendall's τ-b of two orders over the responses that both rank; None where either ties all of them."""
    both = [(one[pair], other[pair]) for pair in one.keys() & other.keys()]
    untied = sum(a != 0 for a, _ in both) * sum(b != 0 for _, b in both)
    return sum(a * b for a, b in both) / math.sqrt(untied) if untied else None


def kendall_w(rankings: Sequence[Tiers]) -> float | None:
    """Kendall's W, corrected for ties, over the responses that every ranking of the task has; None where they are
    fewer than two, or tied by all."""
    common = set.intersection(*({number for tier in tiers for number in tier} for tiers in rankings))
    if len(common) < 2:
        return None
    cut = [[kept for tier in tiers if (kept := [one for one in tier if one in common])] for tiers in rankings]
    totals = dict.fromkeys(common, 0.0)
    for tiers in cut:
        for number, rank in mid_ranks(tiers).items():
            totals[number] += rank
    annotators, responses = len(rankings), len(common)
    spread = sum((total - annotators * (responses + 1) / 2) ** 2 for total in totals.values())
    ties = sum(len(tier) ** 3 - len(tier) for tiers in cut for tier in tiers)
    most = annotators**2 * (responses**3 - responses) - annotators * ties
    return 12 * spread / most if most else None


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
    shares = counts / (counts.sum(axis=1, keepdims=True) - 1)
    # Each unit's couples of values, itself excluded; the diagonal has no distance.
    observed = float(((shares.T @ counts) * distances).sum())
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


def _tally(orders: Sequence[Order]) -> tuple[float, ...]:
    """Of one task: couples of opinions that agree; couples; the observed disagreement of α's coincidences; and how
    often over, under and tied were said of a pair that two annotators ordered."""
    opinions: dict[tuple[int, int], list[int]] = {}
    for order in orders:
        for pair, opinion in order.items():
            opinions.setdefault(pair, [0, 0, 0])[opinion] += 1
    agreeing = couples = disagreement = 0.0
    said = [0, 0, 0]
    for counts in opinions.values():
        number = sum(counts)
        if number < 2:
            continue
        alike = sum(count * (count - 1) for count in counts)
        agreeing += alike / 2
        couples += number * (number - 1) / 2
        disagreement += number - alike / (number - 1)
        said = [total + count for total, count in zip(said, counts, strict=True)]
    return agreeing, couples, disagreement, *said


def _pooled(sums: np.ndarray) -> tuple[float | None, float | None]:
    """The share that agrees and the nominal α, of tallies summed over tasks. Shape: ``(6,)``."""
    agreeing, couples, disagreement, *said = map(float, sums)
    number = sum(said)
    expected = number**2 - sum(count**2 for count in said)
    return (
        agreeing / couples if couples else None,
        1 - (number - 1) * disagreement / expected if expected else None,
    )


def ratio_interval(
    parts: np.ndarray, wholes: np.ndarray, *, seed: int = 0
) -> tuple[float, float] | tuple[None, None]:
    """The 95 % interval of ``parts.sum() / wholes.sum()``: a percentile bootstrap over the items. Both: ``(items,)``.

    None where the items are too few or too alike to tell it, see `measure_agreement`.
    """
    if not _can_tell(parts, wholes):
        return None, None
    sums = _resampled(np.stack([parts, wholes], axis=1), seed)
    low, high = np.quantile(sums[:, 0] / sums[:, 1], [0.025, 0.975])
    return float(low), float(high)


def _intervals(tallies: np.ndarray, seed: int) -> tuple[float | None, ...]:
    """The 95 % intervals of the share and of the nominal α."""
    if not _can_tell(tallies[:, 0], tallies[:, 1]):
        return None, None, None, None
    sums = _resampled(tallies, seed)
    low, high = np.quantile(sums[:, 0] / sums[:, 1], [0.025, 0.975])
    alphas = [alpha for one in sums if (alpha := _pooled(one)[1]) is not None]
    alpha_low, alpha_high = np.quantile(alphas, [0.025, 0.975])
    return float(low), float(high), float(alpha_low), float(alpha_high)


def _can_tell(parts: np.ndarray, wholes: np.ndarray) -> bool:
    return len(parts) >= FEWEST_TASKS_FOR_INTERVAL and bool(np.ptp(parts / wholes))


def _resampled(tallies: np.ndarray, seed: int) -> np.ndarray:
    """The tallies' sums in each resample of the items. Shape: ``(items, tallies)`` to ``(RESAMPLES, tallies)``."""
    items, kinds = tallies.shape
    dice = np.random.default_rng(seed)
    sums = np.empty((RESAMPLES, kinds))
    rows = max(1, RESAMPLED_TASKS_AT_ONCE // items)
    for start in range(0, RESAMPLES, rows):
        drawn = dice.integers(items, size=(min(rows, RESAMPLES - start), items))
        for kind in range(kinds):
            sums[start : start + len(drawn), kind] = tallies[drawn, kind].sum(axis=1)
    return sums


def _ordinal_alpha(rankings_by_task: Sequence[Sequence[Tiers]]) -> float | None:
    given: list[tuple[int, float]] = []
    units: dict[tuple[int, int], int] = {}
    for task, of_task in enumerate(rankings_by_task):
        for tiers in of_task:
            ranks = mid_ranks(tiers)
            for number, rank in ranks.items():
                given.append((units.setdefault((task, number), len(units)), (rank - 0.5) / len(ranks)))
    if not given:
        return None
    rows, places = zip(*given, strict=True)
    # Rounded, since one place in two lists of different length must be one value.
    values, columns = np.unique(np.round(places, 9), return_inverse=True)
    counts = np.zeros((len(units), len(values)))
    np.add.at(counts, (np.array(rows), columns), 1)
    counts = counts[counts.sum(axis=1) > 1]
    return krippendorff_alpha(counts, ordinal_distances(counts.sum(axis=0)))


def _mean(figures: Iterable[float | None]) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return math.fsum(known) / len(known) if known else None


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
    """Compare a ranking with the known answer, pair by pair of those that the known answer ranks.

    A pair that is tied in one of them alone, or left unranked, is undecided. Half for it is Kendall's distance with the
    penalty ½ of Fagin et al. (2006, "Comparing Partial Rankings", section 3): who ties everything gets half of all, and
    nobody gains by leaving out what is hard.

    Args:
        undecided: what an undecided pair counts, from 0 to 1.
    """
    own = order_of(tiers)
    right = 0.0
    for pair, opinion in (answer := order_of(known)).items():
        if pair not in own or (own[pair] != opinion and 0 in (own[pair], opinion)):
            right += undecided
        else:
            right += own[pair] == opinion
    return AsKnown(right, len(answer))
