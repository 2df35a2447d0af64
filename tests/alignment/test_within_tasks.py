"""How far rankings of one task say the same beyond their sources."""

from __future__ import annotations

import numpy as np
import pytest

from alignment.within_tasks import within_task_correlation


def votes(share_of_task: float, seed: int, tasks: int = 600, overlap: int = 3) -> float:
    """The correlation found where a vote follows the task's own coin with this probability, and else its own."""
    dice = np.random.default_rng(seed)
    rankings, sources = [], {}
    for task in range(tasks):
        sources[task] = {0: 7, 1: 9} if dice.random() < 0.5 else {0: 9, 1: 7}
        coin = dice.random() < 0.5
        for _ in range(overlap):
            first = coin if dice.random() < share_of_task else dice.random() < 0.5
            rankings.append((task, [[0], [1]] if first else [[1], [0]]))
    return within_task_correlation(rankings, sources)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.8, 1.0])
def test_the_correlation_of_votes_on_one_task_is_recovered(share: float) -> None:
    # Two votes agree by the task's coin where both follow it.
    assert votes(share, seed=1) == pytest.approx(share**2, abs=0.06)


def test_what_the_sources_explain_is_no_correlation() -> None:
    """One source always wins: every ranking says the same, and still each tells as much as any other."""
    rankings = [(task, [[0], [1]]) for task in range(50) for _ in range(3)]
    assert within_task_correlation(rankings, {task: {0: 1, 1: 2} for task in range(50)}) == 0


def test_without_two_rankings_of_a_task_there_is_none() -> None:
    assert within_task_correlation([], {}) == 0
    assert (
        within_task_correlation([(1, [[0], [1]]), (2, [[1], [0]])], {1: {0: 1, 1: 2}, 2: {0: 1, 1: 2}}) == 0
    )
    same = [(1, [[0], [1]]), (1, [[1], [0]])]
    assert within_task_correlation(same, {1: {0: 1, 1: 1}}) == 0
