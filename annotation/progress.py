"""How far an annotator has come, for their own page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from annotation.models import Assignment, Project, Ranking, User


@dataclass(frozen=True, slots=True)
class Progress:
    """``done``: tasks that they ranked; ``lately``: those of them since a time, None where no time was given."""

    done: int
    lately: int | None


def progress_of(annotator: User, project: Project, since: datetime | None = None) -> Progress:
    """How many tasks of the project the annotator has ranked, all in all and since a time (their midnight, say)."""
    ranked = Assignment.objects.filter(
        annotator=annotator, batch__project=project, state=Assignment.State.SUBMITTED
    )
    lately = None
    if since is not None:
        # An amendment is not another task. Served by the index on annotator and time.
        lately = Ranking.objects.filter(
            annotator=annotator, submitted_at__gte=since, revision=1, task__batch__project=project
        ).count()
    return Progress(done=ranked.count(), lately=lately)
