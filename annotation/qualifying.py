"""Qualification: the tasks with known answers that an annotator ranks first, and what comes of them.

One batch is one test: whoever passes an open one is qualified. Unlike gold tasks, these are marked as what they are,
and each answer is told how it did.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

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


class Qualification(StrEnum):
    """How a member stands to the open qualifications.

    *Stranded* is who must qualify and neither can be given a task to qualify by nor was given one: nothing comes to
    them until a manager does something.
    """

    NOT_ASKED = "not_asked"
    ASKED = "asked"
    STRANDED = "stranded"


def qualifications_of(project: Project, members: Sequence[Membership]) -> dict[int, Qualification]:
    """By user, how some members of the project stand to its open qualifications."""
    batches = open_batches(project)
    exams = exams_of(batches)
    asked = [one for one in members if must_qualify(one, batches)]
    can = who_can_be_given(asked, exams) if asked else set()
    found = dict.fromkeys((one.user_id for one in members), Qualification.NOT_ASKED)
    for one in asked:
        reached = one.user_id in can or has_had_of(one.user_id, exams)
        found[one.user_id] = Qualification.ASKED if reached else Qualification.STRANDED
    return found


def stranded(project: Project) -> list[Membership]:
    """The members who are stranded, but for those who are paused besides."""
    asked = project.memberships.filter(role=Membership.Role.ANNOTATOR, qualified_at=None, paused_at=None)
    members = list(asked.select_related("user", "project").order_by("user__username"))
    found = qualifications_of(project, members)
    return [one for one in members if found[one.user_id] == Qualification.STRANDED]


def stranded_sentence(member: Membership) -> str:
    """Why a member who is stranded gets no tasks, and what to do, as they are told it."""
    return (
        f"You must qualify before you rank in {member.project.name}, and there is no task for you to qualify by: "
        "none that is new to you is in the languages and on the topics that you are given. Tell a manager of the "
        "project: they can give you others, or qualify you by hand."
    )


def why_stranded(member: Membership) -> str:
    """What keeps the qualification's tasks from a member who is stranded, as the end of a sentence."""
    limits = []
    if member.languages:
        limits.append(f"in {' or '.join(member.languages)}")
    if member.tags:
        limits.append(f"tagged {' or '.join(member.tags)}")
    if limits:
        return f"none that is new to them is {' and '.join(limits)}"
    return "they have had their responses in other tasks with known answers, or wrote some of them"


def _had(annotator: User, batch: Batch) -> QuerySet[Task]:
    """The batch's tasks that the annotator ranked or passed by."""
    ranked = Q(assignments__annotator=annotator, assignments__state=Assignment.State.SUBMITTED)
    return batch.tasks.filter(ranked | Q(skips__annotator=annotator)).distinct()
