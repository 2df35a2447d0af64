"""The lines of a file that are wrong: how many, the first of them for people's eyes, and all of them to be mended."""

from __future__ import annotations

import csv
import heapq
import io
import json
from collections.abc import Iterable, Iterator
from operator import attrgetter
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO

from django.conf import settings

from annotation.intake import files
from annotation.models import Import
from annotation.refusals import LineError
from annotation.rows import MOST_ERRORS_LISTED
from annotation.spreadsheets import plain_cell

IN_MEMORY = 2**20
"""Bytes of bad lines above which they are held on the disk."""
ENDING = "bad-lines.jsonl"


class BadLines:
    """What is wrong in a file, gathered while it is read: ``count`` lines, the first of which are ``listed``.

    Iterating gives all of them by number of line.
    """

    def __init__(self) -> None:
        self.count = 0
        self.listed: list[LineError] = []
        self._last = 0
        # Each in order of lines: what is found on reading, and what only shows when the lines are compared.
        self._runs: list[IO[bytes]] = []

    def add(self, error: LineError) -> None:
        self.count += 1
        if len(self.listed) < MOST_ERRORS_LISTED:
            self.listed.append(error)
        if not self._runs or error.line < self._last:
            self._runs.append(SpooledTemporaryFile(IN_MEMORY))  # noqa: SIM115 - it ends with this
        self._last = error.line
        self._runs[-1].write(_packed(error))

    def __iter__(self) -> Iterator[LineError]:
        for run in self._runs:
            run.seek(0)
        yield from heapq.merge(*(map(_unpacked, run) for run in self._runs), key=attrgetter("line"))

    def keep(self) -> str:
        """Store all of them; return where, as of ``files.keep``. Empty where there are none."""
        return files.keep(map(_packed, self), ENDING).location if self.count else ""


def bad_lines_of(job: Import) -> Iterator[LineError]:
    """All bad lines of an import, by number of line. Once they are not kept any more, those that are listed.

    Their file is opened now and not when the first is taken, so whoever reads them while it is dropped gets all.
    """
    try:
        file = (Path(settings.RANKLOOP_HOME) / job.bad_location).open("rb") if job.bad_location else None
    except OSError:
        file = None
    return (LineError(**error) for error in job.errors) if file is None else _read(file)


def _read(file: IO[bytes]) -> Iterator[LineError]:
    with file:
        yield from map(_unpacked, file)


def as_csv(errors: Iterable[LineError]) -> Iterator[bytes]:
    """A table with the columns line, field and reason, a piece at a time."""
    yield b"line,field,reason\r\n"
    for error in errors:
        row = io.StringIO()
        csv.writer(row).writerow([error.line, plain_cell(error.field), plain_cell(error.reason)])
        yield row.getvalue().encode()


def _packed(error: LineError) -> bytes:
    return json.dumps([error.line, error.field, error.reason]).encode() + b"\n"


def _unpacked(text: bytes) -> LineError:
    return LineError(*json.loads(text))
