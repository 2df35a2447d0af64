"""Where the files of imports lie until they are carried out."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import IO

from django.conf import settings

from annotation.models import Import
from annotation.refusals import Refusal

FOLDER = "imports"


@dataclass(frozen=True, slots=True)
class Kept:
    """A file that was stored: where, relative to RANKLOOP_HOME, how large it is and its SHA-256."""

    location: str
    size: int
    sha256: str


def keep(pieces: Iterable[bytes], file_name: str) -> Kept:
    """Store a file's bytes under a name of their own, with the endings of ``file_name``."""
    endings = "".join(PurePath(file_name).suffixes[-2:])[:40]
    location = f"{FOLDER}/{uuid.uuid4()}{endings if endings.isascii() else ''}"
    path = Path(settings.RANKLOOP_HOME) / location
    path.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("wb") as file:
            for piece in pieces:
                digest.update(piece)
                size += len(piece)
                file.write(piece)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return Kept(location, size, digest.hexdigest())


@contextmanager
def opened(job: Import) -> Iterator[IO[bytes]]:
    """The import's file, to be read. Raises Refusal where it is gone."""
    try:
        file = (Path(settings.RANKLOOP_HOME) / job.location).open("rb") if job.location else None
    except OSError:
        file = None
    if file is None:
        raise Refusal(
            "conflict",
            f"The file {job.file_name} of this import is not kept any more. Upload it again.",
            field="file",
        )
    with file:
        yield file


def discard(location: str) -> None:
    """Remove a stored file; one that a person named on the command line is theirs and stays."""
    if location.startswith(f"{FOLDER}/"):
        (Path(settings.RANKLOOP_HOME) / location).unlink(missing_ok=True)
