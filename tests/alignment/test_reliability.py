"""Reliability from the consensus: who follows it, who ranks at random, and where nothing can be told."""

from __future__ import annotations

import random

import pytest

from alignment import reliability
from alignment.reliability import reliability_of
from alignment.task_consensus import consensus_tiers
from tests.annotation.answered import Tiers, columns


def rows_of(tasks: int, seed: int = 1) -> list[tuple[int, str, Tiers]]:
    """Three who put the better response first nine times of ten, and one who tosses a coin."""
    dice = random.Random(seed)
    rows: list[tuple[int, str, Tiers]] = []
    for task in range(tasks):
        best = [[n] for n in dice.sample(range(3), 3)]
        for name, right in (("ann", 0.9), ("bea", 0.9), ("cid", 0.9), ("dan", 0.0)):
            tiers = best if dice.random() < right else [[n] for n in dice.sample(range(3), 3)]
            rows.append((task, name, tiers))
    return rows


def test_who_tosses_coins_is_found_and_the_interval_says_so() -> None:
    found = reliability_of(columns(rows_of(60)))
    assert set(found) == {"ann", "bea", "cid", "dan"}
    assert found["dan"].value == min(one.value for one in found.values())
    assert found["dan"].high < min(found[name].low for name in ("ann", "bea", "cid"))
    assert all(one.low < one.value < one.high for one in found.values())


def test_who_ranked_little_and_tasks_of_one_ranking_tell_no_reliability() -> None:
    rows = rows_of(60)
    alone = [(60 + n, "eve", [[0], [1], [2]]) for n in range(30)]
    few = [(n, "fay", [[0], [1], [2]]) for n in range(5)]
    found = reliability_of(columns(sorted(rows + alone + few, key=lambda row: row[0])))
    assert set(found) == {"ann", "bea", "cid", "dan"}
    assert reliability_of(columns(alone)) == {}


def test_of_very_many_rankings_some_tasks_stand_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reliability, "MOST_RANKINGS", 120)
    seen = []
    fit = reliability.fit
    monkeypatch.setattr(reliability, "fit", lambda rankings: seen.append(len(rankings)) or fit(rankings))
    found = reliability_of(columns(rows_of(200)))
    assert seen == [120] and found["dan"].value == min(one.value for one in found.values())


def test_the_consensus_of_a_task_is_what_most_say_and_of_one_ranking_there_is_none() -> None:
    assert consensus_tiers([[[0], [1], [2]]] * 3 + [[[1], [0], [2]]]) == [[0], [1], [2]]
    assert consensus_tiers([[[0], [1]], [[1], [0]]]) == [[0, 1]]
    assert consensus_tiers([[[0], [1]]]) is None
