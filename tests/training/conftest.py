"""Runs of a scripted engine, quick and observable."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from training import child, claiming, supervising
from training.launching import create_run, run_folder
from training.models import Run
from training.shutdown import WORKER_STOPS

MakeRun = Callable[..., Run]
SPEC = {
    "seed": 1,
    "endpoint": {"url": "http://127.0.0.1:9/v1", "model": "none"},
    "data": {"prompts": "/nowhere/prompts.jsonl"},
}

TRAINING_SPEC = {
    "seed": 1,
    "model": {"base": "/nowhere"},
    "data": {"train": "/nowhere/train.parquet"},
}


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """Wait until the condition holds, and return what it returned; fail if it never does."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(0.02)
    pytest.fail(f"Waited {seconds:.0f} s in vain for: {what}.")


@pytest.fixture
def make_run() -> MakeRun:
    """A queued run whose scripted engine does as the keywords say; one in several processes is a training run."""

    def make(queue: str = "nobody-listens", processes: int = 1, **script: Any) -> Run:
        if processes == 1:
            run = create_run(kind="sample", spec=SPEC, queue=queue)
        else:
            run = create_run(kind="dpo", spec=TRAINING_SPEC | {"processes": processes}, queue=queue)
        run_folder(run).mkdir(parents=True)
        (run_folder(run) / "script.json").write_text(json.dumps(script))
        return run

    return make


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Supervision with the scripted engine, short times and a short lease."""

    true_command = child.engine_command

    def scripted_engine(spec: Path) -> list[str]:
        scripted = {"training.engine": "tests.training.scripted_engine"}
        return [scripted.get(part, part) for part in true_command(spec)]

    monkeypatch.setattr(child, "engine_command", scripted_engine)
    monkeypatch.setattr(child, "STOP_SECONDS", 1.0)
    monkeypatch.setattr(claiming, "LEASE_SECONDS", 10.0)
    monkeypatch.setattr(claiming, "BACKOFF_SECONDS", 0.0)
    monkeypatch.setattr(supervising, "POLL_SECONDS", 0.05)
    yield
    WORKER_STOPS.clear()


class InThread(threading.Thread):
    """Supervises a run beside the test; leaving the block waits for its end."""

    def __init__(self, run: Run) -> None:
        super().__init__(daemon=True)
        self._run = run

    def run(self) -> None:
        try:
            supervising.supervise(self._run.pk)
        finally:
            connection.close()

    def __enter__(self) -> InThread:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.join(60)
        assert not self.is_alive(), "The supervisor hangs."


def starts(run: Run) -> list[int]:
    """The process numbers of the run's engines, one a start."""
    file = run_folder(run) / "starts.txt"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def steps_measured(run: Run) -> list[int]:
    return list(run.metrics.filter(name="loss").order_by("step").values_list("step", flat=True))


def assert_done_once(run: Run, steps: int) -> None:
    """The run has succeeded, each step measured once, and never two engines were in its folder at a time."""
    run.refresh_from_db()
    assert (run.state, run.reason) == ("succeeded", "")
    assert steps_measured(run) == list(range(1, steps + 1))
    assert (run.done, run.total, run.artifacts.count()) == (steps, steps, 1)
    assert not (run_folder(run) / "overlap").exists()
