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
from tests.annotation.conftest import Compose, People, take

pytestmark = pytest.mark.django_db

FIELDS = {
    "assignment",
    "lease",
    "state",
    "leased_until",
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
    inner = {"slug", "name", "role", "content", "number", "text", "ended", "ties", "partial", "strength"}
    assert keys_of(view) <= FIELDS | inner


def test_responses_are_shown_in_the_recorded_order_by_their_numbers(
    project: Project, people: People, compose: Compose
) -> None:
    compose(1)
    place = take(people(1)[0], project)
    texts = dict(TaskResponse.objects.filter(task=place.task).values_list("position", "response__text"))

    shown = blind_view(place)["responses"]

    assert shown == [{"number": number, "text": texts[number], "ended": True} for number in place.shown_order]


def test_what_the_maximum_length_cut_off_is_told(project: Project, people: People, compose: Compose) -> None:
    cut = compose(1).tasks.get().task_responses.get(position=2)
    Response.objects.filter(pk=cut.response_id).update(ended=False)
    place = take(people(1)[0], project)

    shown = blind_view(place)["responses"]

    assert {response["number"]: response["ended"] for response in shown} == {
        number: number != 2 for number in place.shown_order
    }


def test_a_responses_number_tells_nothing_of_its_source(
    project: Project, sources: list[Source], compose: Compose
) -> None:
    compose(200)
    first = Counter(TaskResponse.objects.filter(position=0).values_list("response__source__name", flat=True))
    # 200 fair throws leave 60 to 140 heads but for one time in 10⁷.
    assert set(first) == {source.name for source in sources}
    assert all(60 < count < 140 for count in first.values())


def test_the_view_has_all_that_ranking_needs(project: Project, people: People, compose: Compose) -> None:
    set_aspects(project=project, aspects=[{"name": "safety", "question": "Is it safe?", "steps": 3}])
    compose(1)
    place = take(people(1)[0], project)

    view = blind_view(place)

    assert (view["assignment"], view["lease"], view["state"]) == (place.pk, str(place.lease), "leased")
    assert view["prompt"] == place.task.prompt.messages
    assert view["rules"] == {"ties": True, "partial": False, "strength": False}
    assert view["aspects"] == [{"name": "safety", "question": "Is it safe?", "steps": 3}]
    assert view["project"] == {"slug": "answers", "name": "Answers"}
