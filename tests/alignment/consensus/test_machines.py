"""Machines that judge beside people: heard, never louder than people unless told to."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from itertools import pairwise

import numpy as np
import pytest

from alignment.consensus import Rankings, Tiers, fit
from alignment.consensus.machines import held_share
from tests.alignment.consensus.drawing import draw_rankings, draw_tiers

PEOPLE, TASKS = 12, 400
JUDGE = PEOPLE


@pytest.fixture(scope="module")
def world() -> tuple[np.ndarray, np.ndarray, Rankings]:
    """What people hold of 400 tasks' four responses, what a judge that never wavers holds, which is half of its own
    making, and their rankings: three people's of each task and four of the judge's."""
    dice = np.random.default_rng(1)
    truth = dice.normal(0, 1.5, (TASKS, 4))
    opinion = truth / 2 + dice.normal(0, 1.5, truth.shape)
    task = np.repeat(np.arange(TASKS), 3)
    who = np.argsort(dice.random((TASKS, PEOPLE)), axis=1)[:, :3].reshape(-1)
    ones = np.ones(PEOPLE + 1)
    people = draw_rankings(truth, task=task, annotator=who, adherence=ones, log_ties={2: -1}, dice=dice)
    again = np.repeat(np.arange(TASKS), 4)
    judged = draw_rankings(
        opinion * 4,
        task=again,
        annotator=np.full(len(again), JUDGE),
        adherence=ones,
        log_ties={2: -1},
        dice=dice,
    )
    both = Rankings(
        items=people.items,
        item=np.concatenate([people.item, judged.item]),
        tier=np.concatenate([people.tier, judged.tier]),
        sizes=np.concatenate([people.sizes, judged.sizes]),
    ).given_by([*who.tolist(), *(["judge"] * len(again))])
    return truth, opinion, both


def likeness(found: dict[object, float], scores: np.ndarray) -> float:
    centred = scores - scores.mean(axis=1, keepdims=True)
    return float(np.corrcoef(np.array(list(found.values())), centred.reshape(-1))[0, 1])


def only(rankings: Rankings, people: bool) -> Rankings:
    judge = list(rankings.annotators).index("judge")
    assert rankings.annotator is not None
    return rankings.weighted(((rankings.annotator == judge) != people).astype(float))


def test_a_judge_that_never_wavers_and_ranks_more_does_not_outweigh_people(
    world: tuple[np.ndarray, np.ndarray, Rankings],
) -> None:
    truth, opinion, rankings = world
    capped = fit(rankings, machines=["judge"])
    told_to = fit(rankings, machines=["judge"], machine_share=1)
    assert capped.converged and told_to.converged
    assert likeness(told_to.scores, opinion) > 0.9 > 0.8 > likeness(told_to.scores, truth)
    assert likeness(capped.scores, truth) > likeness(told_to.scores, truth) + 0.1
    assert capped.reliability["judge"] < told_to.reliability["judge"]


def test_the_smaller_its_share_the_closer_the_consensus_is_to_peoples(
    world: tuple[np.ndarray, np.ndarray, Rankings],
) -> None:
    _, _, rankings = world
    by_people = fit(only(rankings, people=True)).scores
    found = [
        fit(rankings, machines=["judge"], machine_share=share).scores for share in (0.5, 0.2, 0.05, 0.001)
    ]
    from_people = [max(abs(scores[item] - score) for item, score in by_people.items()) for scores in found]
    assert from_people == sorted(from_people, reverse=True)
    assert from_people[-1] < 0.2


def test_where_no_person_ranked_a_judge_weighs_as_much_as_one_ranking() -> None:
    often = fit([[["a"], ["b"], ["c"]]] * 50, annotators=["judge"] * 50, machines=["judge"], prior=1.5)
    once = fit([[["a"], ["b"], ["c"]]] * 2, annotators=["judge"] * 2, weights=[0.5, 0.5], prior=1.5)
    assert often.scores == pytest.approx(once.scores, abs=1e-6)


def test_judges_lighter_than_people_count_in_full() -> None:
    rankings = [[["a"], ["b"]], [["b"], ["a"]], [["a"], ["b"]], [["a"], ["b"]]]
    annotators = ["x", "y", "z", "judge"]
    capped = fit(rankings, annotators=annotators, machines=["judge"], adherence=None, prior=1.5)
    as_person = fit(rankings, annotators=annotators, adherence=None, prior=1.5)
    assert capped.scores == pytest.approx(as_person.scores, abs=1e-9)


def sure_judges(size: int, judges: int, seed: int) -> tuple[list[Tiers], list[str], list[list[Hashable]]]:
    """Rankings of 300 tasks by two people of twelve each, and by judges that never waver and take three tasks in ten
    the wrong way round, all alike; the judges' names; and the orders on which both people of a task agree, ties and
    all."""
    dice = np.random.default_rng(seed)
    truth = dice.normal(0, 1.5, (300, size))
    task = np.repeat(np.arange(300), 2)
    tier = draw_tiers(truth[task], {2: -1.5}, dice)
    who = np.argsort(dice.random((300, PEOPLE)), axis=1)[:, :2].reshape(-1)
    rankings: list[Tiers] = [
        [[(int(t), int(item)) for item in np.flatnonzero(row == place)] for place in np.unique(row)]
        for t, row in zip(task, tier, strict=True)
    ]
    annotators = [f"person {each}" for each in who]
    wrong = dice.random(300) < 0.3
    for t in range(300):
        order = np.argsort(truth[t] if wrong[t] else -truth[t])
        for judge in range(judges):
            rankings.append([[(t, int(item))] for item in order])
            annotators.append(f"judge {judge}")
    agreed = [
        [item for (item,) in rankings[2 * t]]
        for t in range(300)
        if rankings[2 * t] == rankings[2 * t + 1] and all(len(tier) == 1 for tier in rankings[2 * t])
    ]
    return rankings, annotators, agreed


def overturned(scores: Mapping[Hashable, float], agreed: list[list[Hashable]]) -> int:
    return sum(scores[better] <= scores[worse] for order in agreed for better, worse in pairwise(order))


@pytest.mark.parametrize(("size", "judges"), [(2, 1), (2, 8), (3, 1), (3, 5), (4, 1), (4, 5)])
def test_judges_that_are_sure_of_the_contrary_overturn_no_two_people_who_agree_unless_allowed(
    size: int, judges: int
) -> None:
    rankings, annotators, agreed = sure_judges(size, judges, seed=size)
    names = {f"judge {judge}" for judge in range(judges)}
    assert len(agreed) > 20
    held = fit(rankings, annotators=annotators, machines=names, machine_share=held_share(0.4, size))
    assert held.converged and overturned(held.scores, agreed) == 0
    if judges > 1:
        allowed = fit(rankings, annotators=annotators, machines=names, machine_share=1)
        assert overturned(allowed.scores, agreed) > 3


@pytest.mark.parametrize("size", [2, 3, 4, 5, 6, 9])
def test_no_order_that_a_judge_is_sure_of_turns_two_people_who_agree(size: int) -> None:
    dice = np.random.default_rng(size)
    people = [[[item] for item in range(size)]] * 2
    orders = [dice.permutation(size).tolist() for _ in range(20)] + [
        [*range(1, size), 0],
        [*range(size)][::-1],
    ]
    for order in orders:
        rankings = [*people, *([[item] for item in order] for _ in range(5))]
        annotators = ["ada", "bob", *["judge"] * 5]
        found = fit(rankings, annotators=annotators, machines=["judge"], machine_share=held_share(0.4, size))
        assert sorted(range(size), key=lambda item: -found.scores[item]) == list(range(size)), order


def test_many_unsteady_judges_that_say_the_same_do_not_outpull_people() -> None:
    """Each weighs little, for it seldom follows people; together they would pull harder than two people do."""
    dice = np.random.default_rng(8)
    rankings, annotators = [], []
    for task in range(200):
        better, worse = [(task, 0)], [(task, 1)]
        rankings += [[better, worse], [better, worse]]
        annotators += [f"person {dice.integers(6)}", f"person {6 + dice.integers(6)}"]
        said = [better, worse] if task % 5 < 3 else [worse, better]
        rankings += [said] * 20
        annotators += [f"judge {judge}" for judge in range(20)]
    names = {f"judge {judge}" for judge in range(20)}
    found = fit(rankings, annotators=annotators, machines=names, machine_share=held_share(0.4, 2))
    assert max(found.reliability[name] for name in names) < 1
    assert all(found.scores[task, 0] > found.scores[task, 1] for task in range(200))
