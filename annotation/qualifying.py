"""Qualification: the tasks with known answers that an annotator ranks first, and what comes of them.

One batch is one test: whoever passes an open one is qualified. Unlike gold tasks, these are marked as what they are,
and each answer is told how it did.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db.models import Q, QuerySet
from django.utils import timezone

from annotation.agreement import AsKnown, as_known
from annotation.models import Assignment, Batch, Membership, Project, Ranking, Review, Task, User
from annotation.qualification_places import can_be_given, who_can_be_given
from annotation.refusals import Refusal
from annotation.standing import exams_of, has_had_of, is_measured, must_qualify, open_batches, pause_member


@dataclass(frozen=True, slots=True)
class Feedback:
    """What an annotator is told of a qualification task that they ranked.

    Attributes:
        tiers: their own, as first submitted.
        known_tiers: the known answer's.
        right, pairs: of the pairs that the known answer orders, how many they ordered likewise; undecided ones half.
        note: why the known answer is right, if whoever gave it said so.
        done, tasks: how many tasks of the batch they have ranked, of how many.
        outcome: ``going`` while they have more of its tasks to rank, then ``qualified`` or ``paused``.
        share, bar: of all the batch's pairs so far, the share right; and how much is asked for.
    """

    assignment: Assignment
    tiers: list[list[int]]
    known_tiers: list[list[int]]
    right: float
    pairs: int
    note: str
    done: int
    tasks: int
    outcome: str
    share: float | None
    bar: float


def feedback_on(*, assignment: Assignment, annotator: User) -> Feedback:
    """How the annotator did on a qualification task.

    Raises:
        Refusal: it is none that they have ranked.
    """
    batch = assignment.batch
    mine = assignment.annotator_id == annotator.pk and assignment.state == Assignment.State.SUBMITTED
    if batch.kind != Batch.Kind.QUALIFICATION or not mine:
        raise Refusal(
            "conflict", "Only for a qualification task that you have ranked is there something to tell."
        )
    ranking, task = assignment.rankings.get(revision=1), assignment.task
    known = task.gold_tiers or []
    result = as_known(ranking.tiers, known)
    so_far = exam_result(annotator, batch)
    member = Membership.objects.filter(project=batch.project_id, user=annotator).first()
    outcome = "going"
    if member is None or member.qualified_at is not None or not is_measured(member):
        outcome = "qualified"
    elif member.paused_at is not None:
        outcome = "paused"
    note = (
        task.reviews.filter(verdict=Review.Verdict.ADJUDICATED).order_by("-pk").values_list("note", flat=True)
    )
    return Feedback(
        assignment=assignment,
        tiers=ranking.tiers,
        known_tiers=known,
        right=result.right,
        pairs=result.pairs,
        note=note.first() or "",
        done=_had(annotator, batch).count(),
        tasks=batch.tasks.count(),
        outcome=outcome,
        share=so_far.share,
        bar=batch.project.gold_bar,
    )


def exam_result(annotator: User, batch: Batch) -> AsKnown:
    """How the annotator did on a batch's tasks: by their first revisions, since the answer is told after those. A task
    that they passed by counts as all wrong."""
    first = dict(
        Ranking.objects.filter(annotator=annotator, task__batch=batch, revision=1).values_list(
            "task_id", "tiers"
        )
    )
    result = AsKnown()
    for task in _had(annotator, batch):
        result += as_known(
            first.get(task.pk, []), task.gold_tiers or [], undecided=0.5 if task.pk in first else 0
        )
    return result


def judge(*, member: Membership, batch: Batch) -> None:
    """Once no task of the batch is left for the member: qualify them, or pause them. Before, nothing.

    Lock the annotator before it.
    """
    if member.qualified_at is not None or not is_measured(member) or batch.state != Batch.State.OPEN:
        return
    if not can_be_given(member, [batch]):
        conclude(member=member, batches=[batch])


def conclude(*, member: Membership, batches: Sequence[Batch]) -> bool:
    """Qualify a member who passed one of the batches, and pause one who passed none; nothing where they have had no
    task of them, or are still at one. Returns whether they are qualified now."""
    if Assignment.objects.filter(
        annotator=member.user_id, batch__in=batches, state=Assignment.State.LEASED
    ).exists():
        return False
    failed = ""
    for batch in batches:
        result = exam_result(member.user, batch)
        if result.share is None:
            continue
        if result.share >= batch.project.gold_bar:
            member.qualified_at = member.measured_since = timezone.now()
            member.save(update_fields=["qualified_at", "measured_since"])
            return True
        failed = (
            f"In the qualification, {100 * result.share:.0f} % of the pairs were ordered as is known; "
            f"{100 * batch.project.gold_bar:.0f} % are asked for."
        )
    if failed:
        paused = pause_member(project=member.project, user=member.user, reason=failed)
        member.paused_at, member.pause_reason = paused.paused_at, paused.pause_reason
    return False


def stranded(project: Project, members: Iterable[Membership]) -> list[Membership]:
    """Of some members of the project, those who have to qualify and can be given no task to qualify by, nor were given
    one: nothing comes to them until a manager does something. In the order given."""
    batches = open_batches(project)
    exams = exams_of(batches)
    asked = [one for one in members if one.paused_at is None and must_qualify(one, batches)]
    can = who_can_be_given(asked, exams) if asked else set()
    return [one for one in asked if one.user_id not in can and not has_had_of(one.user_id, exams)]


def why_stranded(member: Membership) -> str:
    """Which limits, if any, keep the qualification's tasks from a member who is ``stranded``, as the end of a
    sentence."""
    limits = []
    if member.languages:
        limits.append(f"in the language{'s'[: len(member.languages) > 1]} {', '.join(member.languages)}")
    if member.tags:
        limits.append(f"tagged {', '.join(member.tags)}")
    if limits:
        return f"none that they have not met elsewhere is {' and '.join(limits)}"
    return "they have met all of them elsewhere, or wrote their responses"


def _had(annotator: User, batch: Batch) -> QuerySet[Task]:
    """The batch's tasks that the annotator ranked or passed by."""
    ranked = Q(assignments__annotator=annotator, assignments__state=Assignment.State.SUBMITTED)
    return batch.tasks.filter(ranked | Q(skips__annotator=annotator)).distinct()
