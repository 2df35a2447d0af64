"""Rankings with known truth: intervals that cover it, annotators told apart, spammers and adversaries outvoted."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from alignment.consensus import Consensus, Rankings, fit
from tests.alignment.consensus.drawing import draw_rankings, draw_tiers

LOG_TIES = {2: -1.0, 3: -2.0}


def drawn(
    seed: int, adherence: np.ndarray, *, tasks: int, overlap: int, spread: float = 1.5, size: int = 4
) -> tuple[np.ndarray, Rankings]:
    """Scores, ``(tasks, size)``, and rankings of tasks, ``overlap`` a task, by annotators with these adherences."""
    dice = np.random.default_rng(seed)
    scores = dice.normal(0, spread, (tasks, size))
    task = np.repeat(np.arange(tasks), overlap)
    annotator = np.argsort(dice.random((tasks, len(adherence))), axis=1)[:, :overlap].reshape(-1)
    rankings = draw_rankings(
        scores, task=task, annotator=annotator, adherence=adherence, log_ties=LOG_TIES, dice=dice
    )
    return scores, rankings


def covered(found: Consensus, scores: np.ndarray) -> float:
    """The share of tasks whose first two responses' true difference lies in its 95% interval."""
    size = scores.shape[1]
    differences = [found.difference(task * size, task * size + 1) for task in range(len(scores))]
    truth = scores[:, 0] - scores[:, 1]
    return float(np.mean([d.low < true < d.high for d, true in zip(differences, truth, strict=True)]))


def accuracy(scores: np.ndarray, truth: np.ndarray) -> float:
    """The share of pairs of a task's responses that scores order as the truth does, equal ones counting half."""
    pairs = list(combinations(range(truth.shape[1]), 2))
    right = [(1 + np.sign((scores[:, i] - scores[:, j]) * (truth[:, i] - truth[:, j]))) / 2 for i, j in pairs]
    return float(np.mean(right))


def majority(rankings: Rankings, tasks: int, size: int) -> np.ndarray:
    """For each response, of how many others more annotators rank it above than below, less the reverse."""
    tier = rankings.tier.reshape(-1, size)
    task = rankings.item.reshape(-1, size)[:, 0] // size
    found = np.zeros((tasks, size))
    for i, j in combinations(range(size), 2):
        won = np.sign(np.bincount(task, np.sign(tier[:, j] - tier[:, i]), tasks))
        found[:, i] += won
        found[:, j] -= won
    return found


def as_array(found: Consensus, truth: np.ndarray) -> np.ndarray:
    return np.array(list(found.scores.values())).reshape(truth.shape)


@pytest.mark.parametrize(("seed", "overlap", "spread"), [(0, 2, 1.5), (1, 3, 1.5), (2, 5, 0.8), (3, 3, 2.5)])
def test_intervals_of_many_small_tasks_cover_the_truth(seed: int, overlap: int, spread: float) -> None:
    adherence = np.random.default_rng(seed).gamma(10, 1 / 10, 30)
    adherence /= adherence.mean()
    truth, rankings = drawn(seed, adherence, tasks=2000, overlap=overlap, spread=spread)
    found = fit(rankings)
    assert found.converged
    assert 0.93 <= covered(found, truth) <= 0.97
    assert found.spread is not None and found.spread.value == pytest.approx(spread, rel=0.1)
    for order, log_tie in LOG_TIES.items():
        assert abs(found.ties[order].value - log_tie) < 4 * found.ties[order].standard_error


def test_intervals_of_a_leaderboard_cover_the_truth() -> None:
    dice = np.random.default_rng(4)
    truth = dice.normal(0, 1, 12)
    inside = []
    for _ in range(60):
        left = dice.integers(12, size=1500)
        right = (left + dice.integers(1, 12, size=1500)) % 12
        tier = draw_tiers(np.stack([truth[left], truth[right]], axis=1), {2: -0.5}, dice)
        votes = Rankings.of_votes(left, right, tier[:, 1] - tier[:, 0], items=range(12))
        found = fit(votes, prior=None)
        covariance = found.covariance(range(12))
        scores = np.array(list(found.scores.values()))
        for i, j in combinations(range(12), 2):
            error = np.sqrt(covariance[i, i] + covariance[j, j] - 2 * covariance[i, j])
            inside.append(abs(scores[i] - scores[j] - truth[i] + truth[j]) < 1.959964 * error)
    assert 0.93 <= np.mean(inside) <= 0.97


def test_annotators_adherences_are_recovered() -> None:
    adherence = np.linspace(0.2, 1.8, 25)
    _, rankings = drawn(5, adherence, tasks=1500, overlap=4)
    found = fit(rankings)
    estimate = np.array([found.reliability[who] for who in range(25)])
    assert np.corrcoef(estimate, adherence)[0, 1] > 0.97
    assert np.abs(estimate - adherence).mean() < 0.1
    assert estimate.mean() == pytest.approx(1, abs=1e-9)


def test_intervals_of_adherences_cover_the_truth() -> None:
    inside: list[bool] = []
    for seed in range(30):
        adherence = np.random.default_rng(seed).gamma(10, 1 / 10, 40)
        adherence /= adherence.mean()
        _, rankings = drawn(seed, adherence, tasks=1000, overlap=4)
        found = fit(rankings)
        assert found.converged
        for who, estimate in found.reliability.items():
            reach = 1.959964 * found.reliability_errors[who]
            inside.append(abs(np.log(estimate / adherence[int(str(who))])) < reach)
    assert 0.93 <= np.mean(inside) <= 0.97


def test_with_30_percent_of_spammers_the_consensus_is_three_points_better_than_the_majority() -> None:
    adherence = np.full(30, 1.0)
    adherence[:9] = 0
    truth, rankings = drawn(6, adherence, tasks=1000, overlap=5)
    found = fit(rankings)
    spammers = [found.reliability[who] for who in range(9)]
    others = [found.reliability[who] for who in range(9, 30)]
    assert max(spammers) < 0.35 < 1.0 < min(others)
    by_majority = accuracy(majority(rankings, *truth.shape), truth)
    assert accuracy(as_array(found, truth), truth) > by_majority + 0.03


def test_adversaries_are_outvoted() -> None:
    adherence = np.full(30, 1.0)
    adherence[:6] = -1.0
    truth, rankings = drawn(7, adherence, tasks=1000, overlap=5)
    found = fit(rankings)
    assert max(found.reliability[who] for who in range(6)) < 0.2
    assert accuracy(as_array(found, truth), truth) > accuracy(majority(rankings, *truth.shape), truth) + 0.05
