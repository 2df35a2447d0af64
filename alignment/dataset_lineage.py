"""From a dataset's record to the rankings and people behind it, and from a person or a prompt to the datasets and the
models that learned from them. People are pseudonymous: one name an annotator and project, which says nothing of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Q, QuerySet
from django.utils.crypto import salted_hmac

from alignment.models import Dataset, DatasetRanking, ModelVersion, Withdrawal
from annotation.models import Project, Prompt, Ranking, Review, Task, User
from annotation.refusals import Refusal


@dataclass(frozen=True, slots=True)
class RankingBehind:
    """One ranking that a record rests on.

    Attributes:
        annotator: their pseudonym in the project.
        revision: which revision of the ranking counted, from 1.
    """

    ranking: int
    annotator: str
    revision: int
    tiers: list[list[int]]
    submitted_at: datetime


@dataclass(frozen=True, slots=True)
class Behind:
    """What a dataset says of a task rests on.

    Attributes:
        adjudicated: the order that a reviewer gave by the time that the dataset was built; None without one.
    """

    task: Task
    rankings: list[RankingBehind]
    adjudicated: list[list[int]] | None


@dataclass(frozen=True, slots=True)
class Holding:
    """A dataset that holds somebody's work, or a prompt's, and how much of it."""

    dataset: Dataset
    rankings: int
    tasks: int


def pseudonym(project: Project, annotator: int) -> str:
    """An annotator's name where people shall not be known: the same in all datasets of a project, another elsewhere.

    Args:
        annotator: primary key.
    """
    return "annotator-" + salted_hmac("alignment.pseudonym", f"{project.pk}:{annotator}").hexdigest()[:8]


def behind(dataset: Dataset, task_id: int) -> Behind:
    """Return the rankings that a dataset's record of a task rests on.

    Raises:
        Refusal: the dataset holds no such task.
    """
    rankings = [
        RankingBehind(
            ranking.pk,
            pseudonym(dataset.project, ranking.annotator_id),
            ranking.revision,
            ranking.tiers,
            ranking.submitted_at,
        )
        for ranking in Ranking.objects.filter(task=task_id, in_datasets__dataset=dataset).order_by("pk")
    ]
    if not rankings:
        raise Refusal("not_found", f"{dataset} holds no task {task_id}.", field="task")
    decided = Review.objects.filter(
        task=task_id, verdict=Review.Verdict.ADJUDICATED, created_at__lte=dataset.created_at
    ).order_by("pk")
    last = decided.last()
    task = Task.objects.select_related("prompt", "batch").get(pk=task_id)
    return Behind(task, rankings, last.tiers if last else None)


def datasets_with(
    project: Project, *, annotator: User | None = None, prompt: Prompt | None = None
) -> list[Holding]:
    """Return the project's datasets that hold rankings of an annotator, or of a prompt, the newest first."""
    of = Q(ranking__annotator=annotator) if annotator else Q(ranking__task__prompt=prompt)
    counted = (
        DatasetRanking.objects.filter(of, dataset__project=project)
        .order_by()
        .values_list("dataset")
        .annotate(rankings=Count("pk"), tasks=Count("ranking__task", distinct=True))
    )
    found = {dataset: (rankings, tasks) for dataset, rankings, tasks in counted}
    datasets = project.datasets.filter(pk__in=found).order_by("-version")
    return [Holding(dataset, *found[dataset.pk]) for dataset in datasets]


def models_of(datasets: Iterable[Dataset]) -> list[ModelVersion]:
    """Return the model versions that were trained on any of the datasets, and those made of such ones since, the oldest
    first."""
    found: dict[int, ModelVersion] = {}
    wave: QuerySet[Any] = ModelVersion.objects.filter(dataset__in=[each.pk for each in datasets])
    while fresh := [version for version in wave.select_related("dataset") if version.pk not in found]:
        found |= {version.pk: version for version in fresh}
        wave = ModelVersion.objects.filter(parent__in=[version.pk for version in fresh])
    return [found[pk] for pk in sorted(found)]


def withdrawn_from(dataset: Dataset) -> int:
    """Return how many of the rankings that a dataset holds were withdrawn since it was built."""
    holding = Withdrawal.objects.filter(project=dataset.project, ended_at=None)
    theirs = Q(ranking__annotator__in=holding.filter(annotator__isnull=False).values("annotator"))
    theirs |= Q(ranking__task__prompt__in=holding.filter(prompt__isnull=False).values("prompt"))
    return dataset.lineage.filter(theirs).count() if holding.exists() else 0
