"""How rows become the bytes of a file: JSON lines, CSV and Parquet, in memory that does not grow with the file.

Rows come in groups, those of one ranking, which share its prompt and its responses: the very same objects. Each of them
is encoded once a group, so a ranking of nine responses costs nine texts and not its 36 pairs' 72.
"""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

# pyarrow's own allocator keeps some thirty megabytes that were freed, in each process of the web; the C library's gives
# them back.
pa.set_memory_pool(pa.system_memory_pool())

Group = list[dict[str, Any]]
Write = Callable[[BinaryIO, pa.Schema, Iterable[Group]], None]

BUFFER = 2**20
"""Bytes that are written at once."""
ROWS_AT_ONCE = 8192
CHARACTERS_AT_ONCE = 2**21
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
            with gzip.GzipFile("", "wb", GZIP_LEVEL, file, mtime=0) as zipped, _behind(zipped) as written:
                yield written
        elif compression == "zstd":
            sink = pa.PythonFile(file, mode="w")
            with pa.CompressedOutputStream(sink, "zstd") as squeezed, _behind(squeezed) as written:
                yield written
        else:
            yield file


@contextmanager
def _behind(file: Any) -> Iterator[BinaryIO]:
    """A file whose writing, and so its compressing, goes on in a thread while the caller makes what comes next."""
    waiting: Queue[bytes | None] = Queue(maxsize=4)
    failed: list[BaseException] = []

    def work() -> None:
        while (part := waiting.get()) is not None:
            if not failed:
                try:
                    file.write(part)
                except BaseException as error:  # the caller's to know
                    failed.append(error)

    class Behind:
        def write(self, part: bytes) -> None:
            if failed:
                raise failed[0]
            waiting.put(part)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield cast(BinaryIO, Behind())
    finally:
        waiting.put(None)
        thread.join()
    if failed:
        raise failed[0]


def write_jsonl(file: BinaryIO, schema: pa.Schema, groups: Iterable[Group]) -> None:
    """Write a JSON object a line, in UTF-8."""
    between = {name: f', "{name}": '.encode() for name in schema.names}

    def pieces(group: Group) -> Iterator[bytes]:
        texts = _Texts(as_json)
        for row in group:
            cells = iter(row.items())
            name, value = next(cells)
            yield b"{" + between[name][2:]
            yield texts.of(value)
            for name, value in cells:
                yield between[name]
                yield texts.of(value)
            yield b"}\n"

    for part in _joined(map(pieces, groups)):
        file.write(part)


def write_csv(file: BinaryIO, schema: pa.Schema, groups: Iterable[Group]) -> None:
    """Write RFC 4180, in UTF-8 and with a head. Numbers are as they are; conversations, lists and objects are their
    JSON text, so nothing is lost and no cell begins with what a spreadsheet would compute."""

    def pieces(group: Group) -> Iterator[bytes]:
        texts = _Texts(as_cell)
        for row in group:
            between = b""
            for name in schema.names:
                yield between
                if name in row:
                    yield texts.of(row[name])
                between = b","
            yield b"\r\n"

    file.write(",".join(schema.names).encode() + b"\r\n")
    for part in _joined(map(pieces, groups)):
        file.write(part)


def write_parquet(file: BinaryIO, schema: pa.Schema, groups: Iterable[Group]) -> None:
    """Write Parquet, compressed within by zstd. Without statistics: least and greatest texts, whole, of each row group,
    would be held to the end, and nobody looks for texts by them."""
    with pq.ParquetWriter(
        pa.PythonFile(file, mode="w"), schema, compression="zstd", write_statistics=False
    ) as writer:
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


def as_json(value: Any) -> bytes:
    """The JSON text of a value, in UTF-8."""
    # `json` has floats so, too; records hold finite ones alone.
    return repr(value).encode() if type(value) is float else ENCODE(value).encode()


def as_cell(value: Any) -> bytes:
    """The same as a cell of CSV: in quotes, unless it is a plain number or word."""
    text = as_json(value)
    return b'"' + text.replace(b'"', b'""') + b'"' if isinstance(value, list | dict | str) else text


class _Texts:
    """Texts of the values of one group. A list that several rows hold is encoded once."""

    def __init__(self, encode: Callable[[Any], bytes]) -> None:
        self.encode = encode
        self.known: dict[int, bytes] = {}

    def of(self, value: Any) -> bytes:
        if not isinstance(value, list):
            return self.encode(value)
        text = self.known.get(id(value))
        if text is None:
            text = self.known[id(value)] = self.encode(value)
        return text


def _joined(pieces_of_groups: Iterable[Iterator[bytes]]) -> Iterator[bytes]:
    """All pieces in parts that are worth a write."""
    parts: list[bytes] = []
    size = 0
    for pieces in pieces_of_groups:
        part = b"".join(pieces)
        parts.append(part)
        size += len(part)
        if size >= BUFFER:
            yield b"".join(parts)
            parts, size = [], 0
    yield b"".join(parts)


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
