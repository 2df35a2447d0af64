"""A reviewer's verdicts on what was ranked. Rankings stay as they are: a verdict is a row beside them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from django.db import connection, transaction
from django.db.models import Count, QuerySet

from annotation.agreement import Tiers
from annotation.gold import adjudicate, check_note
from annotation.models import Batch, Membership, Ranking, Review, Task, User
from annotation.projects import Role, require_role
from annotation.refusals import Refusal
from annotation.returning import returned_note, returned_rankings
from annotation.review_queue import complete_tasks, forget_count, own_tasks, release_claim
from annotation.showing_reviews import version_of
from annotation.signals import task_reviewed
from annotation.submitting import current_rankings

Verdict = Review.Verdict


@dataclass(frozen=True, slots=True)
class ReviewFigures:
    """What came of a batch's review. Verdicts are counted each, so a task may count several times among them.

    Attributes:
        complete: tasks that could be reviewed.
        reviewed: of them, those that have a verdict.
        pending: returned rankings whose annotator has not amended them.
    """

    complete: int
    reviewed: int
    accepted: int
    returned: int
    adjudicated: int
    pending: int


@dataclass(frozen=True, slots=True)
class Adjudication:
    """A task's right order, and the id of the reviewer who gave it."""

    reviewer: int
    tiers: list[list[int]]


@transaction.atomic
def review_task(
    *,
    reviewer: User,
    task_id: int,
    version: str,
    verdict: str,
    ranking_id: int | None = None,
    tiers: Tiers | None = None,
    note: str = "",
) -> Review:
    """Take a reviewer's verdict on a task.

    *Accepted* says that its rankings are fine. *Returned* asks the annotator of one ranking to amend it; the ranking
    counts as it is until they do. *Adjudicated* gives the right order, which counts as gold from then on and replaces
    an earlier one. Earlier verdicts stay. The same verdict sent again, since its receipt was lost, is answered with the
    first one's review.

    Args:
        version: of ``version_of``, as the reviewer read the task.
        ranking_id: what is returned: a current ranking of the task.
        tiers: what is adjudicated, under the project's rules.
        note: why; needed for a return, since the annotator reads it. At most 5,000 characters.

    Raises:
        Refusal: the task cannot be reviewed, or not by this person; it changed since it was read; a field is wrong;
            or, of a return, nobody could amend the ranking any more.
    """
    task = _lock(task_id)
    project = task.batch.project
    require_role(user=reviewer, project=project, role=Role.REVIEWER)
    note = check_note(note)
    _check_fields(verdict, ranking_id, tiers)
    own = task.reviews.filter(reviewer=reviewer, version=version).exclude(version="").first()
    if own is not None and (own.verdict, own.ranking_id, own.tiers, own.note) == (
        verdict,
        ranking_id,
        tiers,
        note,
    ):
        return own
    require_reviewable(task, reviewer)
    _require_unchanged(task, version, own)
    if verdict == Verdict.ADJUDICATED:
        review = adjudicate(task=task, tiers=tiers, by=reviewer, note=note, version=version)
    else:
        returned = _check_return(task, ranking_id, note) if verdict == Verdict.RETURNED else None
        review = Review.objects.create(
            task=task, reviewer=reviewer, verdict=verdict, note=note, ranking=returned, version=version
        )
    release_claim(task.pk, reviewer)
    forget_count(project)
    transaction.on_commit(
        partial(task_reviewed.send_robust, sender=Batch, batch_id=task.batch_id), robust=True
    )
    return review


def require_reviewable(task: Task, reviewer: User) -> None:
    """Refuse a task that is not complete, or of no annotation batch, or that this person ranked or wrote a response of.

    Raises:
        Refusal
    """
    if task.batch.kind != Batch.Kind.ANNOTATION:
        raise Refusal(
            "conflict",
            f"Task {task.pk} is of the {task.batch.kind} batch {task.batch}; only tasks of annotation batches are "
            "reviewed.",
        )
    if not complete_tasks(Task.objects.filter(pk=task.pk)).exists():
        raise Refusal(
            "conflict",
            f"Task {task.pk} is not ranked to the end. Review it when its places are filled or its batch is closed.",
        )
    if task.pk in own_tasks(task.batch.project, reviewer):
        raise Refusal(
            "forbidden",
            "You ranked this task or wrote one of its responses, so somebody else reviews it. Take the next one.",
        )


def review_figures(batch: Batch) -> ReviewFigures:
    """How much of the batch was reviewed, and what came of it."""
    reviews = Review.objects.filter(task__batch=batch)
    verdicts = dict(reviews.order_by().values_list("verdict").annotate(Count("pk")))
    return ReviewFigures(
        complete=complete_tasks(batch.tasks.all()).count(),
        reviewed=reviews.order_by().values("task").distinct().count(),
        accepted=verdicts.get(Verdict.ACCEPTED, 0),
        returned=verdicts.get(Verdict.RETURNED, 0),
        adjudicated=verdicts.get(Verdict.ADJUDICATED, 0),
        pending=returned_rankings(Ranking.objects.filter(task__batch=batch)).count(),
    )


def adjudications(tasks: QuerySet[Task]) -> dict[int, Adjudication]:
    """By task, the adjudication that holds: the latest one."""
    reviews = Review.objects.filter(task__in=tasks, verdict=Verdict.ADJUDICATED).order_by("pk")
    return {
        task: Adjudication(reviewer, tiers)
        for task, reviewer, tiers in reviews.values_list("task_id", "reviewer_id", "tiers")
        if tiers is not None
    }


def _lock(task_id: int) -> Task:
    """The task with its batch and project; its batch stays as it is, and nobody else reviews it or amends a ranking of
    it, to the end of the transaction.

    Locks the batch, the task and its places, in the order in which skipping and submitting do.
    """
    batch_id = Task.objects.filter(pk=task_id).values_list("batch_id", flat=True).first()
    if batch_id is None:
        raise Refusal("not_found", "There is no such task. Take the next one.")
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM annotation_batch WHERE id = %s FOR SHARE", [batch_id])
    Task.objects.select_for_update(no_key=True).get(pk=task_id)
    task = Task.objects.select_related("batch__project", "prompt").get(pk=task_id)
    list(task.assignments.select_for_update(no_key=True).order_by("pk").values_list("pk", flat=True))
    return task


def _require_unchanged(task: Task, version: str, own: Review | None) -> None:
    """``own``: what this reviewer said of this version before."""
    now = version_of(task)
    if version == now:
        return
    if own is not None:
        raise Refusal(
            "conflict",
            f"You have judged this task already ({own.verdict}), and this verdict is another one, so it was not taken. "
            "Reload the page to look at it again.",
            field="version",
        )
    if str(version).partition(".")[0] != now.partition(".")[0]:
        raise Refusal(
            "conflict",
            "This task was reviewed while you had it open, so your verdict was not taken. Take the next one.",
            field="version",
        )
    raise Refusal(
        "conflict",
        "A ranking of this task was changed while you had it open, so your verdict was not taken. Reload the page and "
        "look again.",
        field="version",
    )


def _check_fields(verdict: str, ranking_id: int | None, tiers: Tiers | None) -> None:
    if verdict not in Verdict.values:
        raise Refusal(
            "invalid",
            f"A verdict is one of {', '.join(Verdict.values)}, not {verdict!r:.40}.",
            field="verdict",
        )
    if ranking_id is not None and verdict != Verdict.RETURNED:
        raise Refusal(
            "invalid", f"Only a returned ranking is named; leave it out of {verdict}.", field="ranking"
        )
    if tiers is not None and verdict != Verdict.ADJUDICATED:
        raise Refusal(
            "invalid", f"Only an adjudication has tiers; leave them out of {verdict}.", field="tiers"
        )


def _check_return(task: Task, ranking_id: int | None, note: str) -> Ranking:
    if task.batch.state == Batch.State.CLOSED:
        raise Refusal(
            "closed",
            "The batch of this task was closed, so its rankings can no longer be amended. Accept the task, or "
            "adjudicate it.",
        )
    current = current_rankings(Ranking.objects.filter(task=task))
    ranking = current.filter(pk=ranking_id).select_related("annotator").first() if ranking_id else None
    if ranking is None:
        raise Refusal(
            "invalid", "Say which of the task's present rankings you return, by its id.", field="ranking"
        )
    if not note:
        raise Refusal(
            "invalid", "Say in the note what the annotator should look at again; they read it.", field="note"
        )
    if returned_note(ranking) is not None:
        raise Refusal(
            "conflict", "This ranking is returned already, and its annotator has not amended it yet."
        )
    who = ranking.annotator
    if not who.is_active or not (
        who.is_superuser or Membership.objects.filter(project=task.batch.project, user=who).exists()
    ):
        raise Refusal(
            "conflict",
            "Its annotator is no longer in the project, so nobody could amend it. Accept the task, or adjudicate it.",
        )
    return ranking
