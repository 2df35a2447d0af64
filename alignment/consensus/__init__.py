"""Consensus: what all rankings together say of each item.

`fit` estimates log-worths of items, how common ties are, and how far each annotator's rankings follow worth, by the
Plackett–Luce model with ties. NumPy and SciPy only: no Django, no files.
"""

from alignment.consensus.fitting import fit
from alignment.consensus.priors import PRIOR, Adherence, Prior, PseudoRankings, Spread
from alignment.consensus.rankings import Rankings, Tiers
from alignment.consensus.result import Consensus, Difference, Estimate

__all__ = [
    "PRIOR",
    "Adherence",
    "Consensus",
    "Difference",
    "Estimate",
    "Prior",
    "PseudoRankings",
    "Rankings",
    "Spread",
    "Tiers",
    "fit",
]
