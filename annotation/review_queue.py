"""Which tasks a reviewer should look at, and why; handing them out so that no two reviewers look at one."""

from __future__ import annotations

import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from itertools import combinations
from typing import Any

from django.core.cache import cache
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery, TextField
from django.db.models.functions import Cast

from annotation.agreement import order_of
from annotation.models import Assignment, Batch, Flag, Project, Ranking, Review, Task, User
from annotation.submitting import current_rankings

LOW_AGREEMENT = 0.5
"""Below it, two annotators of the task say otherwise of a pair of responses more often than they say the same."""
CLAIM_SECONDS = 600
"""How long a task that a reviewer opened is kept from others. It is a courtesy: what holds is that a verdict on what
has changed since it was read is refused."""
PASSED_SECONDS = 3600
MOST_PASSED = 500
COUNT_SECONDS = 30
SLOW_SEARCH = 0.25
"""Seconds. A search that takes longer is not made anew for each next task."""
MOST_KEPT = 1000


class Reason(StrEnum):
    """Why a task awaits a review, the most urgent reason first."""

    AMENDED = "amended"
    """A ranking that a reviewer returned came back."""
    FLAGGED = "flagged"
    LOW_AGREEMENT = "low_agreement"
    SAMPLE = "sample"
    """By chance, whatever was answered."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A task that awaits a review.

    Attributes:
        agreement: the probability that two of its annotators order two of its responses alike; None where nobody
            ordered the same two as somebody else.
        flags: the kinds of flags that its rankings carry.
        ranked_at: when the last of its rankings came in.
    """

    task: int
    batch: int
    reasons: tuple[Reason, ...]
    agreement: float | None
    flags: tuple[str, ...]
    ranked_at: datetime

    @property
    def urgency(self) -> tuple[bool, bool, bool, float, datetime, int]:
        """Sorts the most urgent first: an amended ranking, whose annotator waits to hear; unsafe responses; other
        flags; the lowest agreement; the longest wait."""
        low = self.agreement if self.agreement is not None and Reason.LOW_AGREEMENT in self.reasons else 1.0
        return (
            Reason.AMENDED not in self.reasons,
            Flag.Kind.UNSAFE not in self.flags,
            not self.flags,
            low,
            self.ranked_at,
            self.task,
        )


def queue(*, project: Project, reviewer: User, batch: Batch | None = None) -> list[Waiting]:
    """What awaits this reviewer, of a batch or of all, the most urgent first.

    Tasks of the project's annotation batches that are complete (all places submitted or given up, or the batch
    closed), that nobody reviewed since their last ranking, and for which there is a `Reason`. Without those that the
    reviewer ranked or wrote a response of.
    """
    own = own_tasks(project, reviewer)
    found = _search(project) if batch is None else _look(project, _awaits_review(project).filter(batch=batch))
    return [each for each in found if each.task not in own]


def awaiting(batch: Batch, *, live: bool = True) -> list[Waiting]:
    """What of a batch awaits a review, by whomever, the most urgent first; of the reviewer's own tasks too.

    Args:
        live: as it is now. Else, where finding it takes long, at most `MOST_KEPT` of what was found a moment ago.
    """
    if not live and (kept := cache.get(_kept_of(batch))):
        return list(kept)
    began = time.monotonic()
    found = _look(batch.project, _awaits_review(batch.project).filter(batch=batch))
    seconds = time.monotonic() - began
    if seconds > SLOW_SEARCH:
        cache.set(_kept_of(batch), found[:MOST_KEPT], 20 * seconds)
    return found


def most_urgent(*, project: Project, reviewer: User) -> list[Waiting]:
    """The first of the queue, of at most `MOST_KEPT`; where finding it takes long, without what came a moment ago."""
    own = own_tasks(project, reviewer)
    return [each for each in _recent(project, live=True) if each.task not in own]


def waiting_for(task: Task) -> Waiting | None:
    """Why a task awaits a review; None where it does not."""
    project = task.batch.project
    return next(iter(_look(project, _awaits_review(project).filter(pk=task.pk))), None)


def next_task(*, project: Project, reviewer: User) -> int | None:
    """Claim the most urgent task that awaits this reviewer and that no other reviewer has open.

    What they passed within the last hour comes last. Returns the task's id; None if there is none.
    """
    passed = {task: number for number, task in enumerate(_passed(project, reviewer))}
    waiting = [each.task for each in most_urgent(project=project, reviewer=reviewer)]
    waiting.sort(key=lambda task: passed.get(task, -1))  # stable: the rest keeps its order
    for task in waiting:
        if _awaits_review(project).filter(pk=task).exists() and claim(project, task, reviewer):
            return task
    return None


@transaction.atomic
def claim(project: Project, task: int, reviewer: User) -> bool:
    """Keep a task from other reviewers for a while. False: another one has it open."""
    # One at a time: the cache's own `add` lets two in where a claim has just run out.
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    holder = cache.get(_claim(task))
    if holder not in (None, reviewer.pk):
        return False
    cache.set(_claim(task), reviewer.pk, CLAIM_SECONDS)
    return True


def release_claim(task: int, reviewer: User) -> None:
    """Let others have a task that this reviewer is done with."""
    if cache.get(_claim(task)) == reviewer.pk:
        cache.delete(_claim(task))


def pass_by(*, project: Project, task: int, reviewer: User) -> None:
    """Put a task behind the others for this reviewer, and let other reviewers have it."""
    passed = [one for one in _passed(project, reviewer) if one != task]
    cache.set(_passed_by(project, reviewer), [*passed, task][-MOST_PASSED:], PASSED_SECONDS)
    release_claim(task, reviewer)


def waiting_count(*, project: Project, reviewer: User) -> int:
    """How many tasks await this reviewer, at most half a minute ago; no more than `MOST_KEPT` are counted."""
    found = _recent(project, live=False)
    own = own_tasks(project, reviewer) if found else set()
    return sum(each.task not in own for each in found)


def forget_count(project: Project) -> None:
    """Have the project's tasks that await a review counted anew."""
    seconds, _ = cache.get(_kept(project), (0.0, []))
    if seconds < SLOW_SEARCH:
        cache.delete(_kept(project))


def own_tasks(project: Project, reviewer: User) -> set[int]:
    """The tasks of the project that this person ranked, or that show what they wrote: those are for others."""
    tasks = Task.objects.filter(batch__project=project)
    ranked = tasks.filter(assignments__annotator=reviewer, assignments__state=Assignment.State.SUBMITTED)
    wrote = tasks.filter(responses__source__person=reviewer)
    return {*ranked.values_list("pk", flat=True), *wrote.values_list("pk", flat=True)}


def in_sample(seed: int, share: float) -> bool:
    """Whether a task is one of the random share: it follows from a hash of the task's seed, so that everybody finds the
    same ones and a larger share holds those of a smaller one."""
    digest = hashlib.sha256(f"review:{seed}".encode()).hexdigest()
    return int(digest[:16], 16) / 2**64 < share


def task_agreement(rankings: Sequence[str]) -> float | None:
    """The agreement of one task's rankings, each its tiers as JSON: pooled over couples of annotators and pairs of
    responses, as the batch's is over tasks."""
    counts = [_alike(one, other) for one, other in combinations(rankings, 2)]
    couples = sum(number for _, number in counts)
    return sum(alike for alike, _ in counts) / couples if couples else None


def reasons_of(
    *, seed: int, share: float, amended: bool, flags: Iterable[str], agreement: float | None
) -> tuple[Reason, ...]:
    """Why a task is to be reviewed; empty where nothing asks for it."""
    holds = {
        Reason.AMENDED: amended,
        Reason.FLAGGED: bool(tuple(flags)),
        Reason.LOW_AGREEMENT: agreement is not None and agreement < LOW_AGREEMENT,
        Reason.SAMPLE: in_sample(seed, share),
    }
    return tuple(reason for reason, true in holds.items() if true)


def complete_tasks(tasks: QuerySet[Task]) -> QuerySet[Task]:
    """Those that somebody ranked and that nobody ranks any more."""
    awaited = Assignment.objects.filter(
        task=OuterRef("pk"), state__in=[Assignment.State.OPEN, Assignment.State.LEASED]
    )
    return tasks.filter(
        Q(batch__state=Batch.State.CLOSED) | ~Exists(awaited),
        Exists(Ranking.objects.filter(task=OuterRef("pk"))),
    )


def _search(project: Project) -> list[Waiting]:
    began = time.monotonic()
    found = _look(project, _awaits_review(project))
    seconds = time.monotonic() - began
    cache.set(_kept(project), (seconds, found[:MOST_KEPT]), max(COUNT_SECONDS, 20 * seconds))
    return found


def _look(project: Project, tasks: QuerySet[Any]) -> list[Waiting]:
    """Those of ``tasks`` for which there is a reason, the most urgent first."""
    rankings: dict[int, list[str]] = defaultdict(list)
    flags: dict[int, set[str]] = defaultdict(set)
    current = current_rankings(Ranking.objects.filter(task__in=tasks.values("pk"))).order_by()
    for task, tiers in current.values_list("task_id", Cast("tiers", TextField())):
        rankings[task].append(tiers)
    flagged = Flag.objects.filter(ranking__in=current.values("pk"))
    for task, kind in flagged.values_list("ranking__task_id", "kind"):
        flags[task].add(kind)
    found = []
    for task, batch, seed, ranked_at, amended in tasks.values_list(
        "pk", "batch_id", "seed", "ranked_at", "amended"
    ):
        agreement = task_agreement(rankings[task])
        kinds = tuple(kind for kind in Flag.Kind.values if kind in flags[task])
        reasons = reasons_of(
            seed=seed, share=project.review_share, amended=amended, flags=kinds, agreement=agreement
        )
        if reasons:
            found.append(Waiting(task, batch, reasons, agreement, kinds, ranked_at))
    return sorted(found, key=lambda each: each.urgency)


def _awaits_review(project: Project) -> QuerySet[Task]:
    """Complete tasks that nobody reviewed since their last ranking, whether or not there is a reason to."""
    rankings = Ranking.objects.filter(task=OuterRef("pk")).order_by("-submitted_at")
    reviews = Review.objects.filter(task=OuterRef("pk"))
    came_back = Ranking.objects.filter(
        assignment=OuterRef("ranking__assignment"),
        revision__gt=OuterRef("ranking__revision"),
        submitted_at__gt=OuterRef(OuterRef("reviewed_at")),
    )
    return (
        complete_tasks(Task.objects.filter(batch__project=project, batch__kind=Batch.Kind.ANNOTATION))
        .annotate(
            ranked_at=Subquery(rankings.values("submitted_at")[:1]),
            reviewed_at=Subquery(reviews.order_by("-created_at").values("created_at")[:1]),
        )
        .annotate(amended=Exists(reviews.filter(Exists(came_back), verdict=Review.Verdict.RETURNED)))
        .filter(Q(reviewed_at=None) | Q(reviewed_at__lt=F("ranked_at")))
        .order_by("pk")
    )


def _recent(project: Project, *, live: bool) -> list[Waiting]:
    """The most urgent of what awaits a review. ``live``: as it is now; where finding it takes long, what was found a
    moment ago and still waits. Else as it was a moment ago."""
    seconds, found = cache.get(_kept(project), (0.0, None))
    if found is None or (live and seconds < SLOW_SEARCH):
        return _search(project)[:MOST_KEPT]
    if not live:
        return list(found)
    still = _awaits_review(project).filter(pk__in=[each.task for each in found]).values_list("pk", flat=True)
    waits = set(still)
    return [each for each in found if each.task in waits]


def _passed(project: Project, reviewer: User) -> list[int]:
    return list(cache.get(_passed_by(project, reviewer), []))


@lru_cache(maxsize=100_000)
def _alike(one: str, other: str) -> tuple[int, int]:
    """Of two rankings: on how many pairs of responses that both ordered they agree, and how many those are."""
    first, second = order_of(json.loads(one)), order_of(json.loads(other))
    both = first.keys() & second.keys()
    return sum(first[pair] == second[pair] for pair in both), len(both)


def _claim(task: int) -> str:
    return f"review-claim:{task}"


def _passed_by(project: Project, reviewer: User) -> str:
    return f"review-passed:{project.pk}:{reviewer.pk}"


def _kept(project: Project) -> str:
    return f"review-queue:{project.pk}"


def _kept_of(batch: Batch) -> str:
    return f"review-queue-of-batch:{batch.pk}"
