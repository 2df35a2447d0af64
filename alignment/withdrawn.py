"""What is withdrawn from a project's datasets."""

from __future__ import annotations

from dataclasses import dataclass

from alignment.consensus_records import RankedTask
from annotation.models import Project


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Whose rankings, and those of which prompts, no dataset may hold; primary keys."""

    annotators: frozenset[int]
    prompts: frozenset[int]

    def __bool__(self) -> bool:
        return bool(self.annotators or self.prompts)

    def without(self, one: RankedTask) -> RankedTask:
        """The task without the votes that are withdrawn: all of them where its prompt is."""
        if one.task.prompt_id in self.prompts:
            return RankedTask(one.task, [])
        return RankedTask(
            one.task, [vote for vote in one.votes if vote.answer.annotator_id not in self.annotators]
        )


def withdrawn_of(project: Project) -> Withdrawn:
    """Return what is withdrawn now."""
    rows = project.withdrawals.filter(ended_at=None).values_list("annotator_id", "prompt_id")
    return Withdrawn(
        frozenset(annotator for annotator, _ in rows if annotator is not None),
        frozenset(prompt for _, prompt in rows if prompt is not None),
    )
