"""Keeps the services of a Procfile running: a died one is started again, after growing pauses; the others live on."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path

import psutil

from config import environment

LONGEST_PAUSE = 30.0
STEADY_SECONDS = 60.0  # a service that ran this long is started again at once
STOP_SECONDS = 60.0
HURRIED_SECONDS = 2.0
COLOURS = (36, 33, 32, 35, 34)


def read_procfile(file: Path = environment.ROOT / "config" / "Procfile") -> dict[str, str]:
    """The services of ``file`` in its order: a name and a shell command each."""
    lines = (line.strip() for line in file.read_text().splitlines())
    pairs = (line.split(":", 1) for line in lines if line and not line.startswith("#"))
    return {name.strip(): command.strip() for name, command in pairs}


def service_variables() -> dict[str, str]:
    """The environment of the services: this process's, with the home spelled out and our programs first.

    No default is added: set, `HF_HOME` and its like would overrule what other programs go by, such as `XDG_CACHE_HOME`.
    """
    programs = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "RANKLOOP_HOME": str(environment.home()),
        "PATH": os.pathsep.join([programs, os.environ.get("PATH", os.defpath)]),
        "PYTHONUNBUFFERED": "1",
    }


def forget_gone_workers(home: Path) -> None:
    """Remove the file broker's bindings of queues to workers; the living make them anew when they start.

    Those of gone workers would collect messages for ever, and one that a kill cut off half way stops every worker.
    """
    if not environment.read("CELERY_BROKER_URL"):
        shutil.rmtree(home / "broker" / "control", ignore_errors=True)


@dataclass(slots=True)
class Service:
    name: str
    command: str
    process: subprocess.Popen[str] | None = None
    started_at: float = 0.0
    failures: int = 0
    due_at: float = 0.0


class Supervisor:
    """The services of one installation.

    Args:
        commands: a shell command for each name.
        variables: the environment of the services.
        logs: folder of one rotating log file a service.
        changed: called with the living services' process numbers and start times after each start.
        quiet: keep the services' lines off the terminal; they are in the log files all the same.
    """

    def __init__(
        self,
        commands: Mapping[str, str],
        *,
        variables: Mapping[str, str],
        logs: Path,
        changed: Callable[[dict[str, tuple[int, float]]], None] = lambda living: None,
        quiet: bool = False,
    ) -> None:
        self.services = {name: Service(name, command) for name, command in commands.items()}
        self.variables = dict(variables)
        self.console = Console(max(map(len, commands), default=0), quiet=quiet)
        self.logs = logs
        self.changed = changed
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, *names: str) -> None:
        for name in names:
            self._start(self.services[name])

    def tend(self) -> None:
        """Start again what has died and is due. Call it about once a second."""
        now = time.monotonic()
        for service in self.services.values():
            if service.process is None:
                if service.due_at and now >= service.due_at:
                    self._start(service)
            elif (code := service.process.poll()) is not None:
                _signal_group(service.process.pid, signal.SIGTERM)  # what it left behind
                service.process = None
                steady = now - service.started_at > STEADY_SECONDS
                service.failures = 0 if steady else service.failures + 1
                pause = min(LONGEST_PAUSE, 2.0 ** (service.failures - 1)) if service.failures else 0.0
                service.due_at = now + pause
                how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
                self.console.say(service.name, f"ended ({how}); starts again in {pause:.0f} s")

    def stop(self, *, hurried: Callable[[], bool] = lambda: False) -> None:
        """Ask every service to end, wait, and kill what has not ended after STOP_SECONDS, or soon when ``hurried``."""
        living = [service.process for service in self.services.values() if service.process is not None]
        for process in living:
            with suppress(ProcessLookupError):
                process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        while any(process.poll() is None for process in living) and time.monotonic() < deadline:
            if hurried():
                deadline = min(deadline, time.monotonic() + HURRIED_SECONDS)
            time.sleep(0.1)
        for process in living:
            _signal_group(process.pid, signal.SIGKILL)
            process.wait()
        for service in self.services.values():
            service.process, service.due_at = None, 0.0

    def has_failed(self, name: str, times: int) -> bool:
        """Whether the service ``name`` has died ``times`` times in a row."""
        return self.services[name].failures >= times

    def log_tail(self, name: str, lines: int = 15) -> str:
        with suppress(OSError):
            return "\n".join((self.logs / f"{name}.log").read_text(errors="replace").splitlines()[-lines:])
        return ""

    def _start(self, service: Service) -> None:
        # A session of its own: Ctrl-C in the terminal reaches the supervisor alone, which stops all in order.
        service.process = subprocess.Popen(
            ["/bin/sh", "-c", f"exec {service.command}"],
            cwd=environment.ROOT,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        service.started_at, service.due_at = time.monotonic(), 0.0
        threading.Thread(target=self._relay, args=(service.name, service.process), daemon=True).start()
        self.changed(
            {s.name: identity(s.process.pid) for s in self.services.values() if s.process is not None}
        )

    def _relay(self, name: str, process: subprocess.Popen[str]) -> None:
        """Copy a service's lines to the console and its log file."""
        assert process.stdout is not None
        file = _LogFile(self.logs / f"{name}.log", maxBytes=10 * 2**20, backupCount=5, encoding="utf-8")
        with process.stdout:
            for line in process.stdout:
                self.console.say(name, line.rstrip("\n"))
                file.handle(logging.makeLogRecord({"msg": line.rstrip("\n")}))
        file.close()


class Console:
    """Lines on the terminal, each behind the name of what said it."""

    def __init__(self, width: int, *, quiet: bool) -> None:
        self.width = width
        self.quiet = quiet
        self.coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self.colours: dict[str, int] = {}
        self.lock = threading.Lock()

    def say(self, name: str, line: str) -> None:
        if self.quiet:
            return
        with self.lock, suppress(OSError, ValueError):  # a terminal that was closed stops nothing
            colour = self.colours.setdefault(name, COLOURS[len(self.colours) % len(COLOURS)])
            prefix = f"{name:<{self.width}} |"
            print(
                f"\033[{colour}m{prefix}\033[0m {line}" if self.coloured else f"{prefix} {line}", flush=True
            )


class _LogFile(RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """A full disk loses log lines, not the service."""


def identity(pid: int) -> tuple[int, float]:
    """A process's number and start time, which together mean one process."""
    try:
        return pid, psutil.Process(pid).create_time()
    except psutil.Error:
        return pid, 0.0


def end_leftovers(services: Mapping[str, tuple[int, float]]) -> list[int]:
    """End services that a killed supervisor left, with their children. Returns the processes' numbers."""
    left = [pid for pid, created in services.values() if (pid, created) == identity(pid)]
    for pid in left:
        _signal_group(pid, signal.SIGTERM)
    deadline = time.monotonic() + 10
    while any(lives(pid) for pid in left) and time.monotonic() < deadline:
        time.sleep(0.1)
    for pid in left:
        _signal_group(pid, signal.SIGKILL)
    return left


def lives(pid: int) -> bool:
    """Whether the process ``pid`` runs; one that has ended and waits to be reaped does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _signal_group(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
