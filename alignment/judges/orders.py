"""In which orders a judge is shown the responses of a task, so that a liking for a place cancels out."""

from __future__ import annotations

import hashlib
import random

from alignment.judges.models import Judge


def orders_of(plan: str, task: int, numbers: list[int]) -> list[list[int]]:
    """Return the orders of a task's response numbers, the same whenever they are asked for.

    *both* is a shuffled order and its reverse: of any two responses each stands once before the other. *each* shifts a
    shuffled order round, so that each response stands once at every place.
    """
    shuffled = list(numbers)
    random.Random(f"judge:{task}").shuffle(shuffled)  # noqa: S311 - no secret
    if plan == Judge.Orders.BOTH:
        return [shuffled, shuffled[::-1]]
    return [shuffled[shift:] + shuffled[:shift] for shift in range(len(shuffled))]


def is_drawn(judge: Judge, task: int, share: float) -> bool:
    """Whether a task is in the share of tasks that a judge ranks; a larger share holds every smaller one's tasks."""
    digest = hashlib.sha256(f"judge:{judge.pk}:{task}".encode()).digest()
    return int.from_bytes(digest[:8]) < share * 2**64
