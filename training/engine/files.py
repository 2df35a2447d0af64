"""Where the engine keeps its files, files that are whole on the disk, and what a full disk looks like."""

from __future__ import annotations

import errno
import os
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def sync(path: Path) -> None:
    """Flush a file, or all files of a folder, to the disk, so that a rename that follows never outlives the bytes."""
    for file in [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]:
        flush(file)


def put_in_place(aside: Path, final: Path) -> None:
    """Give what was written aside its name, for good: after a power cut it has that name, or the file before it does.

    A folder must not have a namesake.
    """
    sync(aside)
    aside.replace(final)
    flush(final.parent)


def is_full_disk(error: BaseException) -> bool:
    """Whether an error says that there is no room for a file; safetensors and others wrap that in types of their
    own."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    return any(os.strerror(number) in str(error) or f"os error {number}" in str(error) for number in _FULL)


def flush(path: Path) -> None:
    """Flush one file, or which files a folder has, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def models_cache() -> Path:
    """Return the folder of models made on this machine; it exists."""
    cache = engine_home() / "models"
    cache.mkdir(parents=True, exist_ok=True)
    return cache


def engine_home() -> Path:
    """Return the folder that what is worth keeping from run to run lies in."""
    return Path(os.environ.get("RANKLOOP_HOME") or Path.home() / ".cache" / "rankloop")
