"""Tasks that show two of the same responses: whoever has had the one with a known answer is not given the other.

`annotation.ordering` holds that for each person; here batches are composed so that no task is left which nobody may be
given.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable

from django.db.models import QuerySet
from django.db.models.functions import MD5

from annotation.models import Assignment, Batch, Task, TaskResponse

Hand = Collection[str]
"""A task's responses, by `digest_of` their texts: sources may have said the same."""


def digest_of(text: str) -> str:
    """The text's MD5, as PostgreSQL has it."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def hands_of(tasks: QuerySet[Task]) -> dict[int, dict[int, set[str]]]:
    """By prompt, then by task, the tasks' responses."""
    found: dict[int, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    rows = TaskResponse.objects.filter(task__in=tasks).order_by()
    for prompt, task, digest in rows.values_list("task__prompt_id", "task_id", MD5("response__text")):
        found[prompt][task].add(digest)
    return found


def are_alike(hand: Hand, others: Iterable[Hand]) -> bool:
    """Whether two responses of the hand stand together in another one."""
    return any(len(set(hand).intersection(other)) > 1 for other in others)


def await_no_more(batch: Batch) -> int:
    """Give up the open places of ordinary tasks that show two responses of a task of this batch of known answers.

    Returns:
        Of how many tasks. What is ranked or being ranked of them stays.
    """
    measuring = hands_of(batch.tasks.all())
    awaiting = (
        Task.objects.filter(prompt__in=measuring, assignments__state=Assignment.State.OPEN)
        .exclude(batch__kind__in=Batch.KNOWN_ANSWERS)
        .exclude(batch__state=Batch.State.CLOSED)
    )
    alike = sorted(
        task
        for prompt, hands in hands_of(awaiting).items()
        for task, hand in hands.items()
        if are_alike(hand, measuring[prompt].values())
    )
    # As passing a task by does: the task before its places.
    locked = Task.objects.select_for_update(no_key=True).filter(pk__in=alike).order_by("pk")
    list(locked.values_list("pk", flat=True))
    given_up = Assignment.objects.filter(task__in=alike, state=Assignment.State.OPEN)
    given_up.update(state=Assignment.State.SKIPPED)
    return len(alike)
