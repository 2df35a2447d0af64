"""Celery's way in: thin calls, and what a worker does when it starts and stops."""

from __future__ import annotations

import logging
from typing import Any

from celery import shared_task
from celery.signals import worker_ready, worker_shutting_down
from django.db import InterfaceError, OperationalError, connection

from training import supervising, sweeping
from training.shutdown import WORKER_STOPS

logger = logging.getLogger(__name__)


@shared_task
def supervise_run(run_id: str) -> None:
    """Carry out a run, if it still waits. The message is only a hint: lost, doubled or late, it does no harm."""
    try:
        supervising.supervise(run_id)
    except (OperationalError, InterfaceError) as error:
        logger.warning(
            "Run %s was not taken: the database is away (%s). A sweep sends it again.", run_id, error
        )


@shared_task
def sweep_runs() -> None:
    """Beat's tick."""
    sweeping.sweep()


@worker_ready.connect
def sweep_at_start(**kwargs: Any) -> None:
    """What the last worker left behind is found at once, not at the next tick."""
    try:
        sweeping.sweep(older_than_seconds=0)
    except (OperationalError, InterfaceError) as error:
        logger.warning("No sweep at the worker's start: the database is away (%s).", error)
    finally:
        connection.close()  # this thread needs it no more


@worker_shutting_down.connect
def stop_runs(**kwargs: Any) -> None:
    """A warm shutdown waits for tasks, and a run may take days: runs stop at a checkpoint and are handed back."""
    WORKER_STOPS.set()
