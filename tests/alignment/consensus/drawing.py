"""Rankings drawn from the Davidson–Luce model with parameters that are known."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np

from alignment.consensus import Rankings


def draw_tiers(utilities: np.ndarray, log_ties: Mapping[int, float], dice: np.random.Generator) -> np.ndarray:
    """Return the tier of each item, 0 the best.

    A tier is the set with the largest of its mean utility, plus log δ, plus Gumbel noise: so sets are chosen with the
    model's probabilities.

    Args:
        utilities: adherence times score. Shape: ``(rankings, K)``.
        log_ties: log δ of each number of items that may tie.
    """
    count, items = utilities.shape
    sets = [s for k in (1, *sorted(log_ties)) for s in combinations(range(items), k)]
    member = np.zeros((len(sets), items))
    for number, chosen in enumerate(sets):
        member[number, list(chosen)] = 1
    logits = utilities @ (member / member.sum(axis=1, keepdims=True)).T
    logits += [log_ties.get(len(chosen), 0.0) if len(chosen) > 1 else 0.0 for chosen in sets]
    tier, left = np.zeros((count, items), np.int64), np.ones((count, items))
    for number in range(items):
        possible = (left @ member.T) == member.sum(axis=1)
        chosen = np.argmax(np.where(possible, logits + dice.gumbel(size=logits.shape), -np.inf), axis=1)
        now = member[chosen] * left * possible.any(axis=1)[:, None]
        tier[now > 0] = number
        left = left - now
    return tier


def draw_rankings(
    scores: np.ndarray,
    *,
    task: np.ndarray,
    annotator: np.ndarray,
    adherence: np.ndarray,
    log_ties: Mapping[int, float],
    dice: np.random.Generator,
) -> Rankings:
    """Return rankings of tasks with items of their own, numbered ``task · K + k``.

    Args:
        scores: Shape: ``(tasks, K)``.
        task: which each ranking is of. Shape: ``(rankings,)``.
        annotator: who gave it. Shape: ``(rankings,)``.
        adherence: Shape: ``(annotators,)``.
    """
    tasks, items = scores.shape
    tier = draw_tiers(scores[task] * adherence[annotator][:, None], log_ties, dice)
    return Rankings(
        items=range(tasks * items),
        item=(task[:, None] * items + np.arange(items)).reshape(-1),
        tier=tier.reshape(-1),
        sizes=np.full(len(task), items),
        annotators=range(len(adherence)),
        annotator=annotator,
    )
