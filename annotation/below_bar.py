"""Whether somebody is below a bar, looked at after every task, however many there are.

A test that is right at one look is wrong at many: who is at the bar falls below some bound sooner or later. Here the
evidence is a bet against "at the bar or above": whatever is staked, and whenever one stops, its expectation is at most
1, so it ever reaches 1/α with a probability of at most α (Ville's inequality). What it bets on is the mean of figures
from 0 to 1, of any distribution and however they hang together over time: Waudby-Smith and Ramdas 2024, "Estimating
means of bounded random variables by betting", section 4. Somebody may fall below it after a good while, so the bet is
spread over all starts, in shares that add up to 1: Shin, Ramdas and Rinaldo 2024, "E-detectors", section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

STAKES = (0.3, 0.6, 0.9)
"""Of the most that can be staked without being ruined by one right task, as shares; a third of the bet goes by each:
small ones find who is a little below the bar, large ones who is far below it sooner."""
NARROWEST = 0.05
"""A bar nearer to 1 is bet against as if it were so far from it: else one slip would be proof."""

MOST = 500.0
"""Of a bet's growth, as a logarithm."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """That the mean is below the bar.

    Attributes:
        value: what a bet of 1 has become; at least 1/α with a probability of at most α, ever, for who is at the bar.
        latest: how many of the latest figures carry most of it.
    """

    value: float
    latest: int


def evidence_below(figures: Sequence[float] | np.ndarray, bar: float) -> Evidence:
    """Return the evidence that figures, each from 0 to 1 and in the order in which they came, are below a bar on
    average. Shape of ``figures``: ``(n,)``."""
    figures = np.asarray(figures, float)
    if not len(figures):
        return Evidence(1.0, 0)
    stakes = np.array(STAKES) / max(1 - bar, NARROWEST)
    grown = np.log1p(stakes[:, None] * (bar - figures))
    # Beyond what a float holds, it is proof many times over.
    since = np.exp(np.minimum(np.cumsum(grown[:, ::-1], axis=1)[:, ::-1], MOST)).mean(axis=0)
    start = np.arange(1, len(figures) + 1)
    carried = since / (start * (start + 1))
    # What starts later has not been staked yet.
    kept = 1 / (len(figures) + 1)
    return Evidence(float(carried.sum() + kept), len(figures) - int(carried.argmax()))
