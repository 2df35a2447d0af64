"""What must not change a consensus: names, order, whether a ranking is repeated or weighted, other tasks."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment.consensus import Adherence, Consensus, PseudoRankings, Rankings, Spread, fit
from tests.alignment.consensus.strategies import tiers_of_some

RANKINGS = st.lists(st.tuples(tiers_of_some(5), st.integers(0, 2)), min_size=1, max_size=7)
PRIORS = st.sampled_from([Spread(), 1.5, PseudoRankings(0.5)])


def with_a_mode(
    given_rankings: list[tuple[list[list[int]], int]], prior: Any
) -> list[tuple[list[list[int]], int]]:
    """The rankings, and one without ties where there is no prior of ties: if all choices are ties, δ is infinite."""
    untied = [([[item] for item in range(5)], 0)] if isinstance(prior, PseudoRankings) else []
    return given_rankings + untied


def same(one: Consensus, other: Consensus, names: Any = lambda item: item) -> None:
    assert one.converged == other.converged
    for item, score in one.scores.items():
        assert other.scores[names(item)] == pytest.approx(score, abs=1e-6)
        assert other.standard_errors[names(item)] == pytest.approx(one.standard_errors[item], rel=1e-4)
    assert other.reliability == pytest.approx(one.reliability, abs=1e-6)
    assert other.log_likelihood == pytest.approx(one.log_likelihood, abs=1e-6)


@settings(deadline=None, max_examples=40)
@given(RANKINGS, PRIORS, st.permutations(range(5)), st.randoms(use_true_random=False))
def test_names_and_order_do_not_matter(
    given_rankings: list[tuple[list[list[int]], int]], prior: Any, names: list[int], dice: random.Random
) -> None:
    given_rankings = with_a_mode(given_rankings, prior)
    found = fit(
        [tiers for tiers, _ in given_rankings], annotators=[who for _, who in given_rankings], prior=prior
    )
    shuffled = list(given_rankings)
    dice.shuffle(shuffled)
    renamed = [[[f"item {names[item]}" for item in tier] for tier in tiers] for tiers, _ in shuffled]
    again = fit(renamed, annotators=[who for _, who in shuffled], prior=prior)
    assert found.converged
    same(found, again, lambda item: f"item {names[item]}")


@settings(deadline=None, max_examples=40)
@given(RANKINGS, PRIORS, st.lists(st.integers(1, 3), min_size=8, max_size=8))
def test_a_weight_is_a_number_of_rankings(
    given_rankings: list[tuple[list[list[int]], int]], prior: Any, weights: list[int]
) -> None:
    given_rankings = with_a_mode(given_rankings, prior)
    rankings, who = [tiers for tiers, _ in given_rankings], [who for _, who in given_rankings]
    counts = weights[: len(rankings)]
    weighted = fit(rankings, annotators=who, weights=counts, prior=prior)
    repeated = fit(
        [r for r, n in zip(rankings, counts, strict=True) for _ in range(n)],
        annotators=[w for w, n in zip(who, counts, strict=True) for _ in range(n)],
        prior=prior,
    )
    assert weighted.converged
    same(weighted, repeated)


@settings(deadline=None, max_examples=40)
@given(RANKINGS)
def test_scores_of_each_linked_set_sum_to_zero(given_rankings: list[tuple[list[list[int]], int]]) -> None:
    twice = [
        [[(n % 2, item) for item in tier] for tier in tiers] for n, (tiers, _) in enumerate(given_rankings)
    ]
    found = fit(twice, annotators=[who for _, who in given_rankings])
    places = found._fitted.blocks
    totals = np.bincount(places.set_of, found._fitted.scores)
    assert totals == pytest.approx(0, abs=1e-9)


def test_tasks_at_once_are_each_as_if_alone_where_they_share_nothing() -> None:
    dice = random.Random(3)
    tasks = [[[[i] for i in dice.sample(range(4), 4)] for _ in range(3)] for _ in range(200)]
    together = fit(
        [[[(n, i)] for (i,) in tiers] for n, task in enumerate(tasks) for tiers in task], prior=1.5
    )
    for n in (0, 57, 199):
        alone = fit(tasks[n], prior=1.5)
        for item in range(4):
            assert together.scores[n, item] == pytest.approx(alone.scores[item], abs=1e-9)
            assert together.standard_errors[n, item] == pytest.approx(alone.standard_errors[item], abs=1e-9)


def test_columns_are_the_same_as_tiers_and_votes() -> None:
    left, right, outcome = np.array([0, 1, 2, 0, 1]), np.array([1, 2, 0, 2, 0]), np.array([1, 0, -1, 1, 1])
    votes = fit(Rankings.of_votes(left, right, outcome, items=["a", "b", "c"]))
    tiers = [[["a"], ["b"]], [["b", "c"]], [["a"], ["c"]], [["a"], ["c"]], [["b"], ["a"]]]
    same(votes, fit(tiers))


def test_items_that_nobody_compared_have_no_score_but_the_priors() -> None:
    found = fit([[["a"]]], items=["a", "b"], prior=0.7)
    assert found.scores == {"a": 0, "b": 0} and found.log_likelihood == 0 and found.converged
    assert found.standard_errors == pytest.approx({"a": 0.7, "b": 0.7})
    nothing = fit([])
    assert nothing.scores == {} and nothing.reliability == {} and nothing.converged


def test_an_item_that_always_wins_stays_finite() -> None:
    for prior in (Spread(), 1.5, PseudoRankings()):
        found = fit([[["a"], ["b"], ["c"]]] * 50, prior=prior)
        assert found.converged and all(math.isfinite(score) for score in found.scores.values())
        assert found.scores["a"] > found.scores["b"] > found.scores["c"]


def test_all_ties_stay_finite() -> None:
    found = fit([[["a", "b", "c"]]] * 5)
    assert found.converged and found.scores == pytest.approx({"a": 0, "b": 0, "c": 0})
    assert 0 < found.ties[3].value < 20


def test_without_a_prior_what_has_no_best_fit_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"'d' and what it beat were never ranked above or tied with"):
        fit([[["a"], ["b"]], [["b"], ["a"]], [["a"], ["d"]]], prior=None)
    # A tie is as good as a win each way.
    found = fit([[["a"], ["b"]], [["a", "b"]], [["c"], ["d"]], [["d"], ["c"]]], prior=None)
    assert found.scores["a"] + found.scores["b"] == pytest.approx(0, abs=1e-9)
    assert found.scores["c"] == pytest.approx(found.scores["d"], abs=1e-9)
    with pytest.raises(ValueError, match="no chain of rankings links 'a' and 'c'"):
        found.difference("a", "c")
    assert fit([[["a", "b"]], [["a"], ["b"]]], items=["z"], prior=None).standard_errors["z"] == math.inf


def test_it_says_when_it_has_not_converged(monkeypatch: pytest.MonkeyPatch) -> None:
    rankings = [[["a"], ["b", "c"]], [["b"], ["a"], ["c"]], [["a", "c"], ["b"]], [["c"], ["b"], ["a"]]]
    whole = fit(rankings, annotators=["x", "y", "x", "y"], prior=PseudoRankings())
    assert whole.converged and not whole.trouble
    monkeypatch.setattr("alignment.consensus.climbing.ITERATIONS", 1)
    stopped = fit(rankings, annotators=["x", "y", "x", "y"], prior=PseudoRankings())
    assert not stopped.converged and "1 steps were not enough" in stopped.trouble


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"rankings": [[["a"], ["a"]]]}, "ranking 0 holds an item more than once"),
        ({"rankings": [[["a"], ["b"]]], "annotators": []}, "1 rankings, but 0 annotators"),
        ({"rankings": [[["a"], ["b"]]], "weights": [1, 1]}, "1 rankings, but 2 weights"),
        ({"rankings": [[["a"], ["b"]]], "weights": [-1]}, "at least 0 and finite; that of ranking 0"),
        ({"rankings": [], "prior": 0}, "must be positive"),
        ({"rankings": [], "prior": math.nan}, "must be positive"),
        ({"rankings": [], "machine_share": 0}, "machine_share must be above 0"),
        (
            {"rankings": [[["a"], ["b"]]] * 5001, "annotators": range(5001)},
            "5001 annotators, but at most 5000",
        ),
        ({"rankings": [[["a"], ["b"]]] * 4001, "items": range(4000)}, None),
        ({"rankings": [[[n], [n + 1]] for n in range(4001)]}, "rankings link 4002 items to one another"),
        ({"rankings": [[list(range(40))]]}, None),
        ({"rankings": [[list(range(20)), list(range(20, 40))]]}, "ways to choose a tier"),
    ],
)
def test_what_cannot_be_is_refused(arguments: dict[str, Any], sentence: str | None) -> None:
    if sentence is None:
        assert fit(**arguments).scores[3] == pytest.approx(0, abs=1e-9)  # the neighbours of what is refused
        return
    with pytest.raises(ValueError, match=sentence):
        fit(**arguments)


@pytest.mark.parametrize("make", [lambda: PseudoRankings(0), lambda: Adherence(shape=1), lambda: Spread(0)])
def test_priors_that_are_none_are_refused(make: Any) -> None:
    with pytest.raises(ValueError, match="positive"):
        make()
