"""Judges and the leaderboard by the API."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from alignment.models import Judging
from annotation.batching import close_batch
from tests.api.world import World
from training.models import Run

pytestmark = pytest.mark.django_db
ENDPOINT = {"kind": "endpoint", "url": "http://localhost:8000/v1", "model": "big"}


def test_an_administrator_makes_a_judge_that_says_all_that_decides_its_answers(world: World) -> None:
    address = f"/api/v1/projects/{world.project.slug}/judges"
    given = {**ENDPOINT, "name": "second", "orders": "each", "settings": {"max_tokens": 99}}
    made = world.client("admin").post(address, given, format="json")
    assert made.status_code == 201
    judge = made.json()
    assert judge["settings"] == {"temperature": 0.0, "top_p": 1.0, "max_tokens": 99, "seed": 0}
    assert "Be fair." in judge["instructions"] and judge["orders"] == "each"
    assert world.client("reviewer").get(f"/api/v1/judges/{judge['id']}").json() == judge
    assert world.client("reviewer").get(address).json()["count"] == 2


def test_managers_name_only_endpoints_that_are_listed(world: World, settings: Any) -> None:
    address = f"/api/v1/projects/{world.project.slug}/judges"
    given = {**ENDPOINT, "name": "second"}
    assert world.client("manager").post(address, given, format="json").status_code == 403
    settings.RANKLOOP_ENDPOINTS = "http://localhost:8000/v1=BIG_API_KEY"
    made = world.client("manager").post(address, given, format="json")
    assert (made.status_code, made.json()["key_variable"]) == (201, "BIG_API_KEY")


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"kind": "person", "name": "x"}, "kind"),
        ({**ENDPOINT, "name": ""}, "name"),
        ({**ENDPOINT, "name": "x", "orders": "once"}, "orders"),
        ({**ENDPOINT, "name": "x", "settings": {"beta": 1}}, "settings.beta"),
        ({**ENDPOINT, "name": "x", "prompt": "?"}, "prompt"),
        ({"kind": "reward", "name": "x", "reward_run": "not one"}, "reward_run"),
        (
            {"kind": "reward", "name": "x", "reward_run": "0" * 8 + "-0000-0000-0000-" + "0" * 12},
            "reward_run",
        ),
    ],
)
def test_what_is_no_judge_is_refused_by_its_field(world: World, given: dict[str, Any], field: str) -> None:
    answer = world.client("admin").post(f"/api/v1/projects/{world.project.slug}/judges", given, format="json")
    assert 400 <= answer.status_code < 500
    assert field in [error["field"] for error in answer.json()["errors"]]


def test_a_judge_is_put_to_work_and_told_what_it_did(world: World) -> None:
    judge = f"/api/v1/judges/{world.judge.pk}"
    started = world.client("manager").post(f"{judge}/judgings", {"batch": world.open.pk}, format="json")
    assert started.status_code == 201
    assert started.json()["state"] == "queued" and started.json()["asked"] == 2 * world.open.tasks.count()
    run = Run.objects.get(pk=started.json()["run"])
    assert (run.kind, run.queue) == ("sample", "endpoints")
    again = world.client("manager").post(f"{judge}/judgings", {"batch": world.open.pk}, format="json")
    assert again.status_code == 409 and "at work already" in again.json()["detail"]
    busy = world.client("manager").patch(judge, {"archived": True}, format="json")
    assert busy.status_code == 409
    assert world.client("reviewer").get(f"{judge}/judgings").json()["count"] == 2
    Judging.objects.filter(ended_at__isnull=True).delete()
    archived = world.client("manager").patch(judge, {"archived": True}, format="json")
    assert archived.json()["archived_at"] is not None
    strange = world.client("manager").post(f"{judge}/judgings", {"batch": 999_999}, format="json")
    assert strange.status_code == 422


def test_answers_come_as_they_came_and_as_they_were_read(world: World) -> None:
    address = f"/api/v1/judges/{world.judge.pk}/judgements"
    reviewer = world.client("reviewer")
    first, second = reviewer.get(address).json()["results"]
    assert (first["tiers"], first["raw"], first["fault"]) == ([[0], [1, 2]], "RANKING: A > B = C", "")
    assert (second["tiers"], second["fault"]) == (None, "It is no ranking.")
    assert reviewer.get(f"{address}?faulty=true").json()["count"] == 1
    assert reviewer.get(f"{address}?task={second['task']}").json()["count"] == 2
    figures = reviewer.get(f"/api/v1/judges/{world.judge.pk}/figures").json()
    assert figures["work"] == {"tasks": 1, "answers": 2, "faults": 1, "prompt_tokens": None, "tokens": 5}
    assert figures["compared"] == 1 and figures["agreement"]["of"] > 0 and figures["reliability"] is None


def test_the_leaderboard_comes_as_json_and_as_a_table(world: World) -> None:
    address = f"/api/v1/projects/{world.project.slug}/leaderboard"
    reviewer = world.client("reviewer")
    alone = reviewer.get(address).json()
    assert (alone["groups"], alone["alone"], alone["rankings"]) == ([], ["zebrafinch-new"], 4)
    found = reviewer.get(f"{address}?batch={world.ranked.pk}&style=true&judges=true").json()
    assert found["rankings"] == 4 and found["judgements"] == 1
    sheet = reviewer.get(f"{address}/csv")
    assert sheet["Content-Type"].startswith("text/csv")
    assert next(csv.reader(io.StringIO(sheet.content.decode())))[:4] == ["group", "source", "name", "kind"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("batch=0", 400),
        ("batch=x", 400),
        ("batch=999999", 422),
        ("since=yesterday", 400),
        ("since=2026-1-1", 400),
        ("until=", 400),
        ("style=", 400),
        ("batch=", 400),
        ("batch=1&batch=x", 400),
        ("since=2026-02-01&until=2026-01-01", 422),
        ("style=yes", 400),
    ],
)
def test_what_the_leaderboard_cannot_choose_is_refused(world: World, query: str, status: int) -> None:
    address = f"/api/v1/projects/{world.project.slug}/leaderboard"
    for each in (address, f"{address}/csv"):
        answer = world.client("reviewer").get(f"{each}?{query}")
        assert answer.status_code == status and "detail" in answer.json()


def test_a_batch_that_is_being_ranked_is_on_no_leaderboard(world: World) -> None:
    address = f"/api/v1/projects/{world.project.slug}/leaderboard?batch={world.open.pk}"
    assert world.client("reviewer").get(address).json()["rankings"] == 0
    close_batch(world.open)
    assert world.client("reviewer").get(address).json()["rankings"] == 0
