"""Machines that judge beside people: heard, never louder than people unless told to."""

from __future__ import annotations

import numpy as np
import pytest

from alignment.consensus import Rankings, fit
from tests.alignment.consensus.drawing import draw_rankings

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
