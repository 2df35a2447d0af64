"""A leaderboard of sources: intervals, ranks that respect them, and style taken out."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from alignment.consensus import Rankings
from alignment.leaderboard import leaderboard, rankings_of_sources
from alignment.style import style_of
from tests.alignment.consensus.drawing import draw_tiers

WORTH = {"old": -1.0, "tuned": 0.4, "endpoint": 0.5, "person": 1.4}


def votes(worth: dict[str, float], number: int, seed: int = 0) -> Rankings:
    """Comparisons of two sources drawn by their worth, some of them tied."""
    dice = np.random.default_rng(seed)
    values = np.array(list(worth.values()))
    left = dice.integers(len(values), size=number)
    right = (left + dice.integers(1, len(values), size=number)) % len(values)
    tier = draw_tiers(np.stack([values[left], values[right]], axis=1), {2: -1.0}, dice)
    return Rankings.of_votes(left, right, tier[:, 1] - tier[:, 0], items=list(worth))


def test_sources_stand_in_order_with_ranks_no_finer_than_their_intervals() -> None:
    board = leaderboard(votes(WORTH, 600))
    assert [standing.source for standing in board.standings][0::3] == ["person", "old"]
    places = {standing.source: (standing.best_rank, standing.worst_rank) for standing in board.standings}
    assert places == {"person": (1, 1), "endpoint": (2, 3), "tuned": (2, 3), "old": (4, 4)}
    for standing in board.standings:
        assert standing.low < standing.score < standing.high
        assert abs(standing.score - WORTH[str(standing.source)] + np.mean(list(WORTH.values()))) < 0.4
    assert sum(standing.responses for standing in board.standings) == 1200


def test_ranks_agree_with_the_intervals_of_differences() -> None:
    board = leaderboard(votes({f"m{n}": n / 6 for n in range(12)}, 2000, seed=2))
    for one, other in combinations(board.standings, 2):
        difference = board.consensus.difference(one.source, other.source)
        if one.best_rank > other.worst_rank or other.best_rank > one.worst_rank:
            assert difference.low > 0 or difference.high < 0
    for standing in board.standings:
        better = sum(
            board.consensus.difference(other.source, standing.source).low > 0
            for other in board.standings
            if other is not standing
        )
        assert standing.best_rank == 1 + better


def test_style_that_people_fall_for_is_taken_out_of_the_scores() -> None:
    dice = np.random.default_rng(3)
    worth, length = {"terse": 0.6, "verbose": 0.0, "plain": 0.0}, {"terse": -0.8, "verbose": 0.8, "plain": 0}
    sources = list(worth)
    rankings, of, style = [], [], []
    for _ in range(2500):
        chosen = [sources[n] for n in dice.permutation(3)]
        features = [{"words": length[name] + dice.normal(0, 0.7)} for name in chosen]
        utility = np.array([[worth[n] + 0.9 * f["words"] for n, f in zip(chosen, features, strict=True)]])
        tier = draw_tiers(utility, {2: -1.0}, dice)[0]
        rankings.append([np.flatnonzero(tier == t).tolist() for t in np.unique(tier)])
        of.append(chosen)
        style.append(features)
    naive = {s.source: s.score for s in leaderboard(rankings_of_sources(rankings, of)).standings}
    board = leaderboard(rankings_of_sources(rankings, of, style=style))
    controlled = {s.source: s.score for s in board.standings}
    assert naive["verbose"] > naive["terse"]  # length alone makes up for worth, and more
    assert controlled["terse"] - controlled["verbose"] == pytest.approx(0.6, abs=0.15)
    assert controlled["plain"] - controlled["verbose"] == pytest.approx(0, abs=0.15)
    deviation = np.std([f["words"] - np.mean([g["words"] for g in row]) for row in style for f in row])
    effect = board.effects["words"]
    assert abs(effect.value - 0.9 * deviation) < 4 * effect.standard_error


def test_two_responses_of_one_source_say_nothing_of_it() -> None:
    rankings, sources = [[[0], [1]], [[1], [0]], [[0], [1]]], [["a", "b"], ["a", "b"], ["a", "a"]]
    twice = leaderboard(rankings_of_sources(rankings, sources))
    once = leaderboard(rankings_of_sources(rankings[:2], sources[:2]))
    assert [s.score for s in twice.standings] == pytest.approx([s.score for s in once.standings], abs=1e-6)


def test_a_feature_that_never_differs_is_left_out() -> None:
    style = [[{"words": 2.0}, {"words": 2.0}]]
    board = leaderboard(rankings_of_sources([[[0], [1]]], [["a", "b"]], style=style))
    assert board.effects == {} and board.standings[0].source == "a"


def test_nothing_ranked_makes_an_empty_leaderboard() -> None:
    assert leaderboard(rankings_of_sources([], [])).standings == ()
    with pytest.raises(ValueError, match="between 0 and 1"):
        leaderboard(rankings_of_sources([], []), level=95)


def test_style_counts_what_markdown_sets() -> None:
    text = "# Title\n\nSome **bold** and **bolder** words.\n\n- one\n- two\n\n```python\n# no heading\n```\n"
    counts = {name: round(float(np.expm1(value))) for name, value in style_of(text).items()}
    assert counts == {"words": 16, "headings": 1, "list items": 2, "bold": 2, "code blocks": 1}
    assert set(style_of("").values()) == {0.0}
