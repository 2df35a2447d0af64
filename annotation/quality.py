"""What each annotator of some batches did: how much, how fast, and how far others and known answers agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from django.db.models import QuerySet

from annotation.answer_columns import AnswerColumns
from annotation.known_accuracy import gold_answers, known_answers
from annotation.models import Batch
from annotation.ratios import Ratio, ratios


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds spent on a ranking: the 10th, 25th, 50th, 75th and 90th percentile of them."""

    p10: float
    p25: float
    median: float
    p75: float
    p90: float


PERCENTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True, slots=True)
class AnnotatorFigures:
    """One annotator's work. None where there is nothing to tell a figure by.

    Attributes:
        annotator: the username.
        times: spent on a ranking.
        seconds_per_1000: the median of seconds for each thousand characters of the responses, which makes annotators
            of short and of long tasks comparable.
        agreement: the share of pairs of responses on which they and another annotator of the task say the same.
        gold_accuracy: of the project's gold tasks that measure them: what is held against the bar.
        known_accuracy: of the tasks of these batches whose answer is known. Both: see `annotation.known_accuracy`.
    """

    annotator: str
    rankings: int
    times: Times | None
    seconds_per_1000: float | None
    agreement: Ratio
    gold_accuracy: Ratio
    known_accuracy: Ratio

    @property
    def median_seconds(self) -> float | None:
        return self.times.median if self.times else None


def batches_of(batch: Batch) -> QuerySet[Batch]:
    """The one batch, where figures of several could be asked for."""
    return Batch.objects.filter(pk=batch.pk)


def annotator_figures(answers: AnswerColumns) -> list[AnnotatorFigures]:
    """Each annotator's figures, the most rankings first."""
    count = len(answers.names)
    with np.errstate(divide="ignore", invalid="ignore"):
        paces = answers.seconds / (answers.length.sum(axis=1)[answers.task] / 1000)
    paces[~np.isfinite(paces)] = np.nan
    times, paced = (
        times_of(answers.seconds, answers.annotator, count),
        _medians(paces, answers.annotator, count),
    )
    agreement = _agreement_with_others(answers)
    projects = set(answers.batches.values_list("project", flat=True))
    people = answers.annotators.tolist()
    gold = gold_answers(projects, people).accuracies(answers.annotators)
    known = known_answers(answers.batches, people).accuracies(answers.annotators)
    rankings = np.bincount(answers.annotator, minlength=count)
    figures = [
        AnnotatorFigures(name, int(rankings[n]), times[n], paced[n], agreement[n], gold[n], known[n])
        for n, name in enumerate(answers.names)
    ]
    return sorted(figures, key=lambda one: -one.rankings)


def _agreement_with_others(answers: AnswerColumns) -> list[Ratio]:
    """Each annotator's, by the counts of what all of a task's rankings say of each pair, their own taken off."""
    opinions = answers.opinions
    counts = opinions.counts[answers.task]
    others = counts.sum(axis=2) - 1
    same = (
        np.take_along_axis(counts, (opinions.opinion + 1)[:, :, None].astype(np.int64), axis=2)[:, :, 0] - 1
    )
    return ratios(
        (same * opinions.ordered).sum(axis=1),
        (others * opinions.ordered).sum(axis=1),
        answers.annotator,
        len(answers.names),
    )


def times_of(seconds: np.ndarray, group: np.ndarray, groups: int) -> list[Times | None]:
    """The times of each group, where one was measured. Shape of ``seconds`` and ``group``: ``(rankings,)``."""
    each = _by_group(seconds, group, groups)
    return [Times(*np.quantile(own, PERCENTILES).tolist()) if len(own) else None for own in each]


def _medians(figures: np.ndarray, group: np.ndarray, groups: int) -> list[float | None]:
    """The median of each group's known figures."""
    return [float(np.median(own)) if len(own) else None for own in _by_group(figures, group, groups)]


def _by_group(figures: np.ndarray, group: np.ndarray, groups: int) -> list[np.ndarray]:
    """Each group's known figures, in order."""
    known = ~np.isnan(figures)
    order = np.lexsort((figures[known], group[known]))
    figures, sizes = figures[known][order], np.bincount(group[known], minlength=groups)
    return np.split(figures, np.cumsum(sizes)[:-1])
