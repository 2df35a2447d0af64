"""Orders in which a judge is shown responses: a liking for a place cancels out."""

from __future__ import annotations

from itertools import permutations
from types import SimpleNamespace
from typing import Any

import pytest

from alignment.judges.orders import is_drawn, orders_of


@pytest.mark.parametrize("size", range(2, 10))
def test_of_an_order_and_its_reverse_each_pair_stands_both_ways(size: int) -> None:
    one, other = orders_of("both", 7, list(range(size)))
    for a, b in permutations(range(size), 2):
        assert (one.index(a) < one.index(b)) != (other.index(a) < other.index(b))


@pytest.mark.parametrize("size", range(2, 10))
def test_of_each_order_every_response_stands_once_at_every_place(size: int) -> None:
    orders = orders_of("each", 7, list(range(size)))
    assert len(orders) == size
    for number in range(size):
        assert sorted(order.index(number) for order in orders) == list(range(size))


def test_orders_are_the_same_whenever_they_are_asked_for_and_differ_from_task_to_task() -> None:
    assert orders_of("each", 3, [0, 1, 2, 3]) == orders_of("each", 3, [0, 1, 2, 3])
    assert len({tuple(orders_of("both", task, [0, 1, 2, 3])[0]) for task in range(200)}) == 24


def test_a_larger_share_holds_every_smaller_ones_tasks() -> None:
    judge: Any = SimpleNamespace(pk=5)
    drawn = {share: {task for task in range(2000) if is_drawn(judge, task, share)} for share in (0.1, 0.5, 1)}
    assert drawn[0.1] < drawn[0.5] < drawn[1] == set(range(2000))
    assert abs(len(drawn[0.1]) - 200) < 50 and abs(len(drawn[0.5]) - 1000) < 100
