"""Rankings put straight where they belong, so that a test says what was answered and not how it came about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from django.utils import timezone

from annotation.answer_columns import AnswerColumns
from annotation.models import Aspect, AspectRating, Assignment, Batch, Flag, Ranking, Task, User
from annotation.opinions import Opinions, tier_table

Tiers = Sequence[Sequence[int]]


def give(
    task: Task,
    annotator: User,
    tiers: Tiers,
    *,
    seconds: float | None = 30,
    at: datetime | None = None,
    ratings: Mapping[str, Mapping[int, int]] | None = None,
    flags: Mapping[int, str] | None = None,
    rationale: str = "",
    **more: Any,
) -> Ranking:
    """The annotator's ranking of a task that has an open place."""
    place = task.assignments.filter(state=Assignment.State.OPEN).order_by("place")[0]
    place.shown_order = sorted(task.task_responses.values_list("position", flat=True))
    place.state, place.annotator = Assignment.State.SUBMITTED, annotator
    place.save()
    ranking = Ranking.objects.create(
        assignment=place,
        task=task,
        annotator=annotator,
        tiers=tiers,
        shown_order=place.shown_order,
        seconds=seconds,
        rationale=rationale,
        submitted_at=at or timezone.now(),
        **more,
    )
    aspects = {aspect.name: aspect for aspect in Aspect.objects.filter(project=task.batch.project)}
    AspectRating.objects.bulk_create(
        AspectRating(ranking=ranking, aspect=aspects[name], position=position, rating=rating)
        for name, by_position in (ratings or {}).items()
        for position, rating in by_position.items()
    )
    Flag.objects.bulk_create(
        Flag(ranking=ranking, position=position, kind=kind, note="n" if kind == "other" else "")
        for position, kind in (flags or {}).items()
    )
    return ranking


def columns(rows: Sequence[tuple[int, str, Tiers]], *, at: Sequence[float] | None = None) -> AnswerColumns:
    """Rankings (task, annotator, tiers), tasks ascending, as columns without a database."""
    width = 1 + max(number for _, _, tiers in rows for tier in tiers for number in tier)
    tasks, task = np.unique([task for task, _, _ in rows], return_inverse=True)
    names = sorted({name for _, name, _ in rows})
    return AnswerColumns(
        batches=Batch.objects.none(),
        tasks=tasks,
        annotators=np.arange(len(names)),
        names=names,
        ranking=np.arange(len(rows)),
        annotator=np.array([names.index(name) for _, name, _ in rows]),
        place=np.tile(np.arange(width), (len(rows), 1)),
        seconds=np.full(len(rows), np.nan),
        submitted=np.array(at if at is not None else range(len(rows)), np.float64),
        opinions=Opinions(task, tier_table([tiers for _, _, tiers in rows], width), len(tasks)),
    )
