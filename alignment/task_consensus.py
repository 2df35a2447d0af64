"""What the rankings of one task together say, before any dataset is built."""

from __future__ import annotations

from collections.abc import Sequence

from alignment.consensus import fit
from alignment.consensus_records import ConsensusSettings, tiers_of

Tiers = Sequence[Sequence[int]]


def consensus_tiers(rankings: Sequence[Tiers]) -> list[list[int]] | None:
    """Return the tiers that a task's rankings make together, all annotators counting alike, with a dataset's default
    margin of ties. A dataset's consensus also learns from all other tasks whom to trust.

    Returns:
        Response numbers, best tier first; None for fewer than two rankings, which have no consensus.
    """
    if len(rankings) < 2:
        return None
    scores = fit(rankings, adherence=None).predictive_scores
    by_number = {
        number: scores[number] for number in {n for tiers in rankings for tier in tiers for n in tier}
    }
    return tiers_of(by_number, ConsensusSettings().tie_margin)
