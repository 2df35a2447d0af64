"""How far annotators agree: with each other, and with answers that are known."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from annotation.agreement import Agreement, AsKnown, Order, Tiers, as_known, measure_agreement, order_of
from annotation.models import Batch, Ranking, User
from annotation.submitting import current_rankings


@dataclass(frozen=True, slots=True)
class AnnotatorFigures:
    """One annotator's work in a batch: rankings, median seconds, agreement with the others on the same tasks, and the
    share of gold pairs that they ordered as is known (see `agreement.as_known`). None where there is nothing to tell it
    by."""

    annotator: User
    rankings: int
    median_seconds: float | None
    agreement: float | None
    gold_accuracy: float | None


def batch_agreement(batch: Batch) -> Agreement:
    """The agreement of a batch's current rankings."""
    by_task: dict[int, list[Tiers]] = defaultdict(list)
    for task, tiers in current_rankings(batch).order_by("pk").values_list("task_id", "tiers"):
        by_task[task].append(tiers)
    return measure_agreement(by_task)


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
        golden = AsKnown()
        for ranking in rankings:
            own = order_of(ranking.tiers)
            for other in by_task[ranking.task_id]:
                if other.annotator_id != annotator.pk:
                    alike.update(_compared(own, order_of(other.tiers)))
            if ranking.task.gold_tiers is not None:
                golden += as_known(ranking.tiers, ranking.task.gold_tiers)
        seconds = [ranking.seconds for ranking in rankings if ranking.seconds is not None]
        figures.append(
            AnnotatorFigures(
                annotator=annotator,
                rankings=len(rankings),
                median_seconds=median(seconds) if seconds else None,
                agreement=_share(alike),
                gold_accuracy=golden.share,
            )
        )
    return sorted(figures, key=lambda one: (-one.rankings, one.annotator.pk))


def _compared(own: Order, other: Order) -> Iterator[bool]:
    return (own[pair] == other[pair] for pair in own.keys() & other.keys())


def _share(counts: Counter[bool]) -> float | None:
    return counts[True] / counts.total() if counts else None
