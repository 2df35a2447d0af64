"""A locked held-out set: for good, measured on, and never trained on, not even nearly."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from alignment.datasets import build_dataset, preview
from alignment.held_out_lock import lock_held_out, measured_prompts
from alignment.models import Dataset, HeldOutLock
from annotation.models import Batch, Project, Prompt
from annotation.refusals import Refusal
from annotation.splitting import digest_of
from tests.alignment.conftest import add_prompts
from tests.alignment.test_datasets import Answer, answer, batch  # noqa: F401 (fixtures)

pytestmark = pytest.mark.django_db


def repeat_nearly(project: Project, trained: Prompt) -> Prompt:
    """A held-out prompt that nearly repeats one that is trained on, as from before near duplicates shared a split."""
    messages = [{"role": "user", "content": trained.messages[-1]["content"] + "?"}]
    return Prompt.objects.create(
        project=project, messages=messages, digest=digest_of(messages), split="held_out"
    )


@pytest.fixture
def near(project: Project, batch: Batch, answer: Answer) -> Prompt:  # noqa: F811
    """A held-out prompt near one of a ranked task of the training split."""
    answer("ann", [[2], [0], [1]])
    task = batch.tasks.filter(prompt__split="train").select_related("prompt").first()
    assert task is not None
    return repeat_nearly(project, task.prompt)


def test_a_dataset_that_would_train_on_the_locked_set_is_refused_with_what_and_how_much(
    project: Project,
    near: Prompt,
    batch: Batch,  # noqa: F811
) -> None:
    lock_held_out(project=project)
    with pytest.raises(Refusal) as refused:
        build_dataset(project=project, batches=[batch])
    sentence = refused.value.sentence
    assert "would train on 1 task of 1 prompt that nearly repeats the locked held-out set" in sentence
    assert str(near) in sentence and "apart_from_held_out" in sentence
    assert not Dataset.objects.exists()


def test_the_filter_leaves_those_tasks_out(project: Project, near: Prompt, batch: Batch) -> None:  # noqa: F811
    lock_held_out(project=project)
    dataset = build_dataset(project=project, batches=[batch], filters={"apart_from_held_out": True})
    assert dataset.train_rankings == 4 and dataset.held_out_rankings == 3
    texts = {record.prompt[-1]["content"] + "?" for record in preview(dataset)}
    assert near.messages[-1]["content"] not in texts


def test_without_a_lock_such_a_dataset_is_built_and_warned_of(
    project: Project,
    near: Prompt,
    batch: Batch,  # noqa: F811
) -> None:
    assert build_dataset(project=project, batches=[batch]).train_rankings == 5


def test_models_are_measured_on_the_locked_prompts_whatever_comes_later(project: Project) -> None:
    before = set(measured_prompts(project))
    lock_held_out(project=project)
    add_prompts(project, (f"{n} reasons why a tall {n * 7} should sleep {n % 5} days" for n in range(60)))
    assert project.prompts.filter(split="held_out").count() > len(before)
    assert set(measured_prompts(project)) == before


def test_it_is_locked_once_and_for_good(project: Project) -> None:
    lock = lock_held_out(project=project)
    with pytest.raises(Refusal, match="was locked on"):
        lock_held_out(project=project)
    for change in (
        lambda: HeldOutLock.objects.filter(pk=lock.pk).delete(),
        lambda: lock.prompts.clear(),
    ):
        with pytest.raises(IntegrityError, match="never change"), transaction.atomic():
            change()


def test_a_project_without_held_out_prompts_has_nothing_to_lock(project: Project) -> None:
    project.prompts.filter(split="held_out").delete()
    with pytest.raises(Refusal, match="no held-out prompts"):
        lock_held_out(project=project)


def test_retired_prompts_are_measured_on_by_nobody(project: Project) -> None:
    project.prompts.filter(split="held_out").update(retired_at=timezone.now())
    assert not measured_prompts(project).exists()
    with pytest.raises(Refusal, match="no held-out prompts"):
        lock_held_out(project=project)
