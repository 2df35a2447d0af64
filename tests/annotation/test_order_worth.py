"""What an order of work is worth: equal depths are compared, and where there is nothing, nothing is found."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import numpy as np
import pytest
from django.core.cache import cache

from annotation.answer_columns import read_answers
from annotation.models import Assignment, Project, User
from annotation.order_worth import OrderWorth, movement, order_worth, worth_of_choosing
from annotation.quality import batches_of
from annotation.reviewing import review_task
from annotation.showing_reviews import version_of
from annotation.submitting import amend
from tests.annotation.conftest import Compose, People, answer, take

Choose = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]
"""How uncertain each task is, of its opinions for and against."""


def disagreement(over: np.ndarray, under: np.ndarray, dice: np.random.Generator) -> np.ndarray:
    """The share of couples who say otherwise."""
    rankings = over + under
    return np.where(rankings > 1, over * under / np.maximum(1, rankings * (rankings - 1) / 2), 0.0)


def nothing(over: np.ndarray, under: np.ndarray, dice: np.random.Generator) -> np.ndarray:
    """Numbers that say nothing of the tasks."""
    return dice.random(len(over))


def hand_out(
    over_share: np.ndarray, dice: np.random.Generator, choose: Choose, *, overlap: int, control: float
) -> OrderWorth:
    """Rank tasks of two responses each, one place after the other: mostly the most uncertain task, some by chance.

    Args:
        over_share: the probability that an annotator puts the first response over the second. Shape: ``(tasks,)``.
    """
    over, under = np.zeros(len(over_share), np.int64), np.zeros(len(over_share), np.int64)
    rows = []
    for _ in range(len(over_share) * overlap * 3 // 4):
        uncertain = np.where(over + under < overlap, choose(over, under, dice), -1.0)
        by_chance = dice.random() < control
        if by_chance or uncertain.max() <= 0:
            task = int(dice.choice(np.flatnonzero(uncertain >= 0)))
        else:
            task = int(dice.choice(np.flatnonzero(uncertain == uncertain.max())))
        said_over = dice.random() < over_share[task]
        depth = int(over[task] + under[task])
        alike = over[task] if said_over else under[task]
        if depth and (by_chance or uncertain.max() > 0):
            rows.append(((1 - alike / depth) / (depth + 1), depth, not by_chance, task))
        over[task] += said_over
        under[task] += not said_over
    moved, depths, chosen, task_of = (np.array(column) for column in zip(*rows, strict=True))
    return worth_of_choosing(moved=moved, depth=depths, chosen=chosen.astype(bool), task=task_of)


@pytest.mark.parametrize(
    ("choose", "over_share"),
    [
        (disagreement, np.full(120, 0.5)),
        (nothing, np.tile([0.5, 0.7, 0.95], 40)),
    ],
    ids=["people order by mere chance", "the numbers say nothing"],
)
def test_where_the_order_is_worth_nothing_the_interval_holds_zero_as_often_as_it_says(
    choose: Choose, over_share: np.ndarray
) -> None:
    dice = np.random.default_rng(1)
    held, differences = [], []
    for _ in range(200):
        worth = hand_out(over_share, dice, choose, overlap=5, control=0.3)
        assert worth.difference is not None and worth.low is not None and worth.high is not None
        held.append(worth.low <= 0 <= worth.high)
        differences.append(worth.difference)
    # 95 % are expected, with a standard deviation of 1.5.
    assert 0.905 < np.mean(held) < 0.995
    assert abs(np.mean(differences)) < 3 * np.std(differences) / len(differences) ** 0.5


def test_an_order_that_finds_the_divided_tasks_is_found_to_be_worth_it() -> None:
    dice = np.random.default_rng(2)
    found = [
        hand_out(np.tile([0.5, 0.97, 0.97, 0.03], 50), dice, disagreement, overlap=5, control=0.3)
        for _ in range(20)
    ]
    assert all(worth.low is not None and worth.low > 0 for worth in found)


def test_an_order_that_finds_the_agreed_tasks_is_found_to_be_worse_than_chance() -> None:
    dice = np.random.default_rng(3)

    def agreement(over: np.ndarray, under: np.ndarray, dice: np.random.Generator) -> np.ndarray:
        return np.where(over + under > 1, 1 - disagreement(over, under, dice), 0.0)

    found = [hand_out(np.tile([0.5, 0.97], 80), dice, agreement, overlap=5, control=0.3) for _ in range(20)]
    assert np.mean([worth.high is not None and worth.high < 0 for worth in found]) > 0.8


def worth_of(rows: list[tuple[float, int, bool]]) -> OrderWorth:
    """Of places with their movement, depth, and whether they were chosen; each of a task of its own."""
    moved, depth, chosen = (np.array(column) for column in zip(*rows, strict=True))
    return worth_of_choosing(moved=moved, depth=depth, chosen=chosen.astype(bool), task=np.arange(len(rows)))


def test_late_places_are_not_compared_with_early_ones() -> None:
    """The artefact that a comparison without depths falls for: the uncertain are late, and late ones move little."""
    early = [(0.25 * (n % 2), 1, False) for n in range(40)]
    late = [(0.02 * (n % 2), 9, True) for n in range(40)]
    worth = worth_of(early + late)
    assert worth.difference is None and worth.compared == 0
    assert [(each.depth, each.enough) for each in worth.depths] == [(1, False), (9, False)]


def test_depths_weigh_by_how_many_places_the_order_chose_there() -> None:
    rows = [
        *((0.2 + 0.1 * (n % 2), 1, True) for n in range(30)),
        *((0.1 * (n % 2), 1, False) for n in range(20)),  # 0.2 less
        *((0.1 * (n % 2), 2, True) for n in range(10)),
        *((0.1 * (n % 2), 2, False) for n in range(10)),  # no less
        *((0.3, 3, True) for _ in range(50)),  # nothing to compare with
        *((0.1, 3, False) for _ in range(9)),
    ]
    worth = worth_of(rows)
    assert worth.difference == pytest.approx(0.2 * 30 / 40)
    assert worth.compared == 40
    assert worth.low is not None and worth.high is not None and worth.low < 0.15 < worth.high
    assert [each.enough for each in worth.depths] == [True, True, False]


def test_places_that_all_moved_it_alike_have_no_interval() -> None:
    worth = worth_of([(0.1, 1, n < 20) for n in range(40)])
    assert (worth.difference, worth.low, worth.high) == (pytest.approx(0), None, None)


@pytest.mark.django_db
def test_a_ranking_moves_the_shares_of_opinions_that_were_known_when_its_place_was_handed_out(
    project: Project, people: People, compose: Compose
) -> None:
    batch = compose(1, overlap=4, responses_per_task=3)
    given = ([[0], [1], [2]], [[0], [1], [2]], [[0], [2], [1]], [[2], [1], [0]])
    for annotator, tiers in zip(people(4), given, strict=True):
        answer(take(annotator, project), tiers)
    answers = read_answers(batches_of(batch))
    came = np.array([10.0, 20.0, 30.0, 40.0])

    moved, depth = movement(answers, came, asked=came - 1)
    assert depth.tolist() == [0, 1, 2, 3]
    assert np.isnan(moved[0])
    # Of three pairs: none otherwise than one; one otherwise than two; two otherwise than all three, one than two.
    assert moved[1:].tolist() == pytest.approx([0, 1 / 3 / 3, (1 + 1 + 2 / 3) / 3 / 4])

    moved, depth = movement(answers, came, asked=np.array([5.0, 5.0, 25.0, 25.0]))
    assert depth.tolist() == [0, 0, 2, 2], "what came in after a place was handed out was not known"
    assert moved[3] == pytest.approx((1 + 1 + 1) / 3 / 3)


@pytest.mark.django_db
def test_what_a_batchs_order_is_worth_follows_from_how_its_places_were_chosen(
    project: Project, manager: User, people: People, compose: Compose
) -> None:
    assert order_worth(compose(1)) is None
    Assignment.objects.all().delete()
    batch = compose(24, overlap=2, order="uncertainty", responses_per_task=2)
    divided = set(batch.tasks.order_by("pk").values_list("pk", flat=True)[:12])
    for number, annotator in enumerate(people(2)):
        for _ in range(24):
            place = take(annotator, project)
            turned = number == 1 and (place.task_id in divided) != (place.task_id == max(divided))
            answer(place, [[1], [0]] if turned else [[0], [1]])
    Assignment.objects.filter(task__in=divided).update(chosen_by="uncertainty")
    Assignment.objects.exclude(task__in=divided).update(chosen_by="control")
    Assignment.objects.exclude(annotator=annotator).update(chosen_by="")  # who came first moved nothing

    worth = order_worth(batch)

    assert worth is not None
    (depth,) = worth.depths
    assert (depth.depth, depth.chosen, depth.control, depth.enough) == (1, 12, 12, True)
    assert depth.moved == pytest.approx(11 / 12 / 2) and depth.moved_by_chance == 0
    assert worth.difference == pytest.approx(11 / 24) and worth.low is not None and worth.low > 0.3

    # What a reviewer brings about afterwards was not to be known when the place was handed out.
    place = Assignment.objects.filter(task__in=divided, annotator=annotator).earliest("pk")
    review_task(
        reviewer=manager,
        task_id=place.task_id,
        version=version_of(place.task),
        verdict="returned",
        ranking_id=place.rankings.get().pk,
        note="Look again.",
    )
    amend(annotator=annotator, assignment_id=place.pk, key=uuid.uuid4(), tiers=[[0], [1]])
    cache.clear()
    assert order_worth(batch) == worth
