"""Agreement over time: a drift that was planted is seen, and where there is too little there is nothing."""

from __future__ import annotations

import pytest

from annotation.drift import agreement_over_time
from tests.annotation.answered import Tiers, columns

OVER, UNDER = [[0], [1]], [[1], [0]]


def rows_of(alike: list[bool]) -> list[tuple[int, str, Tiers]]:
    """Two rankings a task; of every other task the first is over, so that chance is one half."""
    rows: list[tuple[int, str, Tiers]] = []
    for task, same in enumerate(alike):
        one, other = (OVER, UNDER) if task % 2 else (UNDER, OVER)
        rows += [(task, "ann", one), (task, "bea", one if same else other)]
    return rows


def test_a_drift_is_seen_stretch_by_stretch() -> None:
    alike = [n % 10 != 0 for n in range(40)] + [n % 2 == 0 for n in range(40)]
    first, second, third, fourth = agreement_over_time(columns(rows_of(alike)))
    assert [one.tasks for one in (first, second, third, fourth)] == [20] * 4
    assert [one.agreement.value for one in (first, third)] == [pytest.approx(0.9), pytest.approx(0.5)]
    assert first.agreement.low < 0.9 < first.agreement.high
    # 40 opinions, 22 over and 18 under, two couples apart: α = 1 − 39 × 4 / (40² − 22² − 18²) = 1 − 156 / 792.
    assert first.nominal_alpha == pytest.approx(1 - 156 / 792)
    assert first.until < second.since < third.since, "in the order in which they were ranked"
    assert (first.number, first.keys, fourth.number) == (1, list(range(20)), 4)


def test_a_task_counts_when_its_latest_ranking_came() -> None:
    rows = rows_of([True] * 20 + [False] * 20)
    # The twenty that agree were all finished after the others.
    at = [100 + n if n < 40 else n for n in range(80)]
    first, second = agreement_over_time(columns(rows, at=at))
    assert (first.agreement.value, second.agreement.value) == (0.0, 1.0)


def test_too_few_tasks_tell_no_drift() -> None:
    assert agreement_over_time(columns(rows_of([True] * 39))) == []
    assert len(agreement_over_time(columns(rows_of([True] * 40)))) == 2
    assert len(agreement_over_time(columns(rows_of([True] * 2000)))) == 24
