"""Known answers, members' standing and the order of work through the API."""

from __future__ import annotations

import uuid
from typing import Any

from annotation.models import Assignment, Membership, Task
from tests.api.test_ranking import answer, take
from tests.api.world import World


def project_of(world: World) -> str:
    return f"/api/v1/projects/{world.project.slug}"


def known_answer_of(world: World) -> Task:
    """A closed batch's task, whose right order a reviewer has said."""
    task = world.ranked.tasks.first()
    assert task is not None
    told = world.client("reviewer").put(
        f"/api/v1/tasks/{task.pk}/gold", {"tiers": [[2], [1], [0]], "note": "Sums are sums."}
    )
    assert told.status_code == 200 and told.json()["gold_tiers"] == [[2], [1], [0]]
    return task


def test_a_reviewer_says_a_known_answer_and_annotators_do_not(world: World) -> None:
    task = known_answer_of(world)
    address = f"/api/v1/tasks/{task.pk}/gold"
    assert world.client("annotator").put(address, {"tiers": [[0], [1]]}).status_code == 403
    wrong = world.client("reviewer").put(address, {"tiers": [[0], [7]]})
    assert wrong.status_code == 422 and "response numbers are 0, 1, 2" in wrong.json()["detail"]
    assert world.client("reviewer").put(address, {"note": "Why?"}).status_code == 400
    task.refresh_from_db()
    assert task.gold_tiers == [[2], [1], [0]]


def test_a_manager_releases_tasks_with_known_answers(world: World) -> None:
    manager, task = world.client("manager"), known_answer_of(world)
    prompt = world.project.prompts.order_by("-pk").first()
    assert prompt is not None
    responses = list(prompt.responses.order_by("pk").values_list("pk", flat=True))[:2]
    body: dict[str, Any] = {
        "name": "measure",
        "kind": "gold",
        "overlap": 300,
        "tasks": [task.pk],
        "answers": [{"prompt": prompt.pk, "responses": responses, "tiers": [[1], [0]]}],
    }

    made = manager.post(f"{project_of(world)}/gold-batches", body)

    assert made.status_code == 201, made.content
    assert made.json()["tasks"] == 2
    batch = made.json()["batch"]
    assert (batch["kind"], batch["overlap"], batch["tasks"]) == ("gold", 300, 2)
    listed = manager.get(f"{project_of(world)}/tasks?batch={batch['id']}").json()["results"]
    assert all(each["gold_tiers"] for each in listed)
    for changes, status, field in (
        ({"name": "measure"}, 409, "name"),
        ({"name": "b", "tasks": [world.ranked.tasks.last().pk]}, 422, "tasks"),  # type: ignore[union-attr]
        ({"name": "b", "tasks": [10**9]}, 422, "tasks"),
        ({"name": "b", "kind": "annotation"}, 400, "kind"),
        ({"name": "b", "overlap": 1001}, 400, "overlap"),
        ({"name": "b", "overlap": None}, 400, "overlap"),
        ({"name": "b", "tasks": [], "answers": []}, 422, "tasks"),
        (
            {"name": "b", "answers": [{"prompt": 10**9, "responses": responses, "tiers": [[0], [1]]}]},
            422,
            "answers[0].prompt",
        ),
        (
            {"name": "b", "answers": [{"prompt": prompt.pk, "responses": [1, 10**9], "tiers": [[0], [1]]}]},
            422,
            "answers[0].responses",
        ),
        (
            {"name": "b", "answers": [{"prompt": prompt.pk, "responses": responses, "tiers": [[0], [2]]}]},
            422,
            "answers[0]",
        ),
    ):
        refused = manager.post(f"{project_of(world)}/gold-batches", {**body, **changes})
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (status, field)
    ordinary = {"name": "c", "sources": [world.new.pk], "responses_per_task": 2, "overlap": 1, "kind": "gold"}
    assert manager.post(f"{project_of(world)}/batches", ordinary).status_code == 400


def test_a_program_qualifies_and_is_told_how_it_did(world: World) -> None:
    task = known_answer_of(world)
    body = {"name": "test", "kind": "qualification", "overlap": 9, "tasks": [task.pk]}
    assert world.client("manager").post(f"{project_of(world)}/gold-batches", body).status_code == 201
    client = world.client("colleague")
    held = take(client, world)
    assert held["qualification"] is True
    place = f"/api/v1/assignments/{held['assignment']}"
    assert client.get(f"{place}/feedback").status_code == 409
    known = Assignment.objects.get(public_id=held["assignment"]).task.gold_tiers
    assert known is not None

    assert client.post(f"{place}/submit", answer(held, tiers=known[::-1])).status_code == 201

    told = client.get(f"{place}/feedback").json()
    assert (told["right"], told["pairs"], told["outcome"]) == (0, 3, "paused")
    assert (told["share"], told["bar"]) == (0, 0.6)
    assert told["known_tiers"] == known and told["note"] == "Sums are sums."
    assert world.client("annotator").get(f"{place}/feedback").status_code == 404
    amended = client.post(f"{place}/amend", {"key": str(uuid.uuid4()), "tiers": known})
    assert amended.status_code == 409
    paused = client.post(f"{project_of(world)}/next-task")
    assert paused.status_code == 403
    assert "0 % of the pairs" in paused.json()["detail"] and "ask a manager" in paused.json()["detail"]
    lifted = world.client("manager").patch(f"{project_of(world)}/members/colleague", {"paused": False})
    assert lifted.json()["paused_at"] is None and lifted.json()["qualified_at"]
    assert take(client, world)["qualification"] is False


def test_a_manager_limits_pauses_and_qualifies_members(world: World) -> None:
    client, member = world.client("manager"), f"{project_of(world)}/members/colleague"

    changed = client.patch(member, {"languages": ["EN", "fr"], "tags": ["law"]}).json()
    paused = client.patch(member, {"paused": True, "pause_reason": "Away."}).json()
    qualified = client.patch(member, {"paused": False, "qualified": True}).json()

    assert (changed["languages"], changed["tags"], changed["role"]) == (["en", "fr"], ["law"], "annotator")
    assert paused["paused_at"] and paused["pause_reason"] == "Away." and paused["qualified_at"] is None
    assert qualified["paused_at"] is None and qualified["qualified_at"]
    assert qualified["measured_since"] and qualified["qualification"] == "not_asked"
    assert client.patch(member, {"qualified": False}).json()["qualified_at"] is None
    for wrong, status, field in (
        ({"role": "reviewer", "tags": [""]}, 400, "tags"),
        ({"role": "reviewer", "pause_reason": "Why?"}, 422, "pause_reason"),
        ({"languages": "en"}, 400, "languages"),
        ({"paused": "yes"}, 400, "paused"),
    ):
        refused = client.patch(member, wrong)
        assert refused.status_code == status and refused.json()["errors"][0]["field"].startswith(field)
    assert Membership.objects.get(user=world.users["colleague"]).role == "annotator"
    gold = client.get(f"{member}/gold").json()
    assert gold == {"tasks": 0, "share": None, "bar": 0.6}


def test_a_member_whom_no_qualification_has_a_task_for_is_stranded(world: World) -> None:
    task, manager = known_answer_of(world), world.client("manager")
    body = {"name": "test", "kind": "qualification", "tasks": [task.pk]}

    made = manager.post(f"{project_of(world)}/gold-batches", body)

    assert made.status_code == 201 and made.json()["batch"]["overlap"] == 1000
    manager.patch(f"{project_of(world)}/members/colleague", {"tags": ["law"]})
    members = manager.get(f"{project_of(world)}/members").json()["results"]
    assert {one["username"]: one["qualification"] for one in members} == {
        "annotator": "asked",
        "colleague": "stranded",
        "reviewer": "not_asked",
        "manager": "not_asked",
    }
    assert world.client("colleague").post(f"{project_of(world)}/next-task").status_code == 204


def test_how_annotators_are_measured_is_for_managers_to_set_and_not_for_annotators_to_see(
    world: World,
) -> None:
    changed = world.client("manager").patch(project_of(world), {"gold_share": 0.2, "gold_bar": 0.75}).json()
    assert (changed["gold_share"], changed["gold_bar"]) == (0.2, 0.75)
    assert "gold_share" in world.client("reviewer").get(project_of(world)).json()
    seen = world.client("annotator").get(project_of(world)).json()
    assert "gold_share" not in seen and "gold_bar" not in seen
    too_high = world.client("manager").patch(project_of(world), {"gold_share": 0.6})
    assert too_high.status_code == 400


def test_annotators_cannot_ask_which_of_their_rankings_are_of_which_batch(world: World) -> None:
    rankings = f"{project_of(world)}/rankings?batch={world.ranked.pk}"
    assert world.client("reviewer").get(rankings).json()["count"] == 4
    refused = world.client("annotator").get(rankings)
    assert refused.status_code == 400 and "Only reviewers" in refused.content.decode()


def test_a_batch_in_the_order_of_uncertainty_takes_numbers_and_tells_what_they_are_worth(
    world: World,
) -> None:
    manager = world.client("manager")
    body = {
        "name": "hard",
        "sources": [world.new.pk],
        "responses_per_task": 2,
        "overlap": 2,
        "order": "uncertainty",
        "control_share": 0.25,
        "max_per_annotator": 3,
        "priority": 5,
    }
    made = manager.post(f"{project_of(world)}/batches", body).json()["batch"]
    assert (made["order"], made["control_share"], made["max_per_annotator"]) == ("uncertainty", 0.25, 3)
    address = f"/api/v1/batches/{made['id']}"
    task = Task.objects.filter(batch=made["id"]).order_by("-pk").first()
    assert task is not None

    told = manager.post(f"{address}/uncertainty", {"tasks": [{"task": task.pk, "uncertainty": 0.7}]})

    assert told.json() == {"places": 2}
    stranger = {"tasks": [{"task": world.held.task_id, "uncertainty": 0.7}]}
    assert manager.post(f"{address}/uncertainty", stranger).status_code == 422
    assert manager.post(f"/api/v1/batches/{world.open.pk}/uncertainty", stranger).status_code == 409
    worth = manager.get(f"{address}/order").json()
    assert (worth["order"], worth["control_share"]) == ("uncertainty", 0.25)
    assert (worth["worth"]["depths"], worth["worth"]["difference"], worth["worth"]["compared"]) == (
        [],
        None,
        0,
    )
    oldest = manager.get(f"/api/v1/batches/{world.open.pk}/order").json()
    assert (oldest["order"], oldest["worth"]) == ("oldest", None)
