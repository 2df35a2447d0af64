"""From a run's ``events.jsonl`` into rows, each line exactly once: the offset is written with what the lines said."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.engine.events import EVENTS_FILE
from training.models import Artifact, Run, RunMetric, RunSample

PART_BYTES = 4 * 2**20
"""Read in one transaction."""
TAIL_BYTES = 2**16
INTEGER_MAX = 2**31 - 1

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Told:
    """What lines said that has no row of its own.

    ``error`` is the last error's sentence, ``logs`` what is for the log, ``heard`` whether it
    said anything, ``more`` whether whole lines are left to read.
    """

    error: str = ""
    logs: list[str] = field(default_factory=list)
    heard: bool = False
    more: bool = False


@dataclass(slots=True)
class _Rows:
    run: Run
    told: Told
    metrics: dict[tuple[int, str], float | None] = field(default_factory=dict)
    samples: list[RunSample] = field(default_factory=list)
    artifacts: dict[str, tuple[str, str]] = field(default_factory=dict)


def ingest(run: Run, folder: Path) -> Told:
    """Take the new whole lines of ``<folder>/events.jsonl`` into the database, at most `PART_BYTES` of them.

    A line that is no event is passed over with a warning: a run must not hang on what it says.

    Args:
        run: its row, locked in the caller's transaction; progress and offset are written to it.
        folder: the run's folder.
    """
    told = Told()
    try:
        with (folder / EVENTS_FILE).open("rb") as file:
            size = file.seek(0, 2)
            if size < run.events_offset:
                # The host's disk lost what it had not yet flushed. The engine repeats it; samples are not keyed.
                run.samples.all().delete()
                run.events_offset = 0
            file.seek(run.events_offset)
            part = file.read(PART_BYTES)
            if b"\n" not in part and len(part) == PART_BYTES:
                part += file.readline()
    except FileNotFoundError:
        return told
    part = part[: part.rfind(b"\n") + 1]
    if not part:
        return told
    told.heard = True
    told.more = run.events_offset + len(part) < size
    rows = _Rows(run, told)
    for line in part[:-1].split(b"\n"):
        try:
            event = _storable(json.loads(line))
            _TAKE[event["event"]](rows, event)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            logger.warning("Run %s: passed over a line that is no event: %.200r", run.pk, line)
    run.events_offset += len(part)
    _write(rows)
    return told


def last_event(folder: Path) -> Mapping[str, Any]:
    """The last event of ``<folder>/events.jsonl``; empty if there is none, or if its line is not whole."""
    try:
        with (folder / EVENTS_FILE).open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - TAIL_BYTES))
            tail = file.read()
        event = json.loads(tail[:-1].rpartition(b"\n")[2]) if tail.endswith(b"\n") else {}
    except (FileNotFoundError, ValueError):
        return {}
    return event if isinstance(event, dict) else {}


def _progress(rows: _Rows, event: Mapping[str, Any]) -> None:
    run = rows.run
    done, total, phase = _count(event["done"]), _count(event["total"]), str(event["phase"])[:100]
    # What the next start would have to do again is no progress, or a run that always breaks would never give up.
    if event.get("kept", True) and done > run.furthest.get(phase, 0):
        run.furthest[phase] = done
        run.advanced = True
    run.done, run.total, run.phase = done, total, phase


def _metric(rows: _Rows, event: Mapping[str, Any]) -> None:
    step = _count(event["step"])
    values = {
        (step, str(name)[:100]): None if value is None else float(value)
        for name, value in event["values"].items()
    }
    rows.metrics |= values


def _sample(rows: _Rows, event: Mapping[str, Any]) -> None:
    step = _count(event.get("step", rows.run.done))
    scores = {
        str(name)[:100]: None if value is None else float(value)
        for name, value in event.get("scores", {}).items()
    }
    rows.samples.append(
        RunSample(
            run=rows.run, step=step, prompt=event["prompt"], response=str(event["response"]), scores=scores
        )
    )


def _artifact(rows: _Rows, event: Mapping[str, Any]) -> None:
    name, path, sha256 = str(event["name"]), str(event["path"]), str(event["sha256"])
    if len(name) > 100 or len(path) > 500 or len(sha256) != 64:
        raise ValueError("The artifact's name, path or hash is too long.")
    rows.artifacts[name] = (path, sha256)


def _error(rows: _Rows, event: Mapping[str, Any]) -> None:
    rows.told.error = str(event["sentence"])


def _log(rows: _Rows, event: Mapping[str, Any]) -> None:
    rows.told.logs.append(str(event["text"]))


def _end(rows: _Rows, event: Mapping[str, Any]) -> None:
    """The exit code says how a process ended; `last_event` confirms it."""


_TAKE: dict[str, Callable[[_Rows, Mapping[str, Any]], None]] = {
    "progress": _progress,
    "metric": _metric,
    "sample": _sample,
    "artifact": _artifact,
    "error": _error,
    "log": _log,
    "end": _end,
}


def _write(rows: _Rows) -> None:
    run = rows.run
    RunMetric.objects.bulk_create(
        [
            RunMetric(run=run, step=step, name=name, value=value)
            for (step, name), value in rows.metrics.items()
        ],
        update_conflicts=True,
        unique_fields=["run", "name", "step"],
        update_fields=["value"],
    )
    RunSample.objects.bulk_create(rows.samples)
    Artifact.objects.bulk_create(
        [
            Artifact(run=run, name=name, path=path, sha256=sha256)
            for name, (path, sha256) in rows.artifacts.items()
        ],
        update_conflicts=True,
        unique_fields=["run", "name"],
        update_fields=["path", "sha256"],
    )
    run.save(update_fields=["events_offset", "done", "total", "phase", "furthest", "advanced"])


def _count(value: Any) -> int:
    number = int(value)
    if not 0 <= number <= INTEGER_MAX:
        raise ValueError(f"{number} is not a count.")
    return number


def _storable(value: Any) -> Any:
    """The same value without what PostgreSQL cannot hold: U+0000, lone surrogates and what is not finite."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_storable(item) for item in value]
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    return value
