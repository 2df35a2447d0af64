"""Evidence against somebody, looked at after every task: whoever is at the bar is hardly ever taken for below it."""

from __future__ import annotations

import numpy as np
import pytest

from annotation.below_bar import STAKES, Evidence, evidence_below

PAIRS = 6


def days(mean: float, people: int, tasks: int, *, seed: int) -> np.ndarray:
    """Shares of six pairs that hang together: each task is one draw of how well it goes, and six pairs of that.
    Shape: ``(people, tasks)``."""
    dice = np.random.default_rng(seed)
    return dice.binomial(PAIRS, dice.beta(2 * mean, 2 * (1 - mean), (people, tasks))) / PAIRS


def found_after(shares: np.ndarray, bar: float) -> np.ndarray:
    """After how many tasks each is found below the bar; one more than there are: never. Shape: ``(people,)``."""
    found = []
    for one in shares:
        looks = (evidence_below(one[:tasks], bar).value >= 20 for tasks in range(1, len(one) + 1))
        found.append(next((tasks for tasks, is_below in enumerate(looks, start=1) if is_below), len(one) + 1))
    return np.array(found)


def test_it_is_what_a_bet_becomes_by_hand() -> None:
    bar, figures = 0.6, [1.0, 0.0, 0.5]
    wealth = 0.0
    for start in range(3):
        grown = [
            np.prod([1 + stake / 0.4 * (bar - figure) for figure in figures[start:]]) for stake in STAKES
        ]
        wealth += float(np.mean(grown)) / ((start + 1) * (start + 2))

    found = evidence_below(figures, bar)

    assert found.value == pytest.approx(wealth + 1 / 4), "a quarter is not staked yet"
    assert evidence_below([1.0] * 5 + [0.0] * 4, bar).latest == 4, "since the first wrong one"
    assert evidence_below([], bar) == Evidence(1.0, 0)


@pytest.mark.parametrize("bar", [0.6, 0.9])
def test_of_those_at_the_bar_at_most_one_in_twenty_is_ever_found_below_it(bar: float) -> None:
    """In 200 gold tasks, looked at after each."""
    shares = days(bar, 400, 200, seed=1)

    assert (found_after(shares, bar) <= 200).mean() <= 0.05


def test_who_is_far_below_is_found_soon_and_who_guesses_sooner_still() -> None:
    assert np.median(found_after(days(0.6, 100, 100, seed=2), 0.8)) <= 20
    assert np.median(found_after(days(0.5, 100, 100, seed=3), 0.8)) <= 12


def test_who_falls_off_after_a_good_while_is_found() -> None:
    good, bad = days(0.9, 100, 60, seed=4), days(0.4, 100, 60, seed=5)
    after = found_after(np.concatenate([good, bad], axis=1), 0.8) - 60

    assert np.mean((after > 0) & (after <= 30)) >= 0.9


@pytest.mark.parametrize(("bar", "figures"), [(0.0, [0.0] * 50), (1.0, [1.0] * 50)])
def test_nobody_is_below_what_they_reach(bar: float, figures: list[float]) -> None:
    assert evidence_below(figures, bar).value <= 1 + 1e-9


def test_a_slip_is_no_proof_against_a_bar_of_all() -> None:
    assert evidence_below([1.0] * 10 + [5 / 6], 1.0).value < 5
