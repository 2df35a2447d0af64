"""Figures are computed once for the same rankings, and slow ones rest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from django.core.cache import cache

from annotation import remembering
from annotation.models import Batch
from annotation.quality import batches_of
from annotation.remembering import at_hand, remembered
from tests.annotation.answered import give
from tests.annotation.conftest import Compose, People

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    yield
    cache.clear()


def counting(seconds: float = 0.0) -> Callable[[object], int]:
    calls = []

    def compute(batches: object) -> int:
        calls.append(batches)
        time.sleep(seconds)
        return len(calls)

    return compute


def test_the_same_rankings_are_computed_once_and_another_ranking_makes_it_anew(
    compose: Compose, people: People
) -> None:
    batch = compose(2, responses_per_task=2)
    batches, compute = batches_of(batch), counting()
    (ann,) = people(1)
    assert [remembered("x", batches, compute).figures for _ in range(3)] == [1, 1, 1]
    give(batch.tasks.all()[0], ann, [[0], [1]])
    assert remembered("x", batches, compute).figures == 2
    assert remembered("y", batches, compute).figures == 3, "another name, another figure"
    assert remembered("x", Batch.objects.filter(project=batch.project), compute).figures == 2, (
        "the same batches"
    )


def test_what_takes_long_rests_though_rankings_come_in(
    compose: Compose, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembering, "QUICK_SECONDS", 0.01)
    monkeypatch.setattr(remembering, "REST", 10)
    batch = compose(2, responses_per_task=2)
    batches, compute = batches_of(batch), counting(0.1)
    (ann,) = people(1)
    first = remembered("x", batches, compute)
    give(batch.tasks.all()[0], ann, [[0], [1]])
    assert remembered("x", batches, compute) == first, "for ten times as long as it took"
    time.sleep(1.1)
    assert remembered("x", batches, compute).figures == 2


def test_figures_of_very_many_rankings_are_at_hand_once_they_are_known(
    compose: Compose, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = compose(2, responses_per_task=2)
    batches = batches_of(batch)
    (ann,) = people(1)
    for task in batch.tasks.all():
        give(task, ann, [[0], [1]])
    assert at_hand("x", batches), "they are few"
    monkeypatch.setattr(remembering, "QUICK_RANKINGS", 1)
    assert not at_hand("x", batches)
    remembered("x", batches, counting())
    assert at_hand("x", batches)
