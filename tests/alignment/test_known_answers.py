"""Rankings of tasks with known answers measure people: they teach no model and judge none."""

from __future__ import annotations

import uuid

import pytest

from alignment.datasets import build_dataset
from alignment.scorecards import source_win_rates
from annotation.batching import close_batch
from annotation.gold import set_known_answer
from annotation.models import Batch, Project, User
from annotation.refusals import Refusal
from tests.annotation.conftest import (  # noqa: F401 (fixtures)
    Compose,
    People,
    answer,
    compose,
    compose_gold,
    manager,
    people,
    project,
    sources,
    take,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def tested(project: Project, people: People, compose: Compose, compose_gold: Compose) -> Batch:  # noqa: F811
    """A closed qualification that somebody ranked, beside an ordinary batch that is ranked too."""
    batch = compose_gold(2, kind="qualification")
    (annotator,) = people(1)
    for _ in range(2):
        place = take(annotator, project)
        answer(place, place.task.gold_tiers)
    close_batch(batch)
    ordinary = compose(2)
    for _ in range(2):
        answer(take(annotator, project))
    close_batch(ordinary)
    return batch


def test_no_dataset_holds_them(project: Project, tested: Batch) -> None:  # noqa: F811
    dataset = build_dataset(project=project)
    assert tested not in dataset.batches.all()
    assert dataset.train_rankings + dataset.held_out_rankings == 2
    with pytest.raises(Refusal, match="measures annotators and teaches no model") as refused:
        build_dataset(project=project, batches=[tested])
    assert refused.value.field == "batches"


def test_they_tell_nothing_of_sources(tested: Batch) -> None:
    assert source_win_rates(tested) == []


def test_a_known_answer_of_an_ordinary_task_is_its_order_in_datasets_beside_its_rankings(
    project: Project,  # noqa: F811
    manager: User,  # noqa: F811
    tested: Batch,
) -> None:
    ordinary = project.batches.get(kind="annotation")
    before = build_dataset(project=project)
    task = ordinary.tasks.first()
    assert task is not None
    set_known_answer(task=task, tiers=[[0], [1, 2, 3]], by=manager, note=uuid.uuid4().hex)
    after = build_dataset(project=project)
    assert after.train_rankings + after.held_out_rankings == before.train_rankings + before.held_out_rankings
    assert (before.card["adjudicated"], after.card["adjudicated"]) == (0, 1)
