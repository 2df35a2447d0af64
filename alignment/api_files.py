"""Files over HTTP: strong ETags, conditional requests, byte ranges and codings (RFC 9110, sections 12.5.3, 13, 14)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.cache import get_conditional_response
from django.utils.http import content_disposition_header
from rest_framework.exceptions import APIException

CHUNK = 2**18
RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
QUALITY = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?", re.ASCII)


class RangeNotSatisfiable(APIException):
    """No byte of the range that was asked for exists.

    Args:
        size: the file's, in bytes.
    """

    status_code = 416
    default_code = "range"

    def __init__(self, size: int) -> None:
        super().__init__(f"The file has {size} bytes; ask for a range within it.")
        self.headers = {"Content-Range": f"bytes */{size}"}


def coding_for(request: HttpRequest, codings: Iterable[str], sha256_of: Callable[[str], str | None]) -> str:
    """Return the coding in which a file is sent: the first of ``codings`` that ``Accept-Encoding`` likes best, or "".

    A part is of the file as it is, unless ``If-Range`` names a coded one that the caller has begun: many programs ask
    for parts and decode each by itself, which a part of a compressed file does not stand.

    Args:
        codings: that there are, the best first.
        sha256_of: the hash of the file in a coding; None where there is none yet.
    """
    accepted = _accepted(request.headers.get("Accept-Encoding", ""))
    liked = sorted((one for one in codings if accepted.get(one)), key=lambda one: -accepted[one])
    if "Range" in request.headers:
        begun = request.headers.get("If-Range", "")
        return next((one for one in liked if begun == f'"{sha256_of(one)}"'), "")
    return liked[0] if liked else ""


def _accepted(header: str) -> dict[str, float]:
    """How much each coding of an ``Accept-Encoding`` header is liked, from 0 to 1."""
    found = {}
    for part in header.lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        quality = next((each[2:] for each in parameters if each.startswith("q=")), "1")
        found[name] = float(quality) if QUALITY.fullmatch(quality) else 0.0
    return found


def send_file(
    request: HttpRequest,
    path: Path,
    *,
    name: str,
    content_type: str,
    sha256: str,
    coding: str | None = None,
) -> HttpResponseBase:
    """Answer a GET or HEAD with the file, or the one range of it that is asked for, or 304 where the caller has it.

    Several ranges at once are answered with the whole file, which RFC 9110 allows.

    Args:
        name: under which a browser saves it.
        sha256: of the file's content, in hex: its strong ETag.
        coding: in which the file is, for the caller to decode; "" for none where there could be one, and None where
            there is no choice.

    Raises:
        RangeNotSatisfiable: no byte of the range exists.
    """
    size = path.stat().st_size
    etag = f'"{sha256}"'
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": etag,
        "Cache-Control": "private, no-cache",
        "Content-Disposition": content_disposition_header(True, name) or "attachment",
    }
    if coding is not None:
        headers["Vary"] = "Accept-Encoding"
    # Before the range is looked at: who has the file needs no part of it, be there such a part or not.
    as_asked = HttpResponse(headers=headers)
    answer = get_conditional_response(request, etag=etag, response=as_asked)
    if answer is not None and answer is not as_asked:
        return answer
    if coding:
        headers["Content-Encoding"] = coding
    part = None
    if request.method == "GET" and request.headers.get("If-Range", etag) == etag:
        part = _range_of(request.headers.get("Range", ""), size)
    response: HttpResponseBase
    if request.method == "HEAD":
        response = HttpResponse(content_type=content_type, headers=headers)
    elif part is None:
        # It names the file itself, and after its path unless it is told another name.
        response = FileResponse(
            path.open("rb"), as_attachment=True, filename=name, content_type=content_type, headers=headers
        )
    else:
        headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
        response = StreamingHttpResponse(
            _Part(path.open("rb"), part), status=206, content_type=content_type, headers=headers
        )
    response.headers["Content-Length"] = str(len(part) if part is not None else size)
    return response


def _range_of(header: str, size: int) -> range | None:
    """The bytes of a ``Range`` header; None for one that is to be ignored."""
    found = RANGE.fullmatch(header.strip())
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        start, stop = max(size - int(last), 0), size
    else:
        start, stop = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < int(first):
            return None
    if start >= stop:
        raise RangeNotSatisfiable(size)
    return range(start, stop)


class _Part:
    """A range of an open file, which its reader gets whole even if the file is removed meanwhile. Django closes it."""

    def __init__(self, file: BinaryIO, part: range) -> None:
        self.file, self.part = file, part

    def __iter__(self) -> Iterator[bytes]:
        self.file.seek(self.part.start)
        left = len(self.part)
        while left and (chunk := self.file.read(min(CHUNK, left))):
            left -= len(chunk)
            yield chunk

    def close(self) -> None:
        self.file.close()
