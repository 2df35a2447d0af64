"""Annotators are blind: what they see does not tell where a response came from."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime
from typing import Any

import pytest

from annotation.models import Project, Response, Source, TaskResponse
from annotation.projects import set_aspects
from annotation.showing import blind_view
from annotation.showing_reviews import review_view
from annotation.task_answers import responses_of
from tests.annotation.conftest import Compose, People, answer, take

pytestmark = pytest.mark.django_db

FIELDS = {
    "assignment",
    "lease",
    "state",
    "leased_until",
    "seconds_left",
    "project",
    "guidelines",
    "prompt",
    "context",
    "responses",
    "qualification",
    "rules",
    "aspects",
}


def keys_of(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value) | {key for item in value.values() for key in keys_of(item)}
    if isinstance(value, list):
        return {key for item in value for key in keys_of(item)}
    return set()


def test_the_view_is_plain_data_from_which_no_source_can_be_reached(
    project: Project, people: People, compose: Compose
) -> None:
    compose(1)
    view = blind_view(take(people(1)[0], project))

    assert set(view) == FIELDS
    assert isinstance(view.pop("leased_until"), datetime)
    plain = json.dumps(view)  # raises where an object with relations is in it
    assert "zebrafinch" not in plain
    inner = {
        "slug",
        "name",
        "role",
        "content",
        "number",
        "letter",
        "text",
        "ended",
        "ties",
        "partial",
        "strength",
    }
    assert keys_of(view) <= FIELDS | inner


def test_responses_are_shown_in_the_recorded_order_by_their_numbers(
    project: Project, people: People, compose: Compose
) -> None:
    compose(1)
    place = take(people(1)[0], project)
    texts = dict(TaskResponse.objects.filter(task=place.task).values_list("position", "response__text"))

    shown = blind_view(place)["responses"]

    assert shown == [
        {"number": number, "letter": "ABCD"[number], "text": texts[number], "ended": True}
        for number in place.shown_order
    ]


def test_what_the_maximum_length_cut_off_is_told(project: Project, people: People, compose: Compose) -> None:
    cut = compose(1).tasks.get().task_responses.get(position=2)
    Response.objects.filter(pk=cut.response_id).update(ended=False)
    place = take(people(1)[0], project)

    shown = blind_view(place)["responses"]

    assert {response["number"]: response["ended"] for response in shown} == {
        number: number != 2 for number in place.shown_order
    }


@pytest.mark.parametrize("letter", "ABCD")
def test_a_responses_letter_tells_nothing_of_its_source(
    letter: str, project: Project, sources: list[Source], compose: Compose
) -> None:
    compose(200)
    named = TaskResponse.objects.filter(position="ABCD".index(letter))
    # 200 fair throws leave 60 to 140 heads but for one time in 10⁷.
    of_source = Counter(named.values_list("response__source__name", flat=True))
    assert set(of_source) == {source.name for source in sources}
    assert all(60 < count < 140 for count in of_source.values())
    # Which of a source's draws it is tells as little.
    of_draw = Counter(named.values_list("response__index", flat=True))
    assert all(60 < of_draw[draw] < 140 for draw in (0, 1))


def test_a_letter_tells_nothing_of_the_known_answer(
    project: Project, people: People, compose_gold: Compose
) -> None:
    batch = compose_gold(200)
    best = Counter(tiers[0][0] for tiers in batch.tasks.values_list("gold_tiers", flat=True))
    # Of 200 throws of a die with three sides, one side shows 35 to 103 times but for one time in 10⁶.
    assert sorted(best) == [0, 1, 2]
    assert all(35 < count < 103 for count in best.values())


def test_everybody_calls_a_response_by_the_same_letter_in_whichever_order_it_stands(
    project: Project, people: People, compose: Compose
) -> None:
    task = compose(1, overlap=6).tasks.get()
    orders, named = set(), set()
    for annotator in people(6):
        place = take(annotator, project)
        shown = blind_view(place)["responses"]
        orders.add(tuple(response["letter"] for response in shown))
        named.add(tuple(sorted((response["letter"], response["text"]) for response in shown)))
        answer(place)

    assert len(orders) > 1, "the order is each annotator's own"
    assert len(named) == 1
    reviewed = {(each["letter"], each["text"]) for each in review_view(task)["responses"]}
    managed = {(letter, response.text) for letter, response in responses_of(task)}
    assert reviewed == managed == set(named.pop())


def test_the_view_has_all_that_ranking_needs(project: Project, people: People, compose: Compose) -> None:
    set_aspects(project=project, aspects=[{"name": "safety", "question": "Is it safe?", "steps": 3}])
    compose(1)
    place = take(people(1)[0], project)

    view = blind_view(place)

    known_by = (view["assignment"], view["lease"], view["state"])
    assert known_by == (str(place.public_id), str(place.lease), "leased")
    assert 60 * project.lease_minutes - 60 < view["seconds_left"] <= 60 * project.lease_minutes
    assert view["prompt"] == place.task.prompt.messages
    assert view["rules"] == {"ties": True, "partial": False, "strength": False}
    assert view["aspects"] == [{"name": "safety", "question": "Is it safe?", "steps": 3}]
    assert view["project"] == {"slug": "answers", "name": "Answers"}
