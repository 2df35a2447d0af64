"""Nothing that the API answers an annotator tells a gold task from an ordinary one, or one batch from another."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from rest_framework.test import APIClient

from annotation import assigning
from annotation.batching import compose_batch
from annotation.gold import compose_known, set_known_answer
from annotation.models import Assignment, Batch
from tests.api.test_ranking import answer, take
from tests.api.world import World
from tests.frontend.blindness import number_rows_tellingly, numbers_of_rows, shape


@pytest.fixture
def mixed(world: World, monkeypatch: pytest.MonkeyPatch) -> list[Batch]:
    """A gold batch, whose task comes first, and one of ordinary tasks."""
    number_rows_tellingly()
    known = world.ranked.tasks.first()
    assert known is not None
    set_known_answer(task=known, tiers=[[2], [1], [0]], by=world.users["reviewer"], note="Sums are sums.")
    gold = compose_known(
        project=world.project,
        name="measure",
        kind="gold",
        overlap=9,
        by=world.users["manager"],
        tasks=[known],
    ).batch
    prompts = world.project.prompts.exclude(pk=known.prompt_id).order_by("pk")
    ordinary = compose_batch(
        project=world.project,
        name="more",
        prompts=prompts,
        sources=[world.new],
        responses_per_task=3,
        overlap=1,
        priority=9,
    ).batch
    monkeypatch.setattr(assigning, "gold_is_due", lambda *, gold, **_: bool(gold))
    return [gold, ordinary]


def gone_through(client: APIClient, world: World) -> tuple[Batch, dict[str, Any]]:
    """All that a program can do to the caller's next task. Returns its batch, and what each answer was like."""
    project = f"/api/v1/projects/{world.project.slug}"
    task = take(client, world)
    place = f"/api/v1/assignments/{task['assignment']}"
    body = answer(task, ratings={"accuracy": {"0": 4}}, flags=[{"number": 1, "kind": "unsafe"}])
    amended = {"key": str(uuid.uuid4()), "tiers": [[0, 1, 2]]}
    told = {
        "taken again": client.post(f"{project}/next-task"),
        "read": client.get(place),
        "renewed": client.post(f"{place}/renew", {"lease": task["lease"]}),
        "refused": client.post(f"{place}/submit", {**body, "tiers": [[0, 8]]}),
        "submitted": client.post(f"{place}/submit", body),
        "again": client.post(f"{place}/submit", body),
        "read later": client.get(place),
        "feedback": client.get(f"{place}/feedback"),
        "amended": client.post(f"{place}/amend", amended),
        "returned too late": client.post(f"{place}/return", {"lease": task["lease"]}),
        "skipped too late": client.post(f"{place}/skip", {"lease": task["lease"]}),
        "ranking": client.get(
            f"/api/v1/rankings/{client.get(f'{project}/rankings').json()['results'][0]['id']}"
        ),
    }
    texts = {name: response.content.decode() for name, response in told.items()}
    assert [(name, found) for name, text in texts.items() if (found := numbers_of_rows(text))] == []
    shapes = {name: (response.status_code, shape(response.json())) for name, response in told.items()}
    shapes["list"] = [shape(row) for row in client.get(f"{project}/rankings").json()["results"][:2]]
    return Assignment.objects.get(public_id=task["assignment"]).batch, shapes


def test_whatever_is_done_to_a_gold_task_is_answered_as_it_is_of_an_ordinary_one(
    world: World, mixed: list[Batch]
) -> None:
    client = world.client("colleague")

    (gold, of_gold), (ordinary, of_ordinary) = (gone_through(client, world) for _ in range(2))

    assert [gold, ordinary] == mixed
    for name in of_gold:
        assert of_gold[name] == of_ordinary[name], name


def test_a_ranking_names_its_task_to_reviewers_and_managers_alone(world: World, mixed: list[Batch]) -> None:
    gone_through(world.client("colleague"), world)
    address = f"/api/v1/projects/{world.project.slug}/rankings"
    asked = "annotator=colleague&current=true"

    for who, told in (("colleague", None), ("reviewer", mixed[0].tasks.get().pk)):
        (ranking,) = world.client(who).get(f"{address}?{asked}").json()["results"]
        assert ranking["task"] == told, who
    for filter_ in ("task", "batch"):
        assert world.client("colleague").get(f"{address}?{filter_}=1").status_code == 400
        assert world.client("reviewer").get(f"{address}?{filter_}=1").status_code == 200


def test_a_response_has_its_letter_wherever_it_is_shown(world: World) -> None:
    held = world.held
    annotated = world.client("annotator").get(f"/api/v1/assignments/{held.public_id}").json()["responses"]
    managed = world.client("manager").get(f"/api/v1/tasks/{held.task_id}").json()["responses"]
    reviewed = (
        world.client("manager").get(f"/api/v1/tasks/{world.ranking.task_id}/review").json()["responses"]
    )

    assert {each["text"]: each["letter"] for each in annotated} == {
        each["text"]: each["letter"] for each in managed
    }
    for responses in (annotated, managed, reviewed):
        assert [each["letter"] for each in responses] == ["ABC"[each["number"]] for each in responses]
