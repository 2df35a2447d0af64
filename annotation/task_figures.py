"""The tasks of some batches, by what was said of them: which to look at, and in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import numpy as np
from django.db.models import BooleanField, Count, Exists, F, Func, Max, OuterRef, QuerySet

from annotation.agreement import tallies_of
from annotation.answer_columns import AnswerColumns
from annotation.known_accuracy import gold_tasks
from annotation.models import AspectRating, Batch, Flag, Ranking, Review, Skip, Task, TaskResponse
from annotation.submitting import current_rankings

ANY_FLAG = "any"
TIES = Func(
    F("tiers"),
    function="jsonb_path_exists",
    template="%(function)s(%(expressions)s, 'strict $[*] ? (@.size() > 1)')",
    output_field=BooleanField(),
)
"""Whether a ranking has a tier of several responses."""


class TaskOrder(StrEnum):
    DISAGREEMENT = "disagreement"
    NEWEST = "newest"
    OLDEST = "oldest"


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task of a list.

    Attributes:
        disagreement: of pairs of responses that two annotators ordered, the share that they ordered differently; None
            where there is no such pair.
        rankings, flags, skips: how many, of its current rankings.
        last: when the latest of them came.
    """

    task: Task
    disagreement: float | None
    rankings: int
    flags: int
    skips: int
    last: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskChoice:
    """Which tasks: all filters that are given must hold.

    Attributes:
        annotator, other: usernames; tasks that they ranked (both, where both are given).
        flag: a kind of flag that a current ranking has, or ``any``.
        aspect: the name of an aspect that a current ranking rates.
        source, against: of the task's responses (of one each, where both are given).
        skipped: by somebody.
        gold: with a known answer.
        measures: that gold accuracy rests on: those of the project's gold batches.
        twice: two annotators ordered the same two responses, so that agreement rests on it.
        tied: a current ranking ties responses, the ``annotator``'s where one is given.
        since, until: a ranking came from ``since`` on and before ``until``; amendments are no further ones.
        verdict: of a review.
        pattern: of a kind of suspicion, of the ``annotator`` where one is given.
        stretch: the number of one of the stretches of agreement over time.
        among: only these tasks.
    """

    annotator: str = ""
    other: str = ""
    flag: str = ""
    aspect: str = ""
    source: int | None = None
    against: int | None = None
    skipped: bool = False
    gold: bool = False
    measures: bool = False
    twice: bool = False
    tied: bool = False
    since: datetime | None = None
    until: datetime | None = None
    verdict: str = ""
    pattern: str = ""
    stretch: int | None = None
    among: Sequence[int] | None = None

    def tasks_of(self, batches: QuerySet[Batch]) -> QuerySet[Task]:
        """The tasks of ``batches`` that are chosen, but for ``twice``, ``pattern`` and ``stretch``, which only the
        rankings tell."""
        tasks = (
            gold_tasks(batches.values("project")) if self.measures else Task.objects.filter(batch__in=batches)
        )
        current = current_rankings(Ranking.objects.filter(task=OuterRef("pk")))
        for name in filter(None, (self.annotator, self.other)):
            tasks = tasks.filter(Exists(current.filter(annotator__username=name)))
        if self.flag:
            flags = Flag.objects.filter(ranking=OuterRef("pk"))
            flags = flags if self.flag == ANY_FLAG else flags.filter(kind=self.flag)
            tasks = tasks.filter(Exists(current.filter(Exists(flags))))
        if self.aspect:
            ratings = AspectRating.objects.filter(ranking=OuterRef("pk"), aspect__name=self.aspect)
            tasks = tasks.filter(Exists(current.filter(Exists(ratings))))
        for source in (self.source, self.against):
            if source is not None:
                its = TaskResponse.objects.filter(task=OuterRef("pk"), response__source=source)
                tasks = tasks.filter(Exists(its))
        if self.tied:
            whose = current.filter(annotator__username=self.annotator) if self.annotator else current
            tasks = tasks.filter(Exists(whose.filter(TIES)))
        if self.since is not None or self.until is not None:
            came = Ranking.objects.filter(task=OuterRef("pk"), revision=1)
            came = came.filter(submitted_at__gte=self.since) if self.since is not None else came
            came = came.filter(submitted_at__lt=self.until) if self.until is not None else came
            tasks = tasks.filter(Exists(came))
        if self.skipped:
            tasks = tasks.filter(Exists(Skip.objects.filter(task=OuterRef("pk"))))
        if self.gold:
            tasks = tasks.filter(gold_tiers__isnull=False)
        if self.verdict:
            said = Review.objects.filter(task=OuterRef("pk"), verdict=self.verdict)
            tasks = tasks.filter(Exists(said))
        if self.among is not None:
            tasks = tasks.filter(pk__in=self.among)
        return tasks


Disagreement = Mapping[int, float]
"""Of each task with two rankings, by its primary key."""


def disagreement_of(answers: AnswerColumns) -> dict[int, float]:
    """How far the rankings of each task disagree, for the tasks of which two annotators ordered a pair."""
    tallies = tallies_of(answers.opinions.counts)
    told = tallies[:, 1] > 0
    shares = 1 - tallies[told, 0] / tallies[told, 1]
    return dict(zip(answers.tasks[told].tolist(), np.round(shares, 9).tolist(), strict=True))


def chosen_tasks(
    batches: QuerySet[Batch], choice: TaskChoice, order: TaskOrder, disagreement: Disagreement
) -> list[int]:
    """The primary keys of the tasks that are chosen, in the order that is asked for.

    By disagreement, tasks that cannot disagree come last; among equals the newest come first.
    """
    keys = list(choice.tasks_of(batches).order_by("-pk").values_list("pk", flat=True))
    if choice.twice:
        keys = [key for key in keys if key in disagreement]
    if order == TaskOrder.DISAGREEMENT:
        return sorted(keys, key=lambda key: -disagreement.get(key, -1.0))
    return keys if order == TaskOrder.NEWEST else keys[::-1]


def rows_of(keys: Sequence[int], disagreement: Disagreement) -> list[TaskRow]:
    """The rows of some tasks, in the order given."""
    tasks = Task.objects.select_related("prompt", "batch").in_bulk(keys)
    current = current_rankings(Ranking.objects.filter(task__in=keys)).order_by()
    counted = {
        row["task"]: (row["rankings"], row["last"])
        for row in current.values("task").annotate(rankings=Count("pk"), last=Max("submitted_at"))
    }
    flags = dict(
        Flag.objects.filter(ranking__in=current).order_by().values_list("ranking__task").annotate(Count("pk"))
    )
    skips = dict(Skip.objects.filter(task__in=keys).order_by().values_list("task").annotate(Count("pk")))
    rows = []
    for key in keys:
        rankings, last = counted.get(key, (0, None))
        rows.append(
            TaskRow(tasks[key], disagreement.get(key), rankings, flags.get(key, 0), skips.get(key, 0), last)
        )
    return rows
