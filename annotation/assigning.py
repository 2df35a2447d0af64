"""Who ranks what next: handing out places, one lease at a time.

Which tasks there are for an annotator follows from their standing (`annotation.standing`), in which order they come
from the batch (`annotation.ordering`). Locks are taken in the order annotator, batch, task, place, so that no two
transactions wait for each other; only `measuring.after_known` locks the annotator later, and says why it may.
"""

from __future__ import annotations

import random
import uuid
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from annotation.leasing import lock_place, release, require_lease, require_not_closed, share_batch
from annotation.measuring import after_known, gold_is_due
from annotation.models import Assignment, Batch, Membership, Project, Skip, Task, User
from annotation.ordering import Found, find_place, seeker_of
from annotation.qualification_places import find_exam_place
from annotation.qualifying import conclude
from annotation.refusals import Refusal, require_storable
from annotation.standing import (
    exams_of,
    is_measured,
    must_qualify,
    open_batches,
    require_not_paused,
    take_turns,
)

SKIPS_THAT_CLOSE = 3
"""A task that so many annotators passed by gives no sound answer (broken text, a language that nobody reads), and
would keep its batch from ever being complete; fewer may just be one annotator's taste."""
LONGEST_SKIP_REASON = 300
MOST_AHEAD = 1
"""Places that an annotator may hold ahead of the one in work, so that the next task is there when they want it. More
would only be kept from others."""


@transaction.atomic
def next_assignment(
    *, annotator: User, project: Project, besides: Collection[UUID] = ()
) -> Assignment | None:
    """Lease the annotator's next place: the one they hold, if their lease has time left, else the next open one of
    the open batches, by priority, then age, and in the batch's order.

    Never of a task that they ranked or skipped, that shows what they wrote, whose right order they said, whose language
    and tags are not theirs, or that shows what they have had with a known answer; and of a batch no more than its most.
    Who has to qualify gets the tasks of qualification batches before all others; in place of a part of the others
    (``Project.gold_share``) come gold ones.

    Args:
        besides: assignments that they have already, by public id, so that the place ahead of these is meant. They stay
            as they are; whoever holds ``MOST_AHEAD`` beside the one in work gets no other, and nothing comes ahead of
            what follows a qualification task, since how they did is told before.

    Returns:
        The place, leased; None if there is nothing for them now.

    Raises:
        Refusal: they are no annotator of the project, or paused.
    """
    # Two tabs of one annotator take turns, so that the second finds the first one's lease.
    member = take_turns(annotator, project)
    require_not_paused(member)
    # The one that was taken first is the one in work; another may be held ahead of it.
    own = _held(annotator, project).exclude(public_id__in=besides).order_by("leased_at", "pk")
    leased = list(_as_shown(own)) if own.exists() else []
    now = timezone.now()
    for held in leased:
        in_time = held.leased_until is not None and held.leased_until > now
        if in_time and held.task.batch.state != Batch.State.CLOSED:
            return held
    if leased:
        release(own)
    if project.archived_at is not None:
        return None
    in_work = (
        list(_held(annotator, project).filter(public_id__in=besides).values_list("batch__kind", flat=True))
        if besides
        else []
    )
    if len(in_work) > MOST_AHEAD or Batch.Kind.QUALIFICATION in in_work:
        return None
    place = _lock_next(member, len(in_work))
    if place is None and release(_expired().filter(batch__project=project)):
        place = _lock_next(member, len(in_work))
    return _lease(place, annotator, project) if place is not None else None


@transaction.atomic
def renew_lease(*, assignment: Assignment, annotator: User, lease: UUID | str) -> Assignment:
    """Give the lease its full time again from now.

    Raises:
        Refusal: they no longer hold the place, or its batch is closed.
    """
    require_not_closed(share_batch(assignment.pk))
    place = lock_place(assignment.pk)
    require_lease(place, annotator=annotator, lease=lease)
    place.leased_until = timezone.now() + timedelta(minutes=place.batch.project.lease_minutes)
    place.save(update_fields=["leased_until"])
    return place


@transaction.atomic
def return_lease(*, assignment: Assignment, annotator: User, lease: UUID | str) -> None:
    """Open the place for anybody, this annotator included.

    Raises:
        Refusal: they no longer hold the place, or its batch is closed.
    """
    require_not_closed(share_batch(assignment.pk))
    place = lock_place(assignment.pk)
    require_lease(place, annotator=annotator, lease=lease)
    release(Assignment.objects.filter(pk=place.pk))


@transaction.atomic
def skip(*, assignment: Assignment, annotator: User, lease: UUID | str, reason: str = "") -> None:
    """Pass the task by: it is not offered to this annotator again, and their place is open for others. Once
    ``SKIPS_THAT_CLOSE`` annotators passed it by, its open places are skipped for good; those of tasks with known
    answers are not, since nobody waits for them. Skipping twice is skipping once.

    Raises:
        Refusal: they no longer hold the place, its batch is closed, or the reason is too long or no text.
    """
    reason = reason.strip()
    require_storable(reason, "The reason", field="reason")
    if len(reason) > LONGEST_SKIP_REASON:
        raise Refusal(
            "invalid",
            f"The reason has {len(reason)} characters; {LONGEST_SKIP_REASON} are allowed.",
            field="reason",
        )
    batch = share_batch(assignment.pk)
    # Skips of one task take turns, so that the one that reaches the number sees the others.
    task = Task.objects.select_for_update(no_key=True).get(pk=assignment.task_id)
    if task.skips.filter(annotator=annotator).exists():
        return
    require_not_closed(batch)
    place = lock_place(assignment.pk)
    require_lease(place, annotator=annotator, lease=lease)
    Skip.objects.create(task=task, annotator=annotator, reason=reason)
    release(Assignment.objects.filter(pk=place.pk))
    if batch.measures:
        after_known(annotator=annotator, batch=batch)
    elif task.skips.count() >= SKIPS_THAT_CLOSE:
        task.assignments.filter(state=Assignment.State.OPEN).update(state=Assignment.State.SKIPPED)


@transaction.atomic
def expire_leases() -> int:
    """Open the places whose lease has passed. Returns how many."""
    return release(_expired())


def shown_order(task: Task, annotator: User) -> list[int]:
    """The task's response numbers in this annotator's order: it follows from the task's seed and the annotator, so
    that it can be told again, and differs from annotator to annotator, so that no place on the page gains by it."""
    numbers = sorted(task.replies)
    random.Random(f"{task.seed}:{annotator.pk}").shuffle(numbers)  # noqa: S311 - no secret
    return numbers


def _held(annotator: User, project: Project) -> QuerySet[Assignment]:
    return Assignment.objects.filter(
        annotator=annotator, batch__project=project, state=Assignment.State.LEASED
    )


def _lock_next(member: Membership, ahead: int) -> Assignment | None:
    """The member's next place, locked, with what it was chosen by. ``ahead``: behind how many that they hold."""
    if member.paused_at is not None:
        return None
    batches = open_batches(member.project)
    if must_qualify(member, batches):
        exams = exams_of(batches)
        if (found := find_exam_place(member, exams)) is not None:
            return _found(found)
        # Their last answer was judged when it came; here, who is left without a task for another reason.
        if not conclude(member=member, batches=exams):
            return None
    work = _below_their_most([batch for batch in batches if not batch.measures], member)
    gold = [batch for batch in batches if batch.kind == Batch.Kind.GOLD] if is_measured(member) else []
    found = _gold_place(member, gold, work, ahead) or find_place(work, seeker_of(member))
    return None if found is None else _found(found)


def _gold_place(member: Membership, gold: Sequence[Batch], work: Sequence[Batch], ahead: int) -> Found | None:
    """A gold place where one is due. Only among other tasks: one that comes when nothing else does would be told by
    that."""
    if not gold_is_due(annotator=member.user, gold=gold, share=member.project.gold_share, ahead=ahead):
        return None
    seeker = seeker_of(member)
    found = find_place(_below_their_most(gold, member), replace(seeker, new_prompts=True))
    return found if found is not None and find_place(work, seeker, lock=False) is not None else None


def _below_their_most(batches: Sequence[Batch], member: Membership) -> list[Batch]:
    """The batches of which the member may be given one more task."""
    limited = [batch.pk for batch in batches if batch.max_per_annotator is not None]
    if not limited:
        return list(batches)
    had = Counter(
        Assignment.objects.filter(annotator=member.user_id, batch__in=limited).values_list(
            "batch_id", flat=True
        )
    )
    return [
        batch
        for batch in batches
        if batch.max_per_annotator is None or had[batch.pk] < batch.max_per_annotator
    ]


def _found(found: Found) -> Assignment:
    place = _as_shown(Assignment.objects.all()).get(pk=found.place)
    place.chosen_by = found.chosen_by
    return place


def _as_shown(places: QuerySet[Assignment]) -> QuerySet[Assignment]:
    """The places with all that an annotator is shown beside the responses, in one statement."""
    return places.select_related("task__prompt", "task__batch__project")


def _lease(place: Assignment, annotator: User, project: Project) -> Assignment:
    now = timezone.now()
    place.state = Assignment.State.LEASED
    place.annotator = annotator
    place.lease = uuid.uuid4()
    place.leased_at, place.leased_until = now, now + timedelta(minutes=project.lease_minutes)
    place.shown_order = shown_order(place.task, annotator)
    place.save(
        update_fields=[
            "state",
            "annotator",
            "lease",
            "leased_at",
            "leased_until",
            "shown_order",
            "chosen_by",
        ]
    )
    return place


def _expired() -> QuerySet[Assignment]:
    return Assignment.objects.filter(state=Assignment.State.LEASED, leased_until__lte=timezone.now())
