"""What a reviewer decided of a task, as a dataset has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

ADJUDICATED_LEAD = 1.0
"""How far, in log-worth, a tier of an adjudicated order is above the next at least: it is preferred with a probability
of 73 %. Where people said so themselves, by more, their scores stay."""


def put_in_order(
    scores: Mapping[int, float], tiers: Sequence[Sequence[int]], *, lead: float = ADJUDICATED_LEAD
) -> dict[int, float]:
    """Return the scores nearest to ``scores`` by which each tier is at least ``lead`` above the next, and those of one
    tier are equal.

    Nearest by least squares: isotonic regression of the tiers' means, by pooling adjacent violators (Ayer et al. 1955,
    "An empirical distribution function for sampling with incomplete information").

    Args:
        scores: of each response in ``tiers``, in log-worth.
        tiers: best first; none is empty.
    """
    # With each place's leads added back, the scores need only not to rise from tier to tier.
    pools: list[tuple[float, int, int]] = []  # mean, responses, tiers
    for place, tier in enumerate(tiers):
        pool = (fmean(scores[number] for number in tier) + place * lead, len(tier), 1)
        while pools and pools[-1][0] < pool[0]:
            mean, responses, count = pools.pop()
            together = responses + pool[1]
            pool = ((mean * responses + pool[0] * pool[1]) / together, together, count + pool[2])
        pools.append(pool)
    means = [mean for mean, _, count in pools for _ in range(count)]
    return {number: means[place] - place * lead for place, tier in enumerate(tiers) for number in tier}
