"""Win rates, and how sure they are: by hand, by tables, and by how often an interval holds."""

from __future__ import annotations

import numpy as np
import pytest

from training.engine.intervals import win_rate_by_prompt, win_rate_interval


def test_win_rates_count_ties_half() -> None:
    rates = win_rate_by_prompt([[1.0, 2.0], [0.0], [5.0]], [[1.0, 1.0], [3.0, 4.0], [5.0]])

    assert rates.tolist() == [0.75, 0.0, 0.5]


def test_one_prompt_shows_nothing() -> None:
    for rate in (0.0, 0.75, 1.0):
        low, high = win_rate_interval([rate])
        assert low < 0.5 < high


def test_few_prompts_make_no_interval_narrower_than_as_many_wins_and_losses() -> None:
    # Wilson's interval for 2 wins of 4, as tables have it, however even the prompts are among themselves.
    for rates in ([0.5] * 4, [0.4, 0.6, 0.5, 0.5], [0.0, 1.0, 0.0, 1.0]):
        assert win_rate_interval(rates) == pytest.approx((0.150, 0.850), abs=1e-3)


def test_prompts_that_are_all_alike_do_not_make_the_interval_a_point() -> None:
    # Wilson's interval for 10 wins of 10, and for 50 of 100.
    assert win_rate_interval([1.0] * 10) == pytest.approx((0.7225, 1.0), abs=1e-3)
    assert win_rate_interval([0.5] * 100) == pytest.approx((0.4038, 0.5962), abs=1e-3)


def test_the_interval_holds_the_true_rate_about_as_often_as_it_says() -> None:
    dice = np.random.default_rng(5)
    held = 0
    for seed in range(200):
        low, high = win_rate_interval(dice.binomial(4, 0.6, size=40) / 4, seed=seed)
        held += low <= 0.6 <= high
    assert 180 <= held <= 199


@pytest.mark.parametrize("prompts", [1, 3, 9, 10, 40])
def test_the_interval_never_leaves_0_to_1_and_holds_the_mean(prompts: int) -> None:
    dice = np.random.default_rng(prompts)
    for share in (0.0, 0.02, 0.5, 0.98, 1.0):
        rates = dice.binomial(4, share, size=prompts) / 4
        low, high = win_rate_interval(rates)
        assert 0 <= low <= rates.mean() <= high <= 1 and low < high


def test_the_same_rates_in_any_order_give_the_same_interval() -> None:
    rates = [0.0, 0.25, 0.5, 0.5, 1.0, 1.0, 0.75, 0.5, 1.0, 0.0, 1.0]

    assert win_rate_interval(rates, seed=4) == win_rate_interval(rates[::-1], seed=4)


def test_no_prompt_has_no_interval() -> None:
    with pytest.raises(ValueError, match="at least one"):
        win_rate_interval([])
