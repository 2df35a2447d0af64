"""The sets that a choice may be: one item, or several that tie."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import combinations
from math import comb

import numpy as np

MOST_SETS = 2**14
"""Sets that a choice may be from. Nine items tied in any number make 511."""


@dataclass(frozen=True, slots=True, eq=False)
class Sets:
    """The sets that can be chosen from m items: singles first, then ties by their number of items."""

    share: np.ndarray
    """1/k for the k items of a set, 0 for the others. Shape: ``(sets, m)``."""
    square: np.ndarray
    """Products of two shares, first each one's own, then those of different items, twice. Shape: ``(sets, m +
    pairs)``."""
    product: np.ndarray
    """Products of the shares of two different items. Shape: ``(sets, pairs)``."""
    tie: np.ndarray
    """Which tie parameter a set has; −1 if none. Shape: ``(sets,)``."""
    spans: dict[int, slice]
    """Where the sets of each number of items stand."""
    sums: np.ndarray
    """What sums over all sets, over those of each order of tie, and over the sets' shares of each item. Shape: ``(1 +
    orders + m, sets)``."""
    left: np.ndarray
    right: np.ndarray
    """The items of each pair. Shape: ``(pairs,)``."""

    @classmethod
    def of(cls, m: int, orders: tuple[int, ...]) -> Sets:
        """Return the sets of 1 and of as many items as ``orders`` says.

        Raises:
            ValueError: they are too many.
        """
        sizes = [1, *(k for k in orders if k <= m)]
        number = sum(comb(m, k) for k in sizes)
        if number > MOST_SETS:
            raise ValueError(
                f"a ranking of {m} items beside ties of {max(sizes)} makes {number} ways to choose a tier, more than "
                f"{MOST_SETS}; break the ranking into smaller ones, or its ties"
            )
        share, tie, spans = np.zeros((number, m)), np.full(number, -1), {}
        row = 0
        for k in sizes:
            spans[k] = slice(row, row + comb(m, k))
            for chosen in combinations(range(m), k):
                share[row, list(chosen)] = 1 / k
                tie[row] = orders.index(k) if k > 1 else -1
                row += 1
        left, right = np.triu_indices(m, 1)
        product = share[:, left] * share[:, right]
        of_orders = np.equal(tie, np.arange(len(orders))[:, None]).astype(float)
        sums = np.vstack([np.ones(number), of_orders, share.T])
        return cls(share, np.hstack([share**2, 2 * product]), product, tie, spans, sums, left, right)


sets_of = cache(Sets.of)
