"""Datasets: what is in them, and that the same rankings are the same bytes for ever."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets as hf
import pytest
from django.db import IntegrityError, transaction
from hypothesis import given
from hypothesis import strategies as st

from alignment.consensus_records import tiers_of
from alignment.datasets import build_dataset, dataset_folder, preview
from alignment.models import Dataset
from annotation.assigning import next_assignment
from annotation.batching import close_batch, compose_batch
from annotation.models import Batch, Project, Response, Source, User
from annotation.projects import add_member, create_user, update_project
from annotation.refusals import Refusal
from annotation.submitting import amend, submit

pytestmark = pytest.mark.django_db


@pytest.fixture
def batch(project: Project) -> Batch:
    """Eight tasks of three responses, of both splits, each for two annotators."""
    update_project(project=project, allow_partial=True)
    sources = [Source.objects.create(project=project, name=name, kind="import") for name in ("a", "b")]
    prompts = [*project.prompts.filter(split="train")[:5], *project.prompts.filter(split="held_out")[:3]]
    drawn = uuid.uuid4()
    Response.objects.bulk_create(
        Response(prompt=prompt, source=source, drawn_by=drawn, index=index, text=f"{source} {index}")
        for prompt in prompts
        for source in sources
        for index in range(2)
    )
    return compose_batch(
        project=project, name="first", prompts=prompts, sources=sources, responses_per_task=3, overlap=2
    ).batch


Answer = Callable[[str, list[list[int]]], Any]


@pytest.fixture
def answer(project: Project) -> Answer:
    """Lets a named annotator rank everything that is left for them in the same way."""

    def answer(name: str, tiers: list[list[int]]) -> Any:
        user = User.objects.filter(username=name).first() or create_user(username=name)
        add_member(project=project, user=user, role="annotator")
        last = None
        while place := next_assignment(annotator=user, project=project):
            last = submit(
                annotator=user, assignment_id=place.pk, lease=place.lease, key=uuid.uuid4(), tiers=tiers
            )
        return last

    return answer


def test_a_dataset_holds_the_consensus_of_each_ranked_task_in_its_prompts_split(
    project: Project, batch: Batch, answer: Answer
) -> None:
    answer("ann", [[2], [0], [1]])
    answer("bob", [[2], [1], [0]])
    dataset = build_dataset(project=project, batches=[batch])
    assert (dataset.version, dataset.train_rankings, dataset.held_out_rankings) == (1, 5, 3)
    for split, number in (("train", 5), ("held_out", 3)):
        records = preview(dataset, split=split)
        assert len(records) == number
        for record in records:
            prompt = project.prompts.get(messages=record.prompt)
            assert prompt.split == split
            assert record.tiers == [[2], [0, 1]]  # a split vote is a tie
            assert record.scores[0] == record.scores[1] < record.scores[2]
            assert sum(record.scores) == pytest.approx(0, abs=1e-5)
            assert record.meta["rankings"] == 2 and len(record.meta["sources"]) == len(record.responses) == 3


def test_the_same_rankings_and_settings_are_the_same_dataset(
    project: Project, batch: Batch, answer: Answer
) -> None:
    answer("ann", [[0], [1, 2]])
    first = build_dataset(project=project, batches=[batch])
    files = {file.name: file.read_bytes() for file in dataset_folder(first).iterdir() if file.is_file()}
    assert build_dataset(project=project, batches=[batch], settings={}) == first
    assert build_dataset(project=project, batches=[batch], settings={"tie_margin": 0.2}) != first
    assert {name: (dataset_folder(first) / name).read_bytes() for name in files} == files
    assert Dataset.objects.count() == 2


def test_a_dataset_lost_from_the_disk_is_built_again_with_the_same_bytes(
    project: Project, batch: Batch, answer: Answer
) -> None:
    answer("ann", [[0], [1, 2]])
    dataset = build_dataset(project=project, batches=[batch])
    folder = dataset_folder(dataset)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    with pytest.raises(Refusal, match="restore RANKLOOP_HOME"):
        preview(dataset)
    assert build_dataset(project=project, batches=[batch]) == dataset
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_an_amended_ranking_counts_as_amended(project: Project, batch: Batch, answer: Answer) -> None:
    last = answer("ann", [[0], [1], [2]])
    first = build_dataset(project=project, batches=[batch])
    amend(annotator=last.annotator, assignment_id=last.assignment_id, key=uuid.uuid4(), tiers=[[2], [1], [0]])
    second = build_dataset(project=project, batches=[batch])
    assert second.version == 2 and second.sha256 != first.sha256
    amended = [r for s in ("train", "held_out") for r in preview(second, split=s) if r.tiers[0] == [2]]
    assert [record.meta["task"] for record in amended] == [str(last.task_id)]


def test_responses_that_nobody_ranked_are_in_no_tier(project: Project, batch: Batch, answer: Answer) -> None:
    answer("ann", [[1], [0]])
    (record, *_) = preview(build_dataset(project=project, batches=[batch]))
    assert record.tiers == [[1], [0]] and record.scores[2] == 0.0


def test_by_default_a_dataset_is_made_of_closed_and_complete_batches(
    project: Project, batch: Batch, answer: Answer
) -> None:
    answer("ann", [[0], [1], [2]])
    with pytest.raises(Refusal, match="Nobody has ranked"):
        build_dataset(project=project)
    close_batch(batch)
    assert list(build_dataset(project=project).batches.all()) == [batch]


def test_a_row_of_a_dataset_never_changes(project: Project, batch: Batch, answer: Answer) -> None:
    answer("ann", [[0], [1], [2]])
    dataset = build_dataset(project=project, batches=[batch])
    with pytest.raises(IntegrityError, match="never change"):
        Dataset.objects.filter(pk=dataset.pk).update(sha256="0" * 64)


def test_the_batches_of_a_dataset_never_change(project: Project, batch: Batch, answer: Answer) -> None:
    answer("ann", [[0], [1], [2]])
    dataset = build_dataset(project=project, batches=[batch])
    another = Batch.objects.create(project=project, name="another", overlap=1)

    for change in (dataset.batches.clear, lambda: dataset.batches.add(another)):
        with pytest.raises(IntegrityError, match=r"never change|built from"), transaction.atomic():
            change()

    assert list(dataset.batches.all()) == [batch]


def test_the_card_says_what_the_data_are_and_names_nobody(
    project: Project, batch: Batch, answer: Answer
) -> None:
    answer("ann-secret", [[2], [0], [1]])
    answer("bob-secret", [[2], [1], [0]])
    dataset = build_dataset(project=project, batches=[batch])
    card = dataset.card
    assert (card["tasks"], card["rankings"], card["annotators"]["count"]) == (8, 16, 2)
    assert card["splits"]["train"] == {
        "tasks": 5,
        "prompts": 5,
        "responses": 15,
        "pairs": 10,
        "demonstrations": 0,
    }
    assert card["flags"] == {}
    assert card["agreement"]["agreement"] == pytest.approx(2 / 3) and card["tied_share"] == pytest.approx(
        1 / 3, abs=1e-4
    )
    assert {source["name"] for source in card["sources"]} == {"a", "b"}
    assert card["estimator"]["name"] == "davidson-luce" and card["estimator"]["converged"]
    readme = (dataset_folder(dataset) / "README.md").read_text()
    assert "16 rankings of 8 tasks by 2 annotators, from first." in readme and "66.7%" in readme
    assert card["agreement"]["low"] is None and "no interval: the tasks are too few" in readme
    assert "secret" not in readme and "secret" not in str(card)


def test_datasets_takes_the_folder_as_it_is(
    project: Project, batch: Batch, answer: Answer, tmp_path: Path
) -> None:
    answer("ann", [[0], [1], [2]])
    dataset = build_dataset(project=project, batches=[batch])
    loaded = hf.load_dataset(str(dataset_folder(dataset)), cache_dir=str(tmp_path / "cache"))
    assert {name: len(split) for name, split in loaded.items()} == {"train": 5, "held_out": 3}


def test_no_draft_is_left_behind(project: Project, batch: Batch, answer: Answer) -> None:
    answer("ann", [[0], [1], [2]])
    dataset = build_dataset(project=project, batches=[batch])
    build_dataset(project=project, batches=[batch])
    assert [folder.name for folder in dataset_folder(dataset).parent.iterdir()] == [dataset.sha256]


@pytest.mark.parametrize("wrong", [{"prior": 0}, {"tie_margin": "wide"}, {"speed": 1}])
def test_a_wrong_setting_is_named(project: Project, batch: Batch, wrong: dict[str, Any]) -> None:
    with pytest.raises(Refusal, match=next(iter(wrong))):
        build_dataset(project=project, batches=[batch], settings=wrong)


@given(st.dictionaries(st.integers(0, 8), st.floats(-3, 3), max_size=9), st.floats(0, 2))
def test_tiers_follow_the_scores(scores: dict[int, float], margin: float) -> None:
    tiers = tiers_of(scores, margin)
    assert sorted(number for tier in tiers for number in tier) == sorted(scores)
    for tier in tiers:
        spread = max(scores[n] for n in tier) - min(scores[n] for n in tier)
        assert spread < margin or spread == 0
    for better, worse in itertools.pairwise(tiers):
        assert max(scores[n] for n in worse) < min(scores[n] for n in better)
