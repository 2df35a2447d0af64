"""The engine's process: started apart, told to stop, fenced off when its supervisor is gone."""

from __future__ import annotations

import contextlib
import ctypes
import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from django.conf import settings

from training.launching import LEASE_FILE, LOG_FILE

CHILD_FILE = "child.json"
MARK_VARIABLE = "RANKLOOP_ENGINE"
"""Holds the same random text in every process of one start: torchrun puts its processes in sessions of their own, so
that no process group holds them all, and they outlive it when it is killed."""
STOP_SECONDS = 30.0
"""A process that was asked to stop gets so long to reach a checkpoint; then it is killed."""
KILL_ATTEMPTS = 10
OTHER_HOST_SECONDS = 10.0
"""How far the clocks of two hosts may differ, and how long the engine may take to notice a lease that ran out."""

# TOKEN ends a word of the name: TOKENIZERS_PARALLELISM is a setting. The others are part of no harmless word that is
# known, and words are glued to them, as in PGPASSWORD.
_SECRET = re.compile(
    r"SECRET|PASSWORD|PASSWD|TOKENS?(?![A-Z])|API_?KEY|ACCESS_KEY|CREDENTIAL|DATABASE_URL|BROKER_URL|EMAIL_URL|DSN"
)
_HUB_TOKEN = "HF_TOKEN"  # noqa: S105  only the name of the variable; gated models need its value
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class Child:
    """The running process of one claim, and all that it starts.

    Args:
        command: the command line.
        folder: the run's folder; the log goes to `LOG_FILE` there, and `CHILD_FILE` says which process it is.
        variables: its environment.
    """

    def __init__(self, command: Sequence[str], *, folder: Path, variables: Mapping[str, str]) -> None:
        self._file = folder / CHILD_FILE
        self._asked: float | None = None
        self._ended = False
        self._mark = uuid.uuid4().hex
        with (folder / LOG_FILE).open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=settings.BASE_DIR,
                env={**variables, MARK_VARIABLE: self._mark},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_stop_with_parent(os.getpid()),
            )
        try:
            started = psutil.Process(self._process.pid).create_time()
            record = {
                "host": socket.gethostname(),
                "pid": self._process.pid,
                "started": started,
                "mark": self._mark,
            }
            write_whole(self._file, json.dumps(record))
        except BaseException:
            self.kill()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def asked_to_stop(self) -> bool:
        return self._asked is not None

    def wait(self, seconds: float) -> int | None:
        """Wait so long for its end; return the exit code (negative: the signal that killed it), None if it runs on."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        self._forget()
        return code

    def stop(self) -> None:
        """Ask it to stop at a checkpoint; called again after `STOP_SECONDS`, kill it."""
        if self._asked is None:
            self._asked = time.monotonic()
            self._process.terminate()
        elif time.monotonic() - self._asked > STOP_SECONDS:
            self.kill()

    def kill(self) -> None:
        """End it and all that it started now; nothing happens if it has ended."""
        if self._process.poll() is None:
            _signal_group(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._forget()

    def _forget(self) -> None:
        if not self._ended:
            self._ended = True
            # What it started must not outlive it: it would go on writing to the run's folder.
            _signal_group(self._process.pid, signal.SIGKILL)
            _kill_marked(self._mark)
            self._file.unlink(missing_ok=True)


def engine_command(spec: Path) -> list[str]:
    """The command line that carries out a spec: by torchrun, if it says that several processes do."""
    engine = ["-m", "training.engine", str(spec)]
    processes = int(json.loads(spec.read_text(encoding="utf-8")).get("processes", 1))
    if processes == 1:
        return [sys.executable, *engine]
    torchrun = [
        *("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)),
        # This machine's own name need not resolve.
        *("--local-addr", "localhost"),
        # Asked to stop, it asks each process, and waits for as long as we wait for it.
        *("--shutdown-timeout", str(math.ceil(STOP_SECONDS))),
    ]
    return [sys.executable, *torchrun, *engine]


def engine_variables(spec: Mapping[str, Any], inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of the engine: the worker's without its secrets, save the key of the spec's endpoint."""
    needed = {_HUB_TOKEN, (spec.get("endpoint") or {}).get("api_key_env")}
    kept = {
        name: value for name, value in inherited.items() if name in needed or not _SECRET.search(name.upper())
    }
    return (
        kept
        | {
            "RANKLOOP_HOME": str(settings.RANKLOOP_HOME),
            "OMP_WAIT_POLICY": "PASSIVE",  # spinning threads of two processes on the same cores slow both down tenfold
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "DO_NOT_TRACK": "1",
            "PYTHONUNBUFFERED": "1",
        }
    )


def write_whole(path: Path, text: str) -> None:
    """Write a file such that a reader sees the old text or the new, never a part."""
    draft = path.with_name(f".{path.name}.{uuid.uuid4()}.part")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def fence_off_previous(folder: Path, *, meanwhile: Callable[[], object], poll_seconds: float) -> None:
    """Return once no process of an earlier claim can work in ``folder`` any more.

    On this host each is asked to stop, then killed. Those on another host stop themselves when their lease file runs
    out, so that is waited for.

    Args:
        folder: the run's folder.
        meanwhile: called at each poll; may raise to give up waiting.
        poll_seconds: seconds from poll to poll.
    """
    try:
        record = json.loads((folder / CHILD_FILE).read_text(encoding="utf-8"))
        host, pid, started = record["host"], int(record["pid"]), float(record["started"])
        mark = str(record.get("mark", ""))
    except FileNotFoundError:
        return
    if host == socket.gethostname():
        since = time.monotonic()
        asked: set[int] = set()
        while left := [*_living(pid, started), *_marked(mark)]:
            kills = time.monotonic() - since > STOP_SECONDS
            if kills and left[0].pid == pid:
                _signal_group(pid, signal.SIGKILL)
            for process in left:
                with contextlib.suppress(psutil.Error):
                    if kills:
                        process.kill()
                    elif process.pid not in asked:  # asked twice, torchrun no longer waits for its processes
                        process.terminate()
                asked.add(process.pid)
            meanwhile()
            time.sleep(poll_seconds)
    else:
        while time.time() < _lease_until(folder) + OTHER_HOST_SECONDS:
            meanwhile()
            time.sleep(poll_seconds)
    (folder / CHILD_FILE).unlink(missing_ok=True)


def write_lease(folder: Path, *, token: int, until: float) -> None:
    """Tell the engine that it may work until the unix time ``until``, if it started under ``token``."""
    write_whole(folder / LEASE_FILE, json.dumps({"token": token, "until": until}))


def _lease_until(folder: Path) -> float:
    try:
        return float(json.loads((folder / LEASE_FILE).read_text(encoding="utf-8"))["until"])
    except FileNotFoundError:
        return 0.0


def _living(pid: int, started: float) -> Iterator[psutil.Process]:
    """The process with that number and start, unless it is gone or a zombie."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        if abs(process.create_time() - started) < 1.0 and process.status() != psutil.STATUS_ZOMBIE:
            yield process


def _marked(mark: str) -> Iterator[psutil.Process]:
    """The living processes of this user that were started with that mark."""
    if not mark:
        return
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK_VARIABLE) == mark and process.status() != psutil.STATUS_ZOMBIE:
                yield process


def _kill_marked(mark: str) -> None:
    """End every process with that mark, and what they were about to start."""
    for _ in range(KILL_ATTEMPTS):
        left = list(_marked(mark))
        if not left:
            break
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=1.0)


def _signal_group(leader: int, number: signal.Signals) -> None:
    # Nobody is left; macOS says "not permitted" of a group of zombies.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


def _stop_with_parent(parent: int) -> Callable[[], None] | None:
    """What the new process does first on Linux: have SIGTERM sent to it when its supervisor dies.

    Elsewhere the lease that runs out stops it, half a minute later.
    """
    if _libc is None:
        return None
    prctl = _libc.prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before it could be asked for
            os.kill(os.getpid(), signal.SIGTERM)

    return ask
