"""How long an answer may be amended: until its batch is closed, and what that means for gold tasks.

An ordinary batch is closed once it is ranked or its round goes on; a gold one stays open for years. In a history in
which everything of last week is closed, what can still be changed would be gold. So an answer to a gold task rests as
long as its neighbour does: the answer that its annotator gave just before it to an ordinary task of the project, or,
where it was their first, just after it; until there is one, it can be changed. So it lies among its likes in the
history, whether one batch was handed out at a time or several, and never comes open again, since a closed batch never
does. That the gold batch itself was closed decides nothing: no dataset rests on it, so a late amendment does no harm,
and an answer that rests while those around it do not would tell as much.

What an amendment of a gold answer is worth is for `measuring` to say.
"""

from __future__ import annotations

from django.db.models import Case, F, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce

from annotation.batching import KNOWN_ANSWERS
from annotation.leasing import closed_refusal, require_not_closed
from annotation.models import Assignment, Batch, Ranking


def with_closed(rankings: QuerySet[Ranking]) -> QuerySet[Ranking]:
    """``rankings`` with ``closed``: whether they can no longer be amended, as their annotators are told it."""
    first = Ranking.objects.filter(assignment=OuterRef("assignment"), revision=1)
    ordinary = Ranking.objects.filter(
        annotator=OuterRef("annotator"),
        task__batch__project=OuterRef("task__batch__project"),
        revision=1,
    ).exclude(task__batch__kind__in=KNOWN_ANSWERS)
    # Keys are given in the order of submission, which an amendment does not change.
    before = ordinary.filter(pk__lt=OuterRef("answered")).order_by("-pk")
    after = ordinary.filter(pk__gt=OuterRef("answered")).order_by("pk")
    state = F("task__batch__state")
    neighbours = Coalesce(
        Subquery(before.values("task__batch__state")[:1]),
        Subquery(after.values("task__batch__state")[:1]),
        Value(Batch.State.OPEN),
    )
    return (
        rankings.annotate(answered=Subquery(first.values("pk")[:1]))
        .annotate(state_told=Case(When(task__batch__kind=Batch.Kind.GOLD, then=neighbours), default=state))
        .annotate(closed=Q(state_told=Batch.State.CLOSED))
    )


def require_amendable(place: Assignment) -> None:
    """Refuse, with the code ``closed``, an amendment of a place's answer that came too late."""
    if place.batch.kind != Batch.Kind.GOLD:
        require_not_closed(place.batch)
    elif with_closed(place.rankings.filter(revision=1)).filter(Q(closed=True)).exists():
        raise closed_refusal()
