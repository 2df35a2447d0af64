"""Agreement, against examples worked by hand, published values, other libraries and real votes."""

from __future__ import annotations

import csv
import os
import random
from collections import defaultdict
from itertools import combinations
from pathlib import Path

import krippendorff
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import friedmanchisquare, kendalltau

from annotation.agreement import (
    Agreement,
    kendall_tau_b,
    kendall_w,
    krippendorff_alpha,
    measure_agreement,
    mid_ranks,
    order_of,
    ordinal_distances,
)
from annotation.opinions import Opinions

DATA = os.environ.get("RANKLOOP_DATA")
NO_VALUE = np.nan
# Four observers of twelve units, and their α: Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011).
OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, NO_VALUE, NO_VALUE, NO_VALUE],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NO_VALUE, 3],
    [NO_VALUE, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NO_VALUE],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NO_VALUE],
]


def drawn_ranking(dice: random.Random, responses: int, *, partial: bool = True) -> list[list[int]]:
    """A ranking with ties; where it may be partial, of some of the responses."""
    ranked = [number for number in range(responses) if not partial or dice.random() < 0.8]
    dice.shuffle(ranked)
    tiers: list[list[int]] = []
    for number in ranked:
        if tiers and dice.random() < 0.3:
            tiers[-1].append(number)
        else:
            tiers.append([number])
    return tiers


def drawn_tasks(seed: int, *, tasks: int = 30) -> list[list[list[list[int]]]]:
    dice = random.Random(seed)
    return [
        [drawn_ranking(dice, size) for _ in range(dice.randint(1, 4))]
        for size in (dice.randint(2, 6) for _ in range(tasks))
    ]


def w_of(rankings: list[list[list[int]]]) -> float:
    (found,) = kendall_w(Opinions.of([rankings]))
    return float(found)


def test_agreement_is_that_of_the_example_worked_by_hand() -> None:
    # Task a, pair (0, 1): over, over, tied → of 3 couples 1 agrees. Pair (0, 2): over, over, over → 3 of 3.
    # Pair (1, 2): over, under, over → 1 of 3. Task b: (0, 1) tied, tied → 1 of 1. Together 6 of 10.
    rankings = {
        "a": [[[0], [1], [2]], [[0], [2], [1]], [[0, 1], [2]]],
        "b": [[[0, 1]], [[1, 0]]],
    }
    found = measure_agreement(rankings)
    assert (found.agreement, found.pairs) == (0.6, 10)


def test_the_interval_is_that_of_resampled_tasks() -> None:
    # 5 of 10 tasks agree: the resampled share is binomial, whose 95 % lie from 2 to 8 of 10.
    rankings = [[[[0], [1]], [[n % 2], [1 - n % 2]]] for n in range(10)]
    found = measure_agreement(rankings)
    assert (found.agreement, found.low, found.high) == (0.5, 0.2, 0.8)


@pytest.mark.parametrize(
    "rankings",
    [
        pytest.param([[[[0], [1]], [[n % 2], [1 - n % 2]]] for n in range(9)], id="few tasks"),
        pytest.param([[[[0], [1]], [[0], [1]]]] * 50, id="tasks that all agree"),
        pytest.param([[[[0], [1]], [[0], [1]], [[1], [0]]]] * 50, id="tasks that agree alike"),
    ],
)
def test_where_resamples_cannot_tell_how_sure_it_is_there_is_no_interval(
    rankings: list[list[list[list[int]]]],
) -> None:
    found = measure_agreement(rankings)
    assert found.agreement is not None and found.pairs
    assert (found.low, found.high) == (None, None)


def test_an_unranked_response_is_not_compared() -> None:
    found = measure_agreement([[[[0], [1]], [[0], [1], [2]], [[2], [0]]]])
    # (0, 1): over, over → 1 of 1; (0, 2): over, under → 0 of 1; (1, 2): one opinion only.
    assert (found.agreement, found.pairs) == (0.5, 2)


@pytest.mark.parametrize("rankings", [{}, {"a": []}, {"a": [[[0], [1]]]}])
def test_without_two_opinions_there_is_no_agreement(rankings: dict[str, list[list[list[int]]]]) -> None:
    found = measure_agreement(rankings)
    assert (found.agreement, found.pairs, found.low, found.high) == (None, 0, None, None)


def test_the_interval_is_the_same_each_time_and_holds_the_figure() -> None:
    rankings = [[[[0], [1]], [[n % 2], [1 - n % 2]], [[0, 1]]] for n in range(50)]
    found = measure_agreement(rankings)
    assert found == measure_agreement(rankings)
    assert found.low < found.agreement < found.high


@pytest.mark.skipif(not DATA, reason="RANKLOOP_DATA does not name the folder of real votes")
def test_agreement_of_the_llmfao_crowd_is_as_published_figures_give_it() -> None:
    votes: dict[str, list[list[list[int]]]] = defaultdict(list)
    tiers = {"left": [[0], [1]], "right": [[1], [0]], "tie": [[0, 1]]}
    with (Path(str(DATA)) / "llmfao" / "crowd-comparisons.csv").open(encoding="utf-8", newline="") as file:
        for vote in csv.DictReader(file):
            votes[vote["id"]].append(tiers[vote["winner"]])
    found = measure_agreement(votes)
    assert found.agreement == pytest.approx(0.532, abs=0.0005)
    assert 0.515 < found.low < found.high < 0.55
    assert found.nominal_alpha == pytest.approx(0.291, abs=0.0005)
    assert 0.26 < found.nominal_alpha_low < found.nominal_alpha < found.nominal_alpha_high < 0.32


@pytest.mark.parametrize(("metric", "published"), [("nominal", 0.743), ("ordinal", 0.815)])
def test_alpha_is_the_published_one(metric: str, published: float) -> None:
    values = np.arange(1, 6)
    counts = (np.array(OBSERVERS)[:, :, None] == values).sum(axis=0).astype(float)
    told = counts[counts.sum(axis=1) > 1]
    distances = 1 - np.eye(5) if metric == "nominal" else ordinal_distances(told.sum(axis=0))
    assert krippendorff_alpha(counts, distances) == pytest.approx(published, abs=0.0005)


@given(st.integers(0, 2**32))
def test_alphas_of_rankings_are_those_of_another_library(seed: int) -> None:
    tasks = drawn_tasks(seed)
    found = measure_agreement(tasks)

    pairs, places = defaultdict(dict), defaultdict(dict)
    for task, rankings in enumerate(tasks):
        for annotator, tiers in enumerate(rankings):
            for pair, opinion in order_of(tiers).items():
                pairs[task, pair][annotator] = opinion
            ranks = mid_ranks(tiers)
            for number, rank in ranks.items():
                places[task, number][annotator] = round((rank - 0.5) / len(ranks), 9)
    for units, level, ours in (
        (pairs, "nominal", found.nominal_alpha),
        (places, "ordinal", found.ordinal_alpha),
    ):
        table = [[values.get(annotator, np.nan) for values in units.values()] for annotator in range(4)]
        assert ours == pytest.approx(krippendorff.alpha(np.array(table), level_of_measurement=level))


@given(st.integers(0, 2**32))
def test_tau_b_is_that_of_another_library(seed: int) -> None:
    tasks = drawn_tasks(seed, tasks=8)
    each = []
    for rankings in tasks:
        for one, other in combinations(rankings, 2):
            a, b = mid_ranks(one), mid_ranks(other)
            both = sorted(a.keys() & b.keys())
            theirs = (
                kendalltau([a[n] for n in both], [b[n] for n in both]).statistic if len(both) > 1 else np.nan
            )
            pair = Opinions.of([[one, other]])
            both = pair.ordered[:1] & pair.ordered[1:]
            (ours,) = kendall_tau_b(pair.opinion[:1], pair.opinion[1:], both)
            assert np.isnan(ours) == np.isnan(theirs)
            if not np.isnan(ours):
                assert ours == pytest.approx(theirs)
                each.append(ours)
    assert measure_agreement(tasks).kendall_tau_b == (pytest.approx(np.mean(each)) if each else None)


@given(st.integers(0, 2**32), st.integers(3, 9), st.integers(2, 6))
def test_w_is_friedmans_statistic_scaled(seed: int, responses: int, annotators: int) -> None:
    dice = random.Random(seed)
    rankings = [drawn_ranking(dice, responses, partial=False) for _ in range(annotators)]
    ranks = [mid_ranks(tiers) for tiers in rankings]
    if all(len(tiers) == 1 for tiers in rankings):
        assert np.isnan(w_of(rankings))
        return
    statistic = friedmanchisquare(*([own[number] for own in ranks] for number in range(responses))).statistic
    assert w_of(rankings) == pytest.approx(statistic / (annotators * (responses - 1)))


def test_w_is_taken_over_what_all_ranked() -> None:
    # Of (0, 1, 2) they say the same; 3 has one rank only.
    assert w_of([[[0], [3], [1], [2]], [[0], [1], [2]]]) == 1
    assert w_of([[[0], [1], [2]], [[2], [1], [0]]]) == 0
    assert np.isnan(w_of([[[0], [1]], [[2], [3]]]))


def test_tied_responses_share_a_rank() -> None:
    assert mid_ranks([[3], [0, 2], [1]]) == {3: 1, 0: 2.5, 2: 2.5, 1: 4}


def test_perfect_agreement_is_one_and_opinions_at_random_are_near_zero() -> None:
    dice = random.Random(1)
    same = [[ranking] * 3 for ranking in (drawn_ranking(dice, 4, partial=False) for _ in range(200))]
    perfect = measure_agreement(same)
    assert perfect.nominal_alpha == perfect.ordinal_alpha == perfect.kendall_w == 1
    assert perfect.kendall_tau_b == pytest.approx(1)
    chance = measure_agreement(
        [[drawn_ranking(dice, 4, partial=False) for _ in range(3)] for _ in range(400)]
    )
    assert chance.nominal_alpha_low < 0 < chance.nominal_alpha_high
    assert abs(chance.ordinal_alpha) < 0.05 and abs(chance.kendall_tau_b) < 0.05
    assert chance.kendall_w == pytest.approx(1 / 3, abs=0.05)


@pytest.mark.parametrize("rankings", [[], [[[[0], [1]]]], [[[[0, 1]], [[0, 1]]]]])
def test_where_nothing_can_be_told_alpha_is_none(rankings: list[list[list[list[int]]]]) -> None:
    """Nobody, one annotator, and all tied: chance would agree as well."""
    found = measure_agreement(rankings)
    assert found.nominal_alpha is found.ordinal_alpha is found.kendall_tau_b is found.kendall_w is None
    assert rankings or found == Agreement()


def test_the_interval_over_very_many_tasks_is_that_of_a_binomial_share() -> None:
    dice = random.Random(2)
    tasks = [[[[0], [1]], [[0], [1]] if dice.random() < 0.7 else [[1], [0]]] for _ in range(20_000)]
    found = measure_agreement(tasks)
    half = 1.96 * (0.7 * 0.3 / 20_000) ** 0.5
    assert found.agreement - found.low == pytest.approx(half, rel=0.1)
    assert found.high - found.agreement == pytest.approx(half, rel=0.1)


def test_of_too_many_couples_each_ranking_is_still_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    opinions = Opinions.of([[[[0], [1]]] * 6, [[[0], [1]]] * 2])
    couples = [len(one) for one, _ in opinions.couples()]
    assert couples == [6, 4, 3, 2, 1], "every two: 15 and 1"
    monkeypatch.setattr("annotation.opinions.MOST_COUPLES", 10)
    assert [len(one) for one, _ in opinions.couples()] == [6, 4]
