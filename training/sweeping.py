"""What makes hints safe to lose: runs whose worker is lost are queued again, runs that are due get a message again."""

from __future__ import annotations

import logging
from datetime import timedelta

from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from training import claiming
from training.launching import send_run_hint
from training.models import Run
from training.states import State

RESEND_SECONDS = 60.0
"""A message sent so long ago may be lost."""
HINTS_A_QUEUE = 4
"""Only so many of a queue's oldest runs get messages again: hundreds may wait behind a busy accelerator for days."""

logger = logging.getLogger(__name__)


def sweep(*, older_than_seconds: float = RESEND_SECONDS) -> None:
    """Queue the runs whose worker is lost, then send a message for runs that wait; safe to call at any time by anyone.

    Args:
        older_than_seconds: messages sent later than this are trusted still.
    """
    queue_lost()
    for queue in _due().order_by("queue").values_list("queue", flat=True).distinct():
        if not send_due(queue=queue, older_than_seconds=older_than_seconds):
            break


def queue_lost() -> int:
    """Hand back every run whose lease has run out; return how many."""
    lost = Run.objects.filter(state=State.RUNNING, lease_until__lt=Now())  # index run_due
    count = 0
    for pk in lost.order_by("pk").values_list("pk", flat=True):
        with transaction.atomic():
            # Skipped where it is locked: its holder is alive after all, or another sweep is on it.
            run = lost.filter(pk=pk).select_for_update(skip_locked=True).first()
            if run is not None:
                reason = f"Worker {run.worker} was lost: it did not renew its lease in time."
                claiming.hand_back(run, reason=reason, lost=True)
                logger.warning("Run %s: %s It is %s now.", run.pk, reason, run.state)
                count += 1
    return count


def send_due(*, queue: str, older_than_seconds: float = RESEND_SECONDS) -> bool:
    """Send messages for the oldest due runs of a queue that had none lately; return whether the broker took them."""
    stale = Now() - timedelta(seconds=older_than_seconds)
    oldest = list(
        _due().filter(queue=queue).order_by("created_at")[:HINTS_A_QUEUE].values_list("pk", flat=True)
    )
    unsent = Run.objects.filter(Q(sent_at=None) | Q(sent_at__lt=stale), pk__in=oldest).order_by("created_at")
    return all(send_run_hint(run) for run in unsent)


def _due() -> QuerySet[Run]:
    return Run.objects.filter(state=State.QUEUED, not_before__lte=Now())  # index run_due
