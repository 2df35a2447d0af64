"""How far annotators order as is known: the one arithmetic, over two sets of tasks, each with its name.

- *Gold accuracy* is of the tasks that measure a person: those of the project's gold batches, the latest ``WINDOW`` that
  they ranked since they are measured (``Membership.measured_since``). Whether those are below the project's bar is
  found by all of them, see `annotation.below_bar`.
- *Accuracy on known answers* is of some batches, whoever is measured by them: all of their tasks whose answer is known,
  adjudicated ones and, in a batch of known answers, all.

In both it is the share of the pairs that the known answers order, see `annotation.agreement.pairs_as_known`. A task of
the second counts by its latest revision; one that measures, by the latest that was made at once, see `gold_answers`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery

from annotation.agreement import AsKnown, pairs_as_known
from annotation.models import Batch, Membership, Project, Ranking, Task
from annotation.opinions import Opinions, Tiers, tier_table
from annotation.ratios import Ratio, ratios
from annotation.revisions import current_rankings

WINDOW = 20
"""Gold tasks that count: the latest ones, so that whoever learns is measured by what they do now."""


@dataclass(frozen=True, eq=False)
class AsKnownColumns:
    """Rankings of tasks with known answers, one a row.

    Attributes:
        annotator: the primary key. Shape: ``(rankings,)``.
        right: of the pairs that the known answer orders, how many are ordered likewise, undecided ones half.
            Shape: ``(rankings,)``.
        pairs: how many it orders. Shape: ``(rankings,)``.
    """

    annotator: np.ndarray
    right: np.ndarray
    pairs: np.ndarray

    def __len__(self) -> int:
        return len(self.annotator)

    @property
    def shares(self) -> np.ndarray:
        """Of each task with a pair, the share of pairs that is right. Shape: ``(rankings with a pair,)``."""
        told = self.pairs > 0
        return self.right[told] / self.pairs[told]

    @property
    def total(self) -> AsKnown:
        """All of them together."""
        return AsKnown(float(self.right.sum()), int(self.pairs.sum()))

    def accuracies(self, annotators: np.ndarray) -> list[Ratio]:
        """Each annotator's share of right pairs, with its interval over tasks.

        Args:
            annotators: primary keys, ascending, those of the rows among them. Shape: ``(annotators,)``.
        """
        return ratios(self.right, self.pairs, np.searchsorted(annotators, self.annotator), len(annotators))


def gold_tasks(projects: QuerySet[Any] | Collection[Project | int]) -> QuerySet[Task]:
    """The tasks that measure people, in these projects."""
    return Task.objects.filter(
        batch__project__in=projects, batch__kind=Batch.Kind.GOLD, gold_tiers__isnull=False
    )


def gold_answers(
    projects: Collection[Project | int], annotators: Collection[int], *, window: int | None = WINDOW
) -> AsKnownColumns:
    """The answers that make the gold accuracy of ``annotators``, in these projects, in the order of their submission.

    A task counts by its first revision, or the latest amendment that its annotator made before they answered another
    task of the project, and before a pause told them how they do: they noticed a slip. What they change later, others
    may have told them, so that it counts neither for nor against them.

    Args:
        window: how many of each annotator's in a project, the latest; None: all since they are measured.
    """
    tasks = {
        task: (project, known)
        for task, project, known in gold_tasks(projects).values_list("pk", "batch__project", "gold_tiers")
    }
    # Few tasks measure, mostly none: rankings are looked for by them, since a search by the people alone, planned by
    # statistics that are behind, may read all that they ever ranked once for each.
    if not tasks:
        return _as_known([])
    members = Membership.objects.filter(project__in=projects, user__in=annotators)
    since = {
        (user, project): at for user, project, at in members.values_list("user", "project", "measured_since")
    }
    firsts = Ranking.objects.filter(task__in=list(tasks), annotator__in=annotators, revision=1)
    counted: Counter[tuple[int, int]] = Counter()
    rows = []
    for assignment, who, task, tiers, at in firsts.order_by("-submitted_at", "-pk").values_list(
        "assignment_id", "annotator_id", "task_id", "tiers", "submitted_at"
    ):
        project, known = tasks[task]
        measured = since.get((who, project))
        if (measured is None or at > measured) and (window is None or counted[who, project] < window):
            counted[who, project] += 1
            rows.append((assignment, who, tiers, known))
    member = Membership.objects.filter(user=OuterRef("annotator"), project=OuterRef("task__batch__project"))
    amended = _amended_at_once([assignment for assignment, _, _, _ in rows], member)
    return _as_known(
        [(who, amended.get(assignment, tiers), known) for assignment, who, tiers, known in reversed(rows)]
    )


def known_answers(batches: QuerySet[Batch], annotators: Collection[int]) -> AsKnownColumns:
    """The answers that make the accuracy on known answers of ``annotators``, in ``batches``."""
    tasks = list(
        Task.objects.filter(batch__in=batches, gold_tiers__isnull=False).values_list("pk", flat=True)
    )
    if not tasks:
        return _as_known([])
    rankings = Ranking.objects.filter(task__in=tasks, annotator__in=annotators)
    current = current_rankings(rankings).order_by("pk")
    return _as_known(current.values_list("annotator_id", "tiers", "task__gold_tiers"))


def _amended_at_once(assignments: Collection[int], member: QuerySet[Membership]) -> dict[int, Tiers]:
    """By assignment, the tiers of the latest amendment that counts. ``member``: of a ranking in an outer query."""
    first = Ranking.objects.filter(assignment=OuterRef("assignment"), revision=1)
    went_on = Ranking.objects.filter(
        annotator=OuterRef("annotator"),
        task__batch__project=OuterRef("task__batch__project"),
        revision=1,
        pk__gt=OuterRef("answered"),
        pk__lt=OuterRef("pk"),
    )
    at_once = (
        Ranking.objects.filter(assignment__in=assignments, revision__gt=1)
        .annotate(answered=Subquery(first.values("pk")), paused=Subquery(member.values("paused_at")))
        .filter(Q(paused=None) | Q(submitted_at__lt=F("paused")))
        .filter(~Exists(went_on))
    )
    return dict(at_once.order_by("revision").values_list("assignment_id", "tiers"))


def _as_known(answers: Iterable[tuple[int, Tiers, Tiers | None]]) -> AsKnownColumns:
    """Answers as (annotator, tiers, known tiers)."""
    rows = [(who, tiers, known or []) for who, tiers, known in answers]
    numbers = (number for _, *both in rows for tiers in both for tier in tiers for number in tier)
    width = 1 + max(numbers, default=0)
    row = np.arange(len(rows))
    sides = ([tiers for _, tiers, _ in rows], [known for _, _, known in rows])
    own, known = (Opinions(row, tier_table(side, width), len(rows)) for side in sides)
    right, pairs = pairs_as_known(own, known)
    return AsKnownColumns(np.array([who for who, _, _ in rows], np.int64), right, pairs)
