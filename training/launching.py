"""Asking for runs, cancelling them, and finding what they left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from config import environment
from config.hints import send_hint
from training.engine.refusal import Refused
from training.engine.spec import Spec
from training.models import Run
from training.refusals import Refusal
from training.states import ENDED, State, move

LOG_FILE = "log.txt"
LEASE_FILE = "lease.json"

# Queues of runs. A run keeps a worker's process to its end, so none waits on the queue of ticks and hints.
ACCELERATOR = "accelerator"
ENDPOINTS = "endpoints"
"""For sample runs on endpoints: they wait for answers and need no accelerator, so several go at once."""


def create_run(
    *, kind: str, spec: Mapping[str, Any], project_id: int | None = None, queue: str = ACCELERATOR
) -> Run:
    """Ask for a run. A message goes to the queue on commit; without a broker the run waits until a sweep can send it.

    Args:
        kind: one of `Run.Kind`.
        spec: what ``python -m training.engine`` takes, without ``run``, ``output`` and ``lease``.
        project_id: the project it is for.
        queue: the Celery queue of the workers that may take it.

    Raises:
        Refusal: ``invalid``, with the engine's sentence that names the field.
        ValueError: the queue is that of ticks and hints, which a few long runs would stop.
    """
    if queue == settings.CELERY_TASK_DEFAULT_QUEUE:
        raise ValueError(f"Runs do not wait on {queue!r}, the queue of ticks and hints.")
    run = Run(kind=kind, spec=dict(spec), project_id=project_id, queue=queue)
    try:
        checked = Spec.from_record(full_spec(run))
    except Refused as refused:
        raise Refusal("invalid", str(refused), field="spec") from refused
    if checked.endpoint and checked.endpoint.api_key_env in environment.VARIABLES:
        raise Refusal(
            "invalid",
            f"`endpoint.api_key_env` is {checked.endpoint.api_key_env}, a setting of Rankloop itself. "
            "Name the variable that holds the endpoint's key.",
            field="spec",
        )
    with transaction.atomic():
        run.save(force_insert=True)
        run.refresh_from_db()
        transaction.on_commit(lambda: send_run_hint(run), robust=True)
    return run


def cancel_run(*, run_id: UUID | str, reason: str) -> Run:
    """Cancel a run: at once if it waits, else its supervisor stops it soon. One that has ended stays as it is.

    Args:
        run_id: the run's id.
        reason: why, in a sentence; shown to people.

    Raises:
        Run.DoesNotExist: there is no such run.
    """
    with transaction.atomic():
        run = Run.objects.select_for_update().get(pk=run_id)
        if run.state == State.QUEUED:
            move(run=run, to=State.CANCELLED, reason=reason, cancel_requested=True)
        elif run.state not in ENDED and not run.cancel_requested:
            run.cancel_requested, run.reason = True, reason
            run.save(update_fields=["cancel_requested", "reason"])
    return run


def send_run_hint(run: Run) -> bool:
    """Tell the workers of the run's queue that it waits; return whether the broker took the message."""
    sent = send_hint("training.tasks.supervise_run", str(run.pk), queue=run.queue)
    if sent:
        Run.objects.filter(pk=run.pk).update(sent_at=Now())
    return sent


def full_spec(run: Run) -> dict[str, Any]:
    """The run's spec as the engine takes it, with its folder and lease."""
    folder = run_folder(run)
    own = {"kind": run.kind, "run": str(run.pk), "output": str(folder), "lease": str(folder / LEASE_FILE)}
    return dict(run.spec) | own


def run_folder(run: Run) -> Path:
    """The folder that everything of the run lies in; it exists once the run has been started."""
    return Path(settings.RANKLOOP_HOME) / "runs" / str(run.pk)


def artifact_path(run: Run, name: str) -> Path:
    """Where the run's artifact ``name`` (a file or a folder) lies.

    Raises:
        Refusal: ``not_found``: the run has not made it, or its files were removed.
    """
    folder = run_folder(run).resolve()
    artifact = run.artifacts.filter(name=name).first()
    path = (folder / artifact.path).resolve() if artifact else None
    if path is None or not path.is_relative_to(folder) or not path.exists():
        raise Refusal("not_found", f"The {run} ({run.state}) has no artifact {name!r}.", field="name")
    return path


@dataclass(frozen=True, slots=True)
class LogPart:
    """A part of a run's log: the text, the offset in bytes where the next part begins, and the log's size in bytes."""

    text: str
    next_offset: int
    size: int


def read_log(run: Run, *, offset: int = 0, limit: int = 65_536) -> LogPart:
    """Read at most ``limit`` bytes of the run's log from the byte ``offset``; a negative offset counts from the end.

    A character that lies across the end is left for the next part.
    """
    try:
        with (run_folder(run) / LOG_FILE).open("rb") as file:
            size = file.seek(0, 2)
            start = max(size + offset, 0) if offset < 0 else min(offset, size)
            file.seek(start)
            part = file.read(limit)
    except FileNotFoundError:
        return LogPart("", 0, 0)
    if start + len(part) < size:
        part = _whole_characters(part)
    return LogPart(part.decode("utf-8", "replace"), start + len(part), size)


def _whole_characters(part: bytes) -> bytes:
    """Cut off a UTF-8 character that is cut at the end; bytes that are not UTF-8 stay."""
    for back in range(1, min(4, len(part)) + 1):
        byte = part[-back]
        if byte & 0xC0 != 0x80:
            length = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
            return part[:-back] if length > back and len(part) > back else part
    return part
