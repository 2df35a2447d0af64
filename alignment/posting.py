"""One POST to an address that somebody named: to public hosts alone, bounded in time and size, following nothing.

The address is looked up once, checked, and connected to as it was checked, so that a name cannot lead elsewhere between
the check and the connection. Proxies of the environment are not used: they would look the name up again.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpcore

from alignment.public_addresses import Unreachable, addresses_of

SECONDS = 10.0
"""For all of it: looking up is the system's own matter, but connecting, sending and reading end by then."""
CONNECT_SECONDS = 5.0
MOST_BYTES = 2000
"""As much of an answer is read."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a POST: a status and how the body begins, or the error in a sentence."""

    seconds: float
    status: int | None = None
    text: str = ""
    error: str = ""
    retry_after: str = ""


def post(url: str, *, body: bytes, headers: dict[str, str], seconds: float = SECONDS) -> Answer:
    """Send ``body``. Whatever goes wrong, on this side, on the way or on the other side, is an `Answer`."""
    begun = time.monotonic()

    def answer(**fields: Any) -> Answer:
        return Answer(seconds=round(time.monotonic() - begun, 3), **fields)

    backend = _Guarded(begun + seconds)
    try:
        with (
            httpcore.ConnectionPool(ssl_context=_trusted(), network_backend=backend) as pool,
            pool.stream(
                "POST",
                url,
                headers=list(headers.items()),
                content=body,
                extensions={"timeout": {"connect": CONNECT_SECONDS, "read": seconds, "write": seconds}},
            ) as response,
        ):
            return answer(
                status=response.status, text=_beginning(response), retry_after=_retry_after(response)
            )
    except Unreachable as error:
        return answer(error=str(error))
    except httpcore.TimeoutException:
        return answer(error=f"There was no answer within {seconds:g} seconds.")
    except (httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError, OSError) as error:
        return answer(error=f"The connection failed: {str(error) or type(error).__name__}.")


def _beginning(response: httpcore.Response) -> str:
    content = b""
    # The status has come, and is what counts: who then dawdles, or breaks off, has answered all the same.
    with suppress(httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError):
        for chunk in response.iter_stream():
            content += chunk
            if len(content) >= MOST_BYTES:
                break
    # A database takes no NUL character.
    return content[:MOST_BYTES].decode("utf-8", errors="replace").replace("\x00", "\ufffd")


def _retry_after(response: httpcore.Response) -> str:
    return next(
        (value.decode("latin-1") for name, value in response.headers if name.lower() == b"retry-after"), ""
    )


@cache
def _trusted() -> ssl.SSLContext:
    """The system's certificates, or those that SSL_CERT_FILE names; loading them takes a while."""
    return ssl.create_default_context()


class _Guarded(httpcore.NetworkBackend):
    """Connects to allowed addresses alone, and makes streams that end at a time."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        failed: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in addresses_of(host, port):
            try:
                stream = self.sockets.connect_tcp(
                    address, port, timeout=_left(self.deadline, timeout), socket_options=socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
            else:
                return _Bounded(stream, self.deadline)
        raise failed


class _Bounded(httpcore.NetworkStream):
    """A stream of which every wait ends at the deadline: one byte a second would go on for ever otherwise."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self.stream = stream
        self.deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.stream.read(max_bytes, _left(self.deadline, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.stream.write(buffer, _left(self.deadline, timeout))

    def close(self) -> None:
        self.stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        wrapped = self.stream.start_tls(ssl_context, server_hostname, _left(self.deadline, timeout))
        return _Bounded(wrapped, self.deadline)

    def get_extra_info(self, info: str) -> Any:
        return self.stream.get_extra_info(info)


def _left(deadline: float, timeout: float | None) -> float:
    """Seconds until the deadline, or ``timeout`` where that is sooner. Raises ReadTimeout when it has passed."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout
    return left if timeout is None else min(left, timeout)
