"""Annotators against each other: how far each two of them agree on the tasks that both ranked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annotation.answer_columns import AnswerColumns

FEWEST_TASKS = 5
"""That two must share before a figure says something of them."""
MOST_ANNOTATORS = 500
"""Who are compared: those with most rankings."""


@dataclass(frozen=True, slots=True)
class AnnotatorPair:
    """Two annotators who share tasks.

    Attributes:
        annotator, other: usernames.
        tasks: how many both ranked.
        pairs: pairs of responses that both ordered.
        agreement: the share of these on which they say the same.
        kappa: Cohen's κ of their opinions (over, under, tied): 1 is perfect, 0 what chance gives for two people who say
            each as often as they do. None below ``FEWEST_TASKS`` tasks, and where chance would agree always.
    """

    annotator: str
    other: str
    tasks: int
    pairs: int
    agreement: float | None
    kappa: float | None


def annotator_pairs(answers: AnswerColumns) -> list[AnnotatorPair]:
    """Each two annotators with a task in common, those of the annotator with most rankings first.

    Source of κ: Cohen 1960, "A coefficient of agreement for nominal scales".
    """
    rankings = np.bincount(answers.annotator, minlength=len(answers.names))
    order = np.argsort(-rankings, kind="stable")[:MOST_ANNOTATORS]
    names = [answers.names[n] for n in order]
    count = len(names)
    rank = np.full(len(answers.names), -1)
    rank[order] = np.arange(count)
    who = rank[answers.annotator]
    tasks = np.zeros(count * count, np.int64)
    said = np.zeros(count * count * 9, np.int64)
    opinions = answers.opinions
    for rows, others in opinions.couples():
        compared = (who[rows] >= 0) & (who[others] >= 0)
        one, other = rows[compared], others[compared]
        swapped = who[one] > who[other]
        first, second = np.where(swapped, other, one), np.where(swapped, one, other)
        cell = who[first] * count + who[second]
        tasks += np.bincount(cell, minlength=len(tasks))
        both = opinions.ordered[first] & opinions.ordered[second]
        value = (opinions.opinion[first] + 1) * 3 + opinions.opinion[second] + 1
        said += np.bincount((cell[:, None] * 9 + value)[both], minlength=len(said))
    tables = said.reshape(count, count, 3, 3)
    found = []
    for first, second in zip(*np.nonzero(tasks.reshape(count, count)), strict=True):
        shared = int(tasks[first * count + second])
        agreement, kappa = _kappa(tables[first, second])
        found.append(
            AnnotatorPair(
                names[first],
                names[second],
                shared,
                int(tables[first, second].sum()),
                agreement,
                kappa if shared >= FEWEST_TASKS else None,
            )
        )
    return found


def _kappa(table: np.ndarray) -> tuple[float | None, float | None]:
    """The share on the diagonal, and what of it is beyond chance. Shape: ``(3, 3)``."""
    number = table.sum()
    if not number:
        return None, None
    alike = float(np.trace(table) / number)
    chance = float((table.sum(axis=0) * table.sum(axis=1)).sum() / number**2)
    return alike, (alike - chance) / (1 - chance) if chance < 1 else None
