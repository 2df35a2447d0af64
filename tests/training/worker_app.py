"""Rankloop's Celery application with a scripted engine and short times, for the tests that kill whole workers."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import django

from config.celery import app

django.setup()

from training import child, claiming, supervising  # noqa: E402  models load only after the set-up

QUEUE = os.environ["RANKLOOP_TEST_QUEUE"]


def scripted_engine(spec: Path) -> list[str]:
    return [sys.executable, "-m", "tests.training.scripted_engine", str(spec)]


claiming.LEASE_SECONDS = float(os.environ["RANKLOOP_TEST_LEASE_SECONDS"])
claiming.BACKOFF_SECONDS = 0.1
supervising.POLL_SECONDS = 0.1
child.engine_command = scripted_engine
app.conf.task_default_queue = QUEUE
app.conf.beat_schedule = {
    "sweep": {"task": "training.tasks.sweep_runs", "schedule": 0.5, "options": {"queue": QUEUE, "expires": 5}}
}
app.conf.beat_max_loop_interval = 0.5
