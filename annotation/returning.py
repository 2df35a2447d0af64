"""Rankings that a reviewer returned to their annotators, to be amended."""

from __future__ import annotations

from django.db.models import Exists, OuterRef, QuerySet, Subquery

from annotation.models import Batch, Project, Ranking, Review, User
from annotation.submitting import current_rankings


def returned_rankings(rankings: QuerySet[Ranking]) -> QuerySet[Ranking]:
    """Of ``rankings``, those that wait for their annotator's amendment, with the reviewer's ``returned_note``.

    A return is over once the ranking is amended, once a reviewer accepts or adjudicates the task after all, or once
    the batch is closed.
    """
    returns = _waiting(Review.objects.filter(ranking=OuterRef("pk")))
    return with_returned_note(current_rankings(rankings)).filter(Exists(returns))


def with_returned_note(rankings: QuerySet[Ranking]) -> QuerySet[Ranking]:
    """``rankings`` with ``returned_note``: what the reviewer said who returned it; None unless it waits to be
    amended."""
    returns = _waiting(Review.objects.filter(ranking=OuterRef("pk")))
    return rankings.annotate(returned_note=Subquery(returns.values("note")[:1]))


def returned_note(ranking: Ranking) -> str | None:
    """What the reviewer said who returned this ranking; None unless it waits to be amended."""
    returned = _waiting(Review.objects.filter(ranking=ranking)).first()
    return returned.note if returned else None


def returned_to(annotator: User, project: Project) -> QuerySet[Ranking]:
    """The annotator's rankings in the project that wait for them to amend."""
    own = Ranking.objects.filter(annotator=annotator, task__batch__project=project)
    return returned_rankings(own)


def _waiting(reviews: QuerySet[Review]) -> QuerySet[Review]:
    """Of ``reviews``, the returns that are not over, the latest first."""
    settled = Review.objects.filter(task=OuterRef("task"), pk__gt=OuterRef("pk")).exclude(
        verdict=Review.Verdict.RETURNED
    )
    later = Ranking.objects.filter(
        assignment=OuterRef("ranking__assignment"), revision__gt=OuterRef("ranking__revision")
    )
    return (
        reviews.filter(~Exists(settled), ~Exists(later), verdict=Review.Verdict.RETURNED)
        .exclude(task__batch__state=Batch.State.CLOSED)
        .order_by("-pk")
    )
