"""How far annotators agree: with each other, and with answers that are known."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median
from typing import Any

import numpy as np

from annotation.models import Batch, Ranking, User
from annotation.submitting import current_rankings

Tiers = Sequence[Sequence[int]]

FEWEST_TASKS_FOR_INTERVAL = 10
RESAMPLES = 2000
RESAMPLED_TASKS_AT_ONCE = 2_000_000


@dataclass(frozen=True, slots=True)
class Agreement:
    """``agreement``: the probability, from 0 to 1, that two annotators who both ordered a pair of responses ordered it
    alike; ``low`` and ``high``: its 95% interval, None where the tasks are too few or too alike to tell it;
    ``pairs``: how many such couples of opinions it rests on. Without any, the figures are None."""

    agreement: float | None
    pairs: int
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class AnnotatorFigures:
    """One annotator's work in a batch: rankings, median seconds, agreement with the others on the same tasks, and the
    share of gold pairs that they ordered as is known. None where there is nothing to tell it by."""

    annotator: User
    rankings: int
    median_seconds: float | None
    agreement: float | None
    gold_accuracy: float | None


def pairwise_agreement(
    rankings_by_task: Mapping[Any, Sequence[Tiers]] | Iterable[Sequence[Tiers]], *, seed: int = 0
) -> Agreement:
    """Pooled three-way agreement: for each pair of responses of each task, each couple of annotators who ranked both
    agrees if both put the same one over the other, or both tie them.

    The interval is the percentile bootstrap's over tasks, since opinions on one task hang together (Efron and
    Tibshirani 1993, "An Introduction to the Bootstrap", section 13.3). Over few tasks it is too narrow (Hesterberg
    2015, "What Teachers Should Know About the Bootstrap"), and over tasks that all agree alike it shrinks to a point;
    there is none below ``FEWEST_TASKS_FOR_INTERVAL`` tasks, or where all agree alike.

    Args:
        rankings_by_task: for each task, its annotators' tiers: one ranking an annotator. Responses in no tier are not
            compared.
        seed: fixes the resamples.
    """
    by_task = rankings_by_task.values() if isinstance(rankings_by_task, Mapping) else rankings_by_task
    counts = [count for count in map(_couples, by_task) if count[1]]
    if not counts:
        return Agreement(None, 0, None, None)
    agreeing, couples = np.array(counts, dtype=np.float64).T
    total = couples.sum()
    agreement = float(agreeing.sum() / total)
    if len(counts) < FEWEST_TASKS_FOR_INTERVAL or len(set(agreeing / couples)) == 1:
        return Agreement(agreement, int(total), None, None)
    low, high = np.quantile(_resampled(agreeing, couples, seed), [0.025, 0.975])
    return Agreement(agreement, int(total), float(low), float(high))


def batch_agreement(batch: Batch) -> Agreement:
    """The agreement of a batch's current rankings."""
    by_task: dict[int, list[Tiers]] = defaultdict(list)
    for task, tiers in current_rankings(batch).order_by("pk").values_list("task_id", "tiers"):
        by_task[task].append(tiers)
    return pairwise_agreement(by_task)


def annotator_figures(batch: Batch) -> list[AnnotatorFigures]:
    """Each annotator's figures in the batch, the most rankings first."""
    by_task: dict[int, list[Ranking]] = defaultdict(list)
    by_annotator: dict[User, list[Ranking]] = defaultdict(list)
    for ranking in current_rankings(batch).select_related("annotator", "task").order_by("pk"):
        by_task[ranking.task_id].append(ranking)
        by_annotator[ranking.annotator].append(ranking)
    figures = []
    for annotator, rankings in by_annotator.items():
        alike: Counter[bool] = Counter()
        golden: Counter[bool] = Counter()
        for ranking in rankings:
            own = _order(ranking.tiers)
            for other in by_task[ranking.task_id]:
                if other.annotator_id != annotator.pk:
                    alike.update(_compared(own, _order(other.tiers)))
            if ranking.task.gold_tiers is not None:
                golden.update(_compared(own, _order(ranking.task.gold_tiers)))
        seconds = [ranking.seconds for ranking in rankings if ranking.seconds is not None]
        figures.append(
            AnnotatorFigures(
                annotator=annotator,
                rankings=len(rankings),
                median_seconds=median(seconds) if seconds else None,
                agreement=_share(alike),
                gold_accuracy=_share(golden),
            )
        )
    return sorted(figures, key=lambda one: (-one.rankings, one.annotator.pk))


def _couples(rankings: Sequence[Tiers]) -> tuple[int, int]:
    """Of one task: how many couples of opinions on a pair agree, and how many there are."""
    opinions: dict[tuple[int, int], Counter[int]] = defaultdict(Counter)
    for tiers in rankings:
        for pair, opinion in _order(tiers).items():
            opinions[pair][opinion] += 1
    agreeing = sum(_choose_2(count) for counts in opinions.values() for count in counts.values())
    couples = sum(_choose_2(counts.total()) for counts in opinions.values())
    return agreeing, couples


def _order(tiers: Tiers) -> dict[tuple[int, int], int]:
    """For each pair (i, j), i < j, that is ranked: −1 where i is over j, 1 where under, 0 where tied."""
    tier_of = {number: position for position, tier in enumerate(tiers) for number in tier}
    return {
        (i, j): (tier_of[i] > tier_of[j]) - (tier_of[i] < tier_of[j])
        for i, j in combinations(sorted(tier_of), 2)
    }


def _compared(own: Mapping[tuple[int, int], int], other: Mapping[tuple[int, int], int]) -> Iterator[bool]:
    return (own[pair] == other[pair] for pair in own.keys() & other.keys())


def _share(counts: Counter[bool]) -> float | None:
    return counts[True] / counts.total() if counts else None


def _choose_2(count: int) -> int:
    return count * (count - 1) // 2


def _resampled(agreeing: np.ndarray, couples: np.ndarray, seed: int) -> np.ndarray:
    """The pooled agreement in each resample of the tasks. Shape: ``(RESAMPLES,)``."""
    dice = np.random.default_rng(seed)
    tasks = len(couples)
    ratios = np.empty(RESAMPLES)
    rows = max(1, RESAMPLED_TASKS_AT_ONCE // tasks)
    for start in range(0, RESAMPLES, rows):
        drawn = dice.integers(tasks, size=(min(rows, RESAMPLES - start), tasks))
        ratios[start : start + len(drawn)] = agreeing[drawn].sum(axis=1) / couples[drawn].sum(axis=1)
    return ratios
