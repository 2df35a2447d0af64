"""Shares with intervals, against figures worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t as student

from annotation.ratios import Ratio, ratio, ratios


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
