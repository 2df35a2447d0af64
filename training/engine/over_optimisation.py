"""Whether a policy exploits its reward model: the reward rises while an independent scorer falls.

Gao et al. 2022, "Scaling laws for reward model overoptimization": against √KL the proxy keeps rising, and the true
reward turns down. Both are noisy from rollout to rollout, so the last rollouts are compared with those before them.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

SIGMAS = 2.0
"""A change counts when it is this many standard errors: by chance one comparison in 44 is, on one side."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What a rollout scored on average."""

    score: float
    independent: dict[str, float]
    """By scorer."""


def falling(points: Sequence[Watched], window: int) -> list[str]:
    """Return the independent scorers that fell from the last window but one to the last while the score rose.

    Args:
        points: of all rollouts so far, in order.
        window: rollouts that are taken together.
    """
    if len(points) < 2 * window:
        return []
    before, after = points[-2 * window : -window], points[-window:]
    if change([each.score for each in before], [each.score for each in after]) < SIGMAS:
        return []
    return [
        name
        for name in after[-1].independent
        if change([each.independent[name] for each in before], [each.independent[name] for each in after])
        < -SIGMAS
    ]


def change(before: Sequence[float], after: Sequence[float]) -> float:
    """Return by how many standard errors the mean changed (Welch's t); of numbers without spread, ±infinity or 0."""
    difference = statistics.fmean(after) - statistics.fmean(before)
    error = (statistics.variance(before) / len(before) + statistics.variance(after) / len(after)) ** 0.5
    if error:
        return difference / error
    return 0.0 if not difference else float("inf") if difference > 0 else float("-inf")
