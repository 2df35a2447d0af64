"""The alarm rings where an independent scorer falls while the reward rises, and only there."""

from __future__ import annotations

import random

import pytest

from training.engine.over_optimisation import Watched, change, falling

WINDOW = 8


def history(score: float, oracle: float, *, rollouts: int = 2 * WINDOW, noise: float = 0.1) -> list[Watched]:
    """Rollouts whose score and oracle's score change steadily, with noise."""
    dice = random.Random(0)
    return [
        Watched(score * n + dice.gauss(0, noise), {"oracle": oracle * n + dice.gauss(0, noise)})
        for n in range(rollouts)
    ]


@pytest.mark.parametrize(
    ("score", "oracle", "alarmed"),
    [(0.1, -0.1, ["oracle"]), (0.1, 0.1, []), (-0.1, -0.1, []), (0.1, 0.0, []), (0.0, -0.1, [])],
)
def test_it_rings_where_one_rises_and_the_other_falls(
    score: float, oracle: float, alarmed: list[str]
) -> None:
    assert falling(history(score, oracle), WINDOW) == alarmed


def test_it_waits_for_two_windows() -> None:
    assert falling(history(0.1, -0.1, rollouts=2 * WINDOW - 1), WINDOW) == []


def test_it_goes_by_the_last_two_windows() -> None:
    early = history(0.1, -0.1)
    late = [Watched(early[-1].score + 0.01 * n, {"oracle": 0.1 * n}) for n in range(2 * WINDOW)]

    assert falling(early, WINDOW) == ["oracle"]
    assert falling(early + late, WINDOW) == []


def test_change_is_in_standard_errors() -> None:
    # Means 1 and 3, variances 2 and 2 over 2: error √2
    assert change([0.0, 2.0], [2.0, 4.0]) == pytest.approx(2 / 2**0.5)
    assert change([1.0, 1.0], [2.0, 2.0]) == float("inf")
    assert change([1.0, 1.0], [1.0, 1.0]) == 0.0
