"""What a manager does with a project through the API, resource by resource."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from annotation.models import Prompt, User
from annotation.retiring import prompts_in_use
from tests.api.test_exports import body_of
from tests.api.world import World


def test_a_project_is_made_changed_and_put_away(world: World) -> None:
    client = world.client("admin")
    made = client.post(
        "/api/v1/projects", {"name": "Short answers", "held_out_share": 0.1, "allow_ties": False}
    )
    assert made.status_code == 201
    address = f"/api/v1/projects/{made.json()['slug']}"
    assert made.json()["role"] == "manager" and made.json()["allow_ties"] is False

    changed = client.patch(address, {"guidelines": "# Be kind", "archived": True}).json()

    assert changed["guidelines"] == "# Be kind" and changed["archived_at"]
    assert client.get(address + "/").json()["guidelines"] == "# Be kind", (
        "a slash at the end is as good as none"
    )
    fixed = client.patch(f"/api/v1/projects/{world.project.slug}", {"held_out_share": 0.5})
    assert fixed.status_code == 409, "prompts stay in their split for ever"


def test_projects_are_made_by_administrators_and_staff_unless_the_installation_lets_everybody(
    world: World, settings: Any
) -> None:
    manager = world.client("manager")

    refused = manager.post("/api/v1/projects", {"name": "Mine"})

    assert refused.status_code == 403 and "Only administrators" in refused.json()["detail"]
    world.users["reviewer"].is_staff = True
    world.users["reviewer"].save()
    assert world.client("reviewer").post("/api/v1/projects", {"name": "Staff's"}).status_code == 201
    settings.RANKLOOP_ANYONE_CREATES_PROJECTS = True
    assert manager.post("/api/v1/projects", {"name": "Mine"}).status_code == 201


def test_members_come_change_and_go_but_the_last_manager_stays(world: World) -> None:
    client = world.client("manager")
    members = f"/api/v1/projects/{world.project.slug}/members"

    assert client.post(members, {"username": "outsider", "role": "annotator"}).status_code == 201
    assert client.patch(f"{members}/outsider", {"role": "reviewer"}).json()["role"] == "reviewer"
    assert client.delete(f"{members}/outsider").status_code == 204
    assert client.delete(f"{members}/outsider").status_code == 404
    assert client.delete(f"{members}/manager").status_code == 409
    unknown = client.post(members, {"username": "nobody", "role": "annotator"})
    assert unknown.status_code == 422 and "no account 'nobody'" in unknown.json()["detail"]
    misread = client.post(members, {"username": "outsider", "role": "owner"}).json()["errors"]
    assert misread == [
        {"field": "role", "detail": "'owner' is none of the choices: annotator, reviewer, manager."}
    ]
    assert client.get(members).json()["count"] == 4


def test_a_manager_makes_accounts_of_new_people_and_only_adds_who_has_one(world: World) -> None:
    members = f"/api/v1/projects/{world.project.slug}/members"
    client, ana = world.client("manager"), {"username": "ana", "role": "annotator", "create": True}

    made = client.post(members, {**ana, "email": "ana@example.org"})
    again = client.post(members, {**ana, "role": "reviewer"})
    had_one = client.post(members, {**ana, "username": "outsider"})

    assert made.status_code == 201 and made.json()["role"] == "annotator"
    assert User.objects.get(username="ana").check_password(made.json()["password"])
    assert again.status_code == 201 and again.json()["role"] == "reviewer"
    assert had_one.status_code == 201
    assert "password" not in again.json() and "password" not in had_one.json()
    assert world.client("reviewer").post(members, {**ana, "username": "ben"}).status_code == 403
    for wrong, status, field in (
        ({"username": "two words"}, 422, "username"),
        ({"username": "Outsider"}, 409, "username"),
        ({"username": "b" * 151}, 400, "username"),
        ({"username": "ben", "email": "nowhere"}, 422, "email"),
        ({"username": "ben", "email": "ANA@example.org"}, 409, "email"),
        ({"username": "ben", "create": "yes"}, 400, "create"),
        ({"username": "ben", "create": False, "email": "ben@example.org"}, 422, "email"),
    ):
        answer = client.post(members, ana | wrong)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (status, field)
    assert not User.objects.filter(username="ben").exists()


def test_aspects_are_set_as_a_whole_and_rated_ones_stay(world: World) -> None:
    client = world.client("manager")
    aspects = f"/api/v1/projects/{world.project.slug}/aspects"
    rated = {"name": "accuracy", "question": "Is it true?", "steps": 5}

    added = client.put(aspects, {"aspects": [{"name": "tone", "question": "Is it kind?"}, rated]})

    assert [aspect["name"] for aspect in added.json()["aspects"]] == ["tone", "accuracy"]
    assert client.put(aspects, {"aspects": []}).status_code == 409


def test_prompts_are_added_imported_filtered_and_paged(world: World) -> None:
    client = world.client("manager")
    prompts = f"/api/v1/projects/{world.project.slug}/prompts"
    new = {"messages": [{"role": "user", "content": "Why is the sky blue?"}], "tags": ["light"], "key": "sky"}

    assert client.post(prompts, new).status_code == 201
    again = client.post(prompts, new)
    assert again.status_code == 200 and again.json()["key"] == "sky", "the same prompt is there once"
    table = pa.table({"prompt": ["What is red?", "What is green?"]})
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    for name, content in (
        ("a.csv", b"prompt,key\nWhat is teal?,teal\n"),
        ("a.parquet", buffer.getvalue()),
        ("a.jsonl", b'{"prompt": "What is grey?"}\n'),
    ):
        told = client.post(
            f"{prompts}/import", {"file": SimpleUploadedFile(name, content)}, format="multipart"
        )
        assert told.status_code == 200 and told.json()["created"] >= 1, told.content

    assert client.get(f"{prompts}?tag=light").json()["results"][0]["id"] == again.json()["id"]
    assert client.get(f"{prompts}?text=TEAL").json()["count"] == 1
    page = client.get(f"{prompts}?page_size=5&page=2&ordering=-created_at").json()
    assert len(page["results"]) == 5 and page["previous"] and page["next"]
    for page in ("99", "0", "", "last", "1.0", "²"):
        told = client.get(prompts, {"page": page})
        assert told.status_code == 404 and "There is no page" in told.json()["detail"], page


def test_a_retired_prompt_is_kept_out_of_new_batches_until_it_is_brought_back(world: World) -> None:
    client = world.client("manager")
    prompt = Prompt.objects.filter(project=world.project, responses__source=world.new).first()
    assert prompt is not None
    address, list_of_it = f"/api/v1/prompts/{prompt.pk}", f"/api/v1/projects/{world.project.slug}/prompts"

    assert world.client("reviewer").patch(address, {"retired": True}).status_code == 403
    assert client.patch(address, {"retired": "yes"}).status_code == 400
    retired = client.patch(address, {"retired": True})
    assert retired.status_code == 200 and retired.json()["retired_at"]
    assert client.patch(address, {"retired": True}).json()["retired_at"] == retired.json()["retired_at"]
    assert [each["id"] for each in client.get(f"{list_of_it}?retired=true").json()["results"]] == [prompt.pk]
    assert prompt not in prompts_in_use(world.project)
    assert prompt.responses.exists(), "what was said to it stays"
    assert client.patch(address, {"retired": False}).json()["retired_at"] is None
    assert client.get(f"{list_of_it}?retired=true").json()["count"] == 0
    assert prompt in prompts_in_use(world.project)


def test_responses_are_imported_once_however_often_the_file_is_sent(world: World) -> None:
    client = world.client("manager")
    sent = {"source": world.new.pk}
    lines = b'{"key": "p0", "text": "Nought."}\n{"key": "p1", "text": "Two."}\n'
    address = f"/api/v1/projects/{world.project.slug}/responses"

    first, second = (
        client.post(
            f"{address}/import", {**sent, "file": SimpleUploadedFile("r.jsonl", lines)}, format="multipart"
        ).json()
        for _ in range(2)
    )

    assert (first["created"], first["existing"]) == (2, 0)
    assert (second["created"], second["existing"]) == (0, 2)
    elsewhere = client.post(
        f"{address}/import",
        {"source": 10**9, "file": SimpleUploadedFile("r.jsonl", lines)},
        format="multipart",
    )
    assert elsewhere.status_code == 422 and "has no source" in elsewhere.json()["detail"]
    assert (
        client.get(f"{address}?source={world.new.pk}&prompt={world.project.prompts.first().pk}").json()[
            "count"
        ]
        == 5
    )


def test_each_kind_of_source_is_made_and_says_what_it_decodes_with(world: World) -> None:
    client = world.client("manager")
    sources = f"/api/v1/projects/{world.project.slug}/sources"
    settings = {"temperature": 0.5, "system_prompt": "Be brief."}

    model = client.post(
        sources, {"kind": "model", "name": "brief", "model_version": world.base.pk, "settings": settings}
    )
    endpoint = {"kind": "endpoint", "name": "far", "url": "http://localhost:1/v1", "model": "m"}

    assert model.status_code == 201 and model.json()["settings"]["temperature"] == 0.5
    assert model.json()["model_version"] == world.base.pk
    assert client.post(sources, endpoint).status_code == 403, "managers sample only the listed endpoints"
    admin = world.client("admin")
    assert admin.post(sources, endpoint).json()["model"] == "m"
    assert client.post(sources, {"kind": "import", "name": "by hand"}).status_code == 201
    assert client.get(f"{sources}?kind=import").json()["count"] == 2
    wrong = client.post(
        sources, {"kind": "model", "name": "x", "model_version": world.base.pk, "settings": {"temperatur": 1}}
    )
    assert wrong.status_code == 422 and "temperatur" in wrong.json()["detail"]
    secret = admin.post(sources, {**endpoint, "name": "thief", "key_variable": "DATABASE_URL"})
    assert secret.status_code == 422
    assert client.post(sources, {"kind": "oracle", "name": "x"}).status_code == 400
    written = client.post(sources, {"kind": "person", "name": "Ours", "person": "annotator"})
    assert (written.status_code, written.json()["person"]) == (201, "annotator")
    for stranger in ("outsider", "nobody"):
        refused = client.post(sources, {"kind": "person", "name": "Theirs", "person": stranger})
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "person")


def test_what_get_answers_of_a_source_can_be_posted_back(world: World) -> None:
    admin = world.client("admin")
    sources = f"/api/v1/projects/{world.project.slug}/sources"
    made = [
        {
            "kind": "model",
            "name": "warm",
            "model_version": world.base.pk,
            "settings": {
                "temperature": 0.5,
                "few_shot": [{"prompt": [{"role": "user", "content": "Hi"}], "response": "Hello."}],
            },
        },
        {
            "kind": "endpoint",
            "name": "far",
            "url": "http://localhost:1/v1",
            "model": "m",
            "key_variable": "A_API_KEY",
        },
        {"kind": "import", "name": "by hand"},
    ]
    for body in made:
        one = admin.get(f"/api/v1/sources/{admin.post(sources, body).json()['id']}").json()
        again = admin.post(sources, {**one, "name": f"{one['name']}, again"})
        assert again.status_code == 201, again.json()
        own = {"id", "name", "created_at"}
        assert {k: v for k, v in again.json().items() if k not in own} == {
            k: v for k, v in one.items() if k not in own
        }


def test_a_model_version_is_archived_and_brought_back(world: World) -> None:
    client = world.client("manager")
    versions = f"/api/v1/projects/{world.project.slug}/model-versions"
    made = client.post(versions, {"name": "wrogn", "location": "org/wrogn"}).json()
    address = f"/api/v1/model-versions/{made['id']}"
    assert made["archived_at"] is None
    assert world.client("reviewer").patch(address, {"archived": True}).status_code == 403
    assert client.patch(address, {"archived": True}).json()["archived_at"]
    assert [each["id"] for each in client.get(f"{versions}?archived=true").json()["results"]] == [made["id"]]
    refused = client.post(
        f"/api/v1/projects/{world.project.slug}/sources",
        {"kind": "model", "name": "x", "model_version": made["id"]},
    )
    assert refused.status_code == 422 and refused.json()["errors"][0]["field"] == "model_version"
    assert client.patch(address, {"archived": False}).json()["archived_at"] is None


def test_a_batch_is_composed_watched_paused_and_closed(world: World) -> None:
    client = world.client("manager")
    batches = f"/api/v1/projects/{world.project.slug}/batches"
    wanted = {"name": "more", "sources": [world.new.pk], "responses_per_task": 2, "overlap": 3}

    made = client.post(batches, {**wanted, "prompts": {"split": "train"}})

    assert made.status_code == 201, made.content
    address = f"/api/v1/batches/{made.json()['batch']['id']}"
    tasks = made.json()["tasks"]
    assert tasks == world.project.prompts.filter(split="train").count()
    progress = client.get(f"{address}/progress").json()
    assert progress["places"] == progress["open"] == 3 * tasks and not progress["complete"]
    assert client.post(f"{address}/pause").json()["state"] == "paused"
    assert client.post(f"{address}/reopen").json()["state"] == "open"
    assert client.post(f"{address}/close").json()["state"] == "closed"
    assert client.post(f"{address}/reopen").status_code == 409
    assert client.get(f"{address}/agreement").json()["pairs"] == 0
    assert client.get(f"{address}/annotators").json()["annotators"] == []
    ranked = client.get(f"/api/v1/batches/{world.ranked.pk}/annotators").json()
    (annotator,) = ranked["annotators"]
    assert (annotator["annotator"], annotator["rankings"], ranked["suspicions"]) == ("annotator", 4, [])
    assert annotator["tied_share"] == ranked["everybody"]["tied_share"] == 1 / 3
    assert annotator["seconds"] is ranked["everybodys_seconds"] is None, "nobody measured"
    assert 0 <= annotator["first_shown"]["win_rate"] <= 1
    assert client.post(batches, wanted | {"name": "more"}).status_code == 409
    assert client.post(batches, wanted | {"name": "x", "sources": [10**9]}).status_code == 422
    tasks_of = client.get(
        f"/api/v1/projects/{world.project.slug}/tasks?batch={made.json()['batch']['id']}"
    ).json()
    assert tasks_of["results"][0]["responses"][0]["source"] == world.new.pk


def test_the_same_rankings_make_the_same_dataset(world: World) -> None:
    client = world.client("manager")
    again = client.post(f"/api/v1/projects/{world.project.slug}/datasets", {"batches": [world.ranked.pk]})
    assert again.status_code == 200, "nothing was created"
    assert (again.json()["id"], again.json()["sha256"]) == (world.dataset.pk, world.dataset.sha256)
    assert again.json()["card"]
    empty = client.post(f"/api/v1/projects/{world.project.slug}/datasets", {"batches": [world.open.pk]})
    assert empty.status_code == 409


def test_a_model_version_tells_its_lineage(world: World) -> None:
    client = world.client("manager")
    versions = f"/api/v1/projects/{world.project.slug}/model-versions"
    made = client.post(versions, {"name": "other", "location": "org/name"})
    assert made.status_code == 201 and [v["name"] for v in made.json()["lineage"]] == ["other"]
    assert client.post(versions, {"name": "third", "location": "not a place"}).status_code == 422


def test_a_round_is_cancelled_and_the_next_one_started(world: World) -> None:
    client = world.client("manager")
    rounds = f"/api/v1/projects/{world.project.slug}/rounds"
    assert client.post(rounds, {}).status_code == 409, "one round at a time"
    assert client.post(f"/api/v1/rounds/{world.round.pk}/promote", {}).status_code == 409
    assert client.post(f"/api/v1/rounds/{world.round.pk}/retry").status_code == 409

    cancelled = client.post(f"/api/v1/rounds/{world.round.pk}/cancel", {"reason": "Too early."})

    assert cancelled.json()["state"] == "cancelled" and "Too early." in cancelled.json()["reason"]
    next_round = client.post(
        rounds,
        {
            "tasks": 4,
            "overlap": 2,
            "sources": [world.old.pk, world.new.pk],
            "start_from": world.base.pk,
            "settings": {"training": {"beta": 0.2}},
        },
    )
    assert next_round.status_code == 201, next_round.content
    body = next_round.json()
    assert (body["number"], body["state"], body["settings"]["training"]["beta"]) == (2, "sampling", 0.2)
    assert client.get(f"/api/v1/rounds/{body['id']}/win-rates").json() == {"win_rates": []}


def test_a_manager_cannot_have_the_server_run_code_of_theirs_as_an_oracle(world: World) -> None:
    client = world.client("manager")
    client.post(f"/api/v1/rounds/{world.round.pk}/cancel", {})
    refused = client.post(
        f"/api/v1/projects/{world.project.slug}/rounds", {"judge": "oracle", "oracle": "os:system"}
    )
    assert refused.status_code == 403


def test_a_run_tells_its_metrics_samples_log_and_artifacts(world: World) -> None:
    client = world.client("reviewer")
    run = f"/api/v1/runs/{world.run.pk}"

    assert client.get(run).json()["spec"] == {"seed": 1}
    metrics = client.get(f"{run}/metrics?name=loss&page_size=2").json()
    assert metrics["count"] == 5 and [row["step"] for row in metrics["results"]] == [0, 1]
    assert client.get(f"{run}/samples").json()["results"][0]["response"] == "Hello!"
    log = client.get(f"{run}/log?offset=4&limit=4").json()
    assert log == {"text": "two\n", "next_offset": 8, "size": 14}
    assert client.get(f"{run}/log?offset=-6").json()["text"] == "three\n"
    assert client.get(f"{run}/log?limit=0").status_code == 400
    assert [a["name"] for a in client.get(f"{run}/artifacts").json()["results"]] == [
        "adapter",
        "scorecard.json",
    ]
    assert body_of(client.get(f"{run}/artifacts/scorecard.json")) == b'{"win_rate": 0.5}'
    with tarfile.open(fileobj=io.BytesIO(body_of(client.get(f"{run}/artifacts/adapter")))) as archive:
        assert archive.extractfile("adapter/weights.safetensors").read() == b"w" * 1000
    assert client.get(f"{run}/artifacts/nothing").status_code == 404


def test_a_waiting_run_is_cancelled_at_once_and_a_second_time_changes_nothing(world: World) -> None:
    client = world.client("manager")
    answers: list[Any] = [client.post(f"/api/v1/runs/{world.run.pk}/cancel").json() for _ in range(2)]
    assert [answer["state"] for answer in answers] == ["cancelled", "cancelled"]
    assert answers[0]["reason"] == "Cancelled by manager."


def test_scorecards_are_listed_with_their_interval(world: World) -> None:
    listed = (
        world.client("reviewer").get(f"/api/v1/projects/{world.project.slug}/scorecards").json()["results"]
    )
    assert (listed[0]["win_rate_low"], listed[0]["win_rate_high"]) == (0.4, 0.6)


def test_endpoints_are_administrators_to_name_unless_they_are_listed(world: World, settings: Any) -> None:
    sources = f"/api/v1/projects/{world.project.slug}/sources"
    thief = {"kind": "endpoint", "name": "x", "url": "https://evil.example.net/v1", "model": "m"}
    thief["key_variable"] = "OPENAI_API_KEY"

    refused = world.client("manager").post(sources, thief)

    assert refused.status_code == 403 and "administrator" in refused.json()["detail"]
    settings.RANKLOOP_ENDPOINTS = "https://api.example.org/v1=EXAMPLE_API_KEY"
    listed = {"kind": "endpoint", "name": "x", "url": "https://api.example.org/v1", "model": "m"}
    made = world.client("manager").post(sources, listed)
    assert made.status_code == 201 and made.json()["key_variable"] == "EXAMPLE_API_KEY"
    assert world.client("admin").post(sources, {**thief, "name": "y"}).status_code == 201


def test_folders_of_the_server_are_administrators_to_name(world: World) -> None:
    versions = f"/api/v1/projects/{world.project.slug}/model-versions"
    folder = {"name": "b", "location": "/etc"}
    assert world.client("manager").post(versions, folder).status_code == 403
    assert world.client("admin").post(versions, folder).status_code == 201


@pytest.mark.parametrize(
    ("address", "known"),
    [
        ("projects", "ordering, page, page_size"),
        ("projects/{slug}/members", "page, page_size"),
        ("tokens", "page, page_size"),
        ("projects/{slug}/tasks", "batch, prompt, flag, page, page_size"),
        ("runs/{run}/metrics", "name, page, page_size"),
    ],
)
def test_a_list_refuses_a_parameter_that_it_does_not_know(world: World, address: str, known: str) -> None:
    address = f"/api/v1/{address.format(slug=world.project.slug, run=world.run.pk)}"
    client = world.client("manager")
    refused = client.get(f"{address}?page=1&Batch=1")
    assert refused.status_code == 400
    (error,) = refused.json()["errors"]
    assert error["field"] == "Batch"
    assert error["detail"].startswith("There is no such parameter; known here: ")
    assert error["detail"].endswith(f"{known}.")
    assert client.get(f"{address}?page=1&page_size=5").status_code == 200
