"""How far annotators order as is known: the one arithmetic, over two sets of tasks, each with its name.

- *Gold accuracy* is of the tasks that measure a person: those of the project's gold batches, the latest ``WINDOW`` that
  they ranked since they are measured (``Membership.measured_since``). It is held against the project's bar.
- *Accuracy on known answers* is of some batches, whoever is measured by them: all of their tasks whose answer is known,
  adjudicated ones and, in a batch of known answers, all.

In both, a task counts by the latest revision, and it is the share of the pairs that the known answers order, see
`annotation.agreement.pairs_as_known`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from django.db.models import F, OuterRef, Q, QuerySet, Subquery, Window
from django.db.models.functions import RowNumber

from annotation.agreement import pairs_as_known
from annotation.models import Batch, Membership, Project, Ranking
from annotation.opinions import Opinions, tier_table
from annotation.ratios import Ratio, ratios
from annotation.revisions import current_rankings

WINDOW = 20
"""Gold tasks that count: the latest ones, so that whoever learns is measured by what they do now."""


@dataclass(frozen=True, eq=False)
class AsKnownColumns:
    """Rankings of tasks with known answers, one a row.

    Attributes:
        annotator: the primary key. Shape: ``(rankings,)``.
        right: of the pairs that the known answer orders, how many are ordered likewise, undecided ones half.
            Shape: ``(rankings,)``.
        pairs: how many it orders. Shape: ``(rankings,)``.
    """

    annotator: np.ndarray
    right: np.ndarray
    pairs: np.ndarray

    def __len__(self) -> int:
        return len(self.annotator)

    @property
    def share(self) -> float | None:
        """Of all pairs, how many are right, from 0 to 1; None where there are none."""
        pairs = float(self.pairs.sum())
        return float(self.right.sum()) / pairs if pairs else None

    def accuracies(self, annotators: np.ndarray) -> list[Ratio]:
        """Each annotator's share of right pairs, with its interval over tasks.

        Args:
            annotators: primary keys, ascending, those of the rows among them. Shape: ``(annotators,)``.
        """
        return ratios(self.right, self.pairs, np.searchsorted(annotators, self.annotator), len(annotators))


def gold_answers(projects: Collection[Project | int], annotators: Collection[int]) -> AsKnownColumns:
    """The answers that make the gold accuracy of ``annotators``, in these projects."""
    since = Membership.objects.filter(user=OuterRef("annotator"), project=OuterRef("task__batch__project"))
    rankings = current_rankings(
        Ranking.objects.filter(
            annotator__in=annotators,
            task__batch__project__in=projects,
            task__batch__kind=Batch.Kind.GOLD,
            task__gold_tiers__isnull=False,
        )
    )
    counting = rankings.annotate(since=Subquery(since.values("measured_since"))).filter(
        Q(since=None) | Q(submitted_at__gt=F("since"))
    )
    latest = Window(
        RowNumber(),
        partition_by=[F("annotator"), F("task__batch__project")],
        order_by=[F("submitted_at").desc(), F("pk").desc()],
    )
    return _as_known(counting.annotate(latest=latest).filter(latest__lte=WINDOW))


def known_answers(batches: QuerySet[Batch], annotators: Collection[int]) -> AsKnownColumns:
    """The answers that make the accuracy on known answers of ``annotators``, in ``batches``."""
    rankings = Ranking.objects.filter(
        annotator__in=annotators, task__batch__in=batches, task__gold_tiers__isnull=False
    )
    return _as_known(current_rankings(rankings))


def _as_known(rankings: QuerySet[Ranking]) -> AsKnownColumns:
    rows = list(rankings.order_by("pk").values_list("annotator_id", "tiers", "task__gold_tiers"))
    numbers = (number for _, *both in rows for tiers in both for tier in tiers for number in tier)
    width = 1 + max(numbers, default=0)
    row = np.arange(len(rows))
    own, known = (Opinions(row, tier_table([each[at] for each in rows], width), len(rows)) for at in (1, 2))
    right, pairs = pairs_as_known(own, known)
    return AsKnownColumns(np.array([who for who, _, _ in rows], np.int64), right, pairs)
