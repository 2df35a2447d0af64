"""What the scheduler, and hints, ask of this room."""

from __future__ import annotations

import logging

from celery import shared_task

from alignment import delivering, events, pushing, rounds
from alignment.judges import judging

logger = logging.getLogger(__name__)


@shared_task(name="alignment.tasks.advance_round")
def advance_round(round_id: int) -> None:
    """Bring one round as far as it can go."""
    rounds.advance_round(round_id)


@shared_task(name="alignment.tasks.advance_rounds")
def advance_rounds() -> int:
    """Bring every round as far as it can go. Returns how many there are."""
    waiting = rounds.unfinished().values_list("pk", flat=True)
    for round_id in waiting:
        try:
            rounds.advance_round(round_id)
        except Exception:
            logger.exception("round=%s could not be advanced; the next tick tries again", round_id)
    return len(waiting)


@shared_task(name="alignment.tasks.deliver")
def deliver() -> int:
    """Send what webhooks are due. Returns how many attempts were made."""
    return delivering.deliver_due()


@shared_task(name="alignment.tasks.record_events")
def record_events() -> int:
    """Record what happened and was not told, since a process died. Returns how many events that makes."""
    return events.record_finished_batches()


@shared_task(name="alignment.tasks.take_in_judging")
def take_in_judging(judging_id: int) -> None:
    """Store what one judge's run answered."""
    judging.take_in(judging_id)


@shared_task(name="alignment.tasks.take_in_judgings")
def take_in_judgings() -> None:
    """Store what every judge's run answered that has ended."""
    judging.take_in_all()


@shared_task(name="alignment.tasks.push_to_hub")
def push_to_hub(push_id: int) -> None:
    """Upload a dataset to the Hub, if that still waits."""
    pushing.carry_out(push_id)


@shared_task(name="alignment.tasks.resend_pushes")
def resend_pushes() -> int:
    """Send messages for uploads that lost theirs, or their worker. Returns for how many."""
    return pushing.resend_lost()
