"""Whether a round waits for the review of what was ranked, and for how much of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from alignment.models import Round
from alignment.recipes import annotation_settings
from annotation.batching import is_complete
from annotation.models import Ranking
from annotation.returning import returned_rankings
from annotation.review_queue import Reason, awaiting

ASKED: Mapping[str, frozenset[Reason]] = {
    "none": frozenset(),
    # What came back from its annotator is looked at again, or returning it would have been for nothing.
    "flagged": frozenset({Reason.FLAGGED, Reason.AMENDED}),
    "all": frozenset(Reason),
}
"""By the setting ``annotation.review``: the reasons for which a task that awaits its review keeps the round waiting."""


@dataclass(frozen=True, slots=True)
class ReviewAwaited:
    """What a round waits for once its tasks are ranked.

    Attributes:
        tasks: how many await a reviewer.
        reasons: of these, for each reason that is asked for how many, the most urgent first.
        returned: rankings that were returned and that their annotators have not amended.
    """

    tasks: int
    reasons: Mapping[Reason, int]
    returned: int

    @property
    def left(self) -> int:
        return self.tasks + self.returned


def review_awaited(round: Round, *, live: bool = True) -> ReviewAwaited | None:
    """Return what review the round still waits for; None where it waits for none: its settings ask for none, a manager
    went on without, it is not at its rankings, or these are not complete.

    Args:
        live: as it is now; else, where finding it takes long, as it was a moment ago.
    """
    asked = ASKED[annotation_settings(round).review]
    batch = round.batch
    if (
        not asked
        or batch is None
        or round.state != Round.State.ANNOTATING
        or round.review_waived_at is not None
    ):
        return None
    if not is_complete(batch):
        return None
    waiting = [each for each in awaiting(batch, live=live) if asked & set(each.reasons)]
    returned = returned_rankings(Ranking.objects.filter(task__batch=batch)).count()
    if not waiting and not returned:
        return None
    counts = Counter(reason for each in waiting for reason in each.reasons if reason in asked)
    return ReviewAwaited(
        tasks=len(waiting),
        reasons={reason: counts[reason] for reason in Reason if counts[reason]},
        returned=returned,
    )
