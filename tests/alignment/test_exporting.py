"""Exports: what training tools take unchanged, written once."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets as hf
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alignment import export_files, exporting
from alignment.datasets import build_dataset, dataset_folder
from alignment.exporting import FORMATS, SHAPES, export
from alignment.models import Dataset, Round
from alignment.rounds import start_round
from annotation.models import Project, Source
from annotation.models import Ranking as Ranked
from annotation.projects import set_aspects
from annotation.refusals import Refusal
from tests.alignment.conftest import bring_to
from tests.annotation.parallel import all_at_once
from training.engine.records import Ranking, read_rankings

pytestmark = pytest.mark.django_db
COLUMNS = {
    "rankings": {"prompt", "context", "responses", "tiers", "scores", "weight", "meta"},
    "pairs": {"prompt", "chosen", "rejected", "probability", "margin", "weight"},
    "unpaired": {"prompt", "completion", "label", "weight"},
    "sft": {"messages", "weight"},
}


@pytest.fixture
def dataset(project: Project, source: Source) -> Dataset:
    round = start_round(project=project, tasks=12, overlap=2, responses_per_task=3)
    return bring_to(round, Round.State.TRAINING).dataset


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("split", ["train", "held_out"])
def test_datasets_loads_every_shape_in_every_format(
    dataset: Dataset, shape: str, format: str, split: str, tmp_path: Path
) -> None:
    made = export(dataset, shape=shape, split=split, format=format)
    loader = {"jsonl": "json", "parquet": "parquet", "csv": "csv"}[format]
    rows = hf.load_dataset(
        loader, data_files=str(made.path), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert set(rows.column_names) == COLUMNS[shape] and len(rows) > 0
    assert made.filename == f"kind-replies-v1-{split}-{shape}.{format}"


@pytest.mark.parametrize("shape", SHAPES)
def test_every_format_says_the_same(dataset: Dataset, shape: str) -> None:
    lines = [json.loads(line) for line in export(dataset, shape=shape).path.read_text().splitlines()]
    assert pq.read_table(export(dataset, shape=shape, format="parquet").path).to_pylist() == lines
    with export(dataset, shape=shape, format="csv").path.open(newline="", encoding="utf-8") as sheet:
        cells = list(csv.DictReader(sheet))
    assert [{name: json.loads(cell) for name, cell in row.items()} for row in cells] == lines


@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_a_compressed_export_is_the_same_file_and_datasets_loads_it(
    dataset: Dataset, format: str, tmp_path: Path
) -> None:
    plain = export(dataset, format=format).path.read_bytes()
    zipped = export(dataset, format=format, compression="gzip")
    assert gzip.decompress(zipped.path.read_bytes()) == plain
    assert zipped.filename.endswith(f".{format}.gz") and zipped.content_type == "application/gzip"
    squeezed = export(dataset, format=format, compression="zstd")
    with pa.CompressedInputStream(pa.OSFile(str(squeezed.path)), "zstd") as stream:
        assert stream.read() == plain
    assert squeezed.filename.endswith(f".{format}.zst") and squeezed.content_type == "application/zstd"
    loader = {"jsonl": "json", "csv": "csv"}[format]  # zstd needs one more package there
    rows = hf.load_dataset(
        loader, data_files=str(zipped.path), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert len(rows) == len(plain.splitlines()) - (format == "csv")


@pytest.mark.parametrize("shape", SHAPES)
def test_a_dataset_of_an_aspect_says_the_same_in_every_format(dataset: Dataset, shape: str) -> None:
    project = dataset.project
    set_aspects(project=project, aspects=[{"name": "accuracy", "question": "True?", "steps": 5}])
    batch = dataset.batches.get()
    for ranking in Ranked.objects.filter(task__batch=batch):
        for position, rating in enumerate((5, 1, 3)):
            ranking.aspect_ratings.create(
                aspect=project.aspects.get(name="accuracy"), position=position, rating=rating
            )
    judged = build_dataset(project=project, batches=[batch], filters={"aspect": "accuracy"})

    lines = [json.loads(line) for line in export(judged, shape=shape).path.read_text().splitlines()]
    assert lines
    if shape == "rankings":
        assert {line["meta"]["aspect"] for line in lines} == {"accuracy"}
        assert {str(line["tiers"]) for line in lines} == {"[[0], [2], [1]]"}
    assert pq.read_table(export(judged, shape=shape, format="parquet").path).to_pylist() == lines
    with export(judged, shape=shape, format="csv").path.open(newline="", encoding="utf-8") as sheet:
        cells = list(csv.DictReader(sheet))
    assert [{name: json.loads(cell) for name, cell in row.items()} for row in cells] == lines


def test_row_groups_end_where_their_texts_are_long(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Memory is bounded by characters as well as by rows, and rows of several groups keep what is theirs."""
    monkeypatch.setattr(export_files, "CHARACTERS_AT_ONCE", 100)
    shared = [{"role": "user", "content": "x" * 60}]
    groups = [
        [{"messages": shared, "weight": float(n)}, {"messages": shared, "weight": -1.0}] for n in range(3)
    ]
    with export_files.opened(tmp_path / "rows.parquet") as file:
        export_files.write_parquet(file, SHAPES["sft"].schema, groups)
    written = pq.ParquetFile(tmp_path / "rows.parquet")
    assert written.num_row_groups == 3
    assert written.read().to_pylist() == [row for group in groups for row in group]


def test_compressing_parquet_again_is_refused(dataset: Dataset) -> None:
    with pytest.raises(Refusal, match="compressed within") as refused:
        export(dataset, format="parquet", compression="gzip")
    assert refused.value.field == "compression"


def test_an_export_is_written_once_and_its_hash_is_its_bytes(dataset: Dataset) -> None:
    first = export(dataset, shape="pairs")
    written = first.path.stat().st_mtime_ns
    assert hashlib.sha256(first.path.read_bytes()).hexdigest() == first.sha256
    assert export(dataset, shape="pairs") == first and first.path.stat().st_mtime_ns == written
    content = first.path.read_bytes()
    first.path.unlink()
    assert export(dataset, shape="pairs").path.read_bytes() == content
    assert not [file for file in first.path.parent.iterdir() if file.name.startswith(".")]


@pytest.mark.parametrize("shape", ["rankings", "pairs"])
@pytest.mark.parametrize("format", FORMATS)
def test_many_first_downloads_at_once_give_one_file_and_its_hash(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, shape: str, format: str
) -> None:
    """Threads of one web process, or processes of one number in two containers."""
    assert dataset.project.slug  # read here: a test's connection is this thread's alone
    everyone_reads = threading.Barrier(12)

    def read_together(path: Path) -> Iterator[Ranking]:
        for number, ranking in enumerate(read_rankings(path)):
            if number == 1:
                everyone_reads.wait(30)
            yield ranking

    monkeypatch.setattr(exporting, "read_rankings", read_together)
    made = all_at_once([lambda: export(dataset, shape=shape, format=format)] * 12)
    assert len(set(made)) == 1
    assert hashlib.sha256(made[0].path.read_bytes()).hexdigest() == made[0].sha256
    assert len(list(made[0].path.parent.iterdir())) == 2  # the file and its hash


def test_what_a_killed_process_left_behind_is_removed_and_what_is_being_written_is_not(
    dataset: Dataset,
) -> None:
    folder = export(dataset, shape="sft").path.parent
    (old, new) = (folder / ".old.train-pairs.jsonl", folder / ".new.train-pairs.jsonl")
    for draft in (old, new):
        draft.write_bytes(b"half")
    os.utime(old, (0, 0))
    export(dataset, shape="pairs")
    assert new.exists() and not old.exists()


def test_what_an_earlier_version_wrote_otherwise_is_written_anew_and_goes(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier, older = export(dataset).path, dataset_folder(dataset) / "exports" / "train-pairs.jsonl"
    older.write_bytes(b"of a version that knew no versions")
    for file in (earlier, older):
        file.write_bytes(b"otherwise\n")
        os.utime(file, (0, 0))
    monkeypatch.setattr(exporting, "VERSION", exporting.VERSION + 1)

    now = export(dataset)

    assert (
        now.path.read_bytes() != b"otherwise\n"
        and hashlib.sha256(now.path.read_bytes()).hexdigest() == now.sha256
    )
    assert not earlier.exists() and not older.exists()


def test_pairs_can_be_fewer(dataset: Dataset) -> None:
    number = {
        which: len(export(dataset, shape="pairs", which=which).path.read_text().splitlines())
        for which in ("all", "adjacent", "best_worst")
    }
    assert number["best_worst"] < number["adjacent"] < number["all"]


def test_exports_leave_the_dataset_itself_alone(dataset: Dataset, project: Project) -> None:
    before = {file.name: file.read_bytes() for file in dataset_folder(dataset).glob("*.*")}
    for shape in SHAPES:
        export(dataset, shape=shape)
    assert {file.name: file.read_bytes() for file in dataset_folder(dataset).glob("*.*")} == before
    assert build_dataset(project=project, batches=dataset.batches.all()) == dataset


@pytest.mark.parametrize(
    "wrong",
    [{"shape": "round"}, {"split": "test"}, {"format": "xlsx"}, {"which": "worst"}, {"compression": "rar"}],
)
def test_what_there_is_not_is_refused_by_name(dataset: Dataset, wrong: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as refused:
        export(dataset, **wrong)
    assert refused.value.field == next(iter(wrong))


def test_trls_own_trainer_takes_the_pairs_unchanged(dataset: Dataset, tmp_path: Path) -> None:
    from trl import DPOConfig, DPOTrainer

    from tests.training.engine.conftest import make_tiny_model

    model = make_tiny_model(tmp_path / "tiny", seed=0)
    rows = hf.load_dataset(
        "json",
        data_files=str(export(dataset, shape="pairs").path),
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    trainer = DPOTrainer(
        model=str(model),
        args=DPOConfig(
            output_dir=str(tmp_path / "out"),
            max_steps=1,
            use_cpu=True,
            report_to="none",
            disable_tqdm=True,
            bf16=False,
        ),
        train_dataset=rows,
    )
    assert trainer.train().global_step == 1
