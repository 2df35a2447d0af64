"""A run in several processes, by torchrun: one run all the same, of which nothing is left when it has ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from tests.training.conftest import InThread, MakeRun, assert_done_once, starts, steps_measured, wait_for
from training import child
from training.launching import cancel_run, run_folder
from training.models import Run
from training.supervising import supervise

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("quick")]


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def followers(run: Run) -> list[int]:
    """The process numbers of the engines that are not their start's first."""
    file = run_folder(run) / "followers.txt"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def at_work(run: Run) -> list[int]:
    """Wait for the run's engines to be at work, and return their process numbers."""
    wait_for(lambda: steps_measured(run) and followers(run), "both processes to work")
    return [starts(run)[-1], followers(run)[-1]]


def test_it_is_done_once(make_run: MakeRun) -> None:
    run = make_run(processes=2)
    supervise(run.pk)
    assert_done_once(run, steps=8)
    assert (len(starts(run)), len(followers(run))) == (1, 1)
    seen = json.loads((run_folder(run) / "environment.json").read_text())
    assert (seen["WORLD_SIZE"], seen["LOCAL_WORLD_SIZE"]) == ("2", "2")


def test_what_it_refuses_is_refused_at_once_with_the_engines_sentence(make_run: MakeRun) -> None:
    run = make_run(processes=2, refuse="`data.train` holds no record.")
    supervise(run.pk)
    run.refresh_from_db()
    assert (run.state, run.reason) == ("failed", "`data.train` holds no record.")
    assert not any(map(alive, [*starts(run), *followers(run)]))


@pytest.mark.parametrize("deaf", [False, True])
def test_cancelled_it_leaves_no_process(make_run: MakeRun, deaf: bool) -> None:
    run = make_run(processes=2, steps=10_000, deaf=deaf, deaf_followers=deaf)
    with InThread(run):
        pids = at_work(run)
        cancel_run(run_id=run.pk, reason="Nobody needs it.")
    run.refresh_from_db()
    assert (run.state, run.reason) == ("cancelled", "Nobody needs it.")
    assert not any(map(alive, pids))


def test_when_torchrun_is_killed_its_processes_go_with_it_and_the_run_goes_on(make_run: MakeRun) -> None:
    run = make_run(processes=2, steps=200, seconds=0.02, deaf_followers=True)
    with InThread(run):
        pids = at_work(run)
        os.kill(json.loads((run_folder(run) / child.CHILD_FILE).read_text())["pid"], signal.SIGKILL)
    run.refresh_from_db()
    assert run.state == "queued" and "SIGKILL" in run.reason
    assert not any(map(alive, pids))
    (run_folder(run) / "script.json").write_text(json.dumps({"steps": 200, "seconds": 0.001}))
    supervise(run.pk)
    assert_done_once(run, steps=200)


def test_a_new_claim_does_not_begin_before_all_of_the_old_one_are_gone(make_run: MakeRun) -> None:
    # Given engines that do not listen, whose supervisor and torchrun were lost.
    run = make_run(processes=2, steps=100_000, deaf=True, deaf_followers=True)
    folder, mark = run_folder(run), uuid4().hex
    spec = folder / "spec.json"
    spec.write_text(json.dumps({"output": str(folder), "lease": str(folder / "lease.json"), "processes": 2}))
    orphans: list[int] = []
    torchrun = subprocess.Popen(
        child.engine_command(Path(spec)),
        start_new_session=True,
        env={**os.environ, child.MARK_VARIABLE: mark},
    )
    try:
        wait_for(lambda: (folder / "checkpoint").exists() and followers(run), "the old engines")
        orphans = [starts(run)[-1], followers(run)[-1]]
        record = {
            "host": child.socket.gethostname(),
            "pid": torchrun.pid,
            "started": psutil.Process(torchrun.pid).create_time(),
            "mark": mark,
        }
        (folder / child.CHILD_FILE).write_text(json.dumps(record))
        torchrun.kill()
        torchrun.wait()
        assert all(map(alive, orphans))
        done = int((folder / "checkpoint").read_text())
        (folder / "script.json").write_text(json.dumps({"steps": done + 100, "seconds": 0.001}))
        # When the run is claimed anew, then they are killed before the new ones start.
        supervise(run.pk)
        assert not any(map(alive, orphans))
    finally:
        for pid in filter(alive, orphans):
            os.kill(pid, signal.SIGKILL)
    run.refresh_from_db()
    assert (run.state, run.reason) == ("succeeded", "")
    assert not (folder / "overlap").exists()
