"""What each annotator of some batches did: how much, how fast, and how far others and known answers agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from django.db.models import Q, QuerySet

from annotation.agreement import pairs_as_known
from annotation.answer_columns import AnswerColumns, columns_of
from annotation.models import Batch, Ranking, Task
from annotation.opinions import Opinions, tier_table
from annotation.ratios import Ratio, ratios
from annotation.submitting import current_rankings


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
        gold_accuracy: the share of pairs that they order as is known, of these batches' gold tasks and of the project's
            gold batches; see `agreement.pairs_as_known`.
    """

    annotator: str
    rankings: int
    times: Times | None
    seconds_per_1000: float | None
    agreement: Ratio
    gold_accuracy: Ratio

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
    agreement, gold = _agreement_with_others(answers), gold_accuracies(answers)
    rankings = np.bincount(answers.annotator, minlength=count)
    figures = [
        AnnotatorFigures(name, int(rankings[n]), times[n], paced[n], agreement[n], gold[n])
        for n, name in enumerate(answers.names)
    ]
    return sorted(figures, key=lambda one: -one.rankings)


def known_tasks(batches: QuerySet[Batch]) -> QuerySet[Task]:
    """The tasks whose known answer measures the annotators of ``batches``: theirs, and those of the project's gold
    batches."""
    golden = Q(batch__kind=Batch.Kind.GOLD, batch__project__in=batches.values("project"))
    return Task.objects.filter(Q(batch__in=batches) | golden, gold_tiers__isnull=False)


def gold_accuracies(answers: AnswerColumns) -> list[Ratio]:
    """Each annotator's share of gold pairs ordered as is known, in the order of ``answers.names``."""
    known = dict(known_tasks(answers.batches).values_list("pk", "gold_tiers"))
    rankings = Ranking.objects.filter(task__in=known, annotator__in=answers.annotators.tolist())
    told = columns_of(current_rankings(rankings), answers.batches)
    if not len(told):
        return [Ratio()] * len(answers.names)
    right = tier_table([known[pk] or [] for pk in told.tasks.tolist()], told.width)
    as_known, pairs = pairs_as_known(told.opinions, Opinions(told.task, right[told.task], len(told.tasks)))
    who = np.searchsorted(answers.annotators, told.annotators)[told.annotator]
    return ratios(as_known, pairs, who, len(answers.names))


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
