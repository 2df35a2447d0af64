"""Agreement over time: whether annotators still understand the task as they did."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from annotation.agreement import pooled, tallies_of
from annotation.answer_columns import AnswerColumns
from annotation.ratios import Ratio, ratios

TASKS_A_STRETCH = 20
"""At least."""
MOST_STRETCHES = 24


@dataclass(frozen=True, slots=True)
class Stretch:
    """Tasks that were ranked one after the other.

    Attributes:
        number: from 1, in the order of time.
        since, until: when the first and the last of them got its latest ranking.
        tasks: how many; all with two rankings or more.
        keys: their primary keys.
        agreement: the share of pairs of responses ordered alike, with its interval over tasks.
        nominal_alpha: Krippendorff's α of the same opinions.
    """

    number: int
    since: datetime
    until: datetime
    tasks: int
    keys: list[int]
    agreement: Ratio
    nominal_alpha: float | None


def agreement_over_time(answers: AnswerColumns) -> list[Stretch]:
    """The agreement of each stretch of tasks, in the order of their latest rankings.

    Stretches have equally many tasks, so that their intervals compare; at least `TASKS_A_STRETCH`, and more where there
    would be more than `MOST_STRETCHES`. Fewer tasks than two stretches have tell no drift: none is given.
    """
    tallies = tallies_of(answers.opinions.counts)
    ends = np.zeros(len(answers.tasks))
    np.maximum.at(ends, answers.task, answers.submitted)
    told = np.flatnonzero(tallies[:, 1] > 0)
    told = told[np.argsort(ends[told], kind="stable")]
    count = min(MOST_STRETCHES, len(told) // TASKS_A_STRETCH)
    if count < 2:
        return []
    stretch = np.arange(len(told)) * count // len(told)
    shares = ratios(tallies[told, 0], tallies[told, 1], stretch, count)
    found = []
    for n, share in enumerate(shares):
        own = told[stretch == n]
        _, alpha = pooled(tallies[own].sum(axis=0))
        since, until = (datetime.fromtimestamp(ends[task], UTC) for task in (own[0], own[-1]))
        found.append(Stretch(n + 1, since, until, len(own), answers.tasks[own].tolist(), share, alpha))
    return found
