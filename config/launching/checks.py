"""What must hold before anything starts; each failure is a sentence that says what to do."""

from __future__ import annotations

import errno
import fcntl
import json
import shutil
import socket
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

FREE_BYTES = 2 * 2**30


class CannotStart(RuntimeError):
    """Rankloop cannot start; the message is a sentence that says what to do."""


def claim_home(home: Path) -> IO[str]:
    """Make ``home`` if there is none, and hold it: one ``up`` at a time. The returned file holds it until closed.

    Raises:
        CannotStart: it cannot be written to, its disk is nearly full, or another ``up`` holds it.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home) as probe:
            probe.write(b"\0" * 4096)
        claim = (home / "up.lock").open("a")
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise CannotStart(_disk_is_full(home)) from error
        raise CannotStart(
            f"{home} cannot be written to ({error.strerror}). Set RANKLOOP_HOME to a folder of your own, as in "
            "`RANKLOOP_HOME=~/rankloop make run`."
        ) from error
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        claim.close()
        other = read_record(home)
        raise CannotStart(
            f"Rankloop already runs from {home}: process {other.get('pid', '?')}, {other.get('address', 'starting')}. "
            "Stop it with `make stop`, or start a second one with a RANKLOOP_HOME and a RANKLOOP_PORT of its own."
        ) from None
    if shutil.disk_usage(home).free < FREE_BYTES:
        claim.close()
        raise CannotStart(_disk_is_full(home))
    return claim


def check_port(bind: str, port: int) -> None:
    """Raises CannotStart if ``bind``:``port`` cannot be listened on."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(bind, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # As the web server does: a port that only waits for late packets of closed connections is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except PermissionError:
        raise CannotStart(
            f"Port {port} is reserved for root. Choose one from 1024 on: `RANKLOOP_PORT=8000 make run`."
        ) from None
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise CannotStart(
                f"This machine cannot listen on {bind} (RANKLOOP_BIND): {error.strerror or error}. Use 127.0.0.1, or "
                "0.0.0.0 for every network."
            ) from None
        raise CannotStart(
            f"Port {port} is taken by another program. Stop that, or choose another port: "
            f"`RANKLOOP_PORT={port + 1} make run`."
        ) from None


def read_record(home: Path) -> dict[str, Any]:
    """What the last ``up`` wrote of itself: its process, address and services; empty if there is nothing legible."""
    with suppress(OSError, ValueError):
        record = json.loads((home / "up.json").read_text())
        if isinstance(record, dict):
            return record
    return {}


def write_record(home: Path, record: dict[str, Any]) -> None:
    draft = home / "up.json.new"
    with suppress(OSError):  # on a full disk the record is old, and everything else goes on
        draft.write_text(json.dumps(record))
        draft.replace(home / "up.json")


def _disk_is_full(home: Path) -> str:
    free = shutil.disk_usage(home).free / 2**30
    return (
        f"The disk of {home} is nearly full: {free:.1f} GiB free, and Rankloop needs {FREE_BYTES / 2**30:.0f} GiB for "
        "its database, models and checkpoints. Free some space, or set RANKLOOP_HOME to a folder on another disk."
    )
