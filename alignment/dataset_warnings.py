"""What to know of a dataset before a model is trained on it, from its card alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

FEWEST: Mapping[str, tuple[str, int]] = {
    "dpo": ("preferences", 500),
    "ppo": ("preferences", 2_000),
    "sft": ("examples", 100),
}
"""By recipe, what it learns from and how many at least, as a rule of thumb: the manager's guide asks for 200 tasks of
four responses, which are some 500 preferences that are not ties; a reward model has to tell good from bad on answers
that nobody ranked, and so needs more."""
LOW_AGREEMENT = 0.6
DOMINANT = 0.8
"""Of the best responses, one source's share."""
TOLD_BY_ORDER, TOLD_BY_LENGTH, TOLD_BY_SOURCE = 0.6, 0.7, 0.8
"""The least share of preferences that a rule tells, at the lower end of its interval, to be called leakage."""
MANY_TIED = 0.3


@dataclass(frozen=True, slots=True)
class Warning:
    """Something to look at first. ``code`` names its kind for programs."""

    code: str
    sentence: str


def warnings_of(card: Mapping[str, Any], recipe: str = "dpo") -> list[Warning]:
    """Return what speaks against training by a recipe on the dataset with this card, the gravest kind first.

    Cards of older datasets lack some figures; what they lack warns of nothing.
    """
    return [
        *_too_few(card, recipe),
        *_ceiling(card),
        *_leakage(card),
        *_dominance(card),
        *_splits(card),
        *_others(card),
    ]


def ceiling_of(agreement: float) -> float:
    """The share of pairs that a model could order as the next annotator does, at most, where two annotators order
    ``agreement`` of them alike: p with p² + (1 − p)² = agreement, each pair being as hard as any other."""
    return (1 + math.sqrt(max(2 * agreement - 1, 0.0))) / 2


def _too_few(card: Mapping[str, Any], recipe: str) -> Iterator[Warning]:
    what, fewest = FEWEST[recipe]
    train = card["splits"]["train"]
    there = train["tasks"] if recipe == "sft" else train["pairs"]
    if there < fewest:
        yield Warning(
            "too_few",
            f"The training split has {there:,} {what}. Below {fewest:,} such training seldom moves a model "
            "beyond chance: rank more tasks, or take more batches.",
        )


def _ceiling(card: Mapping[str, Any]) -> Iterator[Warning]:
    agreement = card["agreement"]["agreement"]
    if agreement is not None and agreement < LOW_AGREEMENT:
        yield Warning(
            "low_agreement",
            f"Two annotators agree on {agreement:.0%} of pairs, so no model can order more than about "
            f"{ceiling_of(agreement):.0%} of them as the next annotator does. Look at the guidelines first.",
        )


def _leakage(card: Mapping[str, Any]) -> Iterator[Warning]:
    rules = (
        (
            "order",
            (card.get("leanings") or {}).get("first_shown"),
            TOLD_BY_ORDER,
            "The response that was shown first was preferred in {share} of rankings' pairs: labels follow the page.",
        ),
        (
            "length",
            card.get("told_by_length"),
            TOLD_BY_LENGTH,
            "The longer response is preferred in {share} of preferences: a model may learn to be long, and no more.",
        ),
        (
            "source",
            card.get("told_by_source"),
            TOLD_BY_SOURCE,
            "Which source wrote a response tells {share} of preferences between sources: a model may learn the better "
            "source's manner, and no more.",
        ),
    )
    for name, measured, least, sentence in rules:
        if measured is None:
            continue
        low = measured["win_rate_low"] if "win_rate_low" in measured else measured["low"]
        share = measured["win_rate"] if "win_rate" in measured else measured["value"]
        if low is not None and low > least:
            yield Warning(f"told_by_{name}", sentence.format(share=f"{share:.0%}"))


def _dominance(card: Mapping[str, Any]) -> Iterator[Warning]:
    best = {source["name"]: source["first_share"] * source["responses"] for source in card["sources"]}
    of_all = sum(best.values())
    if len(best) > 1 and of_all:
        name = max(best, key=lambda each: best[each])
        if best[name] > DOMINANT * of_all:
            yield Warning(
                "one_source",
                f"{best[name] / of_all:.0%} of the best responses are of the one source {name}: a model will learn its "
                "manner.",
            )


def _splits(card: Mapping[str, Any]) -> Iterator[Warning]:
    if not card["splits"]["held_out"]["tasks"]:
        yield Warning(
            "nothing_held_out",
            "No task is held out, so whether a model orders new prompts as people do cannot be measured.",
        )
    across = (card.get("duplicates") or {}).get("across_splits", 0)
    if across:
        yield Warning(
            "near_held_out",
            f"{across:,} prompt{'s' if across != 1 else ''} nearly repeat{'' if across != 1 else 's'} one of the other "
            "split, so what is measured on held-out prompts flatters. The filter apart_from_held_out leaves them out.",
        )


def _others(card: Mapping[str, Any]) -> Iterator[Warning]:
    tied = (card.get("no_consensus") or {}).get("tasks", 0)
    if tied > MANY_TIED * card["tasks"]:
        yield Warning(
            "no_consensus",
            f"All responses of {tied:,} of {card['tasks']:,} tasks are tied: those teach no preference.",
        )
    found = card.get("personal_data") or {}
    if found:
        kinds = ", ".join(f"{each['found']:,} × {kind}" for kind, each in found.items())
        yield Warning("personal_data", f"Texts hold what looks like personal data: {kinds}.")
    if not card["estimator"]["converged"]:
        yield Warning("not_converged", f"The consensus has not converged: {card['estimator']['trouble']}")
