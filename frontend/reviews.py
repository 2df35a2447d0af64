"""How a task under review is drawn: letters for responses, an annotator's tiers as a line, what is said of a response
beside its text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from annotation.answering import STRENGTHS
from annotation.remarks import flag_name

MOST_DIVIDED = 8


def drawn(view: Mapping[str, Any]) -> dict[str, Any]:
    """What the page needs beside a ``review_view``.

    Returns:
        ``responses``: each with what the annotators flagged of it; ``rankings``: each with its ``line`` (see
        ``line_of``), ``preferred`` (how much better each tier is than the next, where that was said) and
        demonstrations; ``divided``: the most divided pairs, by letters, with the number of ``more``; ``gold``, the
        adjudicated line or None; ``earlier``: verdicts, each with its line.
    """
    letters = {response["number"]: response["letter"] for response in view["responses"]}
    rankings = [
        {
            **ranking,
            "line": line_of(ranking["tiers"], letters),
            "preferred": _preferred(ranking["tiers"], ranking["strengths"], letters),
            "marks": [_mark(flag, letters) for flag in ranking["flags"]],
            "rewritten": [
                {**each, "letter": letters.get(each["number"], "")} for each in ranking["demonstrations"]
            ],
            "rated": _rated(ranking["ratings"], letters),
        }
        for ranking in view["rankings"]
    ]
    return {
        "responses": [
            {**response, "flags": _flags(view, response["number"])} for response in view["responses"]
        ],
        "tier_numbers": range(1, len(letters) + 1),
        "rankings": rankings,
        "divided": [
            {
                "first": letters[pair.first],
                "second": letters[pair.second],
                "over": pair.over,
                "under": pair.under,
                "tied": pair.tied,
            }
            for pair in view["divided"][:MOST_DIVIDED]
        ],
        "more_divided": max(0, len(view["divided"]) - MOST_DIVIDED),
        "gold": line_of(view["gold_tiers"], letters) if view["gold_tiers"] else None,
        "earlier": [
            {**review, "line": line_of(review["tiers"], letters) if review["tiers"] else None}
            for review in view["reviews"]
        ],
        "returnable": [ranking for ranking in rankings if ranking["returned_note"] is None],
    }


def line_of(tiers: Sequence[Sequence[int]], letters: Mapping[int, str]) -> dict[str, Any]:
    """An order as letters: ``tiers``, those that are in none (``left_out``), and the same in words (``told``)."""
    named = [sorted(letters[number] for number in tier) for tier in tiers]
    ranked = {letter for tier in named for letter in tier}
    left_out = [letter for letter in letters.values() if letter not in ranked]
    told = ", then ".join(" tied with ".join(tier) for tier in named)
    return {
        "tiers": named,
        "left_out": left_out,
        "told": told + (f"; {', '.join(left_out)} not ranked" if left_out else ""),
    }


def _preferred(
    tiers: Sequence[Sequence[int]], strengths: Sequence[int | None] | None, letters: Mapping[int, str]
) -> list[str]:
    """``A much better than B = C``, of each tier whose strength was said."""
    named = [" = ".join(sorted(letters[number] for number in tier)) for tier in tiers]
    return [
        f"{upper} {STRENGTHS[strength]} than {lower}"
        for upper, lower, strength in zip(named, named[1:], strengths or [], strict=False)
        if strength is not None
    ]


def _flags(view: Mapping[str, Any], number: int) -> list[dict[str, Any]]:
    return [
        {
            "kind": flag["kind"],
            "word": flag_name(flag["kind"]),
            "note": flag["note"],
            "annotator": ranking["annotator"],
        }
        for ranking in view["rankings"]
        for flag in ranking["flags"]
        if flag["number"] == number
    ]


def _mark(flag: Mapping[str, Any], letters: Mapping[int, str]) -> dict[str, Any]:
    return {"letter": letters.get(flag["number"], "?"), "word": flag_name(flag["kind"]), "note": flag["note"]}


def _rated(ratings: Sequence[Mapping[str, Any]], letters: Mapping[int, str]) -> list[dict[str, str]]:
    """By aspect, each response's rating: ``A 4, B 2``."""
    by_aspect: dict[str, list[str]] = {}
    for rating in sorted(ratings, key=lambda one: one["number"]):
        by_aspect.setdefault(rating["aspect"], []).append(
            f"{letters.get(rating['number'], '?')}\N{NO-BREAK SPACE}{rating['rating']}"
        )
    return [{"aspect": aspect, "ratings": ", ".join(given)} for aspect, given in by_aspect.items()]
