"""Holding a place: who has it, by which lease, and how it becomes free again."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from annotation.models import Assignment, Batch, Membership, User
from annotation.refusals import Refusal

PlaceId = int | UUID
"""A place by its primary key, or by its public id, which is all that people and programs outside know of it."""


def share_batch(place_id: PlaceId) -> Batch:
    """The place's batch, kept as it is to the end of the transaction.

    Whoever leases, keeps or answers a place shares this lock and ``close_batch`` takes it alone: neither a lease nor
    an answer slips in behind a closed batch.

    Raises:
        Refusal: there is no such place.
    """
    # A locked row is given as it is once the lock is there; one joined to it would be as it was before the wait.
    shared = Batch.objects.raw(
        "SELECT batch.* FROM annotation_batch batch JOIN annotation_assignment place ON place.batch_id = batch.id "  # noqa: S608
        f"WHERE place.{_column(place_id)} = %s FOR SHARE OF batch",
        [place_id],
    )
    for batch in shared:
        return batch
    raise _no_such_place()


def require_not_closed(batch: Batch) -> None:
    """Refuse, with the code ``closed``, what would come behind the batch's closing."""
    if batch.state == Batch.State.CLOSED:
        raise closed_refusal()


def closed_refusal() -> Refusal:
    """What comes behind a batch's closing is told so."""
    return Refusal("closed", "This batch was closed, so it takes no more rankings. Nothing was changed.")


def lock_place(place_id: PlaceId) -> Assignment:
    """The place, locked to the end of the transaction. Lock its batch and task before it, never after.

    Raises:
        Refusal: there is no such place.
    """
    locked = Assignment.objects.raw(
        f"SELECT * FROM annotation_assignment WHERE {_column(place_id)} = %s FOR NO KEY UPDATE",  # noqa: S608
        [place_id],
    )
    for place in locked:
        return place
    raise _no_such_place()


def require_lease(place: Assignment, *, annotator: User, lease: UUID | str) -> None:
    """Refuse who does not hold the locked place by this lease.

    A lease whose time has passed still holds while nobody has taken the place from it: late work is kept if it can be.

    Raises:
        Refusal: ``lease_lost``, or ``conflict`` where they have already submitted.
    """
    if place.state == Assignment.State.SUBMITTED and place.annotator_id == annotator.pk:
        raise Refusal(
            "conflict", "You have already submitted your ranking of this task. Amend it to change it."
        )
    held = (
        place.state == Assignment.State.LEASED
        and place.annotator_id == annotator.pk
        and str(place.lease) == str(lease)
    )
    if not held:
        stands = Membership.objects.filter(project=place.batch.project_id, user=annotator)
        if stands.exclude(paused_at=None).exists():
            raise Refusal(
                "lease_lost",
                "You are paused in this project, so the place of this task was given back and nothing was saved. Ask a "
                "manager of the project to lift the pause.",
            )
        raise Refusal(
            "lease_lost",
            "Your time for this task ran out and its place was given back, so nothing was saved. Take the next task.",
        )


def release(places: QuerySet[Assignment]) -> int:
    """Open the leased ones of ``places``. Returns how many.

    Rows that another transaction holds are left to it: it is answering them, or freeing them itself. Behind a batch's
    closing only the latter is left, since leases and answers share the batch's lock.
    """
    return _open_leased(places, skip_locked=True)


def release_all(places: QuerySet[Assignment]) -> None:
    """Open the leased ones of ``places``, of somebody who gets no others: now, and behind this transaction's commit
    those that another one holds. That may be a search which only looked at a place and found it leased."""
    release(places)
    # Not before the commit: who waits for a place may not hold its annotator, whom an answer there may wait for.
    transaction.on_commit(lambda: _release_waiting(places), robust=True)


@transaction.atomic
def _release_waiting(places: QuerySet[Assignment]) -> None:
    _open_leased(places, skip_locked=False)


def _open_leased(places: QuerySet[Assignment], *, skip_locked: bool) -> int:
    leased = places.filter(state=Assignment.State.LEASED).order_by("pk").values("pk")
    free = Assignment.objects.filter(
        pk__in=leased.select_for_update(skip_locked=skip_locked, no_key=True, of=("self",))
    )
    return free.update(
        state=Assignment.State.OPEN, annotator=None, lease=None, leased_until=None, shown_order=None
    )


def _column(place_id: PlaceId) -> str:
    return "public_id" if isinstance(place_id, UUID) else "id"


def _no_such_place() -> Refusal:
    return Refusal("not_found", "There is no such assignment. Take the next task.")
