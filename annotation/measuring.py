"""Measuring annotators by tasks whose answer is known: when they get one, unmarked, and what their answers mean."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

from django.db.models import Exists, OuterRef, Subquery
from scipy.stats import t as student

from annotation.agreement import AsKnown, as_known
from annotation.models import Batch, Membership, Ranking, Task, User
from annotation.qualifying import judge
from annotation.refusals import Refusal
from annotation.standing import is_measured, pause_member

WINDOW = 20
"""Gold tasks that count: the latest ones, so that whoever learns is measured by what they do now."""
FEWEST = 5
"""Gold tasks before anybody is paused: fewer say too little."""
BAD_LUCK = 0.05
"""How seldom somebody who is at the bar may be paused at one look; there is one after each gold task."""


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
    if batch.kind in (Batch.Kind.QUALIFICATION, Batch.Kind.GOLD):
        after_known(annotator=ranking.annotator, batch=batch)


def after_known(*, annotator: User, batch: Batch) -> None:
    """Look at what the annotator did with tasks of a gold or qualification batch so far: qualify or pause them where
    that is due. Nothing for other batches, and for those who are no annotators of the project.

    It locks the annotator last, behind a place. That is safe since who locks the annotator first, to lease a place,
    passes locked places over.
    """
    if batch.kind not in (Batch.Kind.QUALIFICATION, Batch.Kind.GOLD):
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
    results = _latest_results(member)
    result = sum(results, AsKnown())
    bar = member.project.gold_bar
    if len(results) >= FEWEST and result.share is not None and _surely_below(results, bar):
        pause_member(
            project=member.project,
            user=annotator,
            reason=f"Of the pairs in the latest {len(results)} tasks whose answer is known, {100 * result.share:.0f} % "
            f"were ordered as is known; {100 * bar:.0f} % are asked for.",
        )


def gold_result(member: Membership) -> tuple[int, AsKnown]:
    """How many of the latest gold tasks count for a member, at most ``WINDOW``, and how they did on them."""
    results = _latest_results(member)
    return len(results), sum(results, AsKnown())


def _surely_below(results: Sequence[AsKnown], bar: float) -> bool:
    """Whether the share is below the bar by more than bad luck: the upper bound of the ratio of sums over tasks, by its
    linear variance and Student's t (Cochran 1977, "Sampling Techniques", section 6.4). Tasks that all went alike have
    no variance, and their share is taken as it is."""
    total = sum(results, AsKnown())
    if total.share is None or len(results) < 2:
        return total.share is not None and total.share < bar
    squares = sum((each.right - total.share * each.pairs) ** 2 for each in results)
    error = math.sqrt(len(results) / (len(results) - 1) * squares) / total.pairs
    return total.share + float(student.ppf(1 - BAD_LUCK, len(results) - 1)) * error < bar


def _latest_results(member: Membership) -> list[AsKnown]:
    """How the member did on each gold task that counts, the latest first.

    Tasks that they ranked before they qualified, or before a pause was lifted last, count no more.
    """
    firsts = Ranking.objects.filter(
        annotator=member.user_id,
        task__batch__project=member.project_id,
        task__batch__kind=Batch.Kind.GOLD,
        task__gold_tiers__isnull=False,
        revision=1,
    )
    if member.qualified_at is not None:
        firsts = firsts.filter(submitted_at__gt=member.qualified_at)
    latest = list(
        firsts.order_by("-submitted_at", "-pk").values_list("assignment_id", "tiers", "task__gold_tiers")[
            :WINDOW
        ]
    )
    amended = _amended_at_once(member, [assignment for assignment, _, _ in latest])
    return [as_known(amended.get(assignment, tiers), known or []) for assignment, tiers, known in latest]


def _amended_at_once(member: Membership, assignments: Sequence[int]) -> dict[int, list[list[int]]]:
    """By assignment, the tiers of the latest amendment that counts: one that the member made before they answered
    another task of the project, and before a pause told them how they do. They noticed a slip; what they change later,
    others may have told them, so that it counts neither for nor against them."""
    first = Ranking.objects.filter(assignment=OuterRef("assignment"), revision=1)
    went_on = Ranking.objects.filter(
        annotator=member.user_id,
        task__batch__project=member.project_id,
        revision=1,
        pk__gt=OuterRef("answered"),
        pk__lt=OuterRef("pk"),
    )
    at_once = (
        Ranking.objects.filter(assignment__in=assignments, revision__gt=1)
        .annotate(answered=Subquery(first.values("pk")[:1]))
        .filter(~Exists(went_on))
    )
    if member.paused_at is not None:
        at_once = at_once.filter(submitted_at__lt=member.paused_at)
    return dict(at_once.order_by("revision").values_list("assignment_id", "tiers"))
