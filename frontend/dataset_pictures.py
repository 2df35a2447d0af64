"""A dataset's card as pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from frontend.plots import Plot, histogram


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing, what it shows, and the same as a table: from, to, count."""

    name: str
    caption: str
    plot: Plot
    rows: list[tuple[str, str, int]]


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


SHOWN: Mapping[str, tuple[str, str, Callable[[float], str]]] = {
    "response_words": (
        "Responses by their length in words",
        "responses by words",
        lambda words: f"{words:,.0f}",
    ),
    "probability": (
        "Preferences by how sure the next annotator is to share them",
        "preferences by probability",
        _percent,
    ),
    "reliability": (
        "Annotators by reliability; 1 is the average",
        "annotators by reliability",
        lambda value: f"{value:.1f}",
    ),
}


def pictures_of(card: Mapping[str, Any]) -> list[Picture]:
    """Return the card's pictures; none of those that the card has no figures for."""
    drawn = card.get("histograms") or {}
    return [
        Picture(
            name,
            caption,
            histogram(drawn[name]["counts"], drawn[name]["edges"], of=of, written=written),
            [
                (written(low), written(high), count)
                for low, high, count in zip(
                    drawn[name]["edges"], drawn[name]["edges"][1:], drawn[name]["counts"], strict=False
                )
                if count
            ],
        )
        for name, (caption, of, written) in SHOWN.items()
        if name in drawn and any(drawn[name]["counts"])
    ]
