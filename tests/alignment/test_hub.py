"""A dataset on the Hub, as its library uploads it: to a server that takes commits as the Hub does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets as hf
import pytest
from django.core.management import CommandError, call_command

from alignment.exporting import SHAPES, export
from alignment.hub import push_to_hub
from alignment.models import Dataset, Round
from alignment.rounds import start_round
from annotation.models import Project, Source
from annotation.refusals import Refusal
from tests.alignment.conftest import bring_to
from tests.alignment.hub_server import TOKEN, Hub, hub_server

pytestmark = pytest.mark.django_db


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub_server(monkeypatch) as hub:
        yield hub


@pytest.fixture
def dataset(project: Project, source: Source) -> Dataset:
    round = start_round(project=project, tasks=12, overlap=1, responses_per_task=3)
    return bring_to(round, Round.State.TRAINING).dataset


def test_every_shape_is_a_configuration_that_datasets_loads(
    dataset: Dataset, hub: Hub, tmp_path: Path
) -> None:
    address = push_to_hub(dataset, repository="acme/kind-replies", token=TOKEN)
    assert address == f"{hub.url}/datasets/acme/kind-replies/commit/abc"
    assert hub.repositories["acme/kind-replies"]["visibility"] == "private"
    (files,) = hub.commits
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    for shape in SHAPES:
        assert (
            files[f"{shape}/train.parquet"]
            == export(dataset, shape=shape, format="parquet").path.read_bytes()
        )
        rows = hf.load_dataset(str(tmp_path), shape, cache_dir=str(tmp_path / "cache"))
        assert set(rows) == {"train", "held_out"} and len(rows["train"]) > 0
    card = files["README.md"].decode()
    assert card.startswith("---\n") and "# Kind replies" in card and "rlhf" in card


def test_some_shapes_go_to_a_repository_that_is_there(dataset: Dataset, hub: Hub) -> None:
    for _ in range(2):
        push_to_hub(
            dataset, repository="acme/pairs", token=TOKEN, private=False, shapes=["pairs"], endpoint=hub.url
        )
    assert hub.repositories["acme/pairs"]["visibility"] == "public"
    assert set(hub.commits[-1]) == {"README.md", "pairs/train.parquet", "pairs/held_out.parquet"}


@pytest.mark.parametrize(
    ("wrong", "field", "sentence"),
    [
        ({"repository": "kind-replies"}, "repository", "must be owner/name"),
        ({"repository": "acme/../x"}, "repository", "must be owner/name"),
        ({"token": ""}, "token", "A token of the Hub is needed"),
        ({"token": "hf_wrong"}, "token", "does not know the token"),
        ({"shapes": []}, "shapes", "at least one of rankings, pairs"),
        ({"shapes": ["triples"]}, "shapes", "at least one of rankings, pairs"),
    ],
)
def test_what_is_wrong_is_told_by_its_name_and_nothing_is_made(
    dataset: Dataset, hub: Hub, wrong: dict[str, Any], field: str, sentence: str
) -> None:
    given = {"repository": "acme/kind-replies", "token": TOKEN} | wrong
    with pytest.raises(Refusal, match=sentence) as refused:
        push_to_hub(dataset, **given)
    assert refused.value.field == field and "hf_" not in refused.value.sentence
    assert hub.repositories == {} and hub.commits == []


def test_a_token_without_the_right_to_write_is_told(dataset: Dataset, hub: Hub) -> None:
    hub.refuse = 403
    with pytest.raises(Refusal, match="may not write to acme/kind-replies"):
        push_to_hub(dataset, repository="acme/kind-replies", token=TOKEN)


def test_a_hub_that_is_away_is_told(dataset: Dataset, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refusal, match="cannot be reached"):
        push_to_hub(dataset, repository="acme/x", token=TOKEN, endpoint="http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(Refusal, match="HF_HUB_OFFLINE"):
        push_to_hub(dataset, repository="acme/x", token=TOKEN)


def test_operators_push_by_a_command(
    dataset: Dataset, hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(CommandError, match="does not know the token"):
        call_command("push_dataset", "kind-replies", "1", "acme/pairs")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(CommandError, match=r"no dataset version 7\. Versions: 1"):
        call_command("push_dataset", "kind-replies", "7", "acme/pairs")
    call_command("push_dataset", "kind-replies", "1", "acme/pairs", "--public", "--shapes", "pairs")
    assert f"{hub.url}/datasets/acme/pairs/commit/abc" in capsys.readouterr().out
    assert set(hub.commits[-1]) == {"README.md", "pairs/train.parquet", "pairs/held_out.parquet"}
