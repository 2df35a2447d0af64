"""Bars for people who wait: in a terminal or a notebook, and nowhere else."""

from __future__ import annotations

from typing import IO, Any, cast

from tqdm.auto import tqdm


def bar(what: str, size: int | None, *, shown: bool) -> Any:
    """Return a bar of bytes; one that is not ``shown``, or is shown to nobody, takes updates all the same."""
    return tqdm(
        total=size, desc=what, unit="B", unit_scale=True, unit_divisor=1024, disable=None if shown else True
    )


def read_with(progress: Any, file: IO[bytes]) -> IO[bytes]:
    """Return the file as one whose reading moves the bar."""
    return cast("IO[bytes]", _Watched(file, progress))


class _Watched:
    """A file, with all that it has; what is read of it is told."""

    def __init__(self, file: IO[bytes], progress: Any) -> None:
        self._file = file
        self._progress = progress

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(size)
        self._progress.update(len(content))
        return content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
