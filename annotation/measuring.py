"""Measuring annotators by tasks whose answer is known: when they get one, unmarked, and what their answers mean."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from annotation.agreement import AsKnown
from annotation.below_bar import evidence_below
from annotation.known_accuracy import WINDOW, AsKnownColumns, gold_answers
from annotation.models import Batch, Membership, Ranking, Task, User
from annotation.qualifying import judge
from annotation.refusals import Refusal
from annotation.standing import is_measured, pause_member

FEWEST = 5
"""Gold tasks before anybody is paused: fewer say too little."""
BAD_LUCK = 0.05
"""How seldom somebody who is at the bar may ever be paused, though it is looked at after each gold task."""


def gold_is_due(*, annotator: User, gold: Sequence[Batch], share: float, ahead: int = 0) -> bool:
    """Whether the annotator's next task is a gold one.

    It follows from a stored seed that no annotator can see (that of the first task of ``gold``), the annotator and the
    ranking that they submitted last, so that it can be told again, and skipping or giving back does not change it. A
    task that is leased ahead is decided upon by itself: nothing follows from the one in work for it.

    Args:
        gold: the project's open gold batches.
        share: how often, from 0 to 1.
        ahead: behind how many tasks that they hold it would come.
    """
    if not gold or share <= 0:
        return False
    seed = Task.objects.filter(batch=gold[0]).order_by("pk").values_list("seed", flat=True).first()
    last = (
        Ranking.objects.filter(annotator=annotator)
        .order_by("-submitted_at", "-pk")
        .values_list("pk", flat=True)
        .first()
    )
    digest = hashlib.sha256(f"{seed}:{annotator.pk}:{last}:{ahead}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64 < share


def after_answer(*, ranking: Ranking, batch: Batch) -> None:
    """Draw the consequences of a ranking of a task with a known answer, in the transaction that stores it.

    Raises:
        Refusal: it amends an answer to a task whose known answer was told.
    """
    if batch.kind == Batch.Kind.QUALIFICATION and ranking.revision > 1:
        raise Refusal(
            "conflict",
            "You were told the known answer of this qualification task, so your first ranking of it stays.",
        )
    if batch.measures:
        after_known(annotator=ranking.annotator, batch=batch)


def after_known(*, annotator: User, batch: Batch) -> None:
    """Look at what the annotator did with tasks of a gold or qualification batch so far: qualify or pause them where
    that is due. Nothing for other batches, and for those who are no annotators of the project.

    It locks the annotator last, behind a place. That is safe since who locks the annotator first, to lease a place,
    passes locked places over.
    """
    if not batch.measures:
        return
    # Of two answers at the same moment, the later one sees the other's.
    User.objects.select_for_update(no_key=True).get(pk=annotator.pk)
    member = (
        Membership.objects.select_related("user", "project")
        .filter(project=batch.project_id, user=annotator)
        .first()
    )
    if member is None or member.paused_at is not None or not is_measured(member):
        return
    if batch.kind == Batch.Kind.QUALIFICATION:
        judge(member=member, batch=batch)
        return
    shares, bar = _answers_of(member, window=None).shares, member.project.gold_bar
    evidence = evidence_below(shares, bar)
    if len(shares) >= FEWEST and evidence.value >= 1 / BAD_LUCK:
        latest = shares[-max(evidence.latest, FEWEST) :]
        pause_member(
            project=member.project,
            user=annotator,
            reason=f"Of the pairs in the latest {len(latest)} tasks whose answer is known, {100 * latest.mean():.0f} % "
            f"were ordered as is known; {100 * bar:.0f} % are asked for.",
        )


def gold_result(member: Membership) -> tuple[int, AsKnown]:
    """How many of the latest gold tasks count for a member, and how they did on them: their gold accuracy."""
    answers = _answers_of(member)
    return len(answers), answers.total


def _answers_of(member: Membership, *, window: int | None = WINDOW) -> AsKnownColumns:
    return gold_answers([member.project_id], [member.user_id], window=window)
