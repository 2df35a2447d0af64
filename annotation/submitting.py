"""Taking an annotator's answer. A ranking, once in, is never lost and never overwritten."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, QuerySet

from annotation.batching import is_complete
from annotation.leasing import lock_place, require_lease, require_not_closed, share_batch
from annotation.models import AspectRating, Assignment, Batch, Project, Ranking, User
from annotation.projects import Role, find_project, require
from annotation.refusals import Refusal, require_storable
from annotation.signals import batch_completed

LONGEST_RATIONALE = 20_000
MOST_SECONDS = 10_000_000

Tiers = Sequence[Sequence[int]]
Ratings = Mapping[str, Mapping[Any, int]]


def submit(
    *,
    annotator: User,
    assignment_id: int,
    lease: UUID | str,
    key: UUID | str,
    tiers: Tiers,
    ratings: Ratings | None = None,
    rationale: str = "",
    seconds: float | None = None,
) -> Ranking:
    """Take the ranking of a leased place.

    Args:
        lease: the one that ``next_assignment`` gave.
        key: the client's own name for this submission; the same key again returns the first one's ranking.
        tiers: response numbers, best tier first; numbers in one tier are tied, those in none are unranked.
        ratings: by aspect's name, then response number: from 1 to the aspect's steps. Any may be left out.
        rationale: why, in the annotator's words; at most 20,000 characters.
        seconds: that the annotator spent on it; at most 10,000,000.

    Raises:
        Refusal: the lease is lost, the batch is closed, a field is wrong, or the key named another task's submission.
    """

    def answer(place: Assignment) -> int:
        require_lease(place, annotator=annotator, lease=lease)
        place.state, place.lease, place.leased_until = Assignment.State.SUBMITTED, None, None
        place.save(update_fields=["state", "lease", "leased_until"])
        return 1

    return _take(annotator, assignment_id, key, tiers, ratings, rationale, seconds, answer)


def amend(
    *,
    annotator: User,
    assignment_id: int,
    key: UUID | str,
    tiers: Tiers,
    ratings: Ratings | None = None,
    rationale: str = "",
    seconds: float | None = None,
) -> Ranking:
    """Take a new revision of a ranking of one's own, while its batch is not closed. Arguments as of ``submit``.

    Raises:
        Refusal: as ``submit``; also where this annotator has not submitted it.
    """

    def answer(place: Assignment) -> int:
        if place.state != Assignment.State.SUBMITTED or place.annotator_id != annotator.pk:
            raise Refusal(
                "not_found", "You have not submitted a ranking of this task, so there is none to amend."
            )
        return place.rankings.count() + 1

    return _take(annotator, assignment_id, key, tiers, ratings, rationale, seconds, answer)


def current_rankings(of: Batch | QuerySet[Batch] | QuerySet[Ranking]) -> QuerySet[Ranking]:
    """The rankings that count: each place's latest revision, of a batch, of several, or among some rankings."""
    if isinstance(of, Batch):
        rankings = Ranking.objects.filter(task__batch=of)
    elif of.model is Ranking:
        rankings = of
    else:
        rankings = Ranking.objects.filter(task__batch__in=cast("QuerySet[Batch]", of))
    later = Ranking.objects.filter(assignment=OuterRef("assignment"), revision__gt=OuterRef("revision"))
    return rankings.filter(~Exists(later))


def _take(
    annotator: User,
    assignment_id: int,
    key: UUID | str,
    tiers: Tiers,
    ratings: Ratings | None,
    rationale: str,
    seconds: float | None,
    answer: Callable[[Assignment], int],
) -> Ranking:
    key = _as_key(key)
    try:
        with transaction.atomic():
            batch = share_batch(assignment_id)
            place = lock_place(assignment_id)
            leased = place.state == Assignment.State.LEASED and place.annotator_id == annotator.pk
            # What they hold they have seldom submitted; where they have, the key's constraint says so.
            if not leased and (earlier := _submitted_as(annotator, key, assignment_id)) is not None:
                return earlier
            batch.project, role = find_project(user=annotator, pk=batch.project_id)
            require(role, Role.ANNOTATOR, batch.project)
            require_not_closed(batch)
            revision = answer(place)
            numbers = set(place.shown_order or ())
            ranking = Ranking.objects.create(
                assignment=place,
                task_id=place.task_id,
                annotator=annotator,
                revision=revision,
                key=key,
                tiers=check_tiers(tiers, numbers, batch.project),
                shown_order=place.shown_order,
                rationale=_check_rationale(rationale),
                seconds=_check_seconds(seconds),
            )
            rated = _ratings(ranking, {} if ratings is None else ratings, numbers, batch.project)
            if rated:
                AspectRating.objects.bulk_create(rated)
            transaction.on_commit(lambda: _hint_completion(batch), robust=True)
            return ranking
    except IntegrityError as error:
        if "ranking_key_once" not in str(error):
            raise
        earlier = _submitted_as(annotator, key, assignment_id)
        if earlier is None:
            raise
        return earlier


def check_tiers(tiers: Any, numbers: set[int], project: Project) -> list[list[int]]:
    """Return ``tiers`` as a ranking of the responses ``numbers`` under the project's rules.

    Raises:
        Refusal: it is none; the sentence says which response or rule.
    """

    def wrong(sentence: str) -> Refusal:
        return Refusal("invalid", sentence, field="tiers")

    if not isinstance(tiers, Sequence) or isinstance(tiers, str):
        raise wrong("Tiers must be a list of lists of response numbers, the best tier first.")
    ranked: list[int] = []
    for position, tier in enumerate(tiers, start=1):
        if not isinstance(tier, Sequence) or isinstance(tier, str):
            raise wrong(f"Tier {position} must be a list of response numbers.")
        if not tier:
            raise wrong(f"Tier {position} is empty; leave it out.")
        for number in tier:
            if type(number) is not int or number not in numbers:
                raise wrong(
                    f"Tier {position} holds {number!r:.40}; the task's response numbers are "
                    f"{', '.join(map(str, sorted(numbers)))}."
                )
            if number in ranked:
                raise wrong(f"Response {number} is ranked twice.")
            ranked.append(number)
        if len(tier) > 1 and not project.allow_ties:
            raise wrong(
                f"Responses {', '.join(map(str, tier))} are tied; this project asks for an order without ties."
            )
    missing = sorted(numbers - set(ranked))
    if missing and not project.allow_partial:
        raise wrong(
            f"{'Responses' if len(missing) > 1 else 'Response'} {', '.join(map(str, missing))} "
            f"{'are' if len(missing) > 1 else 'is'} not ranked; this project asks for all to be ranked."
        )
    if len(ranked) < 2:
        raise wrong("A ranking compares at least two responses. Skip the task if they cannot be compared.")
    return [list(tier) for tier in tiers]


def _as_key(key: UUID | str) -> UUID:
    try:
        return key if isinstance(key, UUID) else UUID(str(key))
    except ValueError:
        raise Refusal("invalid", f"The key must be a UUID, not {key!r:.60}.", field="key") from None


def _submitted_as(annotator: User, key: UUID, assignment_id: int) -> Ranking | None:
    earlier = Ranking.objects.filter(annotator=annotator, key=key).first()
    if earlier is not None and earlier.assignment_id != assignment_id:
        raise Refusal(
            "conflict", "This key named a submission for another task. Make a new key for each.", field="key"
        )
    return earlier


def _check_rationale(rationale: str) -> str:
    if not isinstance(rationale, str):
        raise Refusal("invalid", f"The rationale must be text, not {rationale!r:.40}.", field="rationale")
    require_storable(rationale, "The rationale", field="rationale")
    if len(rationale) > LONGEST_RATIONALE:
        raise Refusal(
            "invalid",
            f"The rationale has {len(rationale)} characters; {LONGEST_RATIONALE} are allowed.",
            field="rationale",
        )
    return rationale


def _check_seconds(seconds: float | None) -> float | None:
    if seconds is None:
        return None
    # The comparison comes before float(), which not every whole number fits; NaN fails it.
    if type(seconds) not in (int, float) or not 0 <= seconds <= MOST_SECONDS:
        raise Refusal(
            "invalid",
            f"Seconds must be a number from 0 to {MOST_SECONDS:,}, not {seconds!r:.40}.",
            field="seconds",
        )
    return float(seconds)


def _ratings(ranking: Ranking, ratings: Ratings, numbers: set[int], project: Project) -> list[AspectRating]:
    def wrong(sentence: str) -> Refusal:
        return Refusal("invalid", sentence, field="ratings")

    if not isinstance(ratings, Mapping):
        raise wrong("Ratings must be an object: by aspect, then by response number.")
    if not ratings:
        return []
    aspects = {aspect.name: aspect for aspect in project.aspects.all()}
    by_text = {str(number): number for number in numbers}  # JSON's keys are text
    rows = []
    for name, by_response in ratings.items():
        aspect = aspects.get(name)
        if aspect is None:
            raise wrong(f"The project has no aspect {name!r:.60}; it has {', '.join(aspects) or 'none'}.")
        if not isinstance(by_response, Mapping):
            raise wrong(f"The ratings of {name} must be an object: by response number, a rating.")
        rated: set[int] = set()
        for number, rating in by_response.items():
            position = by_text.get(str(number))
            if position is None:
                raise wrong(
                    f"The ratings of {name} name the response {number!r:.40}, which the task does not have."
                )
            if type(rating) is not int or not 1 <= rating <= aspect.steps:
                raise wrong(
                    f"{name} of response {number} must be a whole number from 1 to {aspect.steps}, not {rating!r:.40}."
                )
            if position in rated:
                raise wrong(f"{name} rates response {number} twice.")
            rated.add(position)
            rows.append(AspectRating(ranking=ranking, aspect=aspect, position=position, rating=rating))
    return rows


def _hint_completion(batch: Batch) -> None:
    # After the commit: of two last answers at the same moment, at least one sees the other's.
    if is_complete(batch):
        batch_completed.send_robust(sender=Batch, batch_id=batch.pk)
