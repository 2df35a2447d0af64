"""Files brought in through the API: upload, look, read otherwise, start, follow."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from annotation.intake.carrying_out import carry_out
from annotation.models import Import
from tests.api.world import World

TABLE = "question,first,second,who,best\nRice?,long,short,ann,second\nRice?,long,short,ben,tie\n"


def send(world: World, text: str = TABLE, name: str = "votes.csv", **more: Any) -> Any:
    file = SimpleUploadedFile(name, text.encode())
    return world.client("manager").post(
        f"/api/v1/projects/{world.project.slug}/imports", {"file": file, **more}, format="multipart"
    )


def test_a_file_is_uploaded_looked_at_read_otherwise_and_started(world: World) -> None:
    mapping = {"prompt": "question", "responses": ["first", "second"]}
    answer = send(world, mapping=json.dumps(mapping), name="votes.csv")
    assert answer.status_code == 201
    job, preview = answer.json()["imported"], answer.json()["preview"]
    assert (job["state"], job["form"], job["name"], job["created_by"]) == (
        "draft",
        "columns",
        "votes",
        "manager",
    )
    assert preview["choices"] == ["question", "first", "second", "who", "best"]
    assert (preview["counts"]["rankings"], preview["counts"]["responses"]) == (0, 2)

    client, address = world.client("manager"), f"/api/v1/imports/{job['id']}"
    changed = client.patch(
        address, {"mapping": mapping | {"winner": "best", "annotator": "who"}, "name": "Crowd"}, format="json"
    ).json()
    assert changed["preview"]["counts"] == {
        "prompts": 1,
        "responses": 2,
        "sources": 1,
        "rankings": 2,
        "ties": 1,
        "annotators": 2,
    }
    first = changed["preview"]["items"][0]
    assert [one["text"] for one in first["responses"]] == ["short", "long"]
    assert (first["line"], first["annotator"]) == (2, "ann")
    assert client.get(f"{address}/preview").json()["counts"]["rankings"] == 2

    assert client.post(f"{address}/start", {}, format="json").json()["state"] == "queued"
    again = client.post(f"{address}/start", {}, format="json")
    assert (again.status_code, again.json()["detail"]) == (
        409,
        "This import is being carried out; it cannot be started.",
    )


@pytest.mark.django_db(transaction=True)
def test_an_import_is_followed_to_its_report(world: World) -> None:
    mapping = {"prompt": "question", "responses": ["first", "second"], "winner": "best", "annotator": "who"}
    job = send(world, mapping=json.dumps(mapping), start="true").json()["imported"]
    assert job["state"] == "queued"
    carry_out(job["id"])
    told = world.client("reviewer").get(f"/api/v1/imports/{job['id']}").json()
    assert told["state"] == "succeeded", told["reason"]
    assert (told["report"]["rankings"], told["report"]["annotators"], told["bad"]) == (2, 2, 0)
    batch = world.client("reviewer").get(f"/api/v1/batches/{told['batch']}").json()
    assert (batch["kind"], batch["state"]) == ("imported", "closed")
    listed = (
        world.client("reviewer").get(f"/api/v1/projects/{world.project.slug}/imports?state=succeeded").json()
    )
    assert [one["id"] for one in listed["results"]] == [job["id"]]
    rankings = world.client("reviewer").get(
        f"/api/v1/projects/{world.project.slug}/rankings?batch={told['batch']}"
    )
    assert rankings.json()["count"] == 2


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"mapping": "{"}, "The mapping must be a JSON object"),
        ({"mapping": '{"colour": "a"}'}, "has no field 'colour' to map"),
        ({"mapping": "[" * 100_000}, "The mapping must be a JSON object"),
        ({"name": " "}, "The name must have 1 to 200 characters"),
        ({"text": ""}, "The file holds no rows"),
        ({"name_of_file": "votes.pdf"}, "the ending .pdf is unknown"),
    ],
)
def test_what_cannot_be_read_is_refused_and_nothing_kept(
    world: World, more: dict[str, str], sentence: str
) -> None:
    text, name = more.pop("text", TABLE), more.pop("name_of_file", "votes.csv")
    before = Import.objects.count()
    given = more | ({} if "mapping" in more else {"mapping": "{}"})
    client = world.client("manager")
    file = SimpleUploadedFile(name, text.encode())
    answer = client.post(
        f"/api/v1/projects/{world.project.slug}/imports", {"file": file, **given}, format="multipart"
    )
    assert answer.status_code == 422, answer.json()
    assert sentence in answer.json()["detail"]
    assert Import.objects.count() == before


def test_a_draft_is_dropped_and_its_file_with_it(world: World) -> None:
    job = send(world).json()["imported"]
    client, address = world.client("manager"), f"/api/v1/imports/{job['id']}"
    assert client.post(f"{address}/cancel").json()["state"] == "cancelled"
    assert client.get(f"{address}/preview").status_code == 409


def test_every_form_is_listed_with_what_becomes_of_its_fields(world: World) -> None:
    forms = {
        one["name"]: one
        for one in world.client("manager").get(f"/api/v1/projects/{world.project.slug}/import-forms").json()
    }
    assert {
        "hh-rlhf",
        "ultrafeedback",
        "openassistant",
        "shp",
        "lmarena",
        "label-studio",
        "argilla",
        "trl",
        "columns",
    } <= set(forms)
    assert all(one["becomes"] for one in forms.values())
    assert [field["name"] for field in forms["argilla"]["mapped"]] == ["prompt", "responses", "question"]


def test_a_file_that_is_no_upload_is_told(world: World) -> None:
    answer = world.client("manager").post(
        f"/api/v1/projects/{world.project.slug}/imports", b"x", content_type="text/csv"
    )
    assert answer.status_code == 415
