"""Making room: what ended runs needed to go on from, and need no more."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from training.launching import run_folder
from training.models import Run
from training.states import ENDED

RESUMED_FROM = ("checkpoints", "*.partial.jsonl", "reference-*.safetensors", "*.part")
"""What the engine leaves in a run's folder to go on from: names and patterns at its top."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed of one run, or would be."""

    run: Run
    paths: list[Path]
    size: int
    """In bytes."""


def prune_runs(*, ended_before: datetime, dry_run: bool = False) -> Iterator[Pruned]:
    """Remove checkpoints and partial outputs of runs that ended before a time, oldest first; artifacts, events and logs
    stay.

    Args:
        dry_run: say what would be removed, and remove nothing.
    """
    for run in Run.objects.filter(state__in=ENDED, ended_at__lt=ended_before).order_by("ended_at"):
        kept = {run_folder(run) / path for path in run.artifacts.values_list("path", flat=True)}
        paths = sorted(
            path
            for pattern in RESUMED_FROM
            for path in run_folder(run).glob(pattern)
            if not any(each.is_relative_to(path) or path.is_relative_to(each) for each in kept)
        )
        if not paths:
            continue
        pruned = Pruned(run, paths, sum(map(_size, paths)))
        if not dry_run:
            for path in paths:
                _remove(path)
        yield pruned


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if not file.is_dir())


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
