"""The client against a server: its guide is carried out as it stands, and what it promises is true."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pyarrow.parquet as pq
import pytest
from django.core.cache import cache

from alignment.exporting import export
from annotation.models import Prompt
from annotation.projects import create_project, create_user
from annotation.tokens import issue_token
from config import environment
from config.api_pages import document
from rankloop.client import Conflict, NotAllowed, NotAuthenticated, NotFound, Rankloop, records
from tests.api.world import World, make_world

GUIDE = environment.ROOT / "docs" / "client.md"


@pytest.fixture
def world(transactional_db: None, live_server: Any) -> World:
    cache.clear()
    return make_world()


@pytest.fixture
def client(world: World, live_server: Any) -> Iterator[Rankloop]:
    with client_of(world, "manager", live_server) as client:
        yield client


def client_of(world: World, who: str, live_server: Any) -> Rankloop:
    world.client(who)
    return Rankloop(live_server.url, world.keys[who], tries=2)


@pytest.mark.django_db(transaction=True)
def test_the_guide_is_true(live_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every block of its Python runs, one after the other, in a process that knows nothing of the server."""
    cache.clear()
    mira = create_user(username="mira")
    project = create_project(name="Demo", held_out_share=0, created_by=mira)
    assert project.slug == "demo"
    _, token = issue_token(user=mira, name="tests")
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    code = "\n".join(blocks).replace("http://localhost:8000", live_server.url).replace("rl_…", token)
    five = next(block for block in blocks if "demo.dataset()" in block)
    assert len(list(filter(None, five.splitlines()))) == 5

    online = {k: v for k, v in os.environ.items() if k not in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")}
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=online | {"HF_HOME": str(tmp_path / "hf")},
        capture_output=True,
        text=True,
    )

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("3 new, 0 there already")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["pairs.parquet"]
    assert len(pq.read_table(tmp_path / "pairs.parquet")) == 3
    assert Prompt.objects.count() == 4


def test_lists_go_on_beyond_a_page(client: Rankloop, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rankloop.client.transport.PAGE_SIZE", 3)
    project = client.project("answers")
    assert [prompt["key"] for prompt in project.prompts()] == [f"p{n}" for n in range(8)]
    assert len(list(project.responses(source=world.new.pk))) == 32
    assert {each.slug for each in client.projects()} == {"answers"}
    assert client.me()["username"] == "manager"
    for listed in (project.sources(), project.batches(), project.tasks(), project.rankings()):
        assert list(listed)
    assert [round["number"] for round in project.rounds()] == [1]
    assert str(world.run.pk) in {run["id"] for run in project.runs()}
    assert [hook["name"] for hook in project.webhooks()] == ["Builds"]


@pytest.mark.parametrize(
    "name", ["pairs.jsonl", "pairs.csv", "pairs.jsonl.gz", "pairs.jsonl.zst", "pairs.parquet"]
)
def test_a_download_is_the_servers_file(client: Rankloop, world: World, tmp_path: Path, name: str) -> None:
    path = client.project("answers").dataset().download(tmp_path / name, progress=False)
    format_, _, ending = name.partition(".")[2].partition(".")
    compression = {"": "", "gz": "gzip", "zst": "zstd"}[ending]
    made = export(world.dataset, shape="pairs", format=format_, compression=compression)
    assert path.read_bytes() == made.path.read_bytes()
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_a_download_goes_on_with_what_is_there_and_trusts_no_bytes(
    client: Rankloop, world: World, tmp_path: Path
) -> None:
    content = export(world.dataset, shape="pairs").path.read_bytes()
    begun = tmp_path / f".pairs.jsonl.{hashlib.sha256(content).hexdigest()[:16]}.part"
    begun.write_bytes(content[:40])
    dataset = client.project("answers").dataset(1)
    assert dataset.download(tmp_path / "pairs.jsonl", progress=False).read_bytes() == content

    begun.write_bytes(b"x" * 40)
    with pytest.raises(Exception, match="not what the server has"):
        dataset.download(tmp_path / "pairs.jsonl", progress=False)
    assert (tmp_path / "pairs.jsonl").read_bytes() == content and not begun.exists()
    with pytest.raises(ValueError, match="must end in one of"):
        dataset.download(tmp_path / "pairs.xlsx")


def test_rows_and_card_are_the_exports(client: Rankloop, world: World) -> None:
    dataset = client.project("answers").dataset()
    for shape in ("rankings", "pairs", "unpaired", "sft"):
        path = export(world.dataset, shape=shape).path
        assert list(dataset.rows(shape)) == [json.loads(line) for line in path.open()]  # type: ignore[arg-type]
    assert dataset.card().startswith("---") and dataset.sha256 == world.dataset.sha256
    assert dataset.detail()["settings"]


def test_rows_keep_line_separators_that_are_no_line_ends(
    client: Rankloop, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"text": "one\u2028two\x85three"}, {"text": "four"}]
    content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    dataset = client.project("answers").dataset()
    cut = [content[n : n + 3] for n in range(0, len(content), 3)]
    monkeypatch.setattr(dataset._transport, "parts", lambda *args, **kwargs: iter(cut))
    assert list(dataset.rows()) == rows


def test_a_file_of_any_form_is_imported_as_it_is(client: Rankloop, world: World, tmp_path: Path) -> None:
    (tmp_path / "prompts.csv").write_text("prompt,key\nWhat is a quince?,q\n")
    report = client.project("answers").import_prompts(tmp_path / "prompts.csv", progress=False)
    assert (report["created"], report["existing"]) == (1, 0)
    assert world.project.prompts.filter(key="q").exists()


def test_each_no_is_an_exception_with_the_servers_sentence(
    client: Rankloop, world: World, live_server: Any
) -> None:
    with pytest.raises(NotFound, match="There is no such thing here"):
        client.project("nowhere")
    with pytest.raises(NotAuthenticated):
        Rankloop(live_server.url, "rl_wrong").me()
    with pytest.raises(NotAllowed):
        client_of(world, "annotator", live_server).project("answers").import_prompts(["How?"])
    with pytest.raises(Conflict):
        client.project("answers").create_webhook("Builds", "https://hooks.example.org", ["run.ended"])
    with pytest.raises(NotFound, match="no dataset version 9"):
        client.project("answers").dataset(9)


def test_the_forms_of_records_are_the_apis() -> None:
    schemas = document()["components"]["schemas"]
    names = {
        "ProjectRecord": "ProjectOut",
        "PromptRecord": "PromptOut",
        "ImportReport": "ImportOut",
        "ResponseRecord": "ResponseOut",
        "SourceRecord": "ImportSourceOut",
        "BatchRecord": "BatchOut",
        "TaskResponse": "TaskResponseOut",
        "TaskRecord": "TaskOut",
        "NumberedResponse": "NumberedResponse",
        "TaskToRank": "BlindView",
        "RankingRecord": "RankingOut",
        "DatasetRecord": "DatasetOut",
        "DatasetDetail": "DatasetDetailOut",
        "RoundRecord": "RoundOut",
        "RunRecord": "RunOut",
        "WebhookRecord": "WebhookOut",
        "NewWebhook": "NewWebhookOut",
        "Message": "MessageOut",
        "Passage": "PassageOut",
    }
    for form, schema in names.items():
        known = schemas.get(schema) or schemas[schema.removesuffix("Out")]
        fields = set(get_type_hints(getattr(records, form)))
        assert fields <= set(known["properties"]), form


ALONE = """
import sys
import rankloop.client
loaded = {name.partition(".")[0] for name in sys.modules}
print(sorted(loaded & {"django", "torch", "pyarrow", "config", "annotation", "alignment", "training", "frontend"}))
"""


def test_the_client_needs_nothing_of_the_server() -> None:
    ran = subprocess.run([sys.executable, "-c", ALONE], cwd=environment.ROOT, capture_output=True, text=True)
    assert ran.stdout.strip() == "[]", ran.stderr


def test_its_wheel_holds_the_client_alone(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="77")
    copy = shutil.copytree(
        environment.ROOT / "rankloop", tmp_path / "rankloop", ignore=shutil.ignore_patterns("__pycache__")
    )
    build = "from setuptools.build_meta import build_wheel; build_wheel('.')"
    built = subprocess.run([sys.executable, "-c", build], cwd=copy, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (wheel,) = copy.glob("rankloop_client-*.whl")
    with zipfile.ZipFile(wheel) as packed:
        names = {name for name in packed.namelist() if ".dist-info/" not in name}
        metadata = next(
            packed.read(name) for name in packed.namelist() if name.endswith("/METADATA")
        ).decode()
    sources = {
        f"rankloop/client/{file.name}" for file in (environment.ROOT / "rankloop/client").glob("*.py*")
    }
    assert names == {*sources, "rankloop/client/py.typed"}
    assert set(re.findall(r"^Requires-Dist: ([\w-]+)", metadata, re.MULTILINE)) == {"httpx", "tqdm"}
