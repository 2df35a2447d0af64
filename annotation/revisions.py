"""Which of an answer's revisions counts."""

from __future__ import annotations

from typing import cast

from django.db.models import Exists, OuterRef, QuerySet

from annotation.models import Batch, Ranking


def current_rankings(of: Batch | QuerySet[Batch] | QuerySet[Ranking]) -> QuerySet[Ranking]:
    """The rankings that count: each place's latest revision, of a batch, of several, or among some rankings."""
    if isinstance(of, Batch):
        rankings = Ranking.objects.filter(task__batch=of)
    elif of.model is Ranking:
        rankings = of
    else:
        rankings = Ranking.objects.filter(task__batch__in=cast("QuerySet[Batch]", of))
    later = Ranking.objects.filter(assignment=OuterRef("assignment"), revision__gt=OuterRef("revision"))
    return rankings.filter(~Exists(later))
