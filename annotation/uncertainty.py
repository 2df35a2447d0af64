"""How uncertain a task's order is, by which a batch may hand out its tasks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connection, transaction

from annotation.agreement import Tiers, order_of
from annotation.models import Assignment, Batch, Ranking, Task
from annotation.ordering import indexes_only
from annotation.refusals import Refusal

LARGEST = 1e9


def disagreement(rankings: Sequence[Tiers]) -> float:
    """The probability that two annotators say otherwise of a pair, on average over the task's pairs: the share of their
    couples who do. 0 for fewer than two rankings."""
    orders = [order_of(tiers) for tiers in rankings]
    shares = []
    for pair in set().union(*orders):
        opinions = Counter(order[pair] for order in orders if pair in order)
        couples = math.comb(opinions.total(), 2)
        if couples:
            shares.append(1 - sum(math.comb(count, 2) for count in opinions.values()) / couples)
    return sum(shares) / len(shares) if shares else 0.0


@transaction.atomic
def update_uncertainty(task_id: int) -> None:
    """Give the task's open places the disagreement of its rankings so far. Before the second ranking nothing is known
    of that, and a number that ``set_uncertainty`` gave stays."""
    # Of two rankings at the same moment, the later one sees the other's.
    Task.objects.select_for_update(no_key=True).get(pk=task_id)
    latest = (
        Ranking.objects.filter(task=task_id).order_by("assignment_id", "-revision").distinct("assignment_id")
    )
    rankings = list(latest.values_list("tiers", flat=True))
    if len(rankings) > 1:
        number = disagreement(rankings)
        Assignment.objects.filter(pk__in=_open_places(task_id)).update(uncertainty=number)


@transaction.atomic
def set_uncertainty(batch: Batch, numbers: Mapping[int, float]) -> int:
    """Give open places the uncertainty of their tasks, such as how far reward models differ. Returns how many places.

    A task that two annotators have ranked keeps what their rankings say.

    Args:
        numbers: by task's primary key, from 0 to 1,000,000,000: only their order counts. Tasks with 0, and those that
            never get a number, come last.

    Raises:
        Refusal: the batch is closed or hands its tasks out in another order, a task is not of the batch, or a number is
            none from 0 on.
    """
    if batch.order != Batch.Order.UNCERTAINTY:
        raise Refusal(
            "conflict",
            f"{batch.name} hands its tasks out {batch.get_order_display()}, so their uncertainty has no use. Release a "
            "batch whose most uncertain tasks come first.",
        )
    if batch.state == Batch.State.CLOSED:
        raise Refusal("closed", f"{batch.name} is closed, so it hands out no more tasks.")
    for task, number in numbers.items():
        if type(number) not in (int, float) or not 0 <= number <= LARGEST:
            raise Refusal(
                "invalid",
                f"Task {task}: a number from 0 to {LARGEST:,.0f}, not {number!r:.40}.",
                field="tasks",
            )
    strangers = numbers.keys() - set(batch.tasks.filter(pk__in=numbers).values_list("pk", flat=True))
    if strangers:
        raise Refusal("invalid", f"{batch.name} has no task {min(strangers)}.", field="tasks")
    # A statement a task: over many tasks at once, a planner whose statistics are behind joins everything to everything.
    with connection.cursor() as cursor, indexes_only(cursor):
        cursor.executemany(
            """
            UPDATE annotation_assignment SET uncertainty = %(number)s
            WHERE id IN (SELECT held.id FROM annotation_assignment held
                         WHERE held.task_id = %(task)s AND held.state = 'open'
                               AND (SELECT count(*) FROM annotation_assignment ranked
                                    WHERE ranked.task_id = %(task)s AND ranked.state = 'submitted') < 2
                         ORDER BY held.task_id, held.place FOR NO KEY UPDATE)
            """,
            [{"task": task, "number": float(numbers[task])} for task in sorted(numbers)],
        )
        return cursor.rowcount


def _open_places(task_id: int) -> Any:
    return (
        Assignment.objects.filter(task=task_id, state=Assignment.State.OPEN)
        .order_by("pk")
        .values("pk")
        .select_for_update(no_key=True, of=("self",))
    )
