"""Taking an annotator's answer. A ranking, once in, is never lost and never overwritten."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

from django.db import IntegrityError, transaction

from annotation.amending import require_amendable
from annotation.answering import DemonstrationGiven, FlagGiven, Given, Ratings, Strengths, Tiers, check_answer
from annotation.batching import is_complete
from annotation.leasing import PlaceId, lock_place, require_lease, require_not_closed, share_batch
from annotation.measuring import after_answer
from annotation.models import Assignment, Batch, Ranking, User
from annotation.projects import Role, find_project, require
from annotation.refusals import Refusal
from annotation.revisions import current_rankings
from annotation.signals import batch_completed
from annotation.uncertainty import update_uncertainty

__all__ = ["amend", "current_rankings", "submit"]


def submit(
    *,
    annotator: User,
    assignment_id: PlaceId,
    lease: UUID | str,
    key: UUID | str,
    tiers: Tiers,
    strengths: Strengths | None = None,
    ratings: Ratings | None = None,
    flags: Sequence[FlagGiven] | None = None,
    demonstrations: Sequence[DemonstrationGiven] | None = None,
    rationale: str = "",
    seconds: float | None = None,
) -> Ranking:
    """Take the ranking of a leased place.

    Args:
        assignment_id: of the place; from outside, its public id.
        lease: the one that ``next_assignment`` gave.
        key: the client's own name for this submission; the same key again returns the first one's ranking.
        tiers: response numbers, best tier first; numbers in one tier are tied, those in none are unranked.
        strengths: of each tier but the last, how much better it is than the next: one of ``answering.STRENGTHS``, or
            None where it was not said. Only where the project asks for it.
        ratings: by aspect's name, then response number: from 1 to the aspect's steps. Any may be left out.
        flags: what is wrong with responses apart from their rank, each kind once a response at most.
        demonstrations: better responses, written by editing one of the task's or anew: one of each at most, of at
            most 200,000 characters.
        rationale: why, in the annotator's words; at most 20,000 characters.
        seconds: that the annotator spent on it; at most 10,000,000.

    Raises:
        Refusal: the lease is lost, the batch is closed, a field is wrong, or the key named another task's submission.
    """

    def answer(place: Assignment) -> int:
        require_not_closed(place.batch)
        require_lease(place, annotator=annotator, lease=lease)
        place.state, place.lease, place.leased_until = Assignment.State.SUBMITTED, None, None
        place.save(update_fields=["state", "lease", "leased_until"])
        return 1

    given = Given(
        tiers=tiers,
        strengths=strengths,
        ratings=ratings,
        flags=flags,
        demonstrations=demonstrations,
        rationale=rationale,
        seconds=seconds,
    )
    return _take(annotator, assignment_id, key, given, answer)


def amend(
    *,
    annotator: User,
    assignment_id: PlaceId,
    key: UUID | str,
    tiers: Tiers,
    strengths: Strengths | None = None,
    ratings: Ratings | None = None,
    flags: Sequence[FlagGiven] | None = None,
    demonstrations: Sequence[DemonstrationGiven] | None = None,
    rationale: str = "",
    seconds: float | None = None,
) -> Ranking:
    """Take a new revision of a ranking of one's own, while its batch is not closed (see `amending`). Arguments as of
    ``submit``.

    A revision is a whole answer: what of the earlier one is not given again no longer counts.

    Raises:
        Refusal: as ``submit``; also where this annotator has not submitted it.
    """

    def answer(place: Assignment) -> int:
        require_amendable(place)
        if place.state != Assignment.State.SUBMITTED or place.annotator_id != annotator.pk:
            raise Refusal(
                "not_found", "You have not submitted a ranking of this task, so there is none to amend."
            )
        return place.rankings.count() + 1

    given = Given(
        tiers=tiers,
        strengths=strengths,
        ratings=ratings,
        flags=flags,
        demonstrations=demonstrations,
        rationale=rationale,
        seconds=seconds,
    )
    return _take(annotator, assignment_id, key, given, answer)


def _take(
    annotator: User,
    place_id: PlaceId,
    key: UUID | str,
    given: Given,
    answer: Callable[[Assignment], int],
) -> Ranking:
    key = _as_key(key)
    try:
        with transaction.atomic():
            batch = share_batch(place_id)
            place = lock_place(place_id)
            leased = place.state == Assignment.State.LEASED and place.annotator_id == annotator.pk
            # What they hold they have seldom submitted; where they have, the key's constraint says so.
            if not leased and (earlier := _submitted_as(annotator, key, place_id)) is not None:
                return earlier
            batch.project, role = find_project(user=annotator, pk=batch.project_id)
            require(role, Role.ANNOTATOR, batch.project)
            place.batch = batch
            revision = answer(place)
            ranking = check_answer(given, place=place, project=batch.project).keep(
                assignment=place,
                task_id=place.task_id,
                annotator=annotator,
                revision=revision,
                key=key,
                shown_order=place.shown_order,
            )
            after_answer(ranking=ranking, batch=batch)
            if batch.order == Batch.Order.UNCERTAINTY:
                # After the commit, since it locks the task, which comes before the place.
                transaction.on_commit(lambda: update_uncertainty(ranking.task_id), robust=True)
            transaction.on_commit(lambda: _hint_completion(batch), robust=True)
            return ranking
    except IntegrityError as error:
        if "ranking_key_once" not in str(error):
            raise
        earlier = _submitted_as(annotator, key, place_id)
        if earlier is None:
            raise
        return earlier


def _as_key(key: UUID | str) -> UUID:
    try:
        return key if isinstance(key, UUID) else UUID(str(key))
    except ValueError:
        raise Refusal("invalid", f"The key must be a UUID, not {key!r:.60}.", field="key") from None


def _submitted_as(annotator: User, key: UUID, place_id: PlaceId) -> Ranking | None:
    earlier = Ranking.objects.filter(annotator=annotator, key=key).select_related("assignment").first()
    if earlier is not None and place_id not in (earlier.assignment_id, earlier.assignment.public_id):
        raise Refusal(
            "conflict", "This key named a submission for another task. Make a new key for each.", field="key"
        )
    return earlier


def _hint_completion(batch: Batch) -> None:
    # After the commit: of two last answers at the same moment, at least one sees the other's.
    if is_complete(batch):
        batch_completed.send_robust(sender=Batch, batch_id=batch.pk)
