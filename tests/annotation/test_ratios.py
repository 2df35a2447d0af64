"""Shares with intervals, against figures worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from scipy.stats import t as student

from annotation.ratios import Ratio, ratio, ratios, upper_bound


def test_a_share_of_single_cases_has_the_interval_of_a_mean() -> None:
    # 6 of 10 single cases: the linear variance is that of a mean, 10/9 × 0.24 / 10.
    found = ratio(np.array([1] * 6 + [0] * 4), np.ones(10))
    half = student.ppf(0.975, 9) * (0.24 / 9) ** 0.5
    assert (found.value, found.of) == (0.6, 10)
    assert (found.low, found.high) == (pytest.approx(0.6 - half), pytest.approx(0.6 + half))


def test_groups_are_measured_apart() -> None:
    parts, wholes = np.array([1, 2, 0, 3]), np.array([2, 2, 0, 4])
    assert ratios(parts, wholes, np.array([0, 0, 1, 2]), 4) == [
        Ratio(0.75, of=4),
        Ratio(),
        Ratio(0.75, of=4),
        Ratio(),
    ]


@pytest.mark.parametrize(
    ("parts", "why"), [([1, 0] * 4, "eight items are too few"), ([1] * 50, "all are alike")]
)
def test_where_the_spread_cannot_be_told_there_is_no_interval(parts: list[int], why: str) -> None:
    found = ratio(np.array(parts), np.ones(len(parts)))
    assert found.value is not None and (found.low, found.high) == (None, None), why


def test_an_interval_stays_within_none_and_all() -> None:
    found = ratio(np.array([1] * 19 + [0]), np.ones(20))
    assert found.high == 1.0 and 0 < found.low < found.value


def test_a_bound_to_be_held_against_a_bar_is_students_of_ten_items_or_more() -> None:
    parts = np.array([1] * 8 + [0] * 12)
    bound = upper_bound(parts, np.ones(20), chance=0.05)
    assert bound == pytest.approx(0.4 + student.ppf(0.95, 19) * (20 / 19 * 0.24 / 20) ** 0.5)
    assert upper_bound(np.full(10, 1.5), np.full(10, 3), chance=0.05) == 0.5, "all alike have no spread"


def test_a_bound_of_fewer_items_is_wilsons_as_if_each_were_one_case() -> None:
    z = norm.ppf(0.95)
    # None of five: the bound is z² / (n + z²).
    assert upper_bound(np.zeros(5), np.full(5, 6), chance=0.05) == pytest.approx(z**2 / (5 + z**2))
    # Four items of one case and one of four are as sure as (4 + 4)² / (4 + 16) = 3.2 equal ones.
    unequal = upper_bound(np.zeros(5), np.array([1, 1, 1, 1, 4]), chance=0.05)
    assert unequal == pytest.approx(z**2 / (3.2 + z**2))
    assert upper_bound(np.zeros(3), np.zeros(3), chance=0.05) is None


@pytest.mark.parametrize("items", [5, 9, 10, 20])
def test_who_is_at_the_bar_is_held_below_it_hardly_more_often_than_is_said(items: int) -> None:
    """Pairs of one task hang together: each task is one draw of how well it goes, and three pairs of that."""
    dice, people, bar = np.random.default_rng(7), 2000, 0.6
    right = dice.binomial(3, dice.beta(3, 2, (people, items)))
    below = sum(upper_bound(one, np.full(items, 3), chance=0.05) < bar for one in right)
    assert below / people < 0.07
