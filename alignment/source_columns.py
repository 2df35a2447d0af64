"""Rankings of responses as rankings of their sources: weighed by what those of one task add, and put apart where
nothing links them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import cast

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from alignment.consensus import Rankings
from alignment.leaderboard import rankings_of_sources
from alignment.styles import features_of
from annotation.opinions import Tiers

Spoken = tuple[int, Hashable, Tiers, float]
"""A ranking: task, who, tiers of response numbers, weight."""


def source_columns(
    spoken: Sequence[Spoken],
    responses: Mapping[int, Mapping[int, tuple[int, int]]],
    correlation: float,
    *,
    style: bool,
) -> Rankings:
    """Return rankings of sources. Those of one task hang together, so that n of them tell as much as n / (1 + (n − 1)ρ)
    of different tasks do (Kish 1965, "Survey Sampling", section 5.4), and weigh as much.

    Args:
        responses: of each task, its responses' sources and primary keys, by number.
        correlation: ρ, see `alignment.within_tasks`.
        style: whether the responses' features are covariates.
    """
    together: dict[int, set[Hashable]] = defaultdict(set)
    for task, who, _, _ in spoken:
        together[task].add(who)
    weights = [weight / (1 + (len(together[task]) - 1) * correlation) for task, _, _, weight in spoken]
    features = None
    if style:
        measured = features_of({response for of in responses.values() for _, response in of.values()})
        features = [
            [
                measured[responses[task][n][1]] if n in responses[task] else {}
                for n in range(1 + max(responses[task]))
            ]
            for task, *_ in spoken
        ]
    return rankings_of_sources(
        [tiers for _, _, tiers, _ in spoken],
        [_by_number(responses[task]) for task, *_ in spoken],
        annotators=[who for _, who, _, _ in spoken],
        style=features,
    ).weighted(weights)


def _by_number(of: Mapping[int, tuple[int, int]]) -> list[int]:
    return [of[number][0] if number in of else 0 for number in range(1 + max(of))]


def linked_sets(columns: Rankings) -> tuple[list[list[int]], list[int]]:
    """Return the items that rankings link, set by set, and those that nothing was compared with."""
    if not len(columns.item):
        return [], []
    ranking = np.repeat(np.arange(len(columns)), columns.sizes)
    size = len(columns.items)
    links = coo_matrix((np.ones(len(ranking)), (ranking, columns.item)), shape=(len(columns), size)).tocsr()
    _, label = connected_components(links.T @ links, directed=False)
    sets = [np.flatnonzero(label == each).tolist() for each in range(label.max() + 1)]
    alone = [cast(int, columns.items[members[0]]) for members in sets if len(members) == 1]
    return [members for members in sets if len(members) > 1], alone


def only(columns: Rankings, members: list[int]) -> Rankings:
    """Some linked items with the rankings of them."""
    number = np.full(len(columns.items), -1)
    number[members] = np.arange(len(members))
    ranking = np.repeat(np.arange(len(columns)), columns.sizes)
    entries = number[columns.item] >= 0
    rows = np.unique(ranking[entries])
    assert columns.annotator is not None and columns.weight is not None
    chosen = Rankings(
        items=[columns.items[each] for each in members],
        item=number[columns.item[entries]],
        tier=columns.tier[entries],
        sizes=columns.sizes[rows],
    ).given_by([columns.annotators[who] for who in columns.annotator[rows]])
    chosen = chosen.weighted(columns.weight[rows])
    if columns.covariates is None:
        return chosen
    return chosen.with_covariates(columns.covariate_names, columns.covariates[entries])


def comparisons_of(columns: Rankings) -> dict[Hashable, int]:
    """How often each item was compared with another one, within rankings."""
    ranking = np.repeat(np.arange(len(columns)), columns.sizes)
    pairs, times = np.unique(ranking * len(columns.items) + columns.item, return_counts=True)
    of, item = np.divmod(pairs, len(columns.items))
    counts = np.bincount(item, times * (columns.sizes[of] - times), len(columns.items))
    return dict(zip(columns.items, counts.astype(int).tolist(), strict=True))
