"""How good the rankings of a batch, or of several, are: all figures that people's answers alone give."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
from django.db.models import QuerySet

from annotation.agreement import Agreement, agreement_of
from annotation.answer_columns import AnswerColumns, read_answers
from annotation.aspect_figures import AspectFigures, aspect_figures
from annotation.drift import Stretch, agreement_over_time
from annotation.habits import BatchHabits, Habits, Suspicion
from annotation.models import Batch
from annotation.pairing import AnnotatorPair, annotator_pairs
from annotation.quality import AnnotatorFigures, Times, annotator_figures, times_of
from annotation.remembering import Remembered, at_hand, remembered
from annotation.source_figures import SourceFigures, source_figures
from annotation.task_figures import TaskChoice, TaskOrder, chosen_tasks, disagreement_of

FIGURES = "figures.3"
"""The number grows with the fields: what was remembered before an upgrade is not taken for the new figures."""


@dataclass(frozen=True, slots=True)
class BatchQuality:
    """The figures of the modules that they are named by, over rankings that are independent of each other.

    Attributes:
        rankings: how many.
        times: spent on one, everybody's.
        habits: of the annotators, by username.
        flags: how often a response was flagged, by kind.
    """

    rankings: int
    agreement: Agreement
    over_time: list[Stretch]
    annotators: list[AnnotatorFigures]
    times: Times | None
    pairs: list[AnnotatorPair]
    everybody: Habits
    habits: dict[str, Habits]
    suspicions: list[Suspicion]
    aspects: list[AspectFigures]
    sources: list[SourceFigures]
    flags: dict[str, int]

    @property
    def flag_count(self) -> int:
        return sum(self.flags.values())


def batch_quality(batches: QuerySet[Batch]) -> Remembered[BatchQuality]:
    """The quality of ``batches``, fresh or remembered; see `annotation.remembering`."""
    return remembered(FIGURES, batches, lambda of: quality_of(read_answers(of)))


def quality_at_hand(batches: QuerySet[Batch]) -> bool:
    """Whether `batch_quality` answers at once; of very many rankings it takes some seconds."""
    return at_hand(FIGURES, batches)


def batch_disagreement(batches: QuerySet[Batch]) -> Remembered[dict[int, float]]:
    """How far each task's rankings disagree, fresh or remembered; see `annotation.task_figures.disagreement_of`."""
    return remembered("disagreement.2", batches, lambda of: disagreement_of(read_answers(of)))


def quality_tasks(
    batches: QuerySet[Batch], choice: TaskChoice, order: TaskOrder
) -> tuple[list[int], dict[int, float]]:
    """The primary keys of the tasks that are chosen, in order, and how far the rankings of each disagree."""
    if choice.pattern or choice.stretch:
        choice = replace(choice, among=sorted(_resting_on(batch_quality(batches).figures, choice)))
    disagreement = batch_disagreement(batches).figures
    return chosen_tasks(batches, choice, order, disagreement), disagreement


def _resting_on(figures: BatchQuality, choice: TaskChoice) -> set[int]:
    """The tasks that the chosen pattern, of the chosen annotator if there is one, and the chosen stretch rest on."""
    found: list[set[int]] = []
    if choice.pattern:
        of_it = [one for one in figures.suspicions if one.kind == choice.pattern]
        found.append({task for one in of_it if choice.annotator in ("", one.annotator) for task in one.tasks})
    if choice.stretch:
        found.append({task for one in figures.over_time if one.number == choice.stretch for task in one.keys})
    return set.intersection(*found)


def quality_of(answers: AnswerColumns) -> BatchQuality:
    """All figures of rankings that were read."""
    read = BatchHabits(answers)
    sources = source_figures(answers)
    flags: Counter[str] = Counter()
    for source in sources:
        flags.update(source.flags)
    return BatchQuality(
        rankings=len(answers),
        agreement=agreement_of(answers.opinions),
        over_time=agreement_over_time(answers),
        annotators=annotator_figures(answers),
        times=times_of(answers.seconds, np.zeros(len(answers), np.int64), 1)[0],
        pairs=annotator_pairs(answers),
        everybody=read.everybody(),
        habits={str(each.annotator): each for each in read.of_annotators()},
        suspicions=read.suspicions(),
        aspects=aspect_figures(answers),
        sources=sources,
        flags=dict(flags.most_common()),
    )
