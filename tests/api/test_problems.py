"""Whatever goes wrong, the answer is a problem document that says what, where and what to do."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import patch

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import IntegrityError, OperationalError
from rest_framework.test import APIClient

from annotation.models import Prompt
from tests.api.world import World

pytestmark = pytest.mark.django_db


def problem(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    body = json.loads(response.content)
    assert body["status"] == status and body["type"].startswith("urn:rankloop:problem:")
    assert body["title"] and body["detail"]
    return body


def test_an_unknown_address_under_api_is_a_problem_and_no_page() -> None:
    for address in ("/api/v1/nothing", "/api/v1/nothing/at/all/", "/api/v2/projects", "/api/"):
        for method in ("get", "post", "delete"):
            problem(getattr(APIClient(), method)(address), 404)


def test_an_address_that_is_nobodys_is_told_from_a_thing_that_is_not_there(world: World) -> None:
    unknown = problem(world.client("manager").get("/api/v1/nothing"), 404)
    absent = problem(world.client("manager").get("/api/v1/prompts/999999"), 404)
    assert "/api/v1/docs/" in unknown["detail"] and "member" not in unknown["detail"]
    assert "member" in absent["detail"]


@pytest.mark.parametrize("address", ["schema", "docs/", "redoc/"])
def test_the_documents_own_addresses_answer_problems_too(address: str, settings: Any) -> None:
    problem(APIClient().delete(f"/api/v1/{address}"), 405)
    problem(APIClient().get(f"/api/v1/{address}", HTTP_ACCEPT="image/png"), 406)
    settings.RANKLOOP_API_RATES = {**settings.RANKLOOP_API_RATES, "anonymous": "1/minute"}
    APIClient().get(f"/api/v1/{address}")
    problem(APIClient().get(f"/api/v1/{address}"), 429)


def test_a_host_that_is_not_this_one_gets_a_problem_in_the_api_and_a_page_elsewhere() -> None:
    assert "RANKLOOP_HOSTS" in problem(APIClient().get("/api/v1/me", HTTP_HOST="evil.example"), 400)["detail"]
    page = APIClient().get("/", HTTP_HOST="evil.example")
    assert page.status_code == 400 and page["Content-Type"].startswith("text/html")


def test_a_size_that_is_no_number_is_no_fault(world: World) -> None:
    address = f"/api/v1/projects/{world.project.slug}/prompts/import"
    answer = world.client("manager").post(
        address, "x", content_type="multipart/form-data; boundary=b", CONTENT_LENGTH="many"
    )
    assert 400 <= answer.status_code < 500


def test_a_page_beyond_the_last_is_told_from_a_thing_that_is_not_there(world: World) -> None:
    told = problem(world.client("admin").get("/api/v1/projects?page=999999"), 404)
    assert told["detail"].startswith("There is no page '999999' of this list.")
    assert "member" not in told["detail"]


def test_wrong_methods_types_and_json_are_problems(world: World) -> None:
    client = world.client("admin")
    refused = client.put("/api/v1/projects", {})
    problem(refused, 405)
    assert refused["Allow"] == "GET, HEAD, POST"
    problem(client.post("/api/v1/projects", "<x/>", content_type="application/xml"), 415)
    problem(client.get("/api/v1/projects", HTTP_ACCEPT="image/png"), 406)
    for broken in (
        "{",
        '{"name": NaN}',
        '{"name": "\\u0000"}',
        '{"name": "\\ud800"}',
        "[" * 100_000,
        b"\xff",
    ):
        problem(client.post("/api/v1/projects", broken, content_type="application/json"), 400)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("{", "The body is not JSON: it ends too early; a name in double quotes is missing."),
        (
            '{"name": "a",\n "held_out_share" 1}',
            "The body is not JSON: at line 2, character 19 a colon is missing.",
        ),
        ('{"name": NaN}', "The body is not JSON: it holds a number that is infinite, none (NaN)"),
        (b'{"name": "\xff"}', "The body is not JSON: at byte 11 it is not UTF-8."),
        ('["a"]', "The body must be an object, in braces, with a value for each field."),
    ],
)
def test_a_body_that_is_no_object_of_json_is_told_where_in_our_words(
    world: World, body: str | bytes, sentence: str
) -> None:
    told = problem(world.client("admin").post("/api/v1/projects", body, content_type="application/json"), 400)
    assert told["detail"].startswith(sentence)
    assert "errors" not in told


def test_what_is_wrong_with_a_field_is_told_in_our_words(world: World) -> None:
    def told(address: str, sent: Any, **how: Any) -> dict[str, str]:
        who = "annotator" if "assignments" in address else "manager"
        body = problem(world.client(who).post(f"/api/v1/{address}", sent, **how), 400)
        return {error["field"]: error["detail"] for error in body["errors"]}

    address = f"projects/{world.project.slug}/prompts"
    assert told(address, {"messages": "Why?", "tags": {}, "key": "k" * 201, "language": None}) == {
        "messages": "Must be a list, in brackets.",
        "tags": "Must be a list, in brackets.",
        "key": "Must hold at most 200 characters.",
        "language": "May not be null.",
    }
    assert told(address, {"messages": ["Why?", {"role": "user", "content": 5}]}) == {
        "messages.0": "Must be an object, in braces.",
        "messages.1.content": "Must be text, in double quotes.",
    }
    assert told(address, {}) == {"messages": "Is missing, and must be given."}
    assert told(f"{address}/import", {}, format="multipart") == {
        "file": "Is missing: send a file, as multipart/form-data."
    }
    sent = {"lease": "x", "key": "x", "tiers": [[], [99]], "seconds": -1, "ratings": {"a": {"0": 11}}}
    wrong = told(f"assignments/{world.held.public_id}/submit", sent)
    assert wrong["key"] == "Must be a UUID: 8-4-4-4-12 hexadecimal digits."
    assert wrong["seconds"] == "Must be at least 0."
    assert "Must hold at least 1." in wrong.values() and "Must be at most 10." in wrong.values()


def test_a_body_that_is_too_large_is_refused_before_it_is_read(world: World, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    problem(world.client("admin").post("/api/v1/projects", {"name": "n" * 200}), 413)


def test_every_field_that_is_wrong_is_named(world: World) -> None:
    messages = [{"role": "user", "content": 5}, {"role": "robot", "content": ""}]
    wrong = {"messages": messages, "language": 7, "tag": ["misspelt"]}
    body = problem(world.client("manager").post(f"/api/v1/projects/{world.project.slug}/prompts", wrong), 400)
    assert {e["field"] for e in body["errors"]} == {
        "messages.0.content",
        "messages.1.role",
        "language",
        "tag",
    }


def test_a_refusal_names_its_field_and_changes_nothing(world: World) -> None:
    body = problem(world.client("admin").post("/api/v1/projects", {"name": world.project.name}), 409)
    assert body["errors"][0]["field"] == "name"
    body = problem(
        world.client("manager").post(
            f"/api/v1/projects/{world.project.slug}/rounds", {"settings": {"training": {"beta": -1}}}
        ),
        409,
    )
    assert "one round at a time" in body["detail"]


def test_every_bad_line_of_a_file_is_told_and_nothing_is_imported(world: World) -> None:
    before = Prompt.objects.count()
    lines = b'{"prompt": "Good?"}\n{"prompt": 5}\nnonsense\n'
    body = problem(
        world.client("manager").post(
            f"/api/v1/projects/{world.project.slug}/prompts/import",
            {"file": SimpleUploadedFile("prompts.jsonl", lines)},
            format="multipart",
        ),
        422,
    )
    assert [error["line"] for error in body["errors"]] == [2, 3]
    assert Prompt.objects.count() == before


def test_one_prompt_that_is_wrong_is_told_without_lines(world: World) -> None:
    address = f"/api/v1/projects/{world.project.slug}/prompts"
    messages = [{"role": "assistant", "content": "Hello."}]
    told = problem(world.client("manager").post(address, {"messages": messages}, format="json"), 422)
    assert "line" not in told["detail"].lower() and told["errors"][0]["field"] == "messages"


def test_a_race_that_the_database_settles_is_a_conflict_and_its_absence_is_a_503(world: World) -> None:
    client = world.client("admin")
    with patch("annotation.projects.create_project", side_effect=IntegrityError("project_name")):
        problem(client.post("/api/v1/projects", {"name": "New"}), 409)
    with patch("annotation.projects.create_project", side_effect=OperationalError("gone")):
        problem(client.post("/api/v1/projects", {"name": "New"}), 503)


def test_a_fault_is_a_problem_without_its_inner_workings(world: World) -> None:
    client = world.client("admin")
    client.raise_request_exception = False
    with patch("annotation.projects.create_project", side_effect=ZeroDivisionError("secret")):
        body = problem(client.post("/api/v1/projects", {"name": "New"}), 500)
    assert "secret" not in json.dumps(body)


def test_who_asks_too_often_is_told_when_to_come_back(world: World, settings: Any) -> None:
    settings.RANKLOOP_API_RATES = {**settings.RANKLOOP_API_RATES, "reading": "2/minute"}
    client = world.client("manager")
    assert [client.get("/api/v1/me").status_code for _ in range(2)] == [200, 200]
    refused = client.get("/api/v1/me")
    problem(refused, 429)
    assert 0 < int(refused["Retry-After"]) <= 61
    assert world.client("reviewer").get("/api/v1/me").status_code == 200, "others have counts of their own"


@pytest.mark.parametrize(
    ("proxies", "addresses", "statuses"),
    [
        # Nobody in front adds to the header, so it is the caller's own fancy.
        (0, ["1.1.1.1", "2.2.2.2"], [200, 429]),
        # The proxy adds the address that it sees; what stands before it is fancy.
        (1, ["6.6.6.6, 1.1.1.1", "7.7.7.7, 1.1.1.1", "7.7.7.7, 2.2.2.2"], [200, 429, 200]),
    ],
)
def test_a_caller_cannot_choose_the_address_that_counts(
    proxies: int, addresses: list[str], statuses: list[int], settings: Any
) -> None:
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "NUM_PROXIES": proxies}
    settings.RANKLOOP_API_RATES = {**settings.RANKLOOP_API_RATES, "anonymous": "1/minute"}
    answers = [APIClient().get("/api/v1/docs/", HTTP_X_FORWARDED_FOR=address) for address in addresses]
    assert [answer.status_code for answer in answers] == statuses


@pytest.mark.parametrize(
    "query", ["page_size=0", "page_size=x", "page_size=501", "ordering=password", "split=all"]
)
def test_a_query_that_nobody_understands_is_refused(world: World, query: str) -> None:
    problem(world.client("manager").get(f"/api/v1/projects/{world.project.slug}/prompts?{query}"), 400)
