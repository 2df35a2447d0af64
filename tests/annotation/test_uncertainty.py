"""How uncertain a task is, by people's rankings or by numbers given; and what the order is worth."""

from __future__ import annotations

import math
import uuid
from typing import Any

import pytest

from annotation.batching import close_batch
from annotation.models import Batch, Project
from annotation.refusals import Refusal
from annotation.submitting import amend
from annotation.uncertainty import disagreement, set_uncertainty
from tests.annotation.conftest import Compose, People, answer, take


@pytest.mark.parametrize(
    ("rankings", "number"),
    [
        ([], 0),
        ([[[0], [1]]], 0),
        ([[[0], [1]], [[0], [1]]], 0),
        ([[[0], [1]], [[1], [0]]], 1),
        ([[[0], [1]], [[0, 1]]], 1),
        ([[[0], [1]], [[0], [1]], [[1], [0]]], 2 / 3),  # two of three couples
        ([[[0], [1], [2]], [[0], [2], [1]]], 1 / 3),  # one of three pairs
        ([[[0], [1], [2]], [[0], [1]]], 0),  # what one of them left out is no opinion
    ],
)
def test_disagreement_is_the_share_of_couples_who_say_otherwise(
    rankings: list[list[list[int]]], number: float
) -> None:
    assert disagreement(rankings) == pytest.approx(number)


def numbers_of(batch: Batch) -> set[float]:
    found = batch.assignments.filter(state="open").values_list("uncertainty", flat=True)
    return {round(number, 6) for number in found}


@pytest.mark.django_db(transaction=True)
def test_a_tasks_open_places_follow_its_rankings_from_the_second_one_on(
    project: Project, people: People, compose: Compose
) -> None:
    batch = compose(1, overlap=4, order="uncertainty", responses_per_task=2)
    set_uncertainty(batch, {batch.tasks.get().pk: 0.25})
    first, second, third = people(3)
    answer(take(first, project), [[0], [1]])
    assert numbers_of(batch) == {0.25}, "one ranking says nothing of disagreement"
    place = take(second, project)
    answer(place, [[1], [0]])
    assert numbers_of(batch) == {1.0}
    assert set_uncertainty(batch, {batch.tasks.get().pk: 0.5}) == 0, "people's own disagreement counts"
    answer(take(third, project), [[0], [1]])
    assert numbers_of(batch) == {0.666667}
    amend(annotator=second, assignment_id=place.pk, key=uuid.uuid4(), tiers=[[0], [1]])
    assert numbers_of(batch) == {0.0}


@pytest.mark.django_db(transaction=True)
def test_what_people_are_divided_on_comes_before_what_they_agree_on(
    project: Project, people: People, compose: Compose
) -> None:
    batch = compose(3, overlap=3, order="uncertainty", control_share=0.0, responses_per_task=2)
    divided = batch.tasks.order_by("pk")[1]
    first, second, third = people(3)
    for annotator, of_divided in ((first, [[0], [1]]), (second, [[1], [0]])):
        for _ in range(3):
            place = take(annotator, project)
            answer(place, of_divided if place.task_id == divided.pk else [[0], [1]])
    place = take(third, project)
    assert (place.task_id, place.chosen_by) == (divided.pk, "uncertainty")


@pytest.mark.django_db
def test_numbers_that_make_no_sense_are_refused_and_change_nothing(
    project: Project, compose: Compose
) -> None:
    batch, other = compose(2, order="uncertainty"), compose(1)
    task, stranger = batch.tasks.first(), other.tasks.get()
    assert task is not None
    wrong: list[tuple[Batch, dict[Any, Any], str]] = [
        (other, {stranger.pk: 1}, "has no use"),
        (batch, {task.pk: 1, stranger.pk: 1}, f"has no task {stranger.pk}"),
        (batch, {task.pk: -0.1}, "a number from 0"),
        (batch, {task.pk: math.nan}, "a number from 0"),
        (batch, {task.pk: True}, "a number from 0"),
    ]
    for of, numbers, sentence in wrong:
        with pytest.raises(Refusal, match=sentence):
            set_uncertainty(of, numbers)
    assert numbers_of(batch) == {0.0}
    assert set_uncertainty(batch, {task.pk: 3}) == 1
    with pytest.raises(Refusal, match="closed"):
        set_uncertainty(close_batch(batch), {task.pk: 1})
