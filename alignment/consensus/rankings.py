"""Rankings as columns of numbers, the form that the estimator computes on."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np

Tiers = Sequence[Sequence[Hashable]]


@dataclass(frozen=True, slots=True, eq=False)
class Rankings:
    """Many rankings, one entry an item ranked, those of a ranking side by side.

    `of` makes them from tiers and `of_votes` from comparisons of two. Both check what they are given; the
    columns of a `Rankings` put together by hand are taken as they are.
    """

    items: Sequence[Hashable]
    """Names of the items, each once. Shape: ``(items,)``."""
    item: np.ndarray
    """The item of each entry, an index into ``items``. One may stand in a ranking more than once, as a source
    does that wrote two of a task's responses. Shape: ``(entries,)``."""
    tier: np.ndarray
    """The entry's tier, 0 the best; entries of the same tier are tied. Shape: ``(entries,)``."""
    sizes: np.ndarray
    """How many items each ranking holds. Shape: ``(rankings,)``, summing to ``entries``."""
    annotators: Sequence[Hashable] = ()
    """Names of the annotators, each once; none where nobody says who ranked. Shape: ``(annotators,)``."""
    annotator: np.ndarray | None = None
    """Who gave each ranking, an index into ``annotators``. Shape: ``(rankings,)``."""
    weight: np.ndarray | None = None
    """How many times each ranking counts; once if none. Shape: ``(rankings,)``."""
    covariate_names: Sequence[str] = ()
    covariates: np.ndarray | None = None
    """What else may move a ranking, such as the length of the response. Shape: ``(entries, covariates)``."""

    @classmethod
    def of(
        cls,
        rankings: Sequence[Tiers],
        *,
        items: Iterable[Hashable] | None = None,
        annotators: Sequence[Hashable] | None = None,
        weights: Sequence[float] | np.ndarray | None = None,
    ) -> Rankings:
        """Return rankings given as tiers.

        Args:
            rankings: tiers of items, best first; those in one tier are tied, those in none take no part.
            items: further items; they also fix the order. Otherwise an item's place is where it is first met.
            annotators: who gave each ranking. Shape: ``(rankings,)``.
            weights: how many times each counts. Shape: ``(rankings,)``.

        Raises:
            ValueError: an item stands twice in a ranking, or numbers of rankings, annotators and weights differ.
        """
        tiers = list(chain.from_iterable(rankings))
        names: dict[Hashable, int] = {name: n for n, name in enumerate(dict.fromkeys(items or ()))}
        flat = list(chain.from_iterable(tiers))
        for name in flat:
            if name not in names:
                names[name] = len(names)
        item = np.fromiter(map(names.__getitem__, flat), np.int64, len(flat))
        lengths = np.fromiter(map(len, tiers), np.int64, len(tiers))
        counts = np.fromiter(map(len, rankings), np.int64, len(rankings))
        of_tier = np.repeat(np.arange(len(rankings)), counts)
        sizes = np.bincount(of_tier, lengths, len(rankings)).astype(np.int64)
        place = np.arange(len(tiers)) - np.repeat(np.cumsum(counts) - counts, counts)
        found = cls(items=list(names), item=item, tier=np.repeat(place, lengths), sizes=sizes)
        _check_once(found, rankings)
        return found.given_by(annotators).weighted(weights)

    @classmethod
    def of_votes(
        cls,
        left: np.ndarray,
        right: np.ndarray,
        outcome: np.ndarray,
        *,
        items: Sequence[Hashable],
        annotators: Sequence[Hashable] | None = None,
        weights: Sequence[float] | np.ndarray | None = None,
    ) -> Rankings:
        """Return comparisons of two items each.

        Args:
            left: index into ``items``. Shape: ``(votes,)``.
            right: index into ``items``. Shape: ``(votes,)``.
            outcome: 1 where left is better, −1 where right is, 0 where they are tied. Shape: ``(votes,)``.
            items: names of the items, each once.
            annotators, weights: as of `of`. Shape: ``(votes,)``.

        Raises:
            ValueError: columns are not of the same length, or an index is none.
        """
        if not len(left) == len(right) == len(outcome):
            raise ValueError(
                f"left, right and outcome must be of one length, not {len(left)}, {len(right)}, {len(outcome)}"
            )
        item = np.empty((len(left), 2), np.int64)
        item[:, 0], item[:, 1] = left, right
        if item.size and not 0 <= item.min() <= item.max() < len(items):
            raise ValueError(
                f"left and right must be indices into the {len(items)} items, "
                f"not from {item.min()} to {item.max()}"
            )
        tier = np.empty(item.shape, np.int8)
        outcome = np.asarray(outcome)
        tier[:, 0], tier[:, 1] = outcome < 0, outcome > 0
        found = cls(
            items=items, item=item.reshape(-1), tier=tier.reshape(-1), sizes=np.full(len(left), 2, np.int64)
        )
        return found.given_by(annotators).weighted(weights)

    def given_by(self, annotators: Sequence[Hashable] | None) -> Rankings:
        """Return the rankings with their annotators' names. Shape: ``(rankings,)``."""
        if annotators is None:
            return self
        if len(annotators) != len(self):
            raise ValueError(f"{len(self)} rankings, but {len(annotators)} annotators")
        number = {who: n for n, who in enumerate(dict.fromkeys(annotators))}
        column = np.fromiter(map(number.__getitem__, annotators), np.int64, len(annotators))
        return replace(self, annotators=list(number), annotator=column)

    def weighted(self, weights: Sequence[float] | np.ndarray | None) -> Rankings:
        """Return the rankings with how many times each counts. Shape: ``(rankings,)``."""
        if weights is None:
            return self
        if len(weights) != len(self):
            raise ValueError(f"{len(self)} rankings, but {len(weights)} weights")
        column = np.asarray(weights, float)
        if not np.all(column >= 0) or np.isinf(column).any():
            wrong = int(np.flatnonzero(~(column >= 0) | np.isinf(column))[0])
            raise ValueError(
                f"a weight must be at least 0 and finite; that of ranking {wrong} is {column[wrong]}"
            )
        return replace(self, weight=column)

    def with_covariates(self, names: Sequence[str], values: Any) -> Rankings:
        """Return the rankings with covariates of their entries.

        Args:
            names: Shape: ``(covariates,)``.
            values: one row an entry, in the order of the tiers. Shape: ``(entries, covariates)``.
        """
        columns = np.asarray(values, float)
        if columns.shape != (len(self.item), len(names)):
            raise ValueError(
                f"covariates must be of shape {(len(self.item), len(names))}, one row an item ranked and one column "
                f"a name, not {columns.shape}"
            )
        if not np.isfinite(columns).all():
            raise ValueError("covariates must be finite numbers")
        return replace(self, covariate_names=list(names), covariates=columns)

    def __len__(self) -> int:
        return len(self.sizes)


def _check_once(found: Rankings, rankings: Sequence[Tiers]) -> None:
    ranking = np.repeat(np.arange(len(found)), found.sizes)
    key = np.sort(ranking * max(len(found.items), 1) + found.item)
    twice = np.flatnonzero(key[1:] == key[:-1])
    if len(twice):
        number = int(key[twice[0]] // len(found.items))
        raise ValueError(f"ranking {number} holds an item more than once: {rankings[number]!r:.200}")
