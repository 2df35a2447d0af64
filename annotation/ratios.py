"""Shares with intervals, of many groups at once: so much of so much, where what comes together hangs together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

FEWEST_ITEMS = 10
"""Below that an interval is None."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """A share from 0 to 1 of ``of`` cases, with its 95 % interval; None where it cannot be told."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    of: int = 0


def ratios(parts: np.ndarray, wholes: np.ndarray, group: np.ndarray, groups: int) -> list[Ratio]:
    """Each group's ``parts.sum() / wholes.sum()``.

    The interval is that of a ratio of sums over items (rankings or tasks, whose cases hang together), by its linear
    variance and Student's t: Cochran 1977, "Sampling Techniques", section 6.4. There is none for fewer than
    ``FEWEST_ITEMS`` items with a case, nor where all items give the same share, which says nothing of how it varies.

    Args:
        parts, wholes: of each item, cases that count and cases. Shape: ``(items,)``.
        group: of each item, from 0. Shape: ``(items,)``.
    """
    told = wholes > 0
    parts, wholes, group = parts[told], wholes[told], group[told]
    items = np.bincount(group, minlength=groups)
    part, whole = (np.bincount(group, column, groups) for column in (parts, wholes))
    share = np.divide(part, whole, out=np.zeros(groups), where=whole > 0)
    squares = np.bincount(group, (parts - share[group] * wholes) ** 2, groups)
    found = []
    for n in range(groups):
        if not whole[n]:
            found.append(Ratio())
        elif items[n] < FEWEST_ITEMS or squares[n] < 1e-12:
            found.append(Ratio(float(share[n]), of=round(whole[n])))
        else:
            error = np.sqrt(items[n] / (items[n] - 1) * squares[n]) / whole[n]
            reach = float(student.ppf(0.975, items[n] - 1) * error)
            low, high = max(0.0, share[n] - reach), min(1.0, share[n] + reach)
            found.append(Ratio(float(share[n]), float(low), float(high), round(whole[n])))
    return found


def ratio(parts: np.ndarray, wholes: np.ndarray) -> Ratio:
    """One group's, see `ratios`."""
    return ratios(parts, wholes, np.zeros(len(parts), np.int64), 1)[0]
