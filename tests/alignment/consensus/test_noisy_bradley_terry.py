"""Beside crowd-kit's Noisy Bradley–Terry, its published likelihood written out and maximised by a general optimiser.

P(worker w prefers i to j) = γ_w σ(s_i − s_j) + (1 − γ_w) σ(± q_w): with the skill γ_w a worker follows the scores, else
a bias q_w to the left or right (crowd-kit's documentation, after Bugakova et al. 2019, "Aggregation of pairwise
comparisons with reduction of biases"). crowd-kit 1.4.2 itself climbs by a gradient whose entries for skills and biases
are one worker off and of each worker's last vote alone: its scores are not at their maximum and are not compared here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_expit

from alignment.consensus import Rankings, fit

ITEMS, WORKERS, SPAMMERS = 12, 20, 6


@dataclass(frozen=True)
class Votes:
    truth: np.ndarray
    """Scores, of mean 0. Shape: ``(ITEMS,)``."""
    left: np.ndarray
    right: np.ndarray
    outcome: np.ndarray
    """1 for the left item, -1 for the right one. Shape: ``(votes,)``."""
    worker: np.ndarray

    def rankings(self) -> Rankings:
        return Rankings.of_votes(
            self.left, self.right, self.outcome, items=range(ITEMS), annotators=self.worker.tolist()
        )


def drawn(seed: int, spammers: int) -> Votes:
    """Votes of workers who follow the scores or, ``spammers`` of them, toss a coin: both models hold that."""
    dice = np.random.default_rng(seed)
    truth = dice.normal(0, 1, ITEMS)
    truth -= truth.mean()
    worker, left = dice.integers(WORKERS, size=6000), dice.integers(ITEMS, size=6000)
    right = (left + dice.integers(1, ITEMS, size=6000)) % ITEMS
    gap = np.where(worker < spammers, 0.0, truth[left] - truth[right])
    outcome = np.where(np.log(dice.random(6000)) < log_expit(gap), 1, -1)
    return Votes(truth, left, right, outcome, worker)


def noisy_bradley_terry(votes: Votes, *, all_skilled: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return scores of mean 0 and skills at the likelihood's maximum.

    Args:
        all_skilled: hold every skill at 1.
    """

    def cost(free: np.ndarray) -> tuple[float, np.ndarray]:
        scores, bias, skill = np.split(free, [ITEMS, ITEMS + WORKERS])
        bias, skill = bias[votes.worker], skill[votes.worker]
        followed = log_expit(votes.outcome * (scores[votes.left] - scores[votes.right]))
        guessed = log_expit(votes.outcome * bias)
        if all_skilled:
            value, of_followed = followed, np.ones_like(followed)
        else:
            value = np.logaddexp(log_expit(skill) + followed, log_expit(-skill) + guessed)
            of_followed = np.exp(log_expit(skill) + followed - value)
        by_gap = of_followed * votes.outcome * -np.expm1(followed)
        by_bias = (1 - of_followed) * votes.outcome * -np.expm1(guessed)
        slope = np.concatenate(
            [
                np.bincount(votes.left, by_gap, ITEMS) - np.bincount(votes.right, by_gap, ITEMS),
                np.bincount(votes.worker, by_bias, WORKERS),
                np.bincount(votes.worker, of_followed - np.exp(log_expit(skill)), WORKERS)
                * (not all_skilled),
            ]
        )
        return -float(value.sum()), -slope

    limits = {"maxiter": 5000, "maxfun": 20_000, "ftol": 1e-15, "gtol": 1e-6}
    found = minimize(cost, np.zeros(ITEMS + 2 * WORKERS), jac=True, method="L-BFGS-B", options=limits)
    scores = found.x[:ITEMS]
    return scores - scores.mean(), np.exp(log_expit(found.x[ITEMS + WORKERS :]))


def test_where_all_workers_are_skilled_scores_are_equal() -> None:
    votes = drawn(0, spammers=0)
    theirs, _ = noisy_bradley_terry(votes, all_skilled=True)
    ours = fit(votes.rankings(), prior=None, adherence=None)
    assert list(ours.scores.values()) == pytest.approx(theirs, abs=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_both_find_the_spammers_and_the_order_and_adherence_comes_closer_to_the_truth(seed: int) -> None:
    votes = drawn(seed, SPAMMERS)
    theirs, skills = noisy_bradley_terry(votes)
    found = fit(votes.rankings(), prior=None)
    reliability = np.array([found.reliability[who] for who in range(WORKERS)])
    assert (
        set(np.argsort(skills)[:SPAMMERS]) == set(np.argsort(reliability)[:SPAMMERS]) == set(range(SPAMMERS))
    )
    # Scores are those of a worker of adherence 1; theirs are those of one who always follows them.
    ours = np.array(list(found.scores.values())) * reliability[SPAMMERS:].mean()
    assert np.corrcoef(ours, theirs)[0, 1] > 0.95
    assert np.square(ours - votes.truth).sum() < np.square(theirs - votes.truth).sum()
