"""Packed files and JSON arrays are read as plain ones are."""

from __future__ import annotations

import gzip
import io
import json
import random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotation import json_arrays, unpacking
from annotation.json_arrays import read_json_array
from annotation.reading import LONGEST_LINE, read_rows
from annotation.refusals import LineError, Refusal

ROWS = [{"prompt": f"Question {n}? é\u2028", "tags": ["a", "]"]} for n in range(3000)]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()
ARRAY = json.dumps(ROWS, ensure_ascii=False, indent=1).encode()


def parquet() -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), file)
    return file.getvalue()


def read(data: bytes, filename: str) -> list[Any]:
    return [row for _, row in read_rows(io.BytesIO(data), filename)]


@pytest.mark.parametrize(
    ("data", "filename"),
    [
        (gzip.compress(LINES), "x.jsonl.gz"),
        (pa.Codec("zstd").compress(LINES, asbytes=True), "x.JSONL.zst"),
        (ARRAY, "x.json"),
        (b"\xef\xbb\xbf \n" + ARRAY + b"\n ", "x.json"),
        (LINES, "x.json"),
        (gzip.compress(ARRAY), "x.json.gz"),
        (gzip.compress(parquet()), "x.parquet.gz"),
    ],
    ids=["gzip", "zstd", "array", "array with a mark", "lines", "packed array", "packed parquet"],
)
def test_all_ways_to_pack_rows_give_the_same_rows(data: bytes, filename: str) -> None:
    assert read(data, filename) == ROWS


def test_what_cannot_be_unpacked_is_refused_with_what_to_do() -> None:
    for data in (gzip.compress(LINES)[:500], b"no gzip"):
        with pytest.raises(Refusal, match=r"x\.jsonl\.gz cannot be unpacked"):
            read(data, "x.jsonl.gz")
    with pytest.raises(Refusal, match=r"x\.csv\.zst cannot be unpacked"):
        read(b"no zstandard", "x.csv.zst")


def test_a_file_that_unpacks_to_a_disk_full_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "FREE_BYTES", 0)
    bomb = gzip.compress(b'{"prompt": "x"}\n' * 200_000, 9)
    with pytest.raises(Refusal, match="unpacks to more than 200 times its size"):
        for _ in read_rows(io.BytesIO(bomb), "x.jsonl.gz"):
            pass


@given(
    st.lists(
        st.dictionaries(
            st.text(max_size=5), st.recursive(st.text(max_size=9), st.lists, max_leaves=5), max_size=3
        )
    ),
    st.integers(1, 9),
)
def test_an_array_is_the_same_wherever_pieces_of_it_end(rows: list[Any], piece: int) -> None:
    kept, json_arrays.PIECE = json_arrays.PIECE, piece
    try:
        found = list(read_json_array(io.BytesIO(json.dumps(rows).encode()), LONGEST_LINE))
    finally:
        json_arrays.PIECE = kept
    assert found == list(enumerate(rows, start=1))


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        ('[{"a": 1}, 3, {"b": 2}]', {2: "must be an object, not 3"}),
        ('[{"a": 1}, {"b": }]', {2: "is not JSON: at character 7 a value is missing"}),
        ('[{"a": 1, "a": 2}, {"b": 2}]', {1: "names 'a' more than once"}),
        ('[{"a": 1}', {2: "the file ends where ',' should be"}),
        ('[{"a": 1} {"b": 2}]', {2: "'{' stands where ',' should be"}),
        ('[{"a": 1}] x', {2: "more follows what is complete already"}),
        ("[" * 100_000, {1: "nested too deeply"}),
    ],
    ids=["no object", "no value", "a key twice", "no end", "no comma", "more", "too deep"],
)
def test_a_broken_array_is_told_by_its_element(text: str, errors: dict[int, str]) -> None:
    found = read_rows(io.BytesIO(text.encode()), "x.json")
    told = {number: row.reason for number, row in found if isinstance(row, LineError)}
    assert list(told) == list(errors)
    for number, reason in errors.items():
        assert reason in told[number]


def test_random_bytes_break_nothing() -> None:
    dice = random.Random(1)
    for ending in ("json", "json.gz", "json.zst", "csv.gz"):
        for _ in range(20):
            data = bytes(dice.randrange(256) for _ in range(50))
            try:
                read(data, f"x.{ending}")
            except Refusal as refusal:
                assert refusal.sentence
