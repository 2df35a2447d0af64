"""All that was said of one task: for reviewers and managers, who may rank as well."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from django.db.models import Exists, OuterRef, QuerySet

from annotation.lettering import letter_of
from annotation.models import Assignment, Batch, Demonstration, Flag, Ranking, Response, Skip, Task, User
from annotation.submitting import current_rankings


@dataclass(frozen=True, slots=True)
class Tier:
    """Responses that a ranking ties, and how much better they are than the next tier, 1 to 4, where that was said."""

    letters: list[str]
    strength: int | None


@dataclass(frozen=True, slots=True)
class Answer:
    """One annotator's current ranking and what came with it, responses by their letters."""

    ranking: Ranking
    tiers: list[Tier]
    unranked: list[str]
    ratings: dict[str, list[tuple[str, int]]]
    """By aspect: letters and ratings."""
    flags: list[tuple[str, Flag]]
    demonstrations: list[tuple[str, Demonstration]]
    """With the letter of the response that was edited; "" for one written anew."""


@dataclass(frozen=True, slots=True)
class TaskAnswers:
    """A task's rankings and skips, as far as somebody may see them.

    Attributes:
        answers: in the order in which they came; none where they are ``withheld``.
        withheld: the reader holds the task right now: what others said would guide their hand.
        may_be_given: the reader may still be handed the task, so that a page keeps the answers folded.
    """

    answers: list[Answer]
    skips: list[Skip]
    withheld: bool
    may_be_given: bool


def with_being_ranked(responses: QuerySet[Response]) -> QuerySet[Response]:
    """The responses with ``being_ranked``: whether one waits to be ranked in a batch that is not closed. While it does,
    a page keeps its source out of sight, since managers and reviewers rank as well."""
    unranked = Assignment.objects.filter(
        task__task_responses__response=OuterRef("pk"),
        state__in=[Assignment.State.OPEN, Assignment.State.LEASED],
    ).exclude(batch__state=Batch.State.CLOSED)
    return responses.annotate(being_ranked=Exists(unranked))


def responses_of(task: Task) -> list[tuple[str, Response]]:
    """The task's responses, with their sources and ``being_ranked``, by letter."""
    numbers = dict(task.task_responses.values_list("response_id", "position"))
    responses = with_being_ranked(Response.objects.filter(pk__in=numbers).select_related("source"))
    return sorted(
        ((letter_of(numbers[response.pk]), response) for response in responses), key=lambda pair: pair[0]
    )


def answers_to(task: Task, *, reader: User) -> TaskAnswers:
    """What was said of the task, as far as ``reader`` may see it."""
    places = list(task.assignments.all())
    holds = any(
        place.state == Assignment.State.LEASED and place.annotator_id == reader.pk for place in places
    )
    skips = list(task.skips.select_related("annotator").order_by("pk"))
    done = {place.annotator_id for place in places} | {skip.annotator_id for skip in skips}
    open_to_reader = (
        task.batch.state != Batch.State.CLOSED
        and any(place.state == Assignment.State.OPEN for place in places)
        and reader.pk not in done
    )
    return TaskAnswers([] if holds else _answers(task), skips, withheld=holds, may_be_given=open_to_reader)


def lettered(tiers: Sequence[Sequence[int]], strengths: Sequence[int | None] | None = None) -> list[Tier]:
    """Tiers of response numbers as tiers of letters."""
    said = list(strengths or [])[: len(tiers)]
    return [
        Tier([letter_of(number) for number in tier], strength) for tier, strength in zip_longest(tiers, said)
    ]


def _answers(task: Task) -> list[Answer]:
    numbers = sorted(task.task_responses.values_list("position", flat=True))
    rankings = (
        current_rankings(Ranking.objects.filter(task=task))
        .select_related("annotator")
        .prefetch_related("aspect_ratings__aspect", "flags", "demonstrations")
        .order_by("pk")
    )
    return [_answer(ranking, numbers) for ranking in rankings]


def _answer(ranking: Ranking, numbers: Sequence[int]) -> Answer:
    ranked = {number for tier in ranking.tiers for number in tier}
    ratings: dict[str, list[tuple[str, int]]] = defaultdict(list)
    in_order = sorted(
        ranking.aspect_ratings.all(),
        key=lambda rating: (rating.aspect.position, rating.aspect_id, rating.position),
    )
    for rating in in_order:
        ratings[rating.aspect.name].append((letter_of(rating.position), rating.rating))
    return Answer(
        ranking=ranking,
        tiers=lettered(ranking.tiers, ranking.strengths),
        unranked=[letter_of(number) for number in numbers if number not in ranked],
        ratings=dict(ratings),
        flags=[(letter_of(flag.position), flag) for flag in ranking.flags.all()],
        demonstrations=[
            ("" if one.position is None else letter_of(one.position), one)
            for one in ranking.demonstrations.all()
        ],
    )
