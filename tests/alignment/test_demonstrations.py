"""Better responses that annotators wrote are in the dataset of their rankings, and in what sft imitates."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import datasets as hf
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alignment.datasets import build_dataset, dataset_folder, preview, split_file
from alignment.exporting import export
from annotation.assigning import next_assignment
from annotation.batching import compose_batch
from annotation.models import Batch, Project, Ranking, Response, Source, User
from annotation.projects import add_member, create_user
from annotation.submitting import amend, submit
from training.engine.records import SCHEMA, read_rankings

pytestmark = pytest.mark.django_db
ORDER = [[2], [0], [1]]


@pytest.fixture
def batch(project: Project) -> Batch:
    """Two tasks of each split, of three responses, each for two annotators."""
    source = Source.objects.create(project=project, name="a", kind="import")
    prompts = [*project.prompts.filter(split="train")[:2], *project.prompts.filter(split="held_out")[:2]]
    drawn = uuid.uuid4()
    Response.objects.bulk_create(
        Response(prompt=prompt, source=source, drawn_by=drawn, index=index, text=f"reply {index}")
        for prompt in prompts
        for index in range(3)
    )
    return compose_batch(
        project=project, name="first", prompts=prompts, sources=[source], responses_per_task=3, overlap=2
    ).batch


Write = Callable[..., list[Ranking]]


@pytest.fixture
def write(project: Project) -> Write:
    """Lets a named annotator rank all tasks, and write ``texts`` for those of ``split``."""

    def write(name: str, texts: Sequence[str] = (), *, split: str = "train", **said: Any) -> list[Ranking]:
        user = User.objects.filter(username=name).first() or create_user(username=name)
        add_member(project=project, user=user, role="annotator")
        written = []
        while place := next_assignment(annotator=user, project=project):
            ours = place.task.prompt.split == split
            numbers = [None, 0, 1, 2]
            given = [
                {"number": number, "text": text} for number, text in zip(numbers, texts, strict=False) if ours
            ]
            written.append(
                submit(
                    annotator=user,
                    assignment_id=place.pk,
                    lease=place.lease,
                    key=uuid.uuid4(),
                    tiers=ORDER,
                    demonstrations=given,
                    **said,
                )
            )
        return written

    return write


def imitated(dataset: Any, split: str) -> list[tuple[str, str]]:
    """Prompt and reply of each line of the sft export."""
    lines = export(dataset, shape="sft", split=split).path.read_text().splitlines()
    messages = [json.loads(line)["messages"] for line in lines]
    return [(conversation[0]["content"], conversation[-1]["content"]) for conversation in messages]


def test_what_was_written_takes_the_best_responses_place_in_sft(
    project: Project, batch: Batch, write: Write
) -> None:
    write("ann", ["Better.", "Edited."])
    write("bob", ["Better.", "Bob's."])
    dataset = build_dataset(project=project, batches=[batch])

    trained = list(project.prompts.filter(split="train", tasks__batch=batch).order_by("digest"))
    assert imitated(dataset, "train") == [
        (str(prompt), text) for prompt in trained for text in ("Better.", "Bob's.", "Edited.")
    ]
    for record in preview(dataset, split="train"):
        assert record.demonstrations == ["Better.", "Bob's.", "Edited."], "an equal text counts once"


def test_a_splits_demonstrations_stay_in_it(project: Project, batch: Batch, write: Write) -> None:
    write("ann", ["Secret of the held-out prompts."], split="held_out")
    dataset = build_dataset(project=project, batches=[batch])
    for shape in ("rankings", "pairs", "unpaired", "sft"):
        assert "Secret" not in export(dataset, shape=shape, split="train").path.read_text()
    assert {text for _, text in imitated(dataset, "held_out")} == {"Secret of the held-out prompts."}
    assert all(text.startswith("reply ") for _, text in imitated(dataset, "train"))


def test_only_the_latest_revisions_texts_count(project: Project, batch: Batch, write: Write) -> None:
    rankings = write("ann", ["First."])
    for ranking in rankings:
        amend(
            annotator=ranking.annotator,
            assignment_id=ranking.assignment_id,
            key=uuid.uuid4(),
            tiers=ORDER,
            demonstrations=[{"number": None, "text": "Second."}],
        )
    dataset = build_dataset(project=project, batches=[batch])
    assert {text for _, text in imitated(dataset, "train")} == {"Second."}


def test_without_demonstrations_a_datasets_files_are_as_they_were(
    project: Project, batch: Batch, write: Write, tmp_path: Path
) -> None:
    write("ann", flags=[{"number": 0, "kind": "unsafe"}])
    dataset = build_dataset(project=project, batches=[batch])
    for split in ("train", "held_out"):
        file = split_file(dataset, split)
        assert pq.read_schema(file) == SCHEMA
        # What a version of Rankloop without demonstrations writes of these records.
        records = [record.to_record() for record in read_rankings(file)]
        assert all(set(record) == set(SCHEMA.names) for record in records)
        for record in records:
            record["meta"] = json.dumps(record["meta"], ensure_ascii=False, sort_keys=True, allow_nan=False)
        with pq.ParquetWriter(tmp_path / "before.parquet", SCHEMA, compression="zstd") as before:
            before.write_table(pa.Table.from_pylist(records, schema=SCHEMA))
        assert (tmp_path / "before.parquet").read_bytes() == file.read_bytes()


def test_with_demonstrations_the_same_rankings_are_the_same_bytes(
    project: Project, batch: Batch, write: Write
) -> None:
    write("ann", ["B.", "A."])
    write("bob", ["C."])
    first = build_dataset(project=project, batches=[batch])
    folder = dataset_folder(first)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    assert build_dataset(project=project, batches=[batch]) == first
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_what_was_written_makes_another_dataset(project: Project, batch: Batch, write: Write) -> None:
    (ranking, *_) = write("ann")
    without = build_dataset(project=project, batches=[batch])
    amend(
        annotator=ranking.annotator,
        assignment_id=ranking.assignment_id,
        key=uuid.uuid4(),
        tiers=ORDER,
        demonstrations=[{"number": None, "text": "Better."}],
    )
    assert build_dataset(project=project, batches=[batch]).sha256 != without.sha256


@pytest.mark.parametrize(("format", "loader"), [("jsonl", "json"), ("parquet", "parquet")])
def test_datasets_loads_records_with_demonstrations(
    project: Project, batch: Batch, write: Write, format: str, loader: str, tmp_path: Path
) -> None:
    write("ann", ["Better."])
    dataset = build_dataset(project=project, batches=[batch])
    folder = hf.load_dataset(str(dataset_folder(dataset)), cache_dir=str(tmp_path / "cache"))
    assert [row["demonstrations"] for row in folder["train"]] == [["Better."]] * 2
    assert not any(row["demonstrations"] for row in folder["held_out"])

    file = str(export(dataset, shape="rankings", split="train", format=format).path)
    rows = hf.load_dataset(loader, data_files=file, split="train", cache_dir=str(tmp_path / "cache"))
    assert [row["demonstrations"] for row in rows] == [["Better."]] * 2


def test_the_card_counts_what_was_written_and_flagged(project: Project, batch: Batch, write: Write) -> None:
    write("ann", ["Better."], flags=[{"number": 0, "kind": "unsafe"}, {"number": 1, "kind": "truncated"}])
    write("bob", ["Better.", "Other."], flags=[{"number": 0, "kind": "unsafe"}])
    dataset = build_dataset(project=project, batches=[batch])

    assert dataset.card["flags"] == {"unsafe": 8, "truncated": 4}
    assert dataset.card["splits"]["train"]["demonstrations"] == 4
    assert dataset.card["splits"]["held_out"]["demonstrations"] == 0
    readme = (dataset_folder(dataset) / "README.md").read_text()
    assert "| unsafe | 8 |" in readme and "in place\nof the best response" in readme
