"""Annotators who rank by place on the page: one order of the places comes again and again, whatever the responses say.

The page shuffles the responses of each task anew. So, whatever somebody thinks of them, each way to deal what they said
out to the places of the page is equally likely: of a ranking with tiers of s₁, s₂, … responses and u unranked ones
among K, there are K! / (s₁! s₂! … u!). How often one of them comes is compared with that, exactly.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import reduce
from math import factorial

import numpy as np
from scipy.special import bdtrc, gammaln, xlog1py, xlogy

from annotation.opinions import UNRANKED

NO_PLACE = -2
"""In a table of what was said of each place: the page had no such place."""
LONGEST = 9
FACTORIALS = np.array([factorial(size) for size in range(LONGEST + 1)], np.float64)


class PageOrder(StrEnum):
    AS_SHOWN = "as-shown"
    REVERSED = "reversed"
    ONE_ORDER = "one-order"


@dataclass(frozen=True, eq=False)
class PlaceOrder:
    """An order of the page's places that one annotator gave more often than chance gives.

    Attributes:
        annotator: as in `place_orders`.
        evidence: the numbers, as a sentence.
        rankings: which ones have it. Shape: ``(all rankings,)``, booleans.
    """

    annotator: int
    kind: PageOrder
    evidence: str
    rankings: np.ndarray


def place_orders(
    tier: np.ndarray, place: np.ndarray, annotator: np.ndarray, *, chance: float, fewest: int
) -> list[PlaceOrder]:
    """The orders of places that come too often.

    Looked for are, of each annotator, the page's own order, its reverse, and any one order beside them, where there is
    another: each has an equal part of the chance. The page's order and its reverse are looked for over all of
    somebody's rankings, those with ties and unranked responses too: what was ranked stands in that order, ties set
    aside. Another order is looked for among rankings of one shape, so many responses tied and unranked in such a way,
    and its part of the chance is shared among all orders of all the annotator's shapes.

    Args:
        tier: the tier of each response, ``UNRANKED`` where it is in none. Shape: ``(rankings, responses)``.
        place: where on the page it stood, from 0; −1 for numbers that the task has not. Shape as ``tier``.
        annotator: of each ranking, from 0. Shape: ``(rankings,)``.
        chance: how seldom any order may be found, in anybody, where all is chance.
        fewest: rankings of an order that are worth a word.
    """
    if not len(tier):
        return []
    said = _by_place(tier, place)
    shapes = _shapes(said)
    others = (shapes.orders > 2) | ((shapes.orders > 1) & (shapes.ranked_orders == 1))
    has_others = np.bincount(annotator, others) > 0
    each = chance / len(has_others) / (2 + has_others)
    found, told = [], np.zeros(len(said), bool)
    for kind, words, follows in (
        (PageOrder.AS_SHOWN, "as they were shown", _follows_the_page(said)),
        (PageOrder.REVERSED, "the other way round", _follows_the_page(_backward(said))),
    ):
        for one in _along_the_page(kind, words, follows, shapes, annotator, each, fewest):
            told |= one.rankings
            found.append(one)
    return [*found, *_any_order(said, shapes, told, annotator, each * has_others, fewest)]


@dataclass(frozen=True, eq=False)
class _Shapes:
    """Of each ranking: which shape it has, how many orders of places that shape has, and how many orders of the ranked
    places alone. Shape of each: ``(rankings,)``."""

    shape: np.ndarray
    orders: np.ndarray
    ranked_orders: np.ndarray


def _by_place(tier: np.ndarray, place: np.ndarray) -> np.ndarray:
    """What was said of each place of the page. Shape: ``(rankings, responses)``."""
    said = np.full(tier.shape, NO_PLACE, np.int64)
    row, number = np.nonzero(place >= 0)
    said[row, place[row, number]] = tier[row, number]
    return said


def _shapes(said: np.ndarray) -> _Shapes:
    sizes = np.stack([(said == tier).sum(axis=1) for tier in range(UNRANKED, said.shape[1])], axis=1)
    _, shape = np.unique(np.sort(said, axis=1), axis=0, return_inverse=True)
    ranked, within = FACTORIALS[sizes[:, 1:].sum(axis=1)], FACTORIALS[sizes].prod(axis=1)
    return _Shapes(
        shape.reshape(-1),
        FACTORIALS[sizes.sum(axis=1)] / within,
        ranked * FACTORIALS[sizes[:, 0]] / within,
    )


def _backward(said: np.ndarray) -> np.ndarray:
    """The same, from the last place of each page up. What was not there comes first then, which changes nothing."""
    return said[:, ::-1]


def _follows_the_page(said: np.ndarray) -> np.ndarray:
    """Whether no ranked response stands above a better one, and some stand above worse ones. Shape: ``(rankings,)``."""
    ranked = said >= 0
    best_so_far = np.maximum.accumulate(np.where(ranked, said, 0), axis=1)
    return np.asarray(((said >= best_so_far) | ~ranked).all(axis=1) & (said.max(axis=1) > 0))


def _along_the_page(
    kind: PageOrder,
    words: str,
    follows: np.ndarray,
    shapes: _Shapes,
    annotator: np.ndarray,
    chance: np.ndarray,
    fewest: int,
) -> Iterator[PlaceOrder]:
    ordered = shapes.ranked_orders > 1
    for who, cases in enumerate(np.bincount(annotator[follows]).tolist()):
        if cases < fewest:
            continue
        rows = ordered & (annotator == who)
        if _at_least(cases, 1 / shapes.ranked_orders[rows]) < chance[who]:
            yield PlaceOrder(
                who,
                kind,
                f"{cases} of {rows.sum()} rankings are the order of the page, {words}; chance gives "
                f"{(1 / shapes.ranked_orders[rows]).sum():.1f}.",
                follows & rows,
            )


def _any_order(
    said: np.ndarray,
    shapes: _Shapes,
    told: np.ndarray,
    annotator: np.ndarray,
    chance: np.ndarray,
    fewest: int,
) -> Iterator[PlaceOrder]:
    ordered = np.flatnonzero(shapes.orders > 1)
    if not len(ordered):
        return
    groups, group = np.unique(
        np.column_stack([annotator[ordered], shapes.shape[ordered]]), axis=0, return_inverse=True
    )
    group, sizes = group.reshape(-1), np.bincount(group.reshape(-1))
    shapes_of = np.bincount(groups[:, 0])
    _, first, order, counts = np.unique(
        np.column_stack([group, said[ordered]]),
        axis=0,
        return_index=True,
        return_inverse=True,
        return_counts=True,
    )
    found: dict[int, list[tuple[str, np.ndarray]]] = defaultdict(list)
    for one in np.flatnonzero(counts >= fewest).tolist():
        row, of_all = ordered[first[one]], int(sizes[group[first[one]]])
        who, orders, cases = int(annotator[row]), float(shapes.orders[row]), int(counts[one])
        looks = orders * shapes_of[who]
        if told[row] or looks * bdtrc(cases - 1, of_all, 1 / orders) >= chance[who]:
            continue
        rows = np.zeros(len(said), bool)
        rows[ordered[order.reshape(-1) == one]] = True
        evidence = (
            f"{cases} of {of_all} rankings of {(said[row] != NO_PLACE).sum()} responses put the places of the page in "
            f"the order {_in_words(said[row])}; chance gives {of_all / orders:.1f}."
        )
        found[who].append((evidence, rows))
    for who, evidence_and_rows in sorted(found.items()):
        evidence, rows_of_each = zip(*evidence_and_rows, strict=True)
        yield PlaceOrder(who, PageOrder.ONE_ORDER, " ".join(evidence), np.logical_or.reduce(rows_of_each))


def _in_words(said: np.ndarray) -> str:
    """An order of places, from 1, best first: ``2 > 1 = 3``, and which are left unranked."""
    tiers = [" = ".join(str(at + 1) for at in np.flatnonzero(said == tier)) for tier in range(said.max() + 1)]
    unranked = ", ".join(str(at + 1) for at in np.flatnonzero(said == UNRANKED))
    return " > ".join(tiers) + (f" with {unranked} left unranked" if unranked else "")


def _at_least(cases: int, chances: np.ndarray) -> float:
    """The probability that so many of independent rankings, or more, are cases, each with its own chance.

    Shape of ``chances``: ``(rankings,)``.
    """
    same = zip(*np.unique(chances, return_counts=True), strict=True)
    masses = [_binomial(count, one) for one, count in same]
    return float(reduce(np.convolve, masses, np.ones(1))[cases:].sum())


def _binomial(count: int, chance: float) -> np.ndarray:
    """The probability of each number of hits in so many tries. Shape: ``(count + 1,)``."""
    hits = np.arange(count + 1)
    ways = gammaln(count + 1) - gammaln(hits + 1) - gammaln(count - hits + 1)
    return np.asarray(np.exp(ways + xlogy(hits, chance) + xlog1py(count - hits, -chance)))
