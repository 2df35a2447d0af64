"""A dataset's files over HTTP: curl with a token takes them, and so do datasets and TRL."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alignment import exporting
from alignment.datasets import dataset_folder
from tests.api.world import World, make_world


def body_of(response: Any) -> bytes:
    return b"".join(response.streaming_content) if response.streaming else response.content


@pytest.mark.parametrize("shape", ["rankings", "pairs", "unpaired", "sft"])
def test_each_shape_comes_in_every_format_with_the_same_rows(world: World, shape: str) -> None:
    client = world.client("reviewer")
    address = f"/api/v1/datasets/{world.dataset.pk}/export?shape={shape}&split=train"

    jsonl = client.get(f"{address}&format=jsonl")
    parquet = client.get(f"{address}&format=parquet")
    sheet = client.get(f"{address}&format=csv")

    lines = [json.loads(line) for line in body_of(jsonl).splitlines()]
    assert jsonl["Content-Type"] == "application/jsonl"
    rows = pq.read_table(pa.BufferReader(body_of(parquet))).to_pylist()
    assert lines == rows and rows
    assert sheet["Content-Type"] == "text/csv; charset=utf-8"
    cells = csv.DictReader(io.StringIO(body_of(sheet).decode(), newline=""))
    assert [{name: json.loads(cell) for name, cell in row.items()} for row in cells] == lines


def test_the_etag_is_the_files_hash_and_whoever_has_it_gets_304(world: World) -> None:
    client = world.client("reviewer")
    address = f"/api/v1/datasets/{world.dataset.pk}/export?format=parquet"
    full = client.get(address)
    content = body_of(full)

    assert full["ETag"] == f'"{hashlib.sha256(content).hexdigest()}"'
    assert int(full["Content-Length"]) == len(content)
    assert full["Accept-Ranges"] == "bytes"
    head = client.head(address)
    assert full["Content-Disposition"] == head["Content-Disposition"]
    assert full["Content-Disposition"].startswith(f'attachment; filename="{world.project.slug}-v1-')
    assert head.status_code == 200 and head["Content-Length"] == full["Content-Length"] and not body_of(head)
    known = client.get(address, HTTP_IF_NONE_MATCH=full["ETag"])
    assert known.status_code == 304 and not body_of(known)
    assert client.get(address, HTTP_IF_MATCH='"another"').status_code == 412


def test_a_file_is_resumed_by_ranges(world: World) -> None:
    client = world.client("reviewer")
    address = f"/api/v1/datasets/{world.dataset.pk}/export"
    content = body_of(client.get(address))
    size = len(content)

    for header, part in (
        ("bytes=0-9", content[:10]),
        ("bytes=10-", content[10:]),
        ("bytes=-7", content[-7:]),
        (f"bytes={size - 1}-{size + 50}", content[-1:]),
    ):
        answer = client.get(address, HTTP_RANGE=header)
        assert answer.status_code == 206, header
        assert body_of(answer) == part
        assert int(answer["Content-Length"]) == len(part)
        assert answer["Content-Range"].endswith(f"/{size}")
    beyond = client.get(address, HTTP_RANGE=f"bytes={size}-")
    assert beyond.status_code == 416 and beyond["Content-Range"] == f"bytes */{size}"
    for ignored in ("bytes=5-2", "bytes=0-1,4-5", "lines=1-2", "bytes=-", "bytes=a-b"):
        assert client.get(address, HTTP_RANGE=ignored).status_code == 200
    stale = client.get(address, HTTP_RANGE="bytes=0-9", HTTP_IF_RANGE='"another"')
    assert stale.status_code == 200, "the file that the first part was of is another one"


@pytest.mark.parametrize("asked", ["", "bytes=5-"])
def test_a_file_that_is_dropped_while_it_is_sent_reaches_its_reader_whole(
    world: World, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    client = world.client("reviewer")
    address = f"/api/v1/datasets/{world.dataset.pk}/export"
    content = body_of(client.get(address))
    kept = exporting.export(world.dataset, shape="rankings").path
    answer = client.get(address, **({"HTTP_RANGE": asked} if asked else {}))

    os.utime(kept, (0, 0))
    monkeypatch.setattr(exporting, "VERSION", exporting.VERSION + 1)  # the next version's server drops it
    exporting.export(world.dataset, shape="rankings")

    assert not kept.exists()
    assert body_of(answer) == (content[5:] if asked else content)


def test_who_has_the_file_gets_304_whatever_part_is_asked_for(world: World) -> None:
    client = world.client("reviewer")
    address = f"/api/v1/datasets/{world.dataset.pk}/export"
    etag = client.get(address)["ETag"]
    known = client.get(address, HTTP_IF_NONE_MATCH=f'"other", {etag}', HTTP_RANGE="bytes=999999999-")
    assert known.status_code == 304 and known["ETag"] == etag and "Accept-Encoding" in known["Vary"]


@pytest.mark.parametrize(
    ("accepts", "coding"),
    [
        ("gzip, deflate", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("zstd;q=0.5, gzip", "gzip"),
        ("gzip;q=0, identity", ""),
        ("br", ""),
        ("identity", ""),
        ("gzip;q=nonsense", ""),
        ("", ""),
    ],
)
def test_a_text_is_sent_in_the_coding_that_the_caller_likes_best(
    world: World, accepts: str, coding: str
) -> None:
    client = world.client("reviewer")
    address = f"/api/v1/datasets/{world.dataset.pk}/export?shape=pairs"
    plain = body_of(client.get(address))

    answer = client.get(address, HTTP_ACCEPT_ENCODING=accepts)
    sent = body_of(answer)

    assert answer.get("Content-Encoding", "") == coding
    assert answer["Content-Type"] == "application/jsonl"
    assert answer["Content-Disposition"].endswith('.jsonl"')
    assert "Accept-Encoding" in answer["Vary"]
    assert answer["ETag"] == f'"{hashlib.sha256(sent).hexdigest()}"', "each coding has an ETag of its own"
    assert decoded(sent, coding) == plain
    parquet = client.get(f"{address}&format=parquet", HTTP_ACCEPT_ENCODING=accepts)
    assert "Content-Encoding" not in parquet


def decoded(content: bytes, coding: str) -> bytes:
    if not coding:
        return content
    return pa.CompressedInputStream(pa.BufferReader(content), coding).read()


def test_a_part_is_of_the_plain_file_unless_a_coded_one_was_begun(world: World) -> None:
    """fsspec asks for parts with the Accept-Encoding of its library, and decodes each by itself."""
    client = world.client("reviewer")
    address = f"/api/v1/datasets/{world.dataset.pk}/export"
    plain = body_of(client.get(address))
    asked = {"HTTP_ACCEPT_ENCODING": "gzip, zstd", "HTTP_RANGE": "bytes=5-"}

    part = client.get(address, **asked)
    assert part.status_code == 206 and "Content-Encoding" not in part and body_of(part) == plain[5:]

    whole = client.get(address, HTTP_ACCEPT_ENCODING="gzip")
    content = body_of(whole)
    rest = client.get(address, HTTP_IF_RANGE=whole["ETag"], **asked)
    assert rest.status_code == 206 and rest["Content-Encoding"] == "gzip"
    assert body_of(rest) == content[5:]
    assert gzip.decompress(content[:5] + content[5:]) == plain


def test_a_compressed_file_stays_compressed(world: World) -> None:
    client = world.client("reviewer")
    address = f"/api/v1/datasets/{world.dataset.pk}/export?shape=pairs"
    file = client.get(f"{address}&compression=gzip", HTTP_ACCEPT_ENCODING="zstd")
    assert file["Content-Type"] == "application/gzip" and "Content-Encoding" not in file
    assert file["Content-Disposition"].endswith('.jsonl.gz"')
    assert gzip.decompress(body_of(file)) == body_of(client.get(address))
    refused = client.get(f"{address}&format=parquet&compression=gzip")
    assert refused.status_code == 422 and refused.json()["errors"][0]["field"] == "compression"


def test_an_unknown_shape_is_refused_with_the_ones_there_are(world: World) -> None:
    refused = world.client("reviewer").get(f"/api/v1/datasets/{world.dataset.pk}/export?shape=triples")
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["field"] == "shape"


def test_the_card_and_a_preview_say_what_is_in_it(world: World) -> None:
    client = world.client("reviewer")
    card = client.get(f"/api/v1/datasets/{world.dataset.pk}/card")
    assert card["Content-Type"].startswith("text/markdown") and body_of(card)
    preview = client.get(f"/api/v1/datasets/{world.dataset.pk}/preview?limit=1").json()["records"]
    assert len(preview) == 1 and len(preview[0]["responses"]) == 3


def test_a_dataset_whose_files_are_gone_says_where_to_get_them(world: World) -> None:
    shutil.rmtree(dataset_folder(world.dataset))
    for file in ("card", "preview", "export"):
        answer = world.client("reviewer").get(f"/api/v1/datasets/{world.dataset.pk}/{file}")
        assert answer.status_code == 404 and "backup" in answer.json()["detail"], file


LOAD = """
import json, os, sys
from datasets import load_dataset
url, key, cache = sys.argv[1:]
options = {"http": {"client_kwargs": {"headers": {"Authorization": f"Bearer {key}"}}}}
sizes = {}
for kind, asked in (("json", "format=jsonl"), ("json", "compression=gzip"), ("parquet", "format=parquet")):
    files = f"{url}&{asked}"
    rows = load_dataset(kind, data_files=files, storage_options=options, split="train", cache_dir=cache)
    sizes[asked] = [len(rows), sorted(rows.column_names), rows[0]["chosen"][0]["role"]]
    first = next(iter(load_dataset(kind, data_files=files, storage_options=options, split="train", streaming=True)))
    assert first == rows[0], (first, rows[0])
print(json.dumps(sizes))
"""


@pytest.mark.django_db(transaction=True)
def test_load_dataset_takes_the_address_and_a_token(live_server: Any, tmp_path: Any) -> None:
    pytest.importorskip("datasets")
    world = make_world()
    world.client("reviewer")
    url = f"{live_server.url}/api/v1/datasets/{world.dataset.pk}/export?shape=pairs&split=train"
    online = {k: v for k, v in os.environ.items() if k not in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")}

    loaded = subprocess.run(
        [sys.executable, "-c", LOAD, url, world.keys["reviewer"], str(tmp_path)],
        env=online | {"HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )

    assert loaded.returncode == 0, loaded.stderr
    sizes = json.loads(loaded.stdout.splitlines()[-1])
    assert sizes["format=jsonl"] == sizes["format=parquet"] == sizes["compression=gzip"]
    count, columns, role = sizes["format=jsonl"]
    assert count > 0 and {"prompt", "chosen", "rejected"} <= set(columns) and role == "assistant"
