"""A busy server is asked again, what may have been done is not done twice, and a no is a sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from rankloop.client import (
    Conflict,
    Invalid,
    NotFound,
    Problem,
    ServerFault,
    TooManyRequests,
    Unreachable,
)
from rankloop.client.transport import Transport

Answer = Callable[[httpx.Request], httpx.Response]
CONTENT = bytes(range(256)) * 8
ETAG = '"abc"'


class Server:
    """Answers in the order in which it is told to; the last answer stays."""

    def __init__(self, *answers: httpx.Response | Exception | Answer) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []
        self.pauses: list[float] = []
        self.transport = Transport(
            "http://rankloop.test/", "rl_token", timeout=1, tries=4, pause=self.pauses.append
        )
        headers = self.transport.http.headers
        self.transport.http = httpx.Client(headers=headers, transport=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer(request) if callable(answer) else answer


def problem(status: int, detail: str = "No.", **more: Any) -> httpx.Response:
    body = {"type": "urn:rankloop:problem:conflict", "title": "No", "status": status, "detail": detail} | more
    return httpx.Response(status, json=body)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_reading_is_tried_again_while_the_server_is_busy(status: int) -> None:
    server = Server(problem(status), httpx.ConnectError("refused"), httpx.Response(200, json={"a": 1}))
    assert server.transport.get("me") == {"a": 1}
    assert len(server.asked) == 3
    first, second = server.pauses
    assert 0.25 <= first <= 0.5 <= second <= 1.0
    request = server.asked[0]
    assert str(request.url) == "http://rankloop.test/api/v1/me"
    assert request.headers["Authorization"] == "Bearer rl_token"


@pytest.mark.parametrize("met", [problem(500), problem(502), httpx.ReadTimeout("slow")])
def test_what_may_have_been_done_is_not_done_twice(met: httpx.Response | Exception) -> None:
    server = Server(met)
    with pytest.raises((ServerFault, Unreachable)):
        server.transport.call("POST", "projects", json={})
    assert len(server.asked) == 1


@pytest.mark.parametrize("met", [problem(429), problem(503), httpx.ConnectError("refused")])
def test_what_was_certainly_not_done_is_asked_for_again(met: httpx.Response | Exception) -> None:
    server = Server(met, httpx.Response(201, json={"a": 1}))
    assert server.transport.call("POST", "projects", json={}) == {"a": 1}


def test_what_counts_once_is_sent_again_whatever_happened() -> None:
    server = Server(httpx.ReadTimeout("slow"), problem(500), httpx.Response(201, json={"a": 1}))
    bodies = iter([{"data": {"n": "1"}}, {"data": {"n": "2"}}, {"data": {"n": "3"}}])
    assert server.transport.call("POST", "x", body=lambda: next(bodies), twice_is_once=True) == {"a": 1}
    assert [request.content for request in server.asked] == [b"n=1", b"n=2", b"n=3"]


def test_the_server_says_how_long_to_wait_but_not_for_ever() -> None:
    server = Server(httpx.Response(429, headers={"Retry-After": "30"}), httpx.Response(200, json=1))
    server.transport.get("me")
    assert server.pauses == [30.0]
    patient = Server(
        problem(429, "Wait for an hour."), *[httpx.Response(429, headers={"Retry-After": "3600"})]
    )
    with pytest.raises(TooManyRequests):
        patient.transport.get("me")
    assert len(patient.asked) == 2


def test_who_is_never_there_is_told_in_a_sentence() -> None:
    server = Server(httpx.ConnectError("Connection refused"))
    with pytest.raises(Unreachable, match=r"rankloop.test.* after 4 tries: Connection refused"):
        server.transport.get("me")


def test_a_no_is_the_servers_sentence_with_its_faults() -> None:
    faults = [{"line": n, "field": "prompt", "detail": "is empty"} for n in range(1, 14)]
    server = Server(problem(422, "The file has 13 bad lines.", errors=faults))
    with pytest.raises(Invalid) as refused:
        server.transport.get("x")
    lines = str(refused.value).splitlines()
    assert lines[0] == "The file has 13 bad lines." and lines[1] == "line 1, prompt: is empty"
    assert lines[-1] == "and 3 more" and len(lines) == 12
    assert refused.value.faults == faults and refused.value.code == "conflict"


@pytest.mark.parametrize(("status", "kind"), [(404, NotFound), (409, Conflict), (418, Problem)])
def test_each_kind_of_no_is_an_exception_of_its_own(status: int, kind: type[Problem]) -> None:
    with pytest.raises(kind, match="Gone fishing") as refused:
        Server(problem(status, "Gone fishing.")).transport.get("x")
    assert type(refused.value) is kind and refused.value.status == status


def test_a_proxys_page_is_told_by_its_address() -> None:
    with pytest.raises(ServerFault, match=r"http://rankloop.test/api/v1/me answered 502 Bad Gateway"):
        Server(httpx.Response(502, text="<html>")).transport.get("me")


def test_pages_are_asked_for_as_they_are_needed() -> None:
    def page(request: httpx.Request) -> httpx.Response:
        number = int(request.url.params["page"])
        assert request.url.params["page_size"] == "500" and request.url.params["split"] == "train"
        more = "http://internal.test/next" if number < 3 else None
        return httpx.Response(200, json={"results": [number * 10, number * 10 + 1], "next": more})

    server = Server(page)
    rows = server.transport.pages("projects/demo/prompts", {"split": "train"})
    assert server.asked == []
    assert [next(rows), next(rows)] == [10, 11] and len(server.asked) == 1
    assert list(rows) == [20, 21, 30, 31]


class Sent(httpx.SyncByteStream):
    """Content as it comes over a connection, which may break behind it."""

    def __init__(self, content: bytes, *, breaks: bool) -> None:
        self.content = content
        self.breaks = breaks

    def __iter__(self) -> Iterator[bytes]:
        yield self.content
        if self.breaks:
            raise httpx.ReadError("reset")


def served(request: httpx.Request, *, most: int | None = None, etag: str = ETAG) -> httpx.Response:
    assert request.headers["Accept-Encoding"] == "identity"
    start = 0
    if "Range" in request.headers and request.headers["If-Range"] == etag:
        start = int(request.headers["Range"].removeprefix("bytes=").removesuffix("-"))
    stop = len(CONTENT) if most is None else start + most
    return httpx.Response(
        206 if start else 200,
        headers={"ETag": etag},
        stream=Sent(CONTENT[start:stop], breaks=most is not None),
    )


def test_a_download_goes_on_where_it_broke() -> None:
    server = Server(
        lambda request: served(request, most=100),
        problem(503),
        lambda request: served(request, most=50),
        served,
    )
    assert b"".join(server.transport.parts("file")) == CONTENT
    assert [request.headers.get("Range") for request in server.asked] == [
        None,
        "bytes=100-",
        "bytes=100-",
        "bytes=150-",
    ]


def test_a_download_that_comes_to_nothing_ends() -> None:
    server = Server(lambda request: served(request, most=10), httpx.ReadError("reset"))
    with pytest.raises(Unreachable, match="after 4 tries"):
        b"".join(server.transport.parts("file"))


def test_a_file_that_became_another_one_is_not_pieced_together() -> None:
    server = Server(
        lambda request: served(request, most=100), lambda request: served(request, etag='"other"')
    )
    with pytest.raises(Unreachable, match="another file"):
        b"".join(server.transport.parts("file"))
