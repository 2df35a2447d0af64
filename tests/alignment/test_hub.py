"""A dataset on the Hub, as its library uploads it: to a server that takes commits as the Hub does."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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

pytestmark = pytest.mark.django_db
TOKEN = "hf_right"


@dataclass
class Hub:
    url: str = ""
    repositories: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By name: how it was made."""
    uploads: dict[str, bytes] = field(default_factory=dict)
    """Large files, by SHA-256."""
    commits: list[dict[str, bytes]] = field(default_factory=list)
    refuse: int = 0
    """Status that making a repository is answered with."""


def handler_of(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self._answer(401, {"error": "Invalid credentials in Authorization header"})
            elif self.path == "/api/repos/create":
                self._create(json.loads(body))
            elif self.path == "/api/validate-yaml":
                self._answer(200, {"errors": [], "warnings": []})
            elif "/preupload/" in self.path:
                files = json.loads(body)["files"]
                modes = {
                    each["path"]: "lfs" if each["path"].endswith("parquet") else "regular" for each in files
                }
                told = [{"path": p, "uploadMode": m, "shouldIgnore": False} for p, m in modes.items()]
                self._answer(200, {"files": told})
            elif self.path.endswith("/info/lfs/objects/batch"):
                wanted = [each for each in json.loads(body)["objects"] if each["oid"] not in hub.uploads]
                link = {each["oid"]: {"upload": {"href": f"{hub.url}/lfs/{each['oid']}"}} for each in wanted}
                objects = [{"oid": e["oid"], "size": e["size"], "actions": link[e["oid"]]} for e in wanted]
                self._answer(200, {"transfer": "basic", "objects": objects})
            elif "/commit/" in self.path:
                self._commit(body)
            else:
                self._answer(404, {"error": self.path})

        def do_PUT(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            hub.uploads[hashlib.sha256(content).hexdigest()] = content
            self._answer(200, {})

        def _create(self, asked: dict[str, Any]) -> None:
            name = f"{asked['organization']}/{asked['name']}"
            if hub.refuse:
                self._answer(hub.refuse, {"error": "You don't have the rights."})
            elif name in hub.repositories:
                self._answer(
                    409, {"error": "You already created this dataset repo", "url": f"{hub.url}/{name}"}
                )
            else:
                hub.repositories[name] = asked
                self._answer(200, {"url": f"{hub.url}/datasets/{name}"})

        def _commit(self, body: bytes) -> None:
            files: dict[str, bytes] = {}
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    files[value["path"]] = hub.uploads[value["oid"]]
            hub.commits.append(files)
            self._answer(200, {"commitUrl": f"{hub.url}/commit/abc", "commitOid": "a" * 40, "success": True})

        def _answer(self, status: int, body: Any) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            pass

    return Handler


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(hub))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    # The protocol of Git LFS, which the Hub takes as well: the other one needs a store of chunks.
    monkeypatch.setattr("huggingface_hub._commit_api.is_xet_available", lambda: False)
    yield hub
    server.shutdown()
    server.server_close()


@pytest.fixture
def dataset(project: Project, source: Source) -> Dataset:
    round = start_round(project=project, tasks=12, overlap=1, responses_per_task=3)
    return bring_to(round, Round.State.TRAINING).dataset


def test_every_shape_is_a_configuration_that_datasets_loads(
    dataset: Dataset, hub: Hub, tmp_path: Path
) -> None:
    address = push_to_hub(dataset, repository="acme/kind-replies", token=TOKEN, endpoint=hub.url)
    assert address == f"{hub.url}/commit/abc"
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
        ({"shapes": ["triples"]}, "shape", "must be one of rankings, pairs"),
    ],
)
def test_what_is_wrong_is_told_by_its_name_and_nothing_is_made(
    dataset: Dataset, hub: Hub, wrong: dict[str, Any], field: str, sentence: str
) -> None:
    given = {"repository": "acme/kind-replies", "token": TOKEN, "endpoint": hub.url} | wrong
    with pytest.raises(Refusal, match=sentence) as refused:
        push_to_hub(dataset, **given)
    assert refused.value.field == field and "hf_" not in refused.value.sentence
    assert hub.repositories == {} and hub.commits == []


def test_a_token_without_the_right_to_write_is_told(dataset: Dataset, hub: Hub) -> None:
    hub.refuse = 403
    with pytest.raises(Refusal, match="may not write to acme/kind-replies"):
        push_to_hub(dataset, repository="acme/kind-replies", token=TOKEN, endpoint=hub.url)


def test_a_hub_that_is_away_is_told(dataset: Dataset, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refusal, match="cannot be reached"):
        push_to_hub(dataset, repository="acme/x", token=TOKEN, endpoint="http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(Refusal, match="HF_HUB_OFFLINE"):
        push_to_hub(dataset, repository="acme/x", token=TOKEN, endpoint=hub.url)


def test_operators_push_by_a_command(
    dataset: Dataset, hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", hub.url)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(CommandError, match="does not know the token"):
        call_command("push_dataset", "kind-replies", "1", "acme/pairs")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(CommandError, match=r"no dataset version 7\. Versions: 1"):
        call_command("push_dataset", "kind-replies", "7", "acme/pairs")
    call_command("push_dataset", "kind-replies", "1", "acme/pairs", "--public", "--shapes", "pairs")
    assert f"{hub.url}/commit/abc" in capsys.readouterr().out
    assert set(hub.commits[-1]) == {"README.md", "pairs/train.parquet", "pairs/held_out.parquet"}
