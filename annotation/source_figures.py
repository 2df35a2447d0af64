"""What rankings say of the responses of each source: how far people agree on them, and what they flagged."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np

from annotation.agreement import pooled, tallies_of
from annotation.answer_columns import AnswerColumns
from annotation.models import Flag, Source
from annotation.ratios import Ratio, ratio
from annotation.submitting import current_rankings


@dataclass(frozen=True, slots=True)
class SourceFigures:
    """One source in some batches.

    Attributes:
        source, name: its primary key and name.
        tasks: ranked ones with a response of it.
        agreement: of pairs of which at least one response is its, the share ordered alike by two annotators, with its
            interval over tasks.
        nominal_alpha: Krippendorff's α of the same opinions.
        flags: how many current rankings flagged a response of it, by kind.
    """

    source: int
    name: str
    tasks: int
    agreement: Ratio
    nominal_alpha: float | None
    flags: dict[str, int]

    @property
    def flag_count(self) -> int:
        return sum(self.flags.values())


def source_figures(answers: AnswerColumns) -> list[SourceFigures]:
    """The figures of each source of a ranked task, newest first."""
    flags = _flags(answers)
    opinions, of_source = answers.opinions, answers.source
    first, second = opinions.pairs
    found = []
    sources = Source.objects.in_bulk(np.unique(of_source[of_source > 0]).tolist())
    for pk in sorted(sources, reverse=True):
        its = of_source == pk
        touched = its[:, first] | its[:, second]
        tallies = tallies_of(opinions.counts * touched[:, :, None])
        _, alpha = pooled(tallies.sum(axis=0))
        found.append(
            SourceFigures(
                source=pk,
                name=sources[pk].name,
                tasks=int(its.any(axis=1).sum()),
                agreement=ratio(tallies[:, 0], tallies[:, 1]),
                nominal_alpha=alpha,
                flags=dict(sorted(flags[pk].items())),
            )
        )
    return found


def _flags(answers: AnswerColumns) -> dict[int, Counter[str]]:
    """How many flags of each kind the responses of each source have."""
    found: dict[int, Counter[str]] = defaultdict(Counter)
    flagged = Flag.objects.filter(ranking__in=current_rankings(answers.batches))
    for task, position, kind in flagged.values_list("ranking__task_id", "position", "kind"):
        row = int(np.searchsorted(answers.tasks, task))
        if row < len(answers.tasks) and answers.tasks[row] == task and position < answers.width:
            found[int(answers.source[row, position])][kind] += 1
    return found
