"""Orders of the page's places: planted ones are found whichever they are, and chance is found as seldom as is said."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from math import factorial

import numpy as np
import pytest
from scipy.stats import binom

from annotation.opinions import tier_table
from annotation.page_orders import PageOrder, PlaceOrder, place_orders

FEWEST, CHANCE = 5, 0.001
Tiers = Sequence[Sequence[int]]


def found(
    said: Sequence[Tiers], annotator: Sequence[int] | None = None, chance: float = CHANCE, sizes: int = 4
) -> list[PlaceOrder]:
    """The orders that are found in rankings given as tiers of places, where the page showed ``sizes`` responses."""
    tier = tier_table(said, sizes)
    place = np.tile(np.arange(sizes), (len(said), 1))
    who = np.array(annotator if annotator is not None else [0] * len(said))
    return place_orders(tier, place, who, chance=chance, fewest=FEWEST)


def kinds(orders: Sequence[PlaceOrder]) -> list[str]:
    return [one.kind.value for one in orders]


def strict(*places: int) -> Tiers:
    return [[place] for place in places]


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_any_order_that_always_comes_is_found_and_named(order: tuple[int, ...]) -> None:
    (one,) = found([strict(*order)] * 12)
    if order == (0, 1, 2, 3):
        assert one.kind == PageOrder.AS_SHOWN
    elif order == (3, 2, 1, 0):
        assert one.kind == PageOrder.REVERSED
    else:
        assert one.kind == PageOrder.ONE_ORDER
        places = " > ".join(str(place + 1) for place in order)
        assert one.evidence == (
            f"12 of 12 rankings of 4 responses put the places of the page in the order {places}; chance gives 0.5."
        )
    assert one.rankings.all()


def test_it_is_the_place_on_the_page_that_counts_and_not_the_number() -> None:
    dice = np.random.default_rng(1)
    place = np.array([dice.permutation(4) for _ in range(15)])
    order = np.array([1, 0, 2, 3])  # the tier of each place
    tier = order[place]
    (one,) = place_orders(tier, place, np.zeros(15, np.int64), chance=CHANCE, fewest=FEWEST)
    assert "in the order 2 > 1 > 3 > 4;" in one.evidence
    assert not place_orders(
        order[dice.permuted(place, axis=1)], place, np.zeros(15, np.int64), chance=CHANCE, fewest=FEWEST
    )


@pytest.mark.parametrize(
    ("said", "kind", "evidence"),
    [
        # What was ranked follows the page, whatever is tied or left out.
        ([[[0], [1, 2], [3]]] * 12, "as-shown", "12 of 12 rankings are the order of the page"),
        ([[[3], [1]]] * 12 + [[[2], [0]]] * 12, "reversed", "24 of 24"),
        # One of four put first and nothing else said: no order of the page, and 1 in 4 by chance.
        (
            [[[1]]] * 20,
            "one-order",
            "20 of 20 rankings of 4 responses put the places of the page in the order 2 with ",
        ),
        ([[[2], [0, 3], [1]]] * 10, "one-order", "in the order 3 > 1 = 4 > 2; chance gives 0.8."),
    ],
)
def test_ties_and_unranked_responses_are_counted_for_what_they_say(
    said: list[Tiers], kind: str, evidence: str
) -> None:
    orders = found(said)
    assert kinds(orders) == [kind]
    assert evidence in orders[0].evidence


def test_what_orders_nothing_says_nothing() -> None:
    assert found([[[0, 1, 2, 3]]] * 50) == []
    assert found([]) == []


def test_orders_of_pages_of_different_size_are_one_where_they_follow_the_page() -> None:
    table = [strict(*range(size)) for size in (2, 3, 4) * 4]
    tier = tier_table(table, 4)
    place = np.where(tier >= 0, np.arange(4), -1)
    (one,) = place_orders(tier, place, np.zeros(12, np.int64), chance=CHANCE, fewest=FEWEST)
    assert one.kind == PageOrder.AS_SHOWN
    assert one.evidence.startswith("12 of 12 rankings") and "chance gives 2.8" in one.evidence


def test_the_bound_is_the_exact_probability_shared_among_all_that_is_looked_for() -> None:
    """Of 40 rankings of three, one of the six orders comes by chance at least 20 times with the probability below: each
    of the six has a part of a third of the chance."""
    tail = float(binom.sf(19, 40, 1 / 6))
    rest = [strict(*order) for order in permutations(range(3))]
    said = [strict(1, 0, 2)] * 20 + [rest[n % 2 * 3 + 1] for n in range(20)]
    enough, too_little = 3 * 6 * tail * 1.01, 3 * 6 * tail * 0.99
    assert kinds(found(said, chance=enough, sizes=3)) == ["one-order"]
    assert kinds(found(said, chance=too_little, sizes=3)) == []


def test_of_pairs_there_are_but_two_orders_and_each_has_half_of_the_chance() -> None:
    said = [strict(0, 1)] * 10
    assert kinds(found(said, chance=2 * 0.5**10 * 1.01, sizes=2)) == ["as-shown"]
    assert kinds(found(said, chance=2 * 0.5**10 * 0.99, sizes=2)) == []


def test_one_annotators_order_is_not_anothers() -> None:
    fair = [strict(*order) for order in permutations(range(4))]
    orders = found([*fair, *[strict(1, 3, 0, 2)] * 10], [0] * len(fair) + [1] * 10)
    assert [(one.annotator, one.kind.value, int(one.rankings.sum())) for one in orders] == [
        (1, "one-order", 10)
    ]


def drawn(
    dice: np.random.Generator, *, annotators: int, rankings: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rankings by what the responses say, of tasks of two to four of them, some with ties and some with unranked ones,
    each on a page that shuffles them."""
    count = annotators * rankings
    tier, place = np.full((count, 4), -1, np.int8), np.full((count, 4), -1, np.int8)
    sizes, styles = dice.integers(2, 5, count), dice.integers(0, 3, count)
    for row in range(count):
        size, style = sizes[row], styles[row]
        place[row, :size] = dice.permutation(size)
        tiers = np.arange(size)
        if style == 1:
            tiers = np.minimum(tiers, size - 2)
        elif style == 2 and size > 2:
            tiers = np.where(tiers < 2, tiers, -1)
        tier[row, :size] = tiers
    return tier, place, np.repeat(np.arange(annotators), rankings)


@pytest.mark.parametrize("chance", [0.001, 0.05])
def test_chance_is_found_no_more_often_than_is_said(chance: float) -> None:
    dice, batches = np.random.default_rng(20), 600
    alarms = sum(
        bool(place_orders(*drawn(dice, annotators=3, rankings=25), chance=chance, fewest=2))
        for _ in range(batches)
    )
    # One that keeps to what is said goes beyond this once in a thousand times.
    assert alarms <= binom.ppf(0.999, batches, chance)


@pytest.mark.parametrize("share", [0.5, 0.7])
def test_an_order_that_is_given_part_of_the_time_is_found(share: float) -> None:
    """Thirty rankings of four, of which a part are 2 > 1 > 3 > 4 by the page, the others by the responses."""
    dice, batches, hits = np.random.default_rng(21), 60, 0
    for _ in range(batches):
        place = np.array([dice.permutation(4) for _ in range(90)])
        tier = np.tile(np.arange(4), (90, 1))
        lazy = (np.arange(90) < 30) & (dice.random(90) < share)
        tier[lazy] = np.array([1, 0, 2, 3])[place[lazy]]
        orders = place_orders(tier, place, np.repeat(np.arange(3), 30), chance=CHANCE, fewest=FEWEST)
        hits += [(one.annotator, one.kind) for one in orders] == [(0, PageOrder.ONE_ORDER)]
    assert hits / batches > 0.9


def test_the_number_of_orders_of_a_shape_is_that_of_its_ways_to_be_dealt_out() -> None:
    """2 tied, 1 alone and 2 unranked of five: 5! / (2! 1! 2!) = 30, so ten of them are found with 30 · (1/30)^10."""
    said = [[[4, 1], [2]]] * 10
    bound = 3 * 30 * (1 / 30) ** 10
    assert factorial(5) // (2 * 2) == 30
    assert kinds(found(said, chance=bound * 1.01, sizes=5)) == ["one-order"]
    assert kinds(found(said, chance=bound * 0.99, sizes=5)) == []
