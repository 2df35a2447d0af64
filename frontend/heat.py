"""Annotators against each other, as the cells of a table that are shaded by how far two agree."""

from __future__ import annotations

from dataclasses import dataclass

from annotation.batch_quality import BatchQuality
from annotation.pairing import AnnotatorPair

MOST = 60
"""Annotators of the table: those with most rankings."""
STEPS = 5


@dataclass(frozen=True, slots=True)
class Cell:
    """``level`` shades it: from 0, chance, to 5, perfect; −1 is worse than chance, None says nothing."""

    other: str
    pair: AnnotatorPair | None
    level: int | None


@dataclass(frozen=True, slots=True)
class HeatMap:
    names: list[str]
    rows: list[tuple[str, list[Cell]]]
    left_out: int
    """Annotators for whom there is no room."""


def heat_map(quality: BatchQuality) -> HeatMap | None:
    """The table of the annotators with most rankings; None where no two share a task."""
    if not quality.pairs:
        return None
    names = [one.annotator for one in quality.annotators][:MOST]
    by_names = {(pair.annotator, pair.other): pair for pair in quality.pairs}
    rows = [
        (
            name,
            [_cell(other, by_names.get((name, other)) or by_names.get((other, name))) for other in names],
        )
        for name in names
    ]
    return HeatMap(names, rows, len(quality.annotators) - len(names))


def _cell(other: str, pair: AnnotatorPair | None) -> Cell:
    if pair is None or pair.kappa is None:
        return Cell(other, pair, None)
    return Cell(other, pair, -1 if pair.kappa < 0 else min(int(pair.kappa * (STEPS + 1)), STEPS))
