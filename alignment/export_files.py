"""How rows become the bytes of a file: JSON lines, CSV and Parquet, in memory that does not grow with the file.

Rows come in groups, those of one ranking, which share its prompt and its responses: the very same objects. Each of them
is encoded once a group, so a ranking of nine responses costs nine texts and not its 36 pairs' 72.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

Group = list[dict[str, Any]]
Write = Callable[[BinaryIO, pa.Schema, Iterable[Group]], None]

BUFFER = 2**20
"""Bytes that are written at once."""
ROWS_AT_ONCE = 8192
CHARACTERS_AT_ONCE = 2**24
"""A row group of Parquet ends with the first of both that is reached: texts may be long."""
ENCODE = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode

GZIP_LEVEL = 2
"""A first download waits for the compressor, so it is one that keeps up with the network."""
COMPRESSIONS = {"gzip": ".gz", "zstd": ".zst"}
"""What the name of a compressed file ends in."""


@contextmanager
def opened(path: Path, compression: str = "") -> Iterator[BinaryIO]:
    """Open a new file for writing. What is written is compressed to the same bytes each time.

    Args:
        compression: a key of `COMPRESSIONS`, or none.
    """
    with path.open("wb", buffering=BUFFER) as file:
        if compression == "gzip":
            with gzip.GzipFile("", "wb", GZIP_LEVEL, file, mtime=0) as zipped:
                yield cast(BinaryIO, zipped)
        elif compression == "zstd":
            with pa.CompressedOutputStream(pa.PythonFile(file, mode="w"), "zstd") as squeezed:
                yield cast(BinaryIO, squeezed)
        else:
            yield file


def write_jsonl(file: BinaryIO, schema: pa.Schema, groups: Iterable[Group]) -> None:
    """Write a JSON object a line, in UTF-8."""
    for part in _joined(_lines(group) for group in groups):
        file.write(part)


def write_csv(file: BinaryIO, schema: pa.Schema, groups: Iterable[Group]) -> None:
    """Write RFC 4180, in UTF-8 and with a head. Numbers are as they are; conversations, lists and objects are their
    JSON text, so nothing is lost and no cell begins with what a spreadsheet would compute."""
    for part in _joined(_sheet(schema.names, groups)):
        file.write(part)


def write_parquet(file: BinaryIO, schema: pa.Schema, groups: Iterable[Group]) -> None:
    """Write Parquet, compressed within by zstd."""
    with pq.ParquetWriter(pa.PythonFile(file, mode="w"), schema, compression="zstd") as writer:
        rows: Group = []
        characters = 0
        for group in groups:
            rows += group
            characters += sum(map(_characters, group))
            if len(rows) >= ROWS_AT_ONCE or characters >= CHARACTERS_AT_ONCE:
                writer.write_table(_table(rows, schema))
                rows, characters = [], 0
        if rows:
            writer.write_table(_table(rows, schema))


WRITERS: dict[str, Write] = {"jsonl": write_jsonl, "parquet": write_parquet, "csv": write_csv}


class _Texts:
    """JSON texts of the values of one group. A list that several rows hold is encoded once."""

    def __init__(self) -> None:
        self.known: dict[int, str] = {}

    def of(self, value: Any) -> str:
        if type(value) is float:
            return repr(value)  # as `json` has it; records hold finite numbers alone
        if not isinstance(value, list):
            return ENCODE(value)
        text = self.known.get(id(value))
        if text is None:
            text = self.known[id(value)] = ENCODE(value)
        return text


def _lines(group: Group) -> str:
    texts = _Texts()
    return "".join(
        "{" + ", ".join([f'"{name}": {texts.of(value)}' for name, value in row.items()]) + "}\n"
        for row in group
    )


def _sheet(names: list[str], groups: Iterable[Group]) -> Iterator[str]:
    sheet = io.StringIO()
    writer = csv.writer(sheet)
    writer.writerow(names)
    for group in groups:
        texts = _Texts()
        writer.writerows([texts.of(row[name]) if name in row else "" for name in names] for row in group)
        yield sheet.getvalue()
        sheet.seek(0)
        sheet.truncate()
    yield sheet.getvalue()


def _joined(texts: Iterable[str]) -> Iterator[bytes]:
    """The texts' bytes, in parts that are worth a write."""
    parts: list[str] = []
    characters = 0
    for text in texts:
        parts.append(text)
        characters += len(text)
        if characters >= BUFFER:
            yield "".join(parts).encode()
            parts, characters = [], 0
    yield "".join(parts).encode()


def _table(rows: Group, schema: pa.Schema) -> pa.Table:
    return pa.Table.from_arrays(
        [_column([row.get(field.name) for row in rows], field.type) for field in schema], schema=schema
    )


def _column(values: list[Any], type_: pa.DataType) -> pa.Array:
    if not pa.types.is_nested(type_):
        return pa.array(values, type_)
    distinct = {id(value): value for value in values}
    made = pa.array(list(distinct.values()), type_)
    if len(distinct) == len(values):
        return made
    place = {name: number for number, name in enumerate(distinct)}
    return made.take(pa.array([place[id(value)] for value in values], pa.int32()))


def _characters(value: Any) -> int:
    """How much text a value holds, roughly."""
    match value:
        case str():
            return len(value)
        case list():
            return sum(map(_characters, value))
        case dict():
            return sum(map(_characters, value.values()))
        case _:
            return 8
