"""Files that come packed: gzip and zstandard, read as they are unpacked."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import PurePath
from typing import IO, Any, cast

import pyarrow as pa

from annotation.refusals import Refusal

MOST_TIMES = 200
"""Text unpacks to some ten times its size; what unpacks to more than this was made to fill a disk."""
FREE_BYTES = 64 * 2**20

PACKED = (".gz", ".zst", ".zstd")


def unpacked(file: IO[bytes], filename: str, size: int) -> tuple[IO[bytes], str]:
    """Return the file as it is unpacked and the name that it has then; a file that is not packed as it is.

    Args:
        size: of the packed file, in bytes.

    Raises:
        Refusal: while it is read, where it is damaged or unpacks to more than ``MOST_TIMES`` its size.
    """
    ending = PurePath(filename).suffix.lower()
    if ending not in PACKED:
        return file, filename
    stream: Any = (
        gzip.GzipFile(fileobj=file)
        if ending == ".gz"
        else pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd")
    )
    raw = _Unpacking(stream, filename, FREE_BYTES + MOST_TIMES * size)
    return cast("IO[bytes]", io.BufferedReader(raw, 2**20)), filename[: -len(ending)]


class _Unpacking(io.RawIOBase):
    def __init__(self, stream: Any, filename: str, most: int) -> None:
        self.stream = stream
        self.filename = filename
        self.left = most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            piece = self.stream.read(len(buffer))
        except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
            raise Refusal(
                "invalid",
                f"{self.filename} cannot be unpacked: it is damaged, cut off, or not as it is named. Send it again.",
                field="file",
            ) from error
        self.left -= len(piece)
        if self.left < 0:
            raise Refusal(
                "invalid",
                f"{self.filename} unpacks to more than {MOST_TIMES} times its size. Unpack it, and send it in parts.",
                field="file",
            )
        buffer[: len(piece)] = piece
        return len(piece)
