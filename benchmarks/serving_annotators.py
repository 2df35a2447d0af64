"""Annotators who never think, or as long as they are told: each takes the next task as the page's script does.

One process, one connection each, kept alive. Plain HTTP/1.1 by hand, since the client shares the processors with what
it measures; what it costs is measured with everything else.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from benchmarks.serving_content import Annotator

TIMEOUT = 60  # seconds for one answer
TRIES = 3
CSRF = "rankloopbenchmarkcsrftokenabcdef"  # as the cookie and the header say the same, so it is accepted
ASSIGNMENT = re.compile(r'data-assignment="([0-9a-f-]{36})"')
LEASE = re.compile(r'data-lease="([0-9a-f-]{36})"')
RESPONSE = re.compile(r'data-response="(\d+)"')
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@dataclass(slots=True)
class Tally:
    """What happened at one level. Times are of ``time.perf_counter``."""

    warm_at: float
    stop_at: float
    most: int
    """Submissions after which nobody begins another: the batch must not run dry."""
    began: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    acknowledged: list[tuple[uuid.UUID, uuid.UUID]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def is_over(self) -> bool:
        now = time.perf_counter()
        if len(self.ended) >= self.most:
            self.stop_at = min(self.stop_at, now)
        return now >= self.stop_at

    def latencies(self) -> list[float]:
        """Seconds of each submission that was answered while it was measured, in order of size."""
        return sorted(
            ended - began
            for began, ended in zip(self.began, self.ended, strict=True)
            if self.warm_at < ended <= self.stop_at
        )

    @property
    def seconds(self) -> float:
        return self.stop_at - self.warm_at


@dataclass(frozen=True, slots=True)
class Shown:
    """What the page knows of its task."""

    assignment: uuid.UUID
    lease: str
    numbers: list[int]


class Failed(Exception):
    """The server was not reached, or answered by an error."""


async def work(
    annotators: Sequence[Annotator],
    *,
    port: int,
    slug: str,
    warm_up: float,
    seconds: float,
    most: int,
    pause: float = 0.0,
) -> Tally:
    """All ``annotators`` rank at once: ``warm_up`` seconds that do not count, then ``seconds`` that do, or until
    ``most`` submissions. Between a task and its answer they think for ``pause`` seconds on average."""
    desks = [_Desk(annotator, port, slug) for annotator in annotators]
    tally = Tally(0.0, 0.0, most)
    shown = await asyncio.gather(*(desk.open_page() for desk in desks))
    now = time.perf_counter()
    tally.warm_at, tally.stop_at = now + warm_up, now + warm_up + seconds
    await asyncio.gather(*(desk.work(tally, task, pause) for desk, task in zip(desks, shown, strict=True)))
    for desk in desks:
        desk.hang_up()
    return tally


class _Desk:
    """One annotator's browser."""

    def __init__(self, annotator: Annotator, port: int, slug: str) -> None:
        self.port = port
        self.page = f"/projects/{slug}/rank/"
        self.user = annotator.user
        self.headers = (
            f"Host: 127.0.0.1:{port}\r\nAccept: application/json\r\n"
            f"Cookie: sessionid={annotator.session}; csrftoken={CSRF}\r\nX-CSRFToken: {CSRF}\r\n"
        )
        self.dice = random.Random(annotator.user)
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def open_page(self) -> Shown | None:
        _, html = await self._ask("GET", self.page)
        return task_of(html.decode())

    async def work(self, tally: Tally, task: Shown | None, pause: float) -> None:
        while not tally.is_over():
            if task is None:
                tally.errors.append("no task was left")
                return
            if pause:
                await asyncio.sleep(self.dice.expovariate(1 / pause))
            key = uuid.uuid4()
            began = time.perf_counter()
            try:
                # Who waits for the next task gets it with the receipt; who has had the time to read has it already,
                # and what they then have asked for is the one after it.
                html = await self._submit(task, key, tally, wants_next=not pause)
                tally.acknowledged.append((key, task.assignment))
                task = task_of(html) if html is not None else await self._next()
            except Failed as error:
                tally.errors.append(str(error))
                return
            tally.began.append(began)
            tally.ended.append(time.perf_counter())

    async def _submit(self, task: Shown, key: uuid.UUID, tally: Tally, *, wants_next: bool) -> str | None:
        """Submit a ranking; the same again where the server failed, as the page does. Returns the next task's HTML,
        if it was wanted and came with the receipt."""
        order = task.numbers[:]
        self.dice.shuffle(order)
        tiers = [[number] for number in order]
        if self.dice.random() < 0.2:
            tiers[1:3] = [tiers[1] + tiers[2]]
        body = {
            "lease": task.lease,
            "key": str(key),
            "tiers": tiers,
            "rationale": "",
            "seconds": 41.5,
            "annotator": self.user,
            "besides": [str(task.assignment)] if wants_next else None,
            "since": _midnight(),
        }
        for attempt in range(1, TRIES + 1):
            try:
                answer = await self._post(f"{self.page}{task.assignment}/submit/", body)
                break
            except Failed as error:
                if attempt == TRIES:
                    raise
                tally.errors.append(str(error))
        html = answer.get("html")
        return str(html) if html is not None else None

    async def _next(self) -> Shown | None:
        body = {"besides": [], "since": _midnight()}
        return task_of(str((await self._post(f"{self.page}next/", body))["html"]))

    async def _post(self, path: str, body: dict[str, object]) -> dict[str, object]:
        status, answer = await self._ask("POST", path, json.dumps(body).encode())
        if status != 200:
            raise Failed(f"{path.rsplit('/', 2)[1]} was answered by {status}: {answer[:200]!r}")
        said: dict[str, object] = json.loads(answer)
        return said

    async def _ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        try:
            async with asyncio.timeout(TIMEOUT):
                reader, writer = self.streams or await self._dial()
                about = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
                writer.write(f"{method} {path} HTTP/1.1\r\n{self.headers}{about}\r\n".encode() + body)
                head = await reader.readuntil(b"\r\n\r\n")
                length = LENGTH.search(head)
                if length is None:
                    raise Failed("an answer had no length")
                answer = await reader.readexactly(int(length[1]))
        except (OSError, EOFError, asyncio.LimitOverrunError) as error:
            self.hang_up()
            raise Failed(f"{type(error).__name__}: {error}") from error
        if b"\nconnection: close" in head.lower():
            self.hang_up()
        return int(head[9:12]), answer

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self.streams = await asyncio.open_connection("127.0.0.1", self.port)
        return self.streams

    def hang_up(self) -> None:
        if self.streams is not None:
            self.streams[1].close()
        self.streams = None


def _midnight() -> str:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0).isoformat()


def task_of(html: str) -> Shown | None:
    assignment, lease = ASSIGNMENT.search(html), LEASE.search(html)
    if assignment is None or lease is None:
        return None
    return Shown(uuid.UUID(assignment[1]), lease[1], [int(number) for number in RESPONSE.findall(html)])
