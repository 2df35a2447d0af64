"""What a run tells the world: lines in ``events.jsonl``, and artifacts that are whole or absent."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from training.engine.files import put_in_place
from training.engine.refusal import Unavailable

EVENTS_FILE = "events.jsonl"


class Events:
    """Appends a run's events to ``<output>/events.jsonl``, each with ``"event"`` and ``"time"`` (unix seconds).

    A line is written with one system call, so that a reader never sees half of one unless the process was
    killed in between; such a torn line is closed off by the next start. Each event raises `Unavailable` on a full disk.

    Args:
        output: the run's folder; made if it is missing.
        silent: write nothing, for the processes of a distributed run that are not its first.
    """

    def __init__(self, output: Path, *, silent: bool = False) -> None:
        self._output = output
        if silent:
            self._file = os.open(os.devnull, os.O_WRONLY)
            return
        output.mkdir(parents=True, exist_ok=True)
        close_torn_line(output / EVENTS_FILE)
        self._file = os.open(output / EVENTS_FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def progress(self, done: int, total: int, phase: str, *, kept: bool = True) -> None:
        """So much of a phase is done; `done` and `total` count the same thing (responses, steps).

        Args:
            kept: whether a later start goes on from there; False for a part that it would do again.
        """
        self._append("progress", done=done, total=total, phase=phase, **({} if kept else {"kept": False}))

    def metric(self, step: int, values: Mapping[str, float]) -> None:
        """Measured at a step. After a resume a step may come again: the last one counts. What is not finite
        becomes null."""
        self._append(
            "metric", step=step, values={k: float(v) if math.isfinite(v) else None for k, v in values.items()}
        )

    def sample(
        self,
        prompt: Sequence[Mapping[str, str]],
        response: str,
        *,
        step: int | None = None,
        scores: Mapping[str, float] | None = None,
    ) -> None:
        """One response, for people to look at while the run goes on.

        Args:
            prompt: its messages.
            response: the text.
            step: when it was drawn, as metrics count; those of one step are told from best to worst.
            scores: what it was given, by name; ``score`` orders them.
        """
        told: dict[str, Any] = {"step": step} if step is not None else {}
        if scores is not None:
            told["scores"] = {name: float(score) for name, score in scores.items()}
        self._append("sample", prompt=list(prompt), response=response, **told)

    def log(self, text: str) -> None:
        """Something worth knowing about how the run goes."""
        self._append("log", text=text)

    def error(self, sentence: str) -> None:
        """Why the run fails, for people."""
        self._append("error", sentence=sentence)

    def end(self, state: str) -> None:
        """The last event of a process: succeeded, stopped (resumable), refused or crashed."""
        self._append("end", state=state)

    @contextmanager
    def artifact(self, name: str) -> Iterator[Path]:
        """Give a temporary path; what the block leaves there (a file or a folder) becomes ``<output>/<name>``
        and is announced.

        An artifact of that name from an earlier start is replaced. If the block raises, nothing changes.
        """
        final = self._output / name
        temporary = self._output / f".{name}.part"
        _remove(temporary)
        yield temporary
        sha256 = sha256_of(temporary)
        if final.is_dir():
            shutil.rmtree(final)
        put_in_place(temporary, final)
        self._append("artifact", name=name, path=name, sha256=sha256)

    def _append(self, event: str, **fields: Any) -> None:
        line = json.dumps(
            {"event": event, "time": time.time(), **fields}, ensure_ascii=False, allow_nan=False
        )
        self._write(line.encode("utf-8", "replace") + b"\n")

    def _write(self, line: bytes) -> None:
        """Write a whole line or nothing of it, or the next one would be joined to half of this one."""
        size = os.fstat(self._file).st_size
        try:
            if os.write(self._file, line) == len(line):
                return
            failure = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            failure = error
        with contextlib.suppress(OSError):
            os.ftruncate(self._file, size)
        raise Unavailable(
            f"{self._output / EVENTS_FILE} could not be written: {failure.strerror}. Make room there and start the run "
            "again: it goes on from its newest checkpoint."
        ) from failure


def close_torn_line(path: Path) -> None:
    """Cut off a last line without an end, which a killed writer left in a JSON lines file; a missing file is
    left missing."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            file.truncate(whole)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 (hex) of a file's bytes; of a folder, that of its sorted lines ``<sha256>  <relative
    path>``."""
    if path.is_dir():
        listing = hashlib.sha256()
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            listing.update(f"{sha256_of(file)}  {file.relative_to(path).as_posix()}\n".encode())
        return listing.hexdigest()
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
