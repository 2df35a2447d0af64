"""Shares with intervals, of many groups at once: so much of so much, where what comes together hangs together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

FEWEST_ITEMS = 10
"""From so many items on, their linear variance is trusted; of fewer, there is no interval."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """A share from 0 to 1 of ``of`` cases, with its 95 % interval; None where it cannot be told."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    of: int = 0


def ratios(
    parts: np.ndarray,
    wholes: np.ndarray,
    group: np.ndarray,
    groups: int,
    *,
    cluster: np.ndarray | None = None,
) -> list[Ratio]:
    """Each group's ``parts.sum() / wholes.sum()``.

    The interval is that of a ratio of sums over items (rankings or tasks, whose cases hang together), by its linear
    variance and Student's t: Cochran 1977, "Sampling Techniques", section 6.4. There is none for fewer than
    ``FEWEST_ITEMS`` items with a case, nor where all items give the same share, which says nothing of how it varies.

    Args:
        parts, wholes: of each item, cases that count and cases. Shape: ``(items,)``.
        group: of each item, from 0. Shape: ``(items,)``.
        cluster: of each item, from 0: those of one, such as rankings of the same task, hang together, and are one item.
            Shape: ``(items,)``.
    """
    if cluster is not None:
        together, place = np.unique(group * (int(cluster.max(initial=0)) + 1) + cluster, return_inverse=True)
        parts, wholes = (np.bincount(place, column, len(together)) for column in (parts, wholes))
        group = together // (int(cluster.max(initial=0)) + 1)
    spread = _spread(parts, wholes, group, groups)
    found = []
    for n in range(groups):
        share, whole, items, error = (column[n] for column in spread)
        if not whole:
            found.append(Ratio())
        elif items < FEWEST_ITEMS or not error:
            found.append(Ratio(float(share), of=round(whole)))
        else:
            reach = float(stdtrit(items - 1, 0.975) * error)
            low, high = max(0.0, share - reach), min(1.0, share + reach)
            found.append(Ratio(float(share), float(low), float(high), round(whole)))
    return found


def ratio(parts: np.ndarray, wholes: np.ndarray) -> Ratio:
    """One group's, see `ratios`."""
    return ratios(parts, wholes, np.zeros(len(parts), np.int64), 1)[0]


def _spread(
    parts: np.ndarray, wholes: np.ndarray, group: np.ndarray, groups: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Each group's share, cases, items with a case, and the share's standard error by its linear variance, 0 where all
    items give the same share or there is but one. Shape of each: ``(groups,)``."""
    told = wholes > 0
    parts, wholes, group = parts[told], wholes[told], group[told]
    items = np.bincount(group, minlength=groups)
    part, whole = (np.bincount(group, column, groups) for column in (parts, wholes))
    share = np.divide(part, whole, out=np.zeros(groups), where=whole > 0)
    squares = np.bincount(group, (parts - share[group] * wholes) ** 2, groups)
    told_apart = (squares > 1e-12) & (items > 1)
    error = np.zeros(groups)
    error[told_apart] = (
        np.sqrt(items[told_apart] / (items[told_apart] - 1) * squares[told_apart]) / whole[told_apart]
    )
    return share, whole, items, error
