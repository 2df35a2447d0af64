"""How far each annotator's rankings follow what all rankings together say."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from django.db.models import QuerySet

from alignment.consensus import Rankings, fit
from alignment.scorecards import WinRate, win_rates_of
from annotation.answer_columns import AnswerColumns, read_latest_answers
from annotation.models import Batch
from annotation.opinions import UNRANKED
from annotation.remembering import Remembered, remembered

MOST_RANKINGS = 8_000
FEWEST_RANKINGS = 10
"""Of an annotator's, in tasks that others ranked too, for a reliability."""
Z_95 = 1.959964


@dataclass(frozen=True, slots=True)
class Reliability:
    """An annotator's adherence to the consensus: 1 is the average annotator, 0 ranks at random.

    ``low`` and ``high`` are the 95 % interval, from the standard error of its logarithm.
    """

    value: float
    low: float
    high: float


def batch_reliability(batches: QuerySet[Batch]) -> Remembered[dict[str, Reliability]]:
    """The reliability of annotators by username, fresh or remembered; see `reliability_of`."""
    return remembered("reliability", batches, lambda of: reliability_of(read_latest_answers(of)))


def batch_win_rates(batches: QuerySet[Batch]) -> Remembered[list[WinRate]]:
    """People's win rates of sources, fresh or remembered; see `alignment.scorecards.win_rates_of`."""
    return remembered("win-rates", batches, lambda of: win_rates_of(read_latest_answers(of)))


def reliability_of(answers: AnswerColumns, *, seed: int = 0) -> dict[str, Reliability]:
    """The reliability of each annotator with `FEWEST_RANKINGS` or more, by the consensus of the rankings.

    Tasks that one annotator ranked say nothing of it and are left out. Of more than `MOST_RANKINGS`, whole tasks with
    about so many, drawn at random, stand for all.
    """
    sizes = answers.opinions.sizes
    tasks = np.flatnonzero(sizes > 1)
    tasks = np.random.default_rng(seed).permutation(tasks)
    tasks = tasks[: int(np.searchsorted(np.cumsum(sizes[tasks]), MOST_RANKINGS, side="right"))]
    rows = np.flatnonzero(np.isin(answers.task, tasks))
    ranked = np.bincount(answers.annotator[rows], minlength=len(answers.names))
    if not len(rows) or (ranked >= FEWEST_RANKINGS).sum() < 2:
        return {}
    consensus = fit(_columns(answers, rows))
    reliability, errors = consensus.reliability, consensus.reliability_errors
    found = {}
    for name, rankings in zip(answers.names, ranked.tolist(), strict=True):
        value, error = reliability.get(name), errors.get(name, math.inf)
        if value is not None and rankings >= FEWEST_RANKINGS and math.isfinite(error):
            found[name] = Reliability(value, value * math.exp(-Z_95 * error), value * math.exp(Z_95 * error))
    return found


def _columns(answers: AnswerColumns, rows: np.ndarray) -> Rankings:
    """Some rankings as the estimator takes them: an item is a response of a task."""
    tier = answers.opinions.tier[rows].astype(np.int64)
    row, number = np.nonzero(tier != UNRANKED)
    place = tier[row, number]
    order = np.lexsort((place, row))
    row, number, place = row[order], number[order], place[order]
    items, item = np.unique(answers.task[rows][row] * answers.width + number, return_inverse=True)
    return Rankings(
        items=items.tolist(),
        item=item,
        tier=place,
        sizes=np.bincount(row, minlength=len(rows)),
    ).given_by([answers.names[who] for who in answers.annotator[rows]])
