"""Services that die are started again, and a stop leaves no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import settings

from config import environment
from config.launching import supervisor as supervising
from config.launching.supervisor import (
    Supervisor,
    end_leftovers,
    identity,
    lives,
    read_procfile,
    service_variables,
)
from training.launching import ACCELERATOR, ENDPOINTS

STEADY = "sh -c 'echo up; while :; do sleep 0.1; done'"


def wait_until(true: Callable[[], object], tend: Callable[[], None] = lambda: None) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "waited for a minute in vain"
        tend()
        time.sleep(0.05)


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[[dict[str, str]], Supervisor]]:
    made: list[Supervisor] = []

    def make(commands: dict[str, str]) -> Supervisor:
        made.append(Supervisor(commands, variables=os.environ, logs=tmp_path / "log"))
        made[-1].start(*commands)
        return made[-1]

    yield make
    for supervisor in made:
        supervisor.stop(hurried=lambda: True)


def pid_of(supervisor: Supervisor, name: str) -> int:
    process = supervisor.services[name].process
    return process.pid if process else 0


def test_a_killed_service_is_started_again_and_the_others_are_left_alone(
    supervise: Callable[[dict[str, str]], Supervisor],
) -> None:
    supervisor = supervise({"one": STEADY, "two": STEADY})
    one, two = pid_of(supervisor, "one"), pid_of(supervisor, "two")
    os.kill(one, signal.SIGKILL)
    wait_until(lambda: pid_of(supervisor, "one") not in (0, one), supervisor.tend)
    assert pid_of(supervisor, "two") == two
    assert lives(two)


def test_a_service_that_always_fails_is_started_again_after_longer_and_longer_pauses(
    supervise: Callable[[dict[str, str]], Supervisor], monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor = supervise({"bad": "false"})
    service = supervisor.services["bad"]
    pauses = []
    for failures in range(1, 8):
        wait_until(lambda failures=failures: service.failures == failures, supervisor.tend)
        pauses.append(round(service.due_at - time.monotonic()))
        service.due_at = time.monotonic()
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    assert supervisor.has_failed("bad", times=7)


def test_a_stop_ends_the_services_and_their_children(
    supervise: Callable[[dict[str, str]], Supervisor],
) -> None:
    supervisor = supervise({"parent": "sh -c 'sleep 300 & echo child $!; wait'"})
    wait_until(lambda: "child" in supervisor.log_tail("parent"))
    child = int(supervisor.log_tail("parent").split()[-1])
    parent = pid_of(supervisor, "parent")
    supervisor.stop()
    wait_until(lambda: not lives(child))
    assert not lives(parent)


def test_a_second_signal_ends_a_service_that_does_not_listen(
    supervise: Callable[[dict[str, str]], Supervisor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervising, "HURRIED_SECONDS", 0.2)
    supervisor = supervise({"deaf": "sh -c 'trap \"\" TERM; echo deaf; while :; do sleep 0.1; done'"})
    wait_until(lambda: "deaf" in supervisor.log_tail("deaf"))
    pid = pid_of(supervisor, "deaf")
    supervisor.stop(hurried=lambda: True)
    assert not lives(pid)


def test_lines_go_to_the_console_with_the_name_and_to_the_services_own_file(
    supervise: Callable[[dict[str, str]], Supervisor], capsys: pytest.CaptureFixture[str]
) -> None:
    supervisor = supervise({"talker": "sh -c 'echo hello; sleep 300'"})
    wait_until(lambda: supervisor.log_tail("talker"))
    assert supervisor.log_tail("talker") == "hello"
    assert "talker | hello" in capsys.readouterr().out


def test_what_a_killed_supervisor_left_is_ended_and_a_reused_number_is_not(
    supervise: Callable[[dict[str, str]], Supervisor],
) -> None:
    supervisor = supervise({"left": STEADY, "stranger": STEADY})
    left, stranger = pid_of(supervisor, "left"), pid_of(supervisor, "stranger")
    number, created = identity(stranger)
    assert end_leftovers({"left": identity(left), "reused": (number, created - 1000)}) == [left]
    assert not lives(left)
    assert lives(stranger)


def test_the_procfile_names_the_five_services_and_the_documented_defaults() -> None:
    services = read_procfile()
    assert list(services) == ["web", "accelerator", "endpoints", "default", "scheduler"]
    default = environment.VARIABLES["RANKLOOP_ACCELERATORS"].default
    assert f"${{RANKLOOP_ACCELERATORS:-{default}}}" in services["accelerator"]


def test_services_get_what_was_set_and_other_programs_keep_their_own_defaults(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in environment.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RANKLOOP_PORT", "8123")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    variables = service_variables()
    ours = {name: variables[name] for name in environment.VARIABLES if name in variables}
    assert ours == {"RANKLOOP_HOME": str(environment.home()), "RANKLOOP_PORT": "8123"}
    command = [sys.executable, "-c", "from huggingface_hub.constants import HF_HOME; print(HF_HOME)"]
    found = subprocess.run(command, env=variables, capture_output=True, text=True, check=True).stdout
    assert Path(found.strip()) == tmp_path / "huggingface"


@pytest.mark.parametrize("queue", [ACCELERATOR, ENDPOINTS])
def test_workers_of_runs_take_no_ticks_and_the_worker_of_ticks_takes_no_runs(queue: str) -> None:
    """So that no number of waiting runs, each of which keeps a process to its end, delays a tick."""
    of_queue = {
        name: command.split("--queues ")[1].split()[0].split(",")
        for name, command in read_procfile().items()
        if " worker " in command
    }
    assert of_queue[queue] == [queue]
    assert of_queue["default"] == [settings.CELERY_TASK_DEFAULT_QUEUE]
    tasks = {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}
    assert not tasks & set(settings.CELERY_TASK_ROUTES)
