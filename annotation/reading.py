"""Rows out of JSON, CSV and Parquet files that people upload, packed or not."""

from __future__ import annotations

import codecs
import csv
import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import PurePath
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from annotation.json_arrays import read_json_array
from annotation.json_objects import Reader
from annotation.refusals import LineError, Refusal
from annotation.rows import Row
from annotation.unpacking import unpacked
from config.api_parsing import fault_of_json

LONGEST_LINE = 2**22
"""Bytes of one line, 4 MiB: far beyond any conversation that a person would read, and small beside memory."""

JSON_COLUMNS = ("messages", "context", "tags")
WHOLE_NUMBER_COLUMNS = ("index", "tokens")
PARQUET_ROWS = 256

csv.field_size_limit(LONGEST_LINE)


def read_rows(file: IO[bytes], filename: str, *, typed: bool = True) -> Iterator[tuple[int, Row]]:
    """Yield the file's rows with their line numbers (of Parquet: row numbers), from 1, without holding the file.

    A line that cannot be read comes as a LineError in its row's place, so that an import can tell of all bad lines.
    Text is UTF-8, with or without a byte order mark. CSV (or TSV) has a header line; its columns ``messages``,
    ``context`` and ``tags`` hold JSON (tags also plain words between commas), an empty cell is no value.

    Args:
        file: open for reading bytes; it must seek.
        filename: its ending tells the format: .jsonl, .ndjson, .json (an array, or an object a line), .csv, .tsv,
            .parquet; each may have .gz or .zst after it.
        typed: whether a CSV's columns of those names must be what Rankloop's own rows have in them; else what is no
            list or object there stays text.

    Raises:
        Refusal: the format is unknown, or the file as a whole is not of its format.
    """
    packed = file
    file, filename = unpacked(file, filename, _size_of(file))
    ending = PurePath(filename).suffix.lower()
    if ending in (".jsonl", ".ndjson"):
        return _read_jsonl(file, filename)
    if ending == ".json":
        return _read_json(file, filename)
    if ending in (".csv", ".tsv"):
        return _read_csv(file, filename, "\t" if ending == ".tsv" else ",", typed)
    if ending == ".parquet":
        return _read_parquet(file if file is packed else _on_disk(file), filename)
    raise Refusal(
        "invalid",
        f"{filename}: the ending {ending or '(none)'} is unknown; name the file .jsonl, .json, .csv, .tsv or .parquet, "
        "with .gz or .zst after it if it is packed.",
        field="file",
    )


def _size_of(file: IO[bytes]) -> int:
    begin = file.tell()
    size = file.seek(0, io.SEEK_END)
    file.seek(begin)
    return size


def _on_disk(file: IO[bytes]) -> IO[bytes]:
    """What was packed, in a file that can seek and is gone when it is closed."""
    kept = tempfile.TemporaryFile()  # noqa: SIM115 (its reader closes it)
    while piece := file.read(2**20):
        kept.write(piece)
    kept.seek(0)
    return kept


def _read_json(file: IO[bytes], filename: str) -> Iterator[tuple[int, Row]]:
    """An array, or, as many that are named so are, an object a line."""
    buffered = file if isinstance(file, io.BufferedReader) else io.BufferedReader(_Bytes(file), 2**20)
    begin = buffered.peek(64).removeprefix(codecs.BOM_UTF8).lstrip()
    if begin.startswith(b"["):
        return read_json_array(buffered, LONGEST_LINE)
    return _read_jsonl(buffered, filename)


class _Bytes(io.RawIOBase):
    """An uploaded file, so that it can be looked into before it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self.file.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)


def _read_jsonl(file: IO[bytes], filename: str) -> Iterator[tuple[int, Row]]:
    reader = Reader()
    for number, line in _lines(file, filename):
        if isinstance(line, LineError):
            yield number, line
        elif line.strip():
            yield number, _json_row(reader, number, line)


def _json_row(reader: Reader, number: int, line: str) -> Row:
    try:
        row = reader.read(line.rstrip())
    except RecursionError:
        return LineError(number, "", "is nested too deeply")
    except ValueError as error:
        if line.lstrip().startswith("[") and number == 1:
            return LineError(
                number, "", "starts a JSON list; write one object a line, without brackets around"
            )
        return LineError(number, "", f"is not JSON: {fault_of_json(error)}")
    if not isinstance(row, dict):
        return LineError(number, "", f'must be an object like {{"prompt": …}}, not {line.strip()!r:.60}')
    return LineError(number, "", reader.fault) if reader.fault else row


def _lines(file: IO[bytes], filename: str) -> Iterator[tuple[int, str | LineError]]:
    """The file's lines as text with their line ends, or what is wrong with them."""
    number = 0
    while line := file.readline(LONGEST_LINE + 1):
        number += 1
        if number == 1:
            if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                raise Refusal("invalid", f"{filename} is UTF-16; save it as UTF-8.", field="file")
            line = line.removeprefix(codecs.BOM_UTF8)
        if len(line) > LONGEST_LINE:
            while line and not line.endswith(b"\n"):
                line = file.readline(LONGEST_LINE)
            yield number, LineError(number, "", f"is longer than {LONGEST_LINE // 2**20} MiB")
            continue
        try:
            yield number, line.decode()
        except UnicodeDecodeError as error:
            yield (
                number,
                LineError(number, "", f"is not UTF-8 at byte {error.start + 1}; save the file as UTF-8"),
            )


def _read_csv(file: IO[bytes], filename: str, delimiter: str, typed: bool) -> Iterator[tuple[int, Row]]:
    source = _CsvLines(file, filename)
    reader = csv.reader(source, delimiter=delimiter, strict=True)
    try:
        header = next(reader, None)
    except csv.Error as error:
        raise Refusal("invalid", f"{filename} is not CSV: {error} in line 1.", field="file") from error
    if source.error is not None:
        raise Refusal("invalid", f"{filename}: the header line {source.error.reason}.", field="file")
    if header is None:
        return
    names = [name.strip() for name in header]
    _check_header(names, filename)
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield start, LineError(start, "", f"is not CSV: {error}")
            continue
        if source.error is not None:
            yield start, LineError(start, "", source.error.reason)
            source.error = None
        elif any(cells):
            yield start, _csv_row(start, names, cells, typed)


class _CsvLines:
    """Lines for csv.reader. One that cannot be read is given as a blank, and remembered for the row it is in."""

    def __init__(self, file: IO[bytes], filename: str) -> None:
        self.lines = _lines(file, filename)
        self.error: LineError | None = None

    def __iter__(self) -> _CsvLines:
        return self

    def __next__(self) -> str:
        _, line = next(self.lines)
        if isinstance(line, LineError):
            self.error = line
            return "\n"
        return line


def _check_header(names: list[str], filename: str) -> None:
    for name in names:
        if not name or names.count(name) > 1:
            what = f"names the column {name!r} twice" if name else "has a column without a name"
            raise Refusal("invalid", f"{filename}: the header line {what}.", field="file")


def _csv_row(number: int, names: list[str], cells: list[str], typed: bool) -> Row:
    if len(cells) != len(names):
        return LineError(number, "", f"has {len(cells)} cells; the header has {len(names)}")
    row: dict[str, Any] = {}
    for name, cell in zip(names, cells, strict=True):
        if cell == "" and name not in ("text", "response"):
            continue
        if name in WHOLE_NUMBER_COLUMNS and cell.strip().isdecimal() and len(cell) < 20:
            row[name] = int(cell)
        elif name in JSON_COLUMNS and (name != "tags" or cell.lstrip().startswith("[")):
            try:
                row[name] = json.loads(cell) if typed or cell.lstrip()[:1] in ("[", "{") else cell
            except RecursionError:
                return LineError(number, name, "is nested too deeply")
            except ValueError as error:
                if typed:
                    return LineError(number, name, f"is not JSON: {fault_of_json(error)}")
                row[name] = cell
        elif name == "tags":
            row[name] = [tag.strip() for tag in cell.split(",") if tag.strip()]
        else:
            row[name] = cell
    return row


def _read_parquet(file: IO[bytes], filename: str) -> Iterator[tuple[int, Row]]:
    number = 0
    try:
        with pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(PARQUET_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield number, {name: value for name, value in row.items() if value is not None}
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if not number:
            sentence = f"{filename} is not a Parquet file, or is cut off. Send it again, or write it anew."
        else:
            sentence = f"{filename} is damaged after row {number:,}. Send it again, or write it anew."
        raise Refusal("invalid", sentence, field="file") from error
