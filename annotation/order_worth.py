"""What it was worth to hand a batch's most uncertain tasks out first, beside places that were drawn by chance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from django.db.models import Min, QuerySet
from scipy.special import stdtrit

from annotation.answer_columns import AnswerColumns, read_answers
from annotation.models import Assignment, Batch
from annotation.quality import batches_of
from annotation.ratios import FEWEST_ITEMS
from annotation.remembering import remembered
from annotation.revisions import independent_rankings


@dataclass(frozen=True, slots=True)
class Depth:
    """Rankings of tasks that had as many when their places were chosen.

    Attributes:
        depth: how many rankings the task had.
        chosen, control: how many rankings are of places chosen as most uncertain, and of places drawn by chance.
        moved, moved_by_chance: how far each of them moved the consensus, on average; None where there is none.
        enough: whether both are at least ``ratios.FEWEST_ITEMS``, so that they are compared.
    """

    depth: int
    chosen: int
    control: int
    moved: float | None
    moved_by_chance: float | None
    enough: bool


@dataclass(frozen=True, slots=True)
class OrderWorth:
    """How much further a place chosen as most uncertain moved the consensus than one drawn by chance.

    Attributes:
        depths: by how many rankings the task had, ascending, from 1.
        difference: the mean over the chosen places that are compared; None where none is.
        low, high: its 95 % interval; None where nothing tells how the places vary.
        compared: how many chosen places it rests on.
    """

    depths: tuple[Depth, ...]
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    compared: int = 0


def order_worth(batch: Batch) -> OrderWorth | None:
    """What the order of a batch was worth so far; None for a batch in another order. See `worth_of_choosing`."""
    if batch.order != Batch.Order.UNCERTAINTY:
        return None
    return remembered("order", batches_of(batch), _worth).figures


def worth_of_choosing(
    *, moved: np.ndarray, depth: np.ndarray, chosen: np.ndarray, task: np.ndarray
) -> OrderWorth:
    """Estimate what choosing was worth, of places that were chosen for their uncertainty and places that were not.

    The estimand: over the places that the order chose, the mean of how much further the ranking of such a place moved
    the consensus than that of a place which chance drew, in the same batch, among tasks that had as many rankings. A
    second ranking moves a consensus further than a tenth, and uncertain tasks are those that have several, so anything
    but equal depth compares early with late. Mean differences at each depth are weighted by how many places the order
    chose there; a depth with fewer than ``FEWEST_ITEMS`` of either kind is left out.

    Chance draws from what is left beside the order, at about the same times: the worth is that against chance within
    this batch, not against a batch that is handed out by chance alone, whose uncertain tasks would have waited.

    The interval is that of a post-stratified mean by its linear variance (Cochran 1977, "Sampling Techniques", section
    5A.9), with rankings of one task summed first since they hang together, and Student's t with Satterthwaite's
    degrees of freedom.

    Args:
        moved: how far each place's ranking moved the consensus, see `movement`. Shape: ``(places,)``.
        depth: rankings that its task had, from 1. Shape: ``(places,)``.
        chosen: whether it was chosen as most uncertain rather than by chance. Shape: ``(places,)``, booleans.
        task: an index of its task, from 0. Shape: ``(places,)``.
    """
    depths = tuple(_at_depth(int(d), moved[depth == d], chosen[depth == d]) for d in np.unique(depth))
    compared = sum(each.chosen for each in depths if each.enough)
    if not compared:
        return OrderWorth(depths)
    difference, scores, cells = 0.0, np.zeros(len(moved)), []
    for each in (each for each in depths if each.enough):
        weight = each.chosen / compared
        for sign, arm in ((1, chosen), (-1, ~chosen)):
            own = (depth == each.depth) & arm
            count = int(own.sum())
            mean = moved[own].mean()
            difference += sign * weight * mean
            scores[own] = sign * weight * (moved[own] - mean) / np.sqrt(count * (count - 1))
            cells.append((float((scores[own] ** 2).sum()), count - 1))
    variance = float((np.bincount(task, scores) ** 2).sum())
    if variance < 1e-12:
        return OrderWorth(depths, float(difference), compared=compared)
    total = sum(of_cell for of_cell, _ in cells)
    freedom = total**2 / sum(of_cell**2 / degrees for of_cell, degrees in cells)
    reach = float(stdtrit(freedom, 0.975)) * variance**0.5
    return OrderWorth(
        depths, float(difference), float(difference - reach), float(difference + reach), compared
    )


def movement(answers: AnswerColumns, came: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far each ranking moved what its task's earlier rankings say together, and how many those were.

    Of k opinions on a pair a share p is over, under or tied. One more opinion, held by the share p of the earlier ones,
    moves these shares by (1 − p) / (k + 1) in total variation; a ranking moves them by the mean over its pairs. Nothing
    is assumed of what people think. Where they order pairs by mere chance, no choice by the earlier opinions finds
    rankings that move them further.

    Args:
        answers: rankings.
        came: when each came in, in seconds. Shape: ``(rankings,)``.
        asked: when its place was handed out: what came in later was not known by then. Shape: ``(rankings,)``.

    Returns:
        How far each moved it, from 0 to ½, NaN where no earlier one says anything of its pairs; and its depth. Shape of
        both: ``(rankings,)``.
    """
    order = np.lexsort((answers.ranking, came, answers.task))
    task, came, asked = answers.task[order], came[order], asked[order]
    opinion, ordered = answers.opinions.opinion[order], answers.opinions.ordered[order]
    depth = np.zeros(len(order), np.int64)
    seen, alike = np.zeros(ordered.shape, np.int32), np.zeros(ordered.shape, np.int32)
    for earlier, later in _couples(task):
        known = came[earlier] <= asked[later]
        earlier, later = earlier[known], later[known]
        both = ordered[earlier] & ordered[later]
        depth[later] += 1
        seen[later] += both
        alike[later] += both & (opinion[earlier] == opinion[later])
    pairs = (seen > 0).sum(axis=1)
    steps = np.divide(seen - alike, seen * (seen + 1), out=np.zeros(seen.shape), where=seen > 0)
    moved = np.divide(steps.sum(axis=1), pairs, out=np.full(len(order), np.nan), where=pairs > 0)
    back = np.argsort(order)
    return moved[back], depth[back]


def _worth(batches: QuerySet[Batch]) -> OrderWorth:
    answers = read_answers(batches)
    places = {
        pk: (chosen_by, asked.timestamp(), came.timestamp())
        for pk, chosen_by, asked, came in independent_rankings(batches)
        .order_by()
        .annotate(came=Min("assignment__rankings__submitted_at"))
        .values_list("pk", "assignment__chosen_by", "assignment__leased_at", "came")
        if asked is not None
    }
    rows = [places.get(pk, ("", 0.0, 0.0)) for pk in answers.ranking.tolist()]
    chosen_by = np.array([row[0] for row in rows], dtype=object)
    asked, came = (np.array([row[at] for row in rows], np.float64) for at in (1, 2))
    moved, depth = movement(answers, came, asked)
    told = np.isin(chosen_by, Assignment.ChosenBy.values) & ~np.isnan(moved)
    return worth_of_choosing(
        moved=moved[told],
        depth=depth[told],
        chosen=chosen_by[told] == Assignment.ChosenBy.UNCERTAINTY,
        task=answers.task[told],
    )


def _at_depth(depth: int, moved: np.ndarray, chosen: np.ndarray) -> Depth:
    by_order, by_chance = moved[chosen], moved[~chosen]
    return Depth(
        depth=depth,
        chosen=len(by_order),
        control=len(by_chance),
        moved=float(by_order.mean()) if len(by_order) else None,
        moved_by_chance=float(by_chance.mean()) if len(by_chance) else None,
        enough=min(len(by_order), len(by_chance)) >= FEWEST_ITEMS,
    )


def _couples(task: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Every two rows of one task, the upper and the lower one, in portions; rows of a task are side by side."""
    for apart in range(1, int(np.bincount(task).max(initial=0))):
        upper = np.flatnonzero(task[apart:] == task[:-apart])
        yield upper, upper + apart
