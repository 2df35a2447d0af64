"""Lineage both ways, and what a withdrawal does and leaves alone."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.db import IntegrityError

from alignment import datasets
from alignment.dataset_lineage import behind, datasets_with, models_of, pseudonym, withdrawn_from
from alignment.datasets import build_dataset, dataset_folder, preview
from alignment.models import Dataset, DatasetRanking, ModelVersion, Withdrawal
from alignment.withdrawing import consequences_of, end_withdrawal, withdraw
from annotation.models import Batch, Project, Ranking, User
from annotation.projects import create_project
from annotation.refusals import Refusal
from annotation.submitting import amend
from tests.alignment.test_datasets import Answer, answer, batch  # noqa: F401 (fixtures)

pytestmark = pytest.mark.django_db


@pytest.fixture
def ranked(project: Project, batch: Batch, answer: Answer) -> Batch:  # noqa: F811
    answer("ann", [[2], [0], [1]])
    answer("bob", [[2], [1], [0]])
    return batch


@pytest.fixture
def dataset(project: Project, ranked: Batch) -> Dataset:
    return build_dataset(project=project, batches=[ranked])


def named(name: str) -> User:
    return User.objects.get(username=name)


def train_on(dataset: Dataset, base: ModelVersion, name: str) -> ModelVersion:
    return ModelVersion.objects.create(
        project=dataset.project, name=name, form="adapter", location="x", parent=base, dataset=dataset
    )


def test_a_record_leads_to_the_rankings_and_pseudonyms_behind_it(project: Project, dataset: Dataset) -> None:
    (record, *_) = preview(dataset)
    found = behind(dataset, int(record.meta["task"]))
    assert [each.tiers for each in found.rankings] == [[[2], [0], [1]], [[2], [1], [0]]]
    names = {each.annotator for each in found.rankings}
    assert names == {pseudonym(project, named(name).pk) for name in ("ann", "bob")} and len(names) == 2
    assert not any(name in str(names) for name in ("ann-", "bob"))
    with pytest.raises(Refusal, match="holds no task"):
        behind(dataset, 999_999_999)


def test_lineage_is_of_the_revision_that_counted_whatever_is_amended_later(
    project: Project, ranked: Batch, dataset: Dataset
) -> None:
    ranking = Ranking.objects.filter(task__batch=ranked, annotator=named("ann")).first()
    assert ranking is not None
    amend(
        annotator=ranking.annotator,
        assignment_id=ranking.assignment_id,
        key=uuid.uuid4(),
        tiers=[[0], [1], [2]],
    )
    second = build_dataset(project=project, batches=[ranked])
    revisions = [
        [each.revision for each in behind(version, ranking.task_id).rankings] for version in (dataset, second)
    ]
    assert revisions == [[1, 1], [1, 2]]


def test_lineage_never_changes(dataset: Dataset) -> None:
    with pytest.raises(IntegrityError, match="never change"):
        DatasetRanking.objects.filter(dataset=dataset).delete()


def test_a_person_leads_to_every_dataset_and_model_that_learned_from_them(
    project: Project, dataset: Dataset, ranked: Batch, base: ModelVersion
) -> None:
    second = build_dataset(project=project, batches=[ranked], settings={"tie_margin": 0.2})
    model = train_on(dataset, base, "first")
    child = ModelVersion.objects.create(
        project=project, name="child", form="adapter", location="y", parent=model
    )
    train_on(second, base, "other")
    holding = datasets_with(project, annotator=named("ann"))
    assert [(each.dataset, each.rankings, each.tasks) for each in holding] == [
        (second, 8, 8),
        (dataset, 8, 8),
    ]
    assert models_of([dataset]) == [model, child]
    assert datasets_with(project, annotator=project.memberships.get(role="manager").user) == []


def test_withdrawing_an_annotator_makes_a_new_version_without_them_and_destroys_nothing(
    project: Project, dataset: Dataset, base: ModelVersion, manager: User
) -> None:
    model = train_on(dataset, base, "first")
    files = {path.name: path.read_bytes() for path in dataset_folder(dataset).iterdir() if path.is_file()}
    outcome = withdraw(project=project, annotator=named("ann"), reason=" Asked for it. ", by=manager)
    assert outcome.dataset is not None and outcome.dataset.version == 2
    assert outcome.consequences.models == [model] and outcome.consequences.rankings == 8
    assert {record.meta["rankings"] for record in preview(outcome.dataset)} == {1}
    assert not DatasetRanking.objects.filter(
        dataset=outcome.dataset, ranking__annotator__username="ann"
    ).exists()
    assert outcome.dataset.settings == dataset.settings, "a dataset follows from its rankings and settings"
    assert Ranking.objects.filter(annotator__username="ann").count() == 8
    assert {
        path.name: path.read_bytes() for path in dataset_folder(dataset).iterdir() if path.is_file()
    } == files
    assert (withdrawn_from(dataset), withdrawn_from(outcome.dataset)) == (8, 0)
    assert outcome.withdrawal.reason == "Asked for it."


def test_withdrawing_a_prompt_takes_its_tasks(project: Project, ranked: Batch, dataset: Dataset) -> None:
    task = ranked.tasks.filter(prompt__split="train").first()
    assert task is not None
    outcome = withdraw(project=project, prompt=task.prompt)
    assert outcome.dataset is not None and outcome.dataset.train_rankings == 4
    assert str(task.pk) not in {record.meta["task"] for record in preview(outcome.dataset)}
    assert outcome.dataset.card["left_out"][0]["label"] == "Withdrawn"


def test_every_dataset_is_without_what_is_withdrawn_until_that_ends(
    project: Project, ranked: Batch, dataset: Dataset
) -> None:
    outcome = withdraw(project=project, annotator=named("ann"))
    assert build_dataset(project=project, batches=[ranked]) == outcome.dataset
    for _ in range(2):
        end_withdrawal(outcome.withdrawal)
    assert build_dataset(project=project, batches=[ranked]) == dataset, "the same rankings, the same dataset"
    again = withdraw(project=project, annotator=named("ann"))
    assert again.dataset == outcome.dataset and Withdrawal.objects.count() == 2


def test_where_nothing_is_left_the_withdrawal_holds_and_says_so(project: Project, dataset: Dataset) -> None:
    withdraw(project=project, annotator=named("ann"))
    outcome = withdraw(project=project, annotator=named("bob"))
    assert outcome.dataset is None and "No new version of dataset v2 was built" in outcome.why
    assert project.withdrawals.filter(ended_at=None).count() == 2


def test_data_withdrawn_while_a_dataset_is_built_are_in_none(
    project: Project, ranked: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    describe = datasets.describe

    def meanwhile(**given: Any) -> Any:
        Withdrawal.objects.create(project=project, annotator=named("ann"))
        return describe(**given)

    monkeypatch.setattr(datasets, "describe", meanwhile)
    with pytest.raises(Refusal, match="withdrawn while"):
        build_dataset(project=project, batches=[ranked])
    assert not Dataset.objects.exists()


def test_consequences_are_told_before_anything_is_done(project: Project, dataset: Dataset) -> None:
    found = consequences_of(project, annotator=named("ann"))
    assert (found.rankings, [each.dataset for each in found.datasets], found.models) == (8, [dataset], [])
    assert not Withdrawal.objects.exists()


def test_what_cannot_be_withdrawn_is_refused(project: Project, manager: User, dataset: Dataset) -> None:
    prompt = project.prompts.first()
    other = create_project(name="Elsewhere", created_by=manager)
    for given, sentence in (
        ({}, "either an annotator or a prompt"),
        ({"annotator": named("ann"), "prompt": prompt}, "either an annotator or a prompt"),
        ({"annotator": manager}, "has ranked nothing"),
        ({"prompt": prompt, "reason": "x" * 501}, "501 characters"),
    ):
        with pytest.raises(Refusal, match=sentence):
            withdraw(project=project, **given)
    with pytest.raises(Refusal, match="another project"):
        withdraw(project=other, prompt=prompt)
    withdraw(project=project, prompt=prompt)
    with pytest.raises(Refusal, match="withdrawn already"):
        withdraw(project=project, prompt=prompt)
