"""The other side of a webhook: a server that takes what it is sent, and answers as it is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Receiver:
    url: str = ""
    status: int = 204
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    pause: float = 0
    """Seconds before the answer begins."""
    dawdle: float = 0
    """Seconds between the body's bytes, or, where there is no body, between a hundred lines of the head."""
    taken: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    """Headers, by names in small letters, and bodies."""


@contextmanager
def receiver() -> Iterator[Receiver]:
    told = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told.taken.append(({name.lower(): value for name, value in self.headers.items()}, body))
            time.sleep(told.pause)
            try:
                self.send_response(told.status)
                for name, value in told.headers.items():
                    self.send_header(name, value)
                for number in range(100 if told.dawdle and not told.body else 0):
                    self.send_header(f"X-{number}", "slowly")
                    self.flush_headers()
                    time.sleep(told.dawdle)
                self.end_headers()
                for byte in told.body if told.dawdle else ():
                    self.wfile.write(bytes([byte]))
                    time.sleep(told.dawdle)
                if not told.dawdle:
                    self.wfile.write(told.body)
            except OSError:
                pass  # the caller hung up

        do_GET = do_POST

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    told.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
