"""How far rankings of the same task say the same, beyond what the sources of its responses explain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from annotation.opinions import Opinions, Tiers


def within_task_correlation(
    rankings: Sequence[tuple[int, Tiers]], sources: Mapping[int, Mapping[int, int]]
) -> float:
    """Return the correlation, from 0 to 1, of two rankings' opinions (over, tied, under) on the same two responses,
    each opinion taken as what it is beyond the mean over all pairs of the same two sources.

    It is one task's own answers that are good or bad, whatever their sources are like: where it is 1, the second
    ranking of a task says nothing new of the sources; where it is 0, as much as one of another task. Moments over all
    couples of rankings, as in the analysis of variance for groups of unequal size.

    Args:
        rankings: task and tiers of response numbers.
        sources: of each task, its responses' sources by number.
    """
    tasks = sorted({task for task, _ in rankings})
    number_of = {task: number for number, task in enumerate(tasks)}
    by_task: list[list[Tiers]] = [[] for _ in tasks]
    for of, tiers in rankings:
        by_task[number_of[of]].append(tiers)
    opinions = Opinions.of(by_task)
    if not len(opinions):
        return 0.0
    first, second = opinions.pairs
    width = opinions.tier.shape[1]
    source = np.zeros((len(tasks), width), np.int64)
    for of in tasks:
        for place, each in sources[of].items():
            if place < width:
                source[number_of[of], place] = each
    one, other = source[:, first], source[:, second]
    # Orient every pair from the smaller source to the larger one, so that opinions of the same sources add up.
    turned = np.where(one > other, -1, 1)
    counted = opinions.ordered & (one != other)[opinions.task]
    row, pair = np.nonzero(counted)
    task = opinions.task[row]
    value = (opinions.opinion[row, pair] * turned[task, pair]).astype(np.float64)
    low, high = np.minimum(one, other)[task, pair], np.maximum(one, other)[task, pair]
    _, of_sources = np.unique(np.stack([low, high]), axis=1, return_inverse=True)
    of_sources = of_sources.reshape(-1)
    mean = np.bincount(of_sources, value) / np.bincount(of_sources)
    rest = value - mean[of_sources]
    cells, cell = np.unique(task * len(first) + pair, return_inverse=True)
    number = np.bincount(cell, minlength=len(cells))
    total, squares = np.bincount(cell, rest, len(cells)), np.bincount(cell, rest**2, len(cells))
    couples, variance = float((number * (number - 1)).sum()), float(squares.sum() / max(len(rest), 1))
    if not couples or variance < 1e-12:
        return 0.0
    return float(np.clip((total**2 - squares).sum() / couples / variance, 0.0, 1.0))
