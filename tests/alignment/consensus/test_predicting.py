"""Scores that foretell: by hand, on simulated annotators whose parameters are known, and on real votes."""

from __future__ import annotations

import csv
import math
import os
from collections import defaultdict
from collections.abc import Hashable
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit

from alignment.consensus import Rankings, fit
from tests.alignment.consensus.drawing import draw_rankings

DATA = os.environ.get("RANKLOOP_DATA")


def test_of_two_items_the_factor_is_mackays() -> None:
    found = fit([[["a"], ["b"]], [["a"], ["b"]], [["b"], ["a"]]], prior=1.0)
    gap = found.difference("a", "b")
    expected = gap.estimate / math.sqrt(1 + math.pi * gap.standard_error**2 / 8)

    assert found.predictive_scores["a"] - found.predictive_scores["b"] == pytest.approx(expected, abs=1e-12)
    assert 0 < expected < gap.estimate


def test_scores_that_are_known_exactly_stay_as_they_are() -> None:
    found = fit([[["a"], ["b"]], [["b"], ["a"]]], prior=5.0, weights=[3e7, 1e7])

    assert found.predictive_scores["a"] == pytest.approx(found.scores["a"], rel=1e-6)


def test_order_ties_and_sums_stay_and_the_less_is_known_the_closer_to_zero() -> None:
    once = [[["a"], ["b", "c"], ["d"]]]
    little, much = fit(once, prior=1.5), fit(once * 40, prior=1.5)

    for found in (little, much):
        scores = found.predictive_scores
        assert scores["a"] > scores["b"] == pytest.approx(scores["c"], abs=1e-12)
        assert scores["c"] > scores["d"]
        assert sum(scores.values()) == pytest.approx(0, abs=1e-9)
    factor = [found.predictive_scores["a"] / found.scores["a"] for found in (little, much)]
    assert factor[0] < factor[1] < 1


def test_annotators_who_differ_draw_scores_further_than_those_who_are_alike() -> None:
    kept = {}
    for name, adherence in (("alike", np.ones(8)), ("differ", np.repeat([0.1, 1.9], 4))):
        _, rankings = _drawn(adherence, tasks=300, each=8)
        found = fit(rankings)
        estimated, drawn = (np.array(list(each.values())) for each in (found.scores, found.predictive_scores))
        kept[name] = float(estimated @ drawn / (estimated @ estimated))

    assert kept["differ"] < kept["alike"] - 0.05


@pytest.mark.parametrize("each", [2, 4])
def test_of_simulated_annotators_probabilities_are_those_of_the_next_ranking(each: int) -> None:
    """The best factor is 1 but for a few hundredths; the estimates by themselves ask for a far smaller one."""
    adherence = np.random.default_rng(3).gamma(4, 1 / 4, size=60)
    adherence /= adherence.mean()
    truth, rankings = _drawn(adherence, tasks=1500, each=each)
    found = fit(rankings)

    assert _best_factor(found.predictive_scores, truth, adherence) == pytest.approx(1, abs=0.06)
    assert _best_factor(found.scores, truth, adherence) < 0.85


@pytest.mark.skipif(not DATA, reason="RANKLOOP_DATA does not name the folder of real votes")
def test_votes_of_the_llmfao_crowd_are_foretold_better_than_by_the_estimates() -> None:
    """Mean log-likelihood of the votes left out of five fits. Nothing of the estimator was chosen by it."""
    with (Path(str(DATA)) / "llmfao" / "crowd-comparisons.csv").open(encoding="utf-8", newline="") as file:
        votes = list(csv.DictReader(file))
    fold = np.random.default_rng(0).integers(0, 5, len(votes))
    found: dict[str, list[float]] = defaultdict(list)
    for left_out in range(5):
        kept = [vote for vote, number in zip(votes, fold, strict=True) if number != left_out]
        fitted = fit([_tiers(vote) for vote in kept], annotators=[vote["worker"] for vote in kept])
        for name, scores in (("estimates", fitted.scores), ("predictive", fitted.predictive_scores)):
            for vote, number in zip(votes, fold, strict=True):
                if number == left_out and vote["winner"] != "tie":
                    (better,), (worse,) = _tiers(vote)
                    found[name].append(-np.logaddexp(0, scores.get(worse, 0) - scores.get(better, 0)))

    assert np.mean(found["predictive"]) > np.mean(found["estimates"]) + 0.03


def _tiers(vote: dict[str, str]) -> list[list[tuple[str, str]]]:
    """A vote on two responses as tiers of (prompt, model)."""
    left, right = (vote["prompt"], vote["model_x"]), (vote["prompt"], vote["model_y"])
    return {"left": [[left], [right]], "right": [[right], [left]], "tie": [[left, right]]}[vote["winner"]]


def _drawn(adherence: np.ndarray, *, tasks: int, each: int) -> tuple[np.ndarray, Rankings]:
    """True scores of three responses a task, and rankings of each task by ``each`` annotators."""
    dice = np.random.default_rng(17)
    scores = dice.normal(0, 1.5, size=(tasks, 3))
    annotator = np.concatenate([dice.permutation(len(adherence))[:each] for _ in range(tasks)])
    rankings = draw_rankings(
        scores,
        task=np.repeat(np.arange(tasks), each),
        annotator=annotator,
        adherence=adherence,
        log_ties={2: -1.0},
        dice=dice,
    )
    return scores, rankings


def _best_factor(found: dict[Hashable, float], truth: np.ndarray, adherence: np.ndarray) -> float:
    """The factor of scores that predicts best what an annotator drawn from these prefers."""
    scores = np.array([found[n] for n in range(truth.size)]).reshape(truth.shape)
    first, second = np.triu_indices(truth.shape[1], 1)
    gaps = scores[:, first] - scores[:, second]
    true_gaps = (truth[:, first] - truth[:, second])[..., None]
    probability = expit(adherence * true_gaps).mean(axis=2)

    def loss(factor: float) -> float:
        return float(np.mean(np.logaddexp(0, factor * gaps) - probability * factor * gaps))

    return float(minimize_scalar(loss, bounds=(0.1, 3), method="bounded").x)
