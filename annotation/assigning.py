"""Who ranks what next: handing out places, one lease at a time.

Locks are taken in the order annotator, batch, task, place, so that no two transactions wait for each other.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import QuerySet
from django.utils import timezone

from annotation.leasing import lock_place, release, require_lease, require_not_closed, share_batch
from annotation.models import Assignment, Batch, Project, Skip, Task, User
from annotation.projects import Role, take_turns
from annotation.refusals import Refusal, require_storable

SKIPS_THAT_CLOSE = 3
"""A task that so many annotators passed by gives no sound answer (broken text, a language that nobody reads), and
would keep its batch from ever being complete; fewer may just be one annotator's taste."""

MOST_AHEAD = 1
"""Places that an annotator may hold ahead of the one in work, so that the next task is there when they want it. More
would only be kept from others."""

# Not theirs yet: two probes of the unique indexes assignment_annotator_once and skip_once, both on (task, annotator).
# OFFSET 0 keeps them probes: as joins they would read all that the annotator ever had. Nobody ranks what they wrote
# themselves; the responses of a task are looked at for those alone who wrote any in the project.
_WROTE_NONE = """
    (NOT EXISTS (SELECT FROM annotation_source mine
                 WHERE mine.project_id = %(project)s AND mine.person_id = %(annotator)s)
     OR NOT EXISTS (SELECT FROM annotation_taskresponse shown
                    JOIN annotation_response response ON response.id = shown.response_id
                    JOIN annotation_source source ON source.id = response.source_id
                    WHERE shown.task_id = place.task_id AND source.person_id = %(annotator)s OFFSET 0))
"""
_NOT_YET_THEIRS = f"""
    NOT EXISTS (SELECT FROM annotation_assignment own
                WHERE own.task_id = place.task_id AND own.annotator_id = %(annotator)s OFFSET 0)
    AND NOT EXISTS (SELECT FROM annotation_skip passed
                    WHERE passed.task_id = place.task_id AND passed.annotator_id = %(annotator)s OFFSET 0)
    AND {_WROTE_NONE}
"""  # noqa: S608 - no input is spliced in

# Places are handed out by task, oldest first. So an annotator has had every task up to their last one of a batch, and
# a place there that was never leased is not for them: the search starts behind it (index assignment_progress, then
# assignment_fresh) and its cost does not grow with the batch. Places given back are few and come first (index
# assignment_given_back). Of a task, the last place goes first, because no other index has that order: statistics that
# are long out of date cannot make another one look as good. OFFSET 0 keeps the planner from reordering batches or
# evaluating a locking subquery twice; the comparison of (batch, task) keeps it on the index that begins with both. A
# batch's row is shared before a place of it is taken: a batch that is being closed is waited for, and then passed over.
_OPEN_BATCHES = """
    SELECT id FROM annotation_batch
    WHERE project_id = %(project)s AND state = 'open'
    ORDER BY priority DESC, id OFFSET 0 FOR SHARE
"""
NEXT_PLACE = f"""
SELECT found.id
FROM ({_OPEN_BATCHES}) batch
CROSS JOIN LATERAL (
    SELECT COALESCE(
        (SELECT place.id FROM annotation_assignment place
         WHERE place.batch_id = batch.id AND place.state = 'open' AND place.leased_at IS NOT NULL
               AND {_NOT_YET_THEIRS}
         ORDER BY place.task_id, place.place DESC LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED),
        (SELECT place.id FROM annotation_assignment place
         WHERE place.batch_id = batch.id AND place.state = 'open' AND place.leased_at IS NULL
               AND (place.batch_id, place.task_id) > (
                   batch.id,
                   COALESCE((SELECT last.task_id FROM annotation_assignment last
                             WHERE last.annotator_id = %(annotator)s AND last.batch_id = batch.id
                             ORDER BY last.task_id DESC, last.place LIMIT 1), 0))
               AND {_NOT_YET_THEIRS}
         ORDER BY place.task_id, place.place DESC LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED)
    ) AS id OFFSET 0
) found
WHERE found.id IS NOT NULL
LIMIT 1
"""  # noqa: S608 - no input is spliced in

# A place that was passed over because a transaction held it that then failed lies behind the annotators' last tasks.
# Only who finds nothing else looks there.
NEXT_PLACE_ANYWHERE = f"""
SELECT found.id
FROM ({_OPEN_BATCHES}) batch
CROSS JOIN LATERAL (
    SELECT place.id FROM annotation_assignment place
    WHERE place.batch_id = batch.id AND place.state = 'open'
          AND NOT EXISTS (SELECT FROM annotation_assignment own
                          WHERE own.task_id = place.task_id AND own.annotator_id = %(annotator)s)
          AND NOT EXISTS (SELECT FROM annotation_skip passed
                          WHERE passed.task_id = place.task_id AND passed.annotator_id = %(annotator)s)
          AND {_WROTE_NONE}
    ORDER BY place.task_id, place.place DESC LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
) found
LIMIT 1
"""  # noqa: S608 - no input is spliced in
WAYS_AROUND_INDEXES = ("enable_seqscan", "enable_bitmapscan", "enable_sort", "enable_incremental_sort")
# What the planner may not do seems so dear to it that a server with LLVM compiles the query first: 0.3 s for
# a millisecond's work.
OFF_WHILE_SEARCHING = (*WAYS_AROUND_INDEXES, "jit")


@transaction.atomic
def next_assignment(*, annotator: User, project: Project, besides: Collection[int] = ()) -> Assignment | None:
    """Lease the annotator's next place: the one they hold, if their lease has time left, else the next open one of
    the open batches, by priority, then age. Never of a task that they ranked or skipped, or that shows what they wrote.

    Args:
        besides: assignments that they have already, so that the place ahead of these is meant. They stay as they are;
            whoever holds ``MOST_AHEAD`` beside the one in work gets no other.

    Returns:
        The place, leased; None if there is nothing for them now.

    Raises:
        Refusal: they are no annotator of the project.
    """
    # Two tabs of one annotator take turns, so that the second finds the first one's lease.
    take_turns(user=annotator, project=project, role=Role.ANNOTATOR)
    # The one that was taken first is the one in work; another may be held ahead of it.
    own = _held(annotator, project).exclude(pk__in=besides).order_by("leased_at", "pk")
    leased = list(_as_shown(own)) if own.exists() else []
    now = timezone.now()
    for held in leased:
        in_time = held.leased_until is not None and held.leased_until > now
        if in_time and held.task.batch.state != Batch.State.CLOSED:
            return held
    if leased:
        release(own)
    if project.archived_at is not None or _has_enough_ahead(annotator, project, besides):
        return None
    place = _lock_next(annotator, project)
    if place is None and release(_expired().filter(batch__project=project)):
        place = _lock_next(annotator, project)
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
    ``SKIPS_THAT_CLOSE`` annotators passed it by, its open places are skipped for good. Skipping twice is skipping once.

    Raises:
        Refusal: they no longer hold the place, its batch is closed, or the reason is too long or no text.
    """
    reason = reason.strip()
    require_storable(reason, "The reason", field="reason")
    if len(reason) > 300:
        raise Refusal("invalid", f"The reason has {len(reason)} characters; 300 are allowed.", field="reason")
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
    if task.skips.count() >= SKIPS_THAT_CLOSE:
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


@contextmanager
def indexes_only(cursor: CursorWrapper) -> Iterator[None]:
    """Have what is executed in the block read by the indexes it was written for.

    Statistics are a minute or more behind a batch that was just released, and the planner that believes them reads and
    sorts all of it for each annotator. Needs a transaction.
    """
    cursor.execute("".join(f"SET LOCAL {setting} = off;" for setting in OFF_WHILE_SEARCHING))
    yield
    cursor.execute("".join(f"SET LOCAL {setting} TO DEFAULT;" for setting in OFF_WHILE_SEARCHING))


def _held(annotator: User, project: Project) -> QuerySet[Assignment]:
    return Assignment.objects.filter(
        annotator=annotator, batch__project=project, state=Assignment.State.LEASED
    )


def _has_enough_ahead(annotator: User, project: Project, besides: Collection[int]) -> bool:
    return bool(besides) and _held(annotator, project).filter(pk__in=besides).count() > MOST_AHEAD


def _lock_next(annotator: User, project: Project) -> Assignment | None:
    for query in (NEXT_PLACE, NEXT_PLACE_ANYWHERE):
        with connection.cursor() as cursor, indexes_only(cursor):
            cursor.execute(query, {"project": project.pk, "annotator": annotator.pk})
            row = cursor.fetchone()
        if row is not None:
            return _as_shown(Assignment.objects.all()).get(pk=row[0])
    return None


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
    place.save(update_fields=["state", "annotator", "lease", "leased_at", "leased_until", "shown_order"])
    return place


def _expired() -> QuerySet[Assignment]:
    return Assignment.objects.filter(state=Assignment.State.LEASED, leased_until__lte=timezone.now())
