"""Requests that come back with an answer, an exception with a sentence, or are sent again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from rankloop.client.problems import Unreachable, problem_of

TRIES = 6
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 60.0
"""Seconds. A server that asks for a longer one is told of instead."""
PAGE_SIZE = 500
NOTHING_WAS_DONE = (429, 503)
"""Whoever answers so has not begun, so anything may be sent again."""
PASSING = (*NOTHING_WAS_DONE, 500, 502, 504)

Query = Mapping[str, Any]
Body = Callable[[], dict[str, Any]]


class Transport:
    """Talks to one server with one token. Made for one thread at a time, as `httpx.Client` is."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        timeout: float,
        tries: int = TRIES,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.address = f"{url.rstrip('/')}/api/v1"
        self.tries = tries
        self.pause = pause
        self.token = token
        self.http = httpx.Client(
            headers={"Authorization": f"Bearer {token}", "User-Agent": "rankloop-client"},
            # Freezing a dataset, or writing an export for the first time, takes the server a while.
            timeout=httpx.Timeout(timeout, connect=min(timeout, 10.0)),
        )

    def get(self, path: str, query: Query | None = None) -> Any:
        """Return what is at the path."""
        return self.call("GET", path, query=query)

    def call(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        query: Query | None = None,
        body: Body | None = None,
        twice_is_once: bool = False,
    ) -> Any:
        """Return the answer's JSON; None where it has no body.

        Args:
            body: makes what `httpx` takes as ``files`` and ``data``, anew for each try.
            twice_is_once: of a POST: whether sending it twice does no more than sending it once, so that it may be sent
                again when nobody knows whether it arrived.
        """
        repeatable = method != "POST" or twice_is_once
        for attempt in range(1, self.tries + 1):
            given = body() if body is not None else {} if json is None else {"json": json}
            try:
                response = self.http.request(method, f"{self.address}/{path}", params=query, **given)
            except httpx.TransportError as error:
                self._wait_or_raise(error, attempt, repeatable or isinstance(error, httpx.ConnectError))
                continue
            if response.is_success:
                return response.json() if response.content else None
            again = response.status_code in (PASSING if repeatable else NOTHING_WAS_DONE)
            self._wait_or_raise(response, attempt, again)
        raise AssertionError("the last try returns or raises")

    def pages(self, path: str, query: Query | None = None) -> Iterator[Any]:
        """Yield the rows of a list, page by page."""
        page: int | None = 1
        while page is not None:
            answer = self.get(path, {"page_size": PAGE_SIZE, **(query or {}), "page": page})
            yield from answer["results"]
            page = page + 1 if answer["next"] else None

    def head(self, path: str, query: Query | None = None) -> httpx.Headers:
        """Return the headers of a file, as `parts` brings it."""
        for attempt in range(1, self.tries + 1):
            try:
                response = self.http.head(f"{self.address}/{path}", params=query, headers=AS_IT_IS)
            except httpx.TransportError as error:
                self._wait_or_raise(error, attempt, True)
                continue
            if response.is_success:
                return response.headers
            if response.status_code not in PASSING:
                self.get(path, query)  # which says in a sentence what a HEAD has no body for
            self._wait_or_raise(response, attempt, True)
        raise AssertionError("the last try returns or raises")

    def parts(
        self, path: str, query: Query | None = None, *, etag: str = "", start: int = 0
    ) -> Iterator[bytes]:
        """Yield a file's bytes from ``start`` on, going on where a connection broke.

        Args:
            etag: of the file that the bytes before ``start`` are of. If it is another one by now, nothing is yielded.

        Raises:
            Unreachable: the connection broke again and again, and nothing came in between; or the file is another one.
        """
        attempt = 1
        while True:
            try:
                with self._opened(path, query, etag, start) as response:
                    if response.is_success:
                        etag = etag or response.headers.get("ETag", "")
                        if start and response.status_code != httpx.codes.PARTIAL_CONTENT:
                            raise Unreachable(
                                f"{path} is another file than the one that was begun. Begin anew."
                            )
                        for part in response.iter_raw():
                            attempt, start = 1, start + len(part)
                            yield part
                        return
                    if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and start:
                        return  # it ended where the connection broke
                    response.read()
                    self._wait_or_raise(response, attempt, response.status_code in PASSING)
            except httpx.TransportError as error:
                self._wait_or_raise(error, attempt, True)
            attempt += 1

    def close(self) -> None:
        """End the connections."""
        self.http.close()

    @contextmanager
    def _opened(self, path: str, query: Query | None, etag: str, start: int) -> Iterator[httpx.Response]:
        part = {"Range": f"bytes={start}-", "If-Range": etag} if start else {}
        with self.http.stream(
            "GET", f"{self.address}/{path}", params=query, headers={**AS_IT_IS, **part}
        ) as response:
            yield response

    def _wait_or_raise(self, met: httpx.Response | httpx.TransportError, attempt: int, again: bool) -> None:
        wish = _seconds(met.headers.get("Retry-After", "")) if isinstance(met, httpx.Response) else 0.0
        if again and attempt < self.tries and wish <= LONGEST_PAUSE:
            backoff = FIRST_PAUSE * 2 ** (attempt - 1)
            self.pause(max(wish, random.uniform(backoff / 2, backoff)))  # noqa: S311 - no secret
            return
        if isinstance(met, httpx.Response):
            raise problem_of(met)
        tried = f", after {attempt} tries" if attempt > 1 else ""
        raise Unreachable(
            f"{self.address} gave no answer{tried}: {met or type(met).__name__}. Does it run there?"
        ) from met


AS_IT_IS = {"Accept-Encoding": "identity"}
"""An ETag is the hash of these bytes, and they may be gone on with at any of them."""


def _seconds(retry_after: str) -> float:
    return float(retry_after) if retry_after.isascii() and retry_after.isdigit() else 0.0
