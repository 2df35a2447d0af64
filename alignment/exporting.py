"""Exports: a dataset in the shapes that training takes, as files that are written once."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from alignment.datasets import dataset_folder, split_file
from alignment.export_files import COMPRESSIONS, WRITERS, opened
from alignment.models import Dataset
from alignment.narrowing import SPLITS
from annotation.refusals import Refusal
from annotation.spreadsheets import CSV
from training.engine.files import flush
from training.engine.records import (
    DEMONSTRATIONS,
    SCHEMA,
    Ranking,
    Which,
    read_rankings,
    to_pairs,
    to_sft,
    to_unpaired,
)

META = [
    pa.field("task", pa.string()),
    pa.field("rankings", pa.int64()),
    pa.field("sources", pa.list_(pa.string())),
]
"""What `alignment.consensus_records` says of every record."""
RARE_META = [pa.field("adjudicated", pa.bool_()), pa.field("aspect", pa.string())]
"""What it says of some. A dataset of which it is said of none lacks the field."""
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
        SCHEMA.set(SCHEMA.get_field_index("meta"), pa.field("meta", pa.struct(META))).append(DEMONSTRATIONS),
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
FORMATS = {
    "jsonl": "application/jsonl",
    "parquet": "application/vnd.apache.parquet",
    "csv": CSV,
}
COMPRESSED_TYPES = {"gzip": "application/gzip", "zstd": "application/zstd"}
VERSION = 1
"""Raised when a dataset's files would be written otherwise than before: they are written anew then."""
DRAFT_SECONDS = 86_400
"""A draft that nobody has written to for so long is nobody's."""
COMPRESSIBLE = ("jsonl", "csv")
"""Parquet is compressed within."""


@dataclass(frozen=True, slots=True)
class Export:
    """A file that is ready to be sent: whole, and the same bytes each time."""

    path: Path
    sha256: str
    """Of the file's bytes: a strong ETag."""
    filename: str
    content_type: str


def export(
    dataset: Dataset,
    *,
    shape: str = "pairs",
    split: str = "train",
    format: str = "jsonl",
    which: str = "all",
    compression: str = "",
) -> Export:
    """Return a split of a dataset in one of the `SHAPES` and `FORMATS`, written at the first call.

    Args:
        which: for pairs: ``all``, ``adjacent`` or ``best_worst``, see `training.engine.records.to_pairs`.
        compression: of the whole file: ``gzip`` or ``zstd``; none for Parquet.

    Raises:
        Refusal: there is no such shape, split, format, compression or choice of pairs.
    """
    source, name = _place(dataset, shape, split, format, which, compression)
    path = _folder(dataset) / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_left_behind(path.parent)
        _write(path, source, shape, which, format, compression)
    return Export(
        path=path,
        sha256=_sha256(path),
        filename=f"{dataset.project.slug}-v{dataset.version}-{name}",
        content_type=COMPRESSED_TYPES.get(compression, FORMATS[format]),
    )


def sha256_if_written(
    dataset: Dataset, *, shape: str, split: str, format: str, which: str, compression: str
) -> str | None:
    """Return the hash that `export` would return with, or None where the file has yet to be written.

    Raises:
        Refusal: as `export`.
    """
    _, name = _place(dataset, shape, split, format, which, compression)
    path = _folder(dataset) / name
    return _sha256(path) if path.exists() else None


def _place(
    dataset: Dataset, shape: str, split: str, format: str, which: str, compression: str
) -> tuple[Path, str]:
    """The file that the export is made of, and the export's name, which says all that was chosen."""
    for field, value, known in (
        ("shape", shape, SHAPES),
        ("format", format, FORMATS),
        ("which", which, get_args(Which)),
        ("compression", compression, ("", *COMPRESSIONS)),
    ):
        if value not in known:
            raise Refusal(
                "invalid",
                f"The {field} must be one of {', '.join(filter(None, known))}, not {value!r:.40}.",
                field=field,
            )
    if which != "all" and shape != "pairs":
        raise Refusal(
            "invalid",
            f"`which` chooses among pairs, and the shape {shape} has none. Leave it out, or take the shape pairs.",
            field="which",
        )
    if compression and format not in COMPRESSIBLE:
        raise Refusal(
            "invalid",
            f"The format {format} is compressed within. Leave `compression` out, or take {' or '.join(COMPRESSIBLE)}.",
            field="compression",
        )
    choice = f"-{which}" if shape == "pairs" and which != "all" else ""
    ending = COMPRESSIONS[compression] if compression else ""
    return split_file(dataset, split), f"{split}-{shape}{choice}.{format}{ending}"


def _folder(dataset: Dataset) -> Path:
    return dataset_folder(dataset) / "exports" / str(VERSION)


def _remove_left_behind(folder: Path) -> None:
    """Remove drafts of processes that were killed, each of which may be as large as an export, and what earlier
    versions wrote: nobody else would."""
    earlier = (old for old in folder.parent.rglob("*") if old.is_file() and old.parent != folder)
    for old in (*folder.glob(".*"), *earlier):
        with suppress(OSError):  # another call was first
            if time.time() - old.stat().st_mtime > DRAFT_SECONDS:
                old.unlink()


def _write(path: Path, source: Path, shape: str, which: Any, format: str, compression: str) -> None:
    """Write the file under a name of this call's own, then give it its name, unless another call was first.

    Threads of one process and processes of one number, in two containers, write at the same time.
    """
    draft = path.with_name(f".{uuid.uuid4()}.{path.name}")
    form = SHAPES[shape]
    try:
        groups = (form.rows(ranking, which) for ranking in read_rankings(source))
        with opened(draft, compression) as file:
            WRITERS[format](file, _schema(form, source), groups)
        _publish(draft, path)
    finally:
        draft.unlink(missing_ok=True)
        pa.default_memory_pool().release_unused()


def _schema(form: Shape, source: Path) -> pa.Schema:
    """The export's columns, without demonstrations where the dataset has none, and with what is said of some records
    where it is."""
    schema = form.schema
    if "meta" in schema.names:
        meta = pa.struct([*META, *(rare for rare in RARE_META if _has(source, rare.name))])
        schema = schema.set(schema.get_field_index("meta"), pa.field("meta", meta))
    index = schema.get_field_index(DEMONSTRATIONS.name)
    if index < 0 or DEMONSTRATIONS.name in pq.read_schema(source).names:
        return schema
    return schema.remove(index)


def _has(source: Path, name: str) -> bool:
    """Whether a record of the dataset has the field in its ``meta``, which is JSON text there: of any split, since
    those who load several want the same columns."""
    for split in SPLITS:
        with pq.ParquetFile(source.with_name(f"{split}.parquet")) as file:
            for batch in file.iter_batches(columns=["meta"]):
                if pc.any(pc.match_substring(batch.column(0), f'"{name}":')).as_py():
                    return True
    return False


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
