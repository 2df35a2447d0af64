"""The estimator against its own formula, written out choice by choice, and against integrals over grids."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from alignment.consensus import Adherence, PseudoRankings, Rankings, fit
from alignment.consensus.choices import Point
from alignment.consensus.grouping import choices_of
from alignment.consensus.likelihood import Likelihood
from alignment.consensus.posterior import Posterior
from alignment.consensus.priors import Spread
from tests.alignment.consensus.strategies import tiers_of_some

Tiers = Sequence[Sequence[int]]


def weak_orders(items: Sequence[int]) -> Iterator[list[list[int]]]:
    """Every way to rank items, ties included: of four items 75."""
    if not items:
        yield []
    for size in range(1, len(items) + 1):
        for first in combinations(items, size):
            for rest in weak_orders([item for item in items if item not in first]):
                yield [list(first), *rest]


def log_probability(
    tiers: Tiers, scores: Sequence[float], log_ties: dict[int, float], adherence: float
) -> float:
    """Turner et al. 2020, equation 1, one tier after the other."""

    def worth(chosen: Sequence[int]) -> float:
        mean = sum(scores[item] for item in chosen) / len(chosen)
        return math.exp(adherence * mean + (log_ties[len(chosen)] if len(chosen) > 1 else 0))

    left = [item for tier in tiers for item in tier]
    total = 0.0
    for tier in tiers:
        sets = [s for k in (1, *log_ties) for s in combinations(left, k)]
        total += math.log(worth(tier) / sum(map(worth, sets)))
        left = [item for item in left if item not in tier]
    return total


@pytest.mark.parametrize("size", [2, 3, 4])
def test_the_probabilities_of_all_rankings_with_ties_sum_to_one(size: int) -> None:
    orders = list(weak_orders(range(size)))
    assert len(orders) == {2: 3, 3: 13, 4: 75}[size]
    rankings = Rankings.of([[[(n, item) for item in tier] for tier in t] for n, t in enumerate(orders)])
    choices, blocks, ties = choices_of(rankings.given_by(["x"] * len(orders)))
    likelihood = Likelihood(choices, blocks, 1, ties, 0)
    worth = dict(zip(range(size), (0.3, -1.1, 2.0, 0.4), strict=False))
    scores = np.array([worth[rankings.items[item][1]] for item in blocks.order])  # type: ignore[index]
    log_ties = {2: 0.2, 3: -0.4, 4: 0.5}
    point = Point(scores, np.array([1.3]), np.array([log_ties[k] for k in ties]), np.zeros(0))
    found = likelihood.slopes(point).value
    assert np.exp(found).sum() == pytest.approx(1, abs=1e-12)
    used = {k: log_ties[k] for k in ties}
    of_order = [found[blocks.set_of[blocks.place[rankings.items.index((n, 0))]]] for n in range(len(orders))]
    assert of_order == pytest.approx([log_probability(t, worth, used, 1.3) for t in orders])  # type: ignore[arg-type]


@settings(deadline=None, max_examples=25)
@given(st.lists(tiers_of_some(4), min_size=1, max_size=6), st.integers(0, 2**32 - 1))
def test_with_pseudo_rankings_the_mode_is_where_a_general_optimiser_finds_it(
    rankings: list[list[list[int]]], seed: int
) -> None:
    orders = sorted({len(tier) for tiers in rankings for tier in tiers if len(tier) > 1})
    # Else δ is infinite; the next test has one.
    assume(all(any(len(t[0]) < k <= sum(map(len, t)) for t in rankings) for k in orders))
    who = np.random.default_rng(seed).integers(2, size=len(rankings)).tolist()
    prior, number = Adherence(shape=5, rate=4), 0.7

    def cost(free: np.ndarray) -> float:
        scores, ties, logs = free[:4], free[4 : 4 + len(orders)], free[4 + len(orders) :]
        log_ties = dict(zip(orders, ties.tolist(), strict=True))
        value = sum(
            log_probability(tiers, scores.tolist(), log_ties, math.exp(logs[annotator]))
            for tiers, annotator in zip(rankings, who, strict=True)
        )
        value += sum((prior.shape - 1) * log - prior.rate * math.exp(log) for log in logs)
        return -value + number * float((np.logaddexp(0, scores) + np.logaddexp(0, -scores)).sum())

    found = fit(rankings, items=range(4), annotators=who, prior=PseudoRankings(number), adherence=prior)
    best = minimize(cost, np.zeros(4 + len(orders) + 2), method="BFGS", options={"gtol": 1e-7})
    # A combination of ties and scores may still have no finite mode: the optimiser tells, not what is tested.
    assume(np.abs(best.x).max() < 8)
    assert found.converged, found.trouble
    assert list(found.scores.values()) == pytest.approx(best.x[:4], abs=2e-4)
    assert [tie.value for tie in found.ties.values()] == pytest.approx(best.x[4 : 4 + len(orders)], abs=2e-4)
    for annotator, adherence in found.reliability.items():
        assert adherence == pytest.approx(math.exp(best.x[4 + len(orders) + annotator]), abs=2e-4)


@pytest.mark.parametrize("prior", [1.5, Spread(), PseudoRankings(0.5)])
def test_slopes_by_the_shared_parameters_are_those_of_the_value(prior: Any) -> None:
    dice = np.random.default_rng(1)
    rankings, who = [], []
    for task in range(4):
        for _ in range(3):
            ranked = [(task, int(item)) for item in dice.permutation(4)[: dice.integers(2, 5)]]
            cut = int(dice.integers(1, len(ranked) + 1))
            rankings.append([ranked[:cut], *([item] for item in ranked[cut:])])
            who.append(int(dice.integers(3)))
    given = Rankings.of(rankings, annotators=who)
    given = given.with_covariates(["length"], dice.normal(size=(len(given.item), 1)))
    choices, blocks, orders = choices_of(given)
    likelihood = Likelihood(choices, blocks, 3, orders, 1)
    people = np.array([True, True, False])
    posterior = Posterior(likelihood, prior, Adherence(), people, np.ones(blocks.sets, bool))
    shared, zeros = dice.normal(size=posterior.shared) * 0.3, np.zeros(len(given.items))
    slope = posterior.slope(posterior.settle(shared, zeros))
    step = 1e-4 * np.eye(len(shared))
    measured = [
        (posterior.settle(shared + d, zeros).value - posterior.settle(shared - d, zeros).value) / 2e-4
        for d in step
    ]
    assert slope == pytest.approx(measured, abs=1e-5)


@pytest.mark.parametrize("wins", [(3, 0), (2, 1), (5, 0), (1, 0), (10, 4)])
def test_scores_and_errors_of_two_items_are_the_posteriors_moments(wins: tuple[int, int]) -> None:
    won, lost = wins
    prior = 1.5
    found = fit([[["a"], ["b"]]] * won + [[["b"], ["a"]]] * lost, prior=prior)
    grid = np.linspace(-15, 15, 20_001)
    density = np.exp(-won * np.logaddexp(0, -grid) - lost * np.logaddexp(0, grid) - grid**2 / (4 * prior**2))
    density /= density.sum()
    mean = float(density @ grid)
    difference = found.difference("a", "b")
    assert difference.estimate == pytest.approx(mean, rel=0.02)
    assert difference.standard_error == pytest.approx(
        math.sqrt(float(density @ (grid - mean) ** 2)), rel=0.02
    )


def test_scores_of_three_items_are_the_posteriors_means() -> None:
    rankings = [[[0], [1], [2]], [[0], [2], [1]], [[1], [0], [2]]]
    prior = 2.0
    found = fit(rankings, prior=prior)
    axis = np.linspace(-9, 9, 81)
    scores = np.array(np.meshgrid(axis, axis, axis, indexing="ij")).reshape(3, -1)
    log = -(scores**2).sum(axis=0) / (2 * prior**2)
    for tiers in rankings:
        order = scores[[tier[0] for tier in tiers]]
        log += order[0] - np.logaddexp.reduce(order, axis=0) + order[1] - np.logaddexp(order[1], order[2])
    density = np.exp(log - log.max())
    density /= density.sum()
    mean = scores @ density
    assert list(found.scores.values()) == pytest.approx(mean, abs=0.04)
    covariance = (scores * density) @ scores.T - np.outer(mean, mean)
    assert found.covariance([0, 1, 2]) == pytest.approx(covariance, rel=0.05, abs=0.05)
