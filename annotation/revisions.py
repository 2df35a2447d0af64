"""Which of an answer's revisions counts, and for what."""

from __future__ import annotations

from typing import cast

from django.db.models import Exists, OuterRef, QuerySet

from annotation.models import Batch, Ranking, Review


def current_rankings(of: Batch | QuerySet[Batch] | QuerySet[Ranking]) -> QuerySet[Ranking]:
    """The rankings that count: each place's latest revision, of a batch, of several, or among some rankings."""
    later = Ranking.objects.filter(assignment=OuterRef("assignment"), revision__gt=OuterRef("revision"))
    return _rankings_of(of).filter(~Exists(later))


def independent_rankings(of: Batch | QuerySet[Batch] | QuerySet[Ranking]) -> QuerySet[Ranking]:
    """Each place's latest revision that is its annotator's own judgement: made before a reviewer returned an earlier
    one with a note on it. How far people agree can be told by these alone; what is learned from them is the latest."""
    returned = Review.objects.filter(
        verdict=Review.Verdict.RETURNED,
        ranking__assignment=OuterRef("assignment"),
        ranking__revision__lt=OuterRef("revision"),
    )
    later = Ranking.objects.filter(assignment=OuterRef("assignment"), revision__gt=OuterRef("revision"))
    return _rankings_of(of).filter(~Exists(returned), ~Exists(later.filter(~Exists(returned))))


def _rankings_of(of: Batch | QuerySet[Batch] | QuerySet[Ranking]) -> QuerySet[Ranking]:
    if isinstance(of, Batch):
        return Ranking.objects.filter(task__batch=of)
    if of.model is Ranking:
        return of
    return Ranking.objects.filter(task__batch__in=cast("QuerySet[Batch]", of))
