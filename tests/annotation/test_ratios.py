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


def test_cases_that_hang_together_over_items_are_one_item() -> None:
    parts, wholes = np.array([1.0, 0, 2, 1, 1, 0]), np.array([1.0, 1, 2, 2, 1, 2])
    cluster, group = np.array([0, 0, 1, 1, 0, 2]), np.array([0, 0, 0, 0, 1, 1])
    found = ratios(
        np.tile(parts, 6),
        np.tile(wholes, 6),
        np.tile(group, 6),
        2,
        cluster=np.repeat(range(6), 6) * 3 + np.tile(cluster, 6),
    )
    together = ratios(np.tile([1.0, 3, 1, 0], 6), np.tile([2.0, 4, 1, 2], 6), np.tile([0, 0, 1, 1], 6), 2)
    assert found == together


def test_intervals_over_clusters_cover_what_intervals_over_items_miss() -> None:
    """Five people a task, who say the same of it more often than not: 40 tasks are not 200 cases."""
    dice, runs, tasks, people = np.random.default_rng(3), 400, 40, 5
    cluster = np.repeat(np.arange(tasks), people)
    group = np.zeros(tasks * people, np.int64)
    covered = {True: 0, False: 0}
    for _ in range(runs):
        parts = dice.binomial(1, np.repeat(dice.beta(0.6, 0.4, tasks), people)).astype(float)
        for by_task in covered:
            (found,) = ratios(parts, np.ones(len(parts)), group, 1, cluster=cluster if by_task else None)
            covered[by_task] += found.low <= 0.6 <= found.high
    assert 0.92 <= covered[True] / runs <= 0.98
    assert covered[False] / runs < 0.8


@pytest.mark.parametrize(
    ("parts", "why"), [([1, 0] * 4, "eight items are too few"), ([1] * 50, "all are alike")]
)
def test_where_the_spread_cannot_be_told_there_is_no_interval(parts: list[int], why: str) -> None:
    found = ratio(np.array(parts), np.ones(len(parts)))
    assert found.value is not None and (found.low, found.high) == (None, None), why


def test_an_interval_stays_within_none_and_all() -> None:
    found = ratio(np.array([1] * 19 + [0]), np.ones(20))
    assert found.high == 1.0 and 0 < found.low < found.value
