"""Exports: a dataset in the shapes that training takes, as files that are written once."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from alignment.datasets import dataset_folder, split_file
from alignment.models import Dataset
from annotation.refusals import Refusal
from training.engine.files import flush
from training.engine.records import (
    DEMONSTRATIONS,
    ROWS_A_GROUP,
    SCHEMA,
    Ranking,
    Which,
    read_rankings,
    to_pairs,
    to_sft,
    to_unpaired,
)

META = pa.struct([("task", pa.string()), ("rankings", pa.int64()), ("sources", pa.list_(pa.string()))])
MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))


@dataclass(frozen=True, slots=True)
class Shape:
    """One form of an export: its columns, and the rows that a ranking makes."""

    schema: pa.Schema
    rows: Callable[[Ranking, Which], list[dict[str, Any]]]


SHAPES: dict[str, Shape] = {
    # The ranking records. A file of the engine keeps any `meta`, as text; here its form is known, and both formats of
    # the export have the same.
    "rankings": Shape(
        SCHEMA.set(SCHEMA.get_field_index("meta"), pa.field("meta", META)).append(DEMONSTRATIONS),
        lambda ranking, which: [ranking.to_record()],
    ),
    "pairs": Shape(
        pa.schema(
            [
                ("prompt", MESSAGES),
                ("chosen", MESSAGES),
                ("rejected", MESSAGES),
                ("probability", pa.float64()),
                ("margin", pa.float64()),
                ("weight", pa.float64()),
            ]
        ),
        lambda ranking, which: to_pairs(ranking, which=which),
    ),
    "unpaired": Shape(
        pa.schema(
            [("prompt", MESSAGES), ("completion", MESSAGES), ("label", pa.bool_()), ("weight", pa.float64())]
        ),
        lambda ranking, which: to_unpaired(ranking),
    ),
    "sft": Shape(
        pa.schema([("messages", MESSAGES), ("weight", pa.float64())]), lambda ranking, which: to_sft(ranking)
    ),
}
FORMATS = {"jsonl": "application/jsonl", "parquet": "application/vnd.apache.parquet"}


@dataclass(frozen=True, slots=True)
class Export:
    """A file that is ready to be sent: whole, and the same bytes each time."""

    path: Path
    sha256: str
    """Of the file's bytes: a strong ETag."""
    filename: str
    content_type: str


def export(
    dataset: Dataset, *, shape: str = "pairs", split: str = "train", format: str = "jsonl", which: str = "all"
) -> Export:
    """Return a split of a dataset in one of the `SHAPES` and `FORMATS`, written at the first call.

    Args:
        which: for pairs: ``all``, ``adjacent`` or ``best_worst``, see `training.engine.records.to_pairs`.

    Raises:
        Refusal: there is no such shape, split, format or choice of pairs.
    """
    _check(shape, format, which)
    source = split_file(dataset, split)
    choice = f"-{which}" if shape == "pairs" and which != "all" else ""
    name = f"{split}-{shape}{choice}.{format}"
    path = dataset_folder(dataset) / "exports" / name
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        _write(path, source, shape, which)
    return Export(
        path=path,
        sha256=_sha256(path),
        filename=f"{dataset.project.slug}-v{dataset.version}-{name}",
        content_type=FORMATS[format],
    )


def _check(shape: str, format: str, which: str) -> None:
    for field, value, known in (
        ("shape", shape, SHAPES),
        ("format", format, FORMATS),
        ("which", which, get_args(Which)),
    ):
        if value not in known:
            raise Refusal(
                "invalid", f"The {field} must be one of {', '.join(known)}, not {value!r:.40}.", field=field
            )


def _write(path: Path, source: Path, shape: str, which: Any) -> None:
    """Write the file under a name of this call's own, then give it its name, unless another call was first.

    Threads of one process and processes of one number, in two containers, write at the same time.
    """
    draft = path.with_name(f".{uuid.uuid4()}.{path.name}")  # the ending says the format
    form = SHAPES[shape]
    try:
        rows = (row for ranking in read_rankings(source) for row in form.rows(ranking, which))
        if path.suffix == ".parquet":
            _write_parquet(draft, _schema(form, source), rows)
        else:
            _write_jsonl(draft, rows)
        _publish(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _schema(form: Shape, source: Path) -> pa.Schema:
    """The export's columns, without demonstrations where the dataset has none."""
    index = form.schema.get_field_index(DEMONSTRATIONS.name)
    if index < 0 or DEMONSTRATIONS.name in pq.read_schema(source).names:
        return form.schema
    return form.schema.remove(index)


def _write_jsonl(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)


def _write_parquet(path: Path, schema: pa.Schema, rows: Iterator[dict[str, Any]]) -> None:
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        group: list[dict[str, Any]] = []
        for row in rows:
            group.append(row)
            if len(group) == ROWS_A_GROUP:
                writer.write_table(pa.Table.from_pylist(group, schema=schema))
                group = []
        if group:
            writer.write_table(pa.Table.from_pylist(group, schema=schema))


def _publish(draft: Path, path: Path) -> None:
    """Give the file its name for good, its bytes on the disk first, so that a power cut leaves no empty export: what
    was published is never replaced, so its hash stays true."""
    flush(draft)
    try:
        os.link(draft, path)
    except OSError:
        if not path.exists():  # the disk knows no links; else another call was first
            draft.replace(path)
    flush(path.parent)


def _sha256(path: Path) -> str:
    """The published file's hash, kept beside it: a dataset never changes, and neither do its exports."""
    note = path.with_name(f"{path.name}.sha256")
    if not note.exists():
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        draft = note.with_name(f".{note.name}.{uuid.uuid4()}.part")
        draft.write_text(digest)
        draft.replace(note)
    return note.read_text()
