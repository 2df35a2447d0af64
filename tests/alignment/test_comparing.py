"""What changed between two versions of a dataset."""

from __future__ import annotations

import uuid

import pytest

from alignment.comparing import Counts, changes, count_changes
from alignment.datasets import build_dataset
from alignment.withdrawing import withdraw
from annotation.models import Batch, Project, User
from annotation.refusals import Refusal
from annotation.submitting import amend
from tests.alignment.test_datasets import Answer, answer, batch  # noqa: F401 (fixtures)

pytestmark = pytest.mark.django_db


def test_added_removed_and_changed_tasks_are_told_apart(
    project: Project,
    batch: Batch,  # noqa: F811
    answer: Answer,  # noqa: F811
) -> None:
    last = answer("ann", [[2], [0], [1]])
    first = build_dataset(project=project, batches=[batch])
    amend(annotator=last.annotator, assignment_id=last.assignment_id, key=uuid.uuid4(), tiers=[[0], [1], [2]])
    gone = batch.tasks.exclude(pk=last.task_id).filter(prompt__split="train").first()
    assert gone is not None
    withdraw(project=project, prompt=gone.prompt)
    second = build_dataset(project=project, batches=[batch])

    found = {change.task: change for change in changes(first, second)}
    assert found[str(gone.pk)].kind == "removed" and found[str(gone.pk)].after is None
    changed = found[str(last.task_id)]
    assert changed.before and changed.after and changed.before.tiers != changed.after.tiers
    back = {change.task: change.kind for change in changes(second, first)}
    assert back[str(gone.pk)] == "added"
    line = changed.to_json()
    assert (line["change"], line["before"]["tiers"]) == ("changed", changed.before.tiers)

    counts = count_changes(first, second)
    for split, total in (("train", 5), ("held_out", 3)):
        each = counts[split]
        assert each.removed + each.changed + each.same == total and each.added == 0
        told = [change.kind for change in found.values() if change.split == split]
        assert (told.count("removed"), told.count("changed")) == (each.removed, each.changed)


def test_a_dataset_does_not_differ_from_itself(
    project: Project,
    batch: Batch,  # noqa: F811
    answer: Answer,  # noqa: F811
) -> None:
    answer("ann", [[2], [0], [1]])
    dataset = build_dataset(project=project, batches=[batch])
    assert list(changes(dataset, dataset)) == []
    assert count_changes(dataset, dataset) == {"train": Counts(same=5), "held_out": Counts(same=3)}


def test_datasets_of_two_projects_are_not_compared(
    project: Project,
    manager: User,
    batch: Batch,  # noqa: F811
    answer: Answer,  # noqa: F811
) -> None:
    answer("ann", [[2], [0], [1]])
    dataset = build_dataset(project=project, batches=[batch])
    other = type(dataset)(project=Project(pk=project.pk + 1), version=1, sha256="0" * 64)
    with pytest.raises(Refusal, match="different projects"):
        changes(other, dataset)
