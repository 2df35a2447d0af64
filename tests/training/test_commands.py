"""What operators do with runs on the command line."""

from __future__ import annotations

import io
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from training.launching import run_folder
from training.models import Artifact, Run

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def home(settings: Any, tmp_path: Path) -> Path:
    settings.RANKLOOP_HOME = tmp_path
    return tmp_path


def a_run(*, state: str = "succeeded", days: int = 10) -> Run:
    """A run with artifacts, a log and all that it could go on from."""
    ended = timezone.now() - timedelta(days=days) if state != "queued" else None
    run = Run.objects.create(kind="dpo", spec={}, state=state, ended_at=ended)
    folder = run_folder(run)
    for name in (
        "adapter/adapter.safetensors",
        "reference-kept.safetensors",
        "log.txt",
        "events.jsonl",
        "checkpoints/checkpoint-5/model.safetensors",
        "reference-train.safetensors",
        "responses-abc.partial.jsonl",
        ".adapter.part/x",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x" * 2**20)
    for path in ("adapter", "reference-kept.safetensors"):
        Artifact.objects.create(run=run, name=path, path=path, sha256="0" * 64)
    return run


def left(run: Run) -> set[str]:
    return {path.name for path in run_folder(run).iterdir()}


def told(name: str, *args: Any, **options: Any) -> str:
    out = io.StringIO()
    call_command(name, *args, stdout=out, **options)
    return out.getvalue()


def test_pruning_keeps_artifacts_events_and_logs_of_old_runs_and_everything_of_others() -> None:
    old, young, waiting = a_run(), a_run(days=3), a_run(state="queued")
    before = left(young)

    assert "would be freed, of 1 runs" in told("prune_runs", older_than=7, dry_run=True)
    assert left(old) == before
    assert "4.0 MiB freed, of 1 runs" in told("prune_runs", older_than=7)

    assert left(old) == {"adapter", "reference-kept.safetensors", "log.txt", "events.jsonl"}
    assert left(young) == left(waiting) == before
    assert "of 0 runs" in told("prune_runs", older_than=7)


def test_cancelling_a_run_tells_what_became_of_it() -> None:
    run = a_run(state="queued")
    assert "is cancelled" in told("cancel_run", str(run.pk))
    assert Run.objects.get(pk=run.pk).reason == "Cancelled by an operator."
    assert "is succeeded" in told("cancel_run", str(a_run().pk))
    with pytest.raises(CommandError, match="There is no run"):
        told("cancel_run", str(uuid4()))
