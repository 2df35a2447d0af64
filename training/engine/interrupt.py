"""When a run must stop: a signal, or a lease that another process holds now."""

from __future__ import annotations

import json
import signal
import threading
import time
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

LEASE_CHECK_SECONDS = 1.0


class Stopped(Exception):
    """The run stopped at a checkpoint and can be resumed; the message says why it stopped."""


class Interrupt:
    """Watches for SIGTERM, SIGINT and the loss of the lease while it is entered.

    Loops read `requested` (or call `check`) at each step, and leave a state behind that a later start resumes from.

    Args:
        lease: the lease file ``{"token": int, "until": unix seconds}``, or None where nothing fences the run.
            The token it holds on entry is this process's own; another token, or `until` in the past, means
            the run was given to someone else. A file that cannot be read for a moment counts as unchanged, so
            `until` still bounds it.
    """

    def __init__(self, lease: Path | None) -> None:
        self._lease = lease
        self._stop_watching = threading.Event()
        self._reason: str | None = None
        self._handlers_before: dict[signal.Signals, Any] = {}

    @property
    def requested(self) -> bool:
        """Whether the run must stop at its next step."""
        return self._reason is not None

    def request(self, reason: str) -> None:
        """Ask the run to stop at its next step; the first reason is kept."""
        if self._reason is None:
            self._reason = reason

    def check(self) -> None:
        """Raise `Stopped` if the run must stop."""
        if self._reason is not None:
            raise Stopped(self._reason)

    def wait(self, seconds: float) -> None:
        """Sleep for so long, or less if the run must stop; then raise `Stopped`."""
        until = time.monotonic() + seconds
        while not self.requested and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))
        self.check()

    def __enter__(self) -> Self:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._handlers_before[number] = signal.signal(number, self._on_signal)
        if self._lease is not None:
            lease = _read_lease(self._lease)
            if lease is None:
                self.request(f"The lease {self._lease} cannot be read.")
            else:
                threading.Thread(
                    target=self._watch, args=(self._lease, *lease), name="lease", daemon=True
                ).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_watching.set()
        for number, handler in self._handlers_before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.request(f"{signal.Signals(number).name} was received.")

    def _watch(self, path: Path, token: int, until: float) -> None:
        while not self.requested:
            if time.time() > until:
                self.request("The lease ran out.")
            elif self._stop_watching.wait(LEASE_CHECK_SECONDS):
                return
            lease = _read_lease(path)
            if lease is not None:
                if lease[0] != token:
                    self.request(f"The lease went to another process (token {lease[0]}, ours is {token}).")
                until = lease[1]


def _read_lease(path: Path) -> tuple[int, float] | None:
    try:
        lease = json.loads(path.read_text(encoding="utf-8"))
        return int(lease["token"]), float(lease["until"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
