"""What is told of comparisons that a model ordered: how many rightly, how sure it was, and of what kind they were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from training.engine.losses import calibration_error

MARGINS = (0.5, 1.5)
"""Consensus margins between close, clear and sure comparisons: the better one is preferred with a probability of up to
0.62, 0.82 and 1."""
MARGIN_NAMES = ("close", "clear", "sure")


@dataclass(frozen=True, slots=True)
class Judged:
    """A comparison and the model's lead in it."""

    lead: float
    """Value of the better response less that of the worse."""
    margin: float
    """Of the consensus."""
    aspect: str = ""


def figures(judged: Sequence[Judged], *, calibrated: bool = True) -> dict[str, float]:
    """Return the figures of some comparisons; empty for none.

    Args:
        judged: the comparisons.
        calibrated: whether σ(lead) is meant to be the probability of a preference.

    Returns:
        ``accuracy``: share of comparisons that the model orders as people do, equal values counting half;
        ``accuracy/close``, ``/clear``, ``/sure`` by consensus margin and ``accuracy/aspect:NAME``, where there are any;
        ``calibration_error`` of P(better preferred) = σ(lead), if it is meant so; ``margin``: mean lead.
    """
    if not judged:
        return {}
    leads = torch.tensor([each.lead for each in judged], dtype=torch.float64)
    right = ((leads.sign() + 1) / 2).tolist()
    groups: dict[str, list[float]] = {"accuracy": right}
    for each, point in zip(judged, right, strict=True):
        name = MARGIN_NAMES[sum(each.margin > limit for limit in MARGINS)]
        groups.setdefault(f"accuracy/{name}", []).append(point)
        if each.aspect:
            groups.setdefault(f"accuracy/aspect:{each.aspect}", []).append(point)
    return {
        **{name: sum(points) / len(points) for name, points in groups.items()},
        **({"calibration_error": calibration_error(leads.sigmoid())} if calibrated else {}),
        "margin": float(leads.mean()),
    }
