"""How long an answer can be changed tells an annotator nothing of the task."""

from __future__ import annotations

import uuid

import pytest

from annotation.amending import with_closed
from annotation.batching import close_batch
from annotation.models import Assignment, Project, Ranking, User
from annotation.refusals import Refusal
from annotation.submitting import amend, current_rankings
from tests.annotation.conftest import Compose, People, answer, answer_rightly, take

pytestmark = pytest.mark.django_db


def rank_one(annotator: User, project: Project) -> Assignment:
    place = take(annotator, project)
    (answer if place.task.gold_tiers is None else answer_rightly)(place)
    return place


def state_of(places: list[Assignment]) -> list[bool]:
    """Whether each place's answer is told to be closed."""
    found = with_closed(current_rankings(Ranking.objects.filter(assignment__in=places)))
    by_place = dict(found.values_list("assignment_id", "closed"))
    return [by_place[place.pk] for place in places]


def refusal(place: Assignment) -> str:
    """What an amendment is told; empty where it is taken."""
    tiers = place.rankings.earliest("revision").tiers
    try:
        amend(annotator=place.annotator, assignment_id=place.pk, key=uuid.uuid4(), tiers=tiers)
    except Refusal as refused:
        return f"{refused.code}: {refused.sentence}"
    return ""


@pytest.fixture
def turns(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every other task is a gold one, an ordinary one first."""
    monkeypatch.setattr(
        "annotation.assigning.gold_is_due",
        lambda *, annotator, gold, **_: bool(gold) and annotator.rankings.count() % 2 == 1,
    )


def test_a_gold_answer_rests_with_the_ordinary_one_that_was_given_before_it(
    project: Project, people: People, compose: Compose, compose_gold: Compose, turns: None
) -> None:
    (annotator,) = people(1)
    gold = compose_gold(3)
    early, late = compose(2, priority=2), compose(2, priority=1)
    places = [rank_one(annotator, project) for _ in range(6)]
    assert [place.batch.kind for place in places] == ["annotation", "gold"] * 3
    assert state_of(places) == [False] * 6

    close_batch(early)

    assert state_of(places) == [True] * 4 + [False] * 2
    told = [refusal(place) for place in places]
    assert told[0] == told[1] and told[0].startswith("closed: This batch was closed"), "in the same words"
    assert [bool(each) for each in told] == [True] * 4 + [False] * 2
    close_batch(late)
    assert state_of(places) == [True] * 6
    gold.refresh_from_db()
    assert gold.state == "open"


def test_a_gold_answer_that_came_first_rests_with_the_one_after_it(
    project: Project, people: People, compose: Compose, compose_gold: Compose, always_gold: None
) -> None:
    (annotator,) = people(1)
    ordinary, gold = compose(1), compose_gold(1)
    first = rank_one(annotator, project)
    assert first.batch_id == gold.pk and refusal(first) == ""

    second = rank_one(annotator, project)
    assert state_of([first, second]) == [False, False]
    close_batch(ordinary)

    assert state_of([first, second]) == [True, True]
    assert refusal(first).startswith("closed:")


def test_closing_a_gold_batch_tells_nobody_which_of_their_answers_were_of_it(
    project: Project, people: People, compose: Compose, compose_gold: Compose, turns: None
) -> None:
    (annotator,) = people(1)
    compose(3), compose_gold(2)
    places = [rank_one(annotator, project) for _ in range(4)]
    gold = next(place.batch for place in places if place.batch.kind == "gold")

    close_batch(gold)

    assert state_of(places) == [False] * 4
    assert [refusal(place) for place in places] == [""] * 4


def test_other_annotators_and_amendments_decide_nothing(
    project: Project, people: People, compose: Compose, compose_gold: Compose, turns: None
) -> None:
    annotator, other = people(2)
    compose_gold(1)
    early, late = compose(1, priority=2), compose(1, priority=1, overlap=2)
    ordinary, gold = rank_one(annotator, project), rank_one(annotator, project)
    rank_one(other, project)
    later = rank_one(annotator, project)
    assert (ordinary.batch_id, gold.batch.kind, later.batch_id) == (early.pk, "gold", late.pk)
    # Both are amended after the answer to another batch: what counts is when they were given first.
    assert refusal(ordinary) == refusal(gold) == ""

    close_batch(late)
    assert state_of([ordinary, gold, later]) == [False, False, True]
    close_batch(early)
    assert state_of([ordinary, gold, later]) == [True, True, True]
