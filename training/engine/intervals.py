"""Win rates of one source against another, and how sure they are."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

FEWEST_FOR_BOOTSTRAP = 10
RESAMPLES = 10_000
RESAMPLED_AT_ONCE = 1_000_000
MOST_FOR_BOOTSTRAP = 5_000
Z_95 = 1.959964


def win_rate_by_prompt(new: Sequence[Sequence[float]], old: Sequence[Sequence[float]]) -> np.ndarray:
    """Return, for each prompt, how often a new response beats an old one.

    Args:
        new: for each prompt, the scores of the new source's responses (at least one).
        old: the same prompts in the same order, for the old source; numbers of responses may differ.

    Returns:
        Mean over all new × old pairs of 1 (higher), ½ (equal), 0 (lower). Shape: ``(prompts,)``.
    """
    if len(new) != len(old):
        raise ValueError(f"{len(new)} prompts of the new source against {len(old)} of the old one")
    rates = np.empty(len(new))
    for row, (ours, theirs) in enumerate(zip(new, old, strict=True)):
        gaps = np.subtract.outer(np.asarray(ours, float), np.asarray(theirs, float))
        rates[row] = (np.sign(gaps) + 1).mean() / 2
    return rates


def win_rate_interval(rates: Sequence[float] | np.ndarray, *, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of the mean of win rates, one a prompt; it never leaves [0, 1].

    The percentile bootstrap over prompts (Efron and Tibshirani 1993, "An Introduction to the Bootstrap",
    section 13.3). Where prompts are few, or all alike, it would be too sure of itself, down to a point, and
    Wilson's score interval for as many independent trials stands in, which is never too narrow for figures in
    [0, 1]: their variance is at most that of wins and losses. Source: Wilson 1927, "Probable inference, the
    law of succession, and statistical inference".

    Args:
        rates: figures in [0, 1] of independent prompts, in any order. Shape: ``(prompts,)``, at least one.
        seed: fixes the resamples, so that equal rates give an equal interval.
    """
    # Sorted, since the resamples pick by place.
    rates = np.sort(np.asarray(rates, float))
    if not len(rates):
        raise ValueError("an interval needs at least one prompt")
    if len(rates) < FEWEST_FOR_BOOTSTRAP or rates[0] == rates[-1]:
        return _wilson(float(rates.mean()), len(rates))
    if len(rates) > MOST_FOR_BOOTSTRAP:
        # The mean of so many is as good as normal, and resamples would say the same, slowly.
        mean, half = float(rates.mean()), Z_95 * float(rates.std(ddof=1)) / math.sqrt(len(rates))
        return max(0.0, mean - half), min(1.0, mean + half)
    low, high = np.quantile(_resampled_means(rates, seed), [0.025, 0.975])
    return float(low), float(high)


def _wilson(share: float, trials: int) -> tuple[float, float]:
    shrunk = 1 + Z_95**2 / trials
    centre = (share + Z_95**2 / (2 * trials)) / shrunk
    half = Z_95 / shrunk * math.sqrt(share * (1 - share) / trials + Z_95**2 / (4 * trials**2))
    # Rounding may put a bound that is the share itself on its wrong side.
    return min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))


def _resampled_means(rates: np.ndarray, seed: int) -> np.ndarray:
    """The mean of each resample of the prompts. Shape: ``(RESAMPLES,)``."""
    generator = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    rows = max(1, RESAMPLED_AT_ONCE // len(rates))
    for start in range(0, RESAMPLES, rows):
        drawn = generator.integers(len(rates), size=(min(rows, RESAMPLES - start), len(rates)))
        means[start : start + len(drawn)] = rates[drawn].mean(axis=1)
    return means
