"""Datasets over REST: drafts with filters, comparison, lineage, withdrawal and the locked held-out set."""

from __future__ import annotations

import json
import uuid
from typing import Any

from annotation.assigning import next_assignment
from annotation.batching import close_batch
from annotation.models import Ranking
from annotation.submitting import submit
from tests.api.test_exports import body_of
from tests.api.world import World


def project_of(world: World) -> str:
    return f"/api/v1/projects/{world.project.slug}"


def post(world: World, path: str, body: dict[str, Any], who: str = "manager") -> Any:
    return world.client(who).post(path, body, format="json")


def test_a_draft_tells_what_each_filter_leaves_out_and_freezes_nothing(world: World) -> None:
    body = {"batches": [world.ranked.pk], "filters": {"min_margin": 20}}
    drawn = post(world, f"{project_of(world)}/datasets/draft", body)
    assert drawn.status_code == 200
    told = drawn.json()
    assert [step["filter"] for step in told["left_out"]] == ["min_margin"]
    for split in ("train", "held_out"):
        assert told["left_out"][0]["splits"][split] == told["before"][split]
        assert told["after"][split] == {"tasks": 0, "rankings": 0, "responses": 0, "pairs": 0}
    assert sum(told["before"][split]["rankings"] for split in told["before"]) == 4
    assert world.project.datasets.count() == 1
    assert post(world, f"{project_of(world)}/datasets/draft", body, "reviewer").status_code == 403


def test_filters_stand_in_a_datasets_settings(world: World) -> None:
    body = {"batches": [world.ranked.pk], "filters": {"sources": [world.new.pk], "min_agreement": None}}
    refused = post(world, f"{project_of(world)}/datasets", body)
    assert refused.status_code == 400 and refused.json()["errors"][0]["field"] == "filters.min_agreement"
    del body["filters"]["min_agreement"]
    built = post(world, f"{project_of(world)}/datasets", body)
    assert built.status_code == 201
    assert built.json()["settings"]["filters"] == {"sources": [world.new.pk]}
    assert {one["code"] for one in built.json()["warnings"]} >= {"too_few"}


def test_a_wrong_filter_is_named_at_its_field(world: World) -> None:
    for filters, status, field in (
        ({"speed": 1}, 400, "filters.speed"),
        ({"aspect": "charm"}, 422, "filters.aspect"),
        ({"ranked_from": "May"}, 422, "filters.ranked_from"),
    ):
        refused = post(world, f"{project_of(world)}/datasets", {"filters": filters})
        assert refused.status_code == status
        assert refused.json()["errors"][0]["field"] == field


def test_an_aspect_is_exported_as_pairs_of_its_own(world: World) -> None:
    for ranking in Ranking.objects.filter(task__batch=world.ranked):
        aspect = world.project.aspects.get()  # the first response was rated 4
        for position, rating in ((1, 5), (2, 2)):
            ranking.aspect_ratings.create(aspect=aspect, position=position, rating=rating)
    built = post(world, f"{project_of(world)}/datasets", {"filters": {"aspect": "accuracy"}}).json()
    export = f"/api/v1/datasets/{built['id']}/export?shape=pairs&which=best_worst&split="
    rows = [
        json.loads(line)
        for split in ("train", "held_out")
        for line in body_of(world.client("reviewer").get(export + split)).splitlines()
    ]
    assert len(rows) == 4 and all(row["margin"] > 0 and row["probability"] > 0.5 for row in rows)


def test_versions_are_compared_and_their_changes_streamed(world: World) -> None:
    close_batch(world.open)
    second = post(
        world, f"{project_of(world)}/datasets", {"settings": {"tie_margin": 5}, "batches": [world.ranked.pk]}
    ).json()
    client = world.client("reviewer")
    address = f"/api/v1/datasets/{second['id']}"
    counts = client.get(f"{address}/comparison?before={world.dataset.pk}").json()
    assert sum(counts[split]["changed"] for split in counts) == 4
    answer = client.get(f"{address}/changes?before={world.dataset.pk}")
    assert answer.streaming and answer["Content-Type"] == "application/jsonl"
    lines = [json.loads(line) for line in body_of(answer).splitlines()]
    assert {line["change"] for line in lines} == {"changed"} and len(lines) == 4
    assert lines[0]["before"]["tiers"] != lines[0]["after"]["tiers"]
    missing = client.get(f"{address}/comparison?before=999999")
    assert missing.status_code == 422 and missing.json()["errors"][0]["field"] == "before"


def test_a_record_leads_to_rankings_under_pseudonyms(world: World) -> None:
    address = f"/api/v1/datasets/{world.dataset.pk}/lineage?task={world.ranking.task_id}"
    told = world.client("reviewer").get(address).json()
    assert [one["ranking"] for one in told["rankings"]] == [world.ranking.pk]
    assert told["rankings"][0]["tiers"] == [[2], [0, 1]] and told["adjudicated"] is None
    assert told["rankings"][0]["annotator"].startswith("annotator-")
    assert world.users["annotator"].username not in json.dumps(told["rankings"]).replace("annotator", "", 2)
    assert world.client("reviewer").get(address + "999").status_code == 404


def test_a_persons_work_and_a_prompts_are_followed_to_datasets(world: World) -> None:
    client = world.client("reviewer")
    theirs = client.get(f"{project_of(world)}/members/annotator/datasets").json()
    assert theirs["datasets"] == [{"dataset": world.dataset.pk, "version": 1, "rankings": 4, "tasks": 4}]
    of_prompt = client.get(f"/api/v1/prompts/{world.ranking.task.prompt_id}/datasets").json()
    assert of_prompt["datasets"][0]["tasks"] == 1
    assert client.get(f"{project_of(world)}/members/outsider/datasets").status_code == 404
    assert client.get(f"{project_of(world)}/members/colleague/datasets").json()["datasets"] == []


def test_withdrawing_over_rest_tells_what_it_concerns(world: World) -> None:
    body = {"prompt": world.ranking.task.prompt_id, "reason": "Asked for."}
    withdrawn = post(world, f"{project_of(world)}/withdrawals", body)
    assert withdrawn.status_code == 201
    told = withdrawn.json()
    assert (told["rankings"], told["datasets"][0]["dataset"]) == (1, world.dataset.pk)
    assert told["rebuilt"] == world.project.datasets.first().pk != world.dataset.pk
    assert post(world, f"{project_of(world)}/withdrawals", body).status_code == 409
    listed = world.client("reviewer").get(f"{project_of(world)}/withdrawals").json()
    assert listed["count"] == 2 and listed["results"][0]["reason"] == "Asked for."
    ended = post(world, f"/api/v1/withdrawals/{told['id']}/end", {})
    assert ended.status_code == 200 and ended.json()["ended_at"]
    for wrong, field in (
        ({}, "annotator"),
        ({"annotator": "nobody"}, "annotator"),
        ({"prompt": 999_999}, "prompt"),
    ):
        refused = post(world, f"{project_of(world)}/withdrawals", wrong)
        assert refused.status_code == 422 and refused.json()["errors"][0]["field"] == field


def test_the_held_out_set_is_locked_once(world: World) -> None:
    address = f"{project_of(world)}/held-out-lock"
    client = world.client("manager")
    assert client.get(address).json() == {"locked_at": None, "prompts": 0}
    held_out = world.project.prompts.filter(split="held_out").count()
    assert held_out
    locked = client.post(address)
    assert locked.status_code == 201 and locked.json()["prompts"] == held_out
    assert client.post(address).status_code == 409
    assert client.get(address).json()["locked_at"]


def test_an_import_tells_how_many_prompts_follow_a_near_duplicate(world: World) -> None:
    long = "How do I keep the rice from burning at the bottom of the pot when I cook for twelve people?"
    client = world.client("manager")
    for text in (long, f"{long}!"):
        assert (
            client.post(
                f"{project_of(world)}/prompts",
                {"messages": [{"role": "user", "content": text}]},
                format="json",
            ).status_code
            == 201
        )
    first, second = world.project.prompts.order_by("-pk")[:2]
    assert first.split == second.split


def test_a_batch_that_is_still_ranked_can_be_drafted(world: World) -> None:
    annotator = world.users["colleague"]
    place = next_assignment(annotator=annotator, project=world.project)
    submit(
        annotator=annotator,
        assignment_id=place.pk,
        lease=place.lease,
        key=uuid.uuid4(),
        tiers=[[0], [1], [2]],
    )
    drawn = post(world, f"{project_of(world)}/datasets/draft", {"batches": [world.open.pk]}).json()
    assert drawn["after"] == drawn["before"] and drawn["left_out"] == []
