"""An annotator's way through the API: lease, rank, submit, amend, skip, return."""

from __future__ import annotations

import uuid
from typing import Any

from rest_framework.test import APIClient

from annotation.batching import close_batch
from annotation.projects import update_project
from tests.api.world import World


def take(client: APIClient, world: World) -> dict[str, Any]:
    response = client.post(f"/api/v1/projects/{world.project.slug}/next-task")
    assert response.status_code == 200, response.content
    return response.json()


def answer(task: dict[str, Any], **changes: Any) -> dict[str, Any]:
    numbers = [response["number"] for response in task["responses"]]
    body = {"lease": task["lease"], "key": str(uuid.uuid4()), "tiers": [[numbers[0]], numbers[1:]]}
    return {**body, **changes}


def test_a_task_is_leased_ranked_and_amended(world: World) -> None:
    client = world.client("colleague")
    task = take(client, world)
    assert task["prompt"][0]["content"].startswith("What is") and len(task["responses"]) == 3
    assert take(client, world)["assignment"] == task["assignment"], "the task they hold comes first"

    place = f"/api/v1/assignments/{task['assignment']}"
    body = answer(task, ratings={"accuracy": {"1": 5}}, rationale="Sums.", seconds=3.5)
    first = client.post(f"{place}/submit", body)
    again = client.post(f"{place}/submit", body)

    assert first.status_code == again.status_code == 201
    assert first.json() == again.json(), "the same key is the same submission"
    assert first.json()["ratings"] == [{"aspect": "accuracy", "number": 1, "rating": 5}]
    assert client.get(place).json()["state"] == "submitted"
    amended = client.post(f"{place}/amend", answer(task, tiers=[[0, 1, 2]], lease=None) | {"lease": None})
    assert amended.status_code == 400, "an amendment needs no lease"
    amended = client.post(f"{place}/amend", {"key": str(uuid.uuid4()), "tiers": [[0, 1, 2]]})
    assert amended.status_code == 201 and amended.json()["revision"] == 2
    mine = client.get(f"/api/v1/projects/{world.project.slug}/rankings?current=true").json()
    assert [ranking["tiers"] for ranking in mine["results"]] == [[[0, 1, 2]]]


def test_a_ranking_that_is_none_is_refused_with_the_field(world: World) -> None:
    client = world.client("colleague")
    task = take(client, world)
    submit = f"/api/v1/assignments/{task['assignment']}/submit"
    for tiers, status in (
        ([[0], [0, 1, 2]], 422),
        ([[0, 1, 7]], 422),
        ([[0], "1"], 400),
        ([], 400),
        ([[0, 99]], 400),
    ):
        refused = client.post(submit, answer(task, tiers=tiers))
        assert refused.status_code == status, (tiers, refused.content)
        assert refused.json()["errors"][0]["field"].startswith("tiers")
    unknown = client.post(submit, answer(task, ratings={"beauty": {"0": 1}}))
    assert unknown.status_code == 422 and unknown.json()["errors"][0]["field"] == "ratings"


def test_a_lost_lease_and_a_closed_batch_are_conflicts(world: World) -> None:
    colleague, annotator = world.client("colleague"), world.client("annotator")
    task = take(colleague, world)
    submit = f"/api/v1/assignments/{task['assignment']}/submit"

    stolen = annotator.post(submit, answer(task))
    assert stolen.status_code == 409 and stolen.json()["type"].endswith("lease_lost")
    close_batch(world.open)
    late = colleague.post(submit, answer(task))
    assert late.status_code == 409


def test_a_task_can_be_renewed_skipped_and_returned(world: World) -> None:
    client = world.client("colleague")
    task = take(client, world)
    place = f"/api/v1/assignments/{task['assignment']}"

    renewed = client.post(f"{place}/renew", {"lease": task["lease"]})
    assert renewed.status_code == 200 and renewed.json()["leased_until"] >= task["leased_until"]
    assert client.post(f"{place}/return", {"lease": task["lease"]}).status_code == 204
    again = take(client, world)
    skipped = client.post(
        f"/api/v1/assignments/{again['assignment']}/skip", {"lease": again["lease"], "reason": "Unclear."}
    )
    assert skipped.status_code == 204
    assert take(client, world)["prompt"] != again["prompt"], "a skipped task does not come back"


def test_nothing_left_to_rank_is_no_content(world: World) -> None:
    close_batch(world.open)
    assert (
        world.client("colleague").post(f"/api/v1/projects/{world.project.slug}/next-task").status_code == 204
    )


def test_what_is_said_besides_the_ranking_is_given_back_and_found(world: World) -> None:
    update_project(project=world.project, ask_strength=True)
    client, reviewer = world.client("colleague"), world.client("reviewer")
    task = take(client, world)
    assert task["rules"] == {"ties": True, "partial": False, "strength": True}
    flags = [{"number": 0, "kind": "unsafe", "note": ""}, {"number": 1, "kind": "other", "note": "Rude."}]
    written = [{"number": 2, "text": "Edited."}, {"number": None, "text": "Anew."}]

    place = f"/api/v1/assignments/{task['assignment']}"
    made = client.post(f"{place}/submit", answer(task, strengths=[4], flags=flags, demonstrations=written))

    assert made.status_code == 201, made.content
    assert (made.json()["strengths"], made.json()["flags"], made.json()["demonstrations"]) == (
        [4],
        flags,
        written,
    )
    rankings, tasks = (f"/api/v1/projects/{world.project.slug}/{name}" for name in ("rankings", "tasks"))
    pk = made.json()["id"]
    for query in ("flag=unsafe", "flag=other", "demonstrated=true"):
        assert [r["id"] for r in reviewer.get(f"{rankings}?{query}").json()["results"]] == [pk], query
    assert reviewer.get(f"{rankings}?flag=truncated").json()["count"] == 0
    assert pk not in [r["id"] for r in reviewer.get(f"{rankings}?demonstrated=false").json()["results"]]
    assert reviewer.get(f"{rankings}?flag=rude").status_code == 400
    found = reviewer.get(f"{tasks}?flag=unsafe").json()["results"]
    assert made.json()["task"] is None, "an annotator could tell batches by it"
    assert [t["id"] for t in found] == [reviewer.get(f"{rankings}?flag=unsafe").json()["results"][0]["task"]]

    client.post(f"{place}/amend", {"key": str(uuid.uuid4()), "tiers": [[0, 1, 2]]})
    assert reviewer.get(f"{tasks}?flag=unsafe").json()["count"] == 0, "the latest revision counts"
    assert reviewer.get(f"{rankings}?flag=unsafe").json()["count"] == 1
    assert reviewer.get(f"{rankings}?flag=unsafe&current=true").json()["count"] == 0


def test_what_is_said_wrongly_is_refused_with_the_field(world: World) -> None:
    client = world.client("colleague")
    task = take(client, world)
    submit = f"/api/v1/assignments/{task['assignment']}/submit"
    for said, status in (
        ({"flags": [{"number": 0, "kind": "rude"}]}, 400),
        ({"flags": [{"number": 0}]}, 400),
        ({"flags": [{"number": 0, "kind": "unsafe", "why": ""}]}, 400),
        ({"flags": [{"number": 0, "kind": "other"}]}, 422),
        ({"flags": [{"number": 8, "kind": "unsafe"}]}, 422),
        ({"flags": [{"number": 0, "kind": "unsafe", "note": "x" * 1001}]}, 400),
        ({"demonstrations": [{"number": 0, "text": ""}]}, 400),
        ({"demonstrations": [{"number": 0, "text": " "}]}, 422),
        ({"demonstrations": [{"number": 0, "text": task["responses"][0]["text"]}]}, 422),
        ({"strengths": [5]}, 400),
        ({"strengths": [2]}, 422),
    ):
        if "demonstrations" in said and status == 422:
            said["demonstrations"][0]["number"] = task["responses"][0]["number"]
        refused = client.post(submit, answer(task, **said))
        assert refused.status_code == status, (said, refused.content)
        assert refused.json()["errors"][0]["field"].startswith(next(iter(said)))
    assert client.post(submit, answer(task)).status_code == 201


def test_a_rubric_begins_or_completes_a_project(world: World) -> None:
    manager, address = world.client("manager"), f"/api/v1/projects/{world.project.slug}/aspects"
    done = manager.post(address, {"rubric": "answer_engine"})
    assert done.status_code == 200, done.content
    assert [a["name"] for a in done.json()["aspects"]] == [
        "accuracy",
        "relevance",
        "citations",
        "formatting",
        "safety",
    ]
    assert done.json()["aspects"][0]["question"] == "Is it true?", "what was there stays as it was"
    assert manager.post(address, {"rubric": "search"}).status_code == 400
    assert world.client("annotator").post(address, {"rubric": "answer_engine"}).status_code == 403
    body = {"name": "Engine", "rubric": "general_assistant", "ask_strength": True}
    made = world.client("admin").post("/api/v1/projects", body)
    assert [a["name"] for a in made.json()["aspects"]] == ["helpful", "honest", "harmless"]
    assert made.json()["ask_strength"] is True
