"""Sampling from an OpenAI-compatible endpoint: a small server in this process that behaves well or badly on request."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.training.engine.conftest import read_lines
from tests.training.engine.warm_engine import WarmRun
from training.engine import endpoint
from training.engine.refusal import Refused

Run = Callable[[dict[str, Any]], int]
Reply = tuple[int, dict[str, str], bytes]


class Server:
    """Answers chat completions; `behave(server, body, headers)` returns status, headers and body of a reply."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.behave: Callable[[Server, dict[str, Any], Any], Reply] = lambda server, body, headers: answer(
            body
        )
        self.in_flight = 0
        self.most_in_flight = 0
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with server._lock:
                    server.requests.append({"path": self.path, **body})
                    server.in_flight += 1
                    server.most_in_flight = max(server.most_in_flight, server.in_flight)
                status, headers, content = server.behave(server, body, self.headers)
                with server._lock:
                    server.in_flight -= 1
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                with contextlib.suppress(BrokenPipeError):  # the client was stopped
                    self.end_headers()
                    self.wfile.write(content)

            def log_message(self, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


def answer(body: dict[str, Any], **changes: Any) -> Reply:
    """A well-formed reply that follows from the request alone."""
    text = f"{body['messages'][-1]['content'][:20]} {body.get('seed')}"
    record = {
        "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"completion_tokens": 5},
        **changes,
    }
    return 200, {"Content-Type": "application/json"}, json.dumps(record).encode()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(endpoint, "FIRST_PAUSE_SECONDS", 0.01)
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


def endpoint_spec(server: Server, prompts: Path, output: Path, **changes: Any) -> dict[str, Any]:
    return {
        "kind": "sample",
        "run": "test",
        "seed": 3,
        "output": str(output),
        "endpoint": {"url": server.url, "model": "gpt-test", "concurrency": 4, "attempts": 3, **changes},
        "data": {"prompts": str(prompts)},
        "method": {"responses": 2, "max_tokens": 9, "temperature": 0.5, "system_prompt": "Be brief."},
    }


def error_of(output: Path) -> str:
    return next(e["sentence"] for e in read_lines(output / "events.jsonl") if e["event"] == "error")


def test_every_response_is_asked_for_with_the_settings(
    server: Server, prompts_file: Path, tmp_path: Path, run_here: Run
) -> None:
    assert run_here(endpoint_spec(server, prompts_file, tmp_path / "run")) == 0

    responses = read_lines(tmp_path / "run" / "responses.jsonl")
    ids = [line["id"] for line in read_lines(prompts_file)]
    assert [(r["id"], r["index"]) for r in responses] == [(id, index) for id in ids for index in range(2)]
    assert {(r["tokens"], r["finish"]) for r in responses} == {(5, "stop")}
    request = server.requests[0]
    assert request["path"] == "/v1/chat/completions"
    assert (request["model"], request["max_tokens"], request["temperature"]) == ("gpt-test", 9, 0.5)
    assert request["messages"][0] == {"role": "system", "content": "Be brief."}
    assert len({request["seed"] for request in server.requests}) == len(responses) == len(server.requests)


def test_the_tokens_of_the_prompt_are_kept_where_the_endpoint_counts_them(
    server: Server, prompts_file: Path, tmp_path: Path, run_here: Run
) -> None:
    server.behave = lambda server, body, headers: answer(
        body, usage={"completion_tokens": 5, "prompt_tokens": 41}
    )
    assert run_here(endpoint_spec(server, prompts_file, tmp_path / "run")) == 0
    assert {r["prompt_tokens"] for r in read_lines(tmp_path / "run" / "responses.jsonl")} == {41}

    server.behave = lambda server, body, headers: answer(body)
    assert run_here(endpoint_spec(server, prompts_file, tmp_path / "again")) == 0
    assert all("prompt_tokens" not in r for r in read_lines(tmp_path / "again" / "responses.jsonl"))


def refuse(server: Server, body: dict[str, Any], headers: Any) -> Reply:
    return 400, {}, b"maximum context length"


def test_a_prompt_that_is_refused_is_skipped_with_the_reason_where_that_is_asked_for(
    server: Server, prompts_file: Path, tmp_path: Path, run_here: Run
) -> None:
    first = read_lines(prompts_file)[0]["prompt"][-1]["content"]

    def refuse_the_first(server: Server, body: dict[str, Any], headers: Any) -> Reply:
        return refuse(server, body, headers) if body["messages"][-1]["content"] == first else answer(body)

    server.behave = refuse_the_first
    assert run_here(endpoint_spec(server, prompts_file, tmp_path / "strict")) == 2
    assert run_here(endpoint_spec(server, prompts_file, tmp_path / "run", skip_refused=True)) == 0
    responses = read_lines(tmp_path / "run" / "responses.jsonl")
    assert [("refused" in r, r["text"] == "") for r in responses[:3]] == [
        (True, True),
        (True, True),
        (False, False),
    ]
    assert "maximum context length" in responses[0]["refused"]


def test_an_endpoint_that_refuses_every_prompt_ends_the_run_and_all_are_asked_again(
    server: Server, prompts_file: Path, tmp_path: Path, run_here: Run
) -> None:
    spec = endpoint_spec(server, prompts_file, tmp_path / "run", skip_refused=True)
    server.behave = refuse
    assert run_here(spec) == 2
    assert "maximum context length" in error_of(tmp_path / "run")
    server.behave = lambda server, body, headers: answer(body)
    assert run_here(spec) == 0
    assert all("refused" not in r for r in read_lines(tmp_path / "run" / "responses.jsonl"))


def test_no_more_requests_are_in_flight_than_allowed(
    server: Server, prompts_file: Path, tmp_path: Path, run_here: Run
) -> None:
    def wait_for_company(server: Server, body: dict[str, Any], headers: Any) -> Reply:
        time.sleep(0.05)
        return answer(body)

    server.behave = wait_for_company

    assert run_here(endpoint_spec(server, prompts_file, tmp_path / "run")) == 0
    assert 1 < server.most_in_flight <= 4


@pytest.mark.parametrize("trouble", [429, 500, 503, b"<html>busy</html>", b'{"choices": []}', b"\xff\xfe"])
def test_a_busy_or_rubbish_reply_is_asked_for_again(
    server: Server, prompts_file: Path, tmp_path: Path, run_here: Run, trouble: int | bytes
) -> None:
    seen: Counter[str] = Counter()

    def fail_first(server: Server, body: dict[str, Any], headers: Any) -> Reply:
        key = f"{body['messages']} {body['seed']}"
        seen[key] += 1
        if seen[key] > 1:
            return answer(body)
        return (trouble, {"Retry-After": "0"}, b"busy") if isinstance(trouble, int) else (200, {}, trouble)

    server.behave = fail_first

    assert run_here(endpoint_spec(server, prompts_file, tmp_path / "run")) == 0
    assert len(read_lines(tmp_path / "run" / "responses.jsonl")) == 18
    assert len(server.requests) == 36


def test_an_endpoint_that_stays_down_fails_with_a_sentence_and_a_later_start_asks_only_for_the_rest(
    server: Server, prompts_file: Path, tmp_path: Path, run_here: Run
) -> None:
    output = tmp_path / "run"
    asked = itertools.count()
    server.behave = lambda server, body, headers: (
        answer(body) if next(asked) < 5 else (500, {}, b"out of memory")
    )
    spec = endpoint_spec(server, prompts_file, output)

    assert run_here(spec) == 1
    assert "out of memory" in error_of(output) and "3 attempts" in error_of(output)
    assert not (output / "responses.jsonl").exists()

    kept = sum(len(read_lines(path)) for path in output.glob("*.partial.jsonl"))
    assert kept == 5
    server.requests.clear()
    server.behave = lambda server, body, headers: answer(body)
    assert run_here(spec) == 0
    assert len(server.requests) == 18 - kept
    run_here(endpoint_spec(server, prompts_file, tmp_path / "unbroken"))
    assert (output / "responses.jsonl").read_bytes() == (
        tmp_path / "unbroken" / "responses.jsonl"
    ).read_bytes()


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "RANKLOOP_TEST_KEY"), (403, "RANKLOOP_TEST_KEY"), (404, "gpt-test"), (400, "context is too long")],
)
def test_a_refusal_of_the_endpoint_ends_the_run_for_good(
    server: Server,
    prompts_file: Path,
    tmp_path: Path,
    run_here: Run,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    words: str,
) -> None:
    monkeypatch.setenv("RANKLOOP_TEST_KEY", "wrong")
    server.behave = lambda server, body, headers: (status, {}, b'{"error": "context is too long"}')

    code = run_here(endpoint_spec(server, prompts_file, tmp_path / "run", api_key_env="RANKLOOP_TEST_KEY"))

    assert code == 2
    assert words in error_of(tmp_path / "run")
    assert len(server.requests) <= 4


def test_the_key_is_sent_and_written_nowhere(
    server: Server, prompts_file: Path, tmp_path: Path, run_here: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANKLOOP_TEST_KEY", "sk-secret")
    keys = set()

    def note_key(server: Server, body: dict[str, Any], headers: Any) -> Reply:
        keys.add(headers["Authorization"])
        return answer(body)

    server.behave = note_key

    assert (
        run_here(endpoint_spec(server, prompts_file, tmp_path / "run", api_key_env="RANKLOOP_TEST_KEY")) == 0
    )
    assert keys == {"Bearer sk-secret"}
    written = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert not any(b"sk-secret" in path.read_bytes() for path in written)


def test_a_key_that_is_not_set_is_refused_by_name(
    server: Server, prompts_file: Path, tmp_path: Path, run_here: Run
) -> None:
    assert run_here(endpoint_spec(server, prompts_file, tmp_path / "run", api_key_env="NOT_SET_HERE")) == 2
    assert "NOT_SET_HERE" in error_of(tmp_path / "run")
    assert not server.requests


def test_a_redirect_takes_neither_prompts_nor_key_elsewhere(
    server: Server, prompts_file: Path, tmp_path: Path, run_here: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PEER_API_KEY", "sk-1")
    server.behave = lambda server, body, headers: (307, {"Location": f"{server.url}/elsewhere"}, b"")

    assert run_here(endpoint_spec(server, prompts_file, tmp_path / "run", api_key_env="PEER_API_KEY")) == 2

    assert "elsewhere" in error_of(tmp_path / "run")
    assert {request["path"] for request in server.requests} == {"/v1/chat/completions"}


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "::ffff:169.254.169.254", "fd00:ec2::254"])
def test_a_name_that_leads_to_a_metadata_service_is_refused(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint.socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", (address, 0))])

    with pytest.raises(Refused, match=re.escape(address)):
        endpoint.refuse_metadata("http://models.example.org/v1")


def test_an_address_in_numbers_and_an_ordinary_name_are_taken_at_their_word() -> None:
    endpoint.refuse_metadata("http://169.254.10.10:8000/v1")
    endpoint.refuse_metadata("http://localhost:8000/v1")


def test_endpoints_that_know_other_fields_are_asked_in_their_way(
    server: Server, prompts_file: Path, tmp_path: Path, run_here: Run
) -> None:
    def picky(server: Server, body: dict[str, Any], headers: Any) -> Reply:
        if "max_tokens" in body:
            return 400, {}, b"Unsupported parameter: use 'max_completion_tokens' instead."
        if "seed" in body:
            return 422, {}, b'{"detail": [{"loc": ["body", "seed"], "type": "extra_forbidden"}]}'
        return answer(body)

    server.behave = picky

    assert run_here(endpoint_spec(server, prompts_file, tmp_path / "run")) == 0
    assert server.requests[-1]["max_completion_tokens"] == 9


def test_an_empty_and_a_cut_reply_are_kept_as_they_are(
    server: Server, prompts_file: Path, tmp_path: Path, run_here: Run
) -> None:
    server.behave = lambda server, body, headers: answer(
        body, choices=[{"message": {"content": None}, "finish_reason": "length"}], usage=None
    )

    assert run_here(endpoint_spec(server, prompts_file, tmp_path / "run")) == 0
    responses = read_lines(tmp_path / "run" / "responses.jsonl")
    assert {(r["text"], r["finish"], r["tokens"]) for r in responses} == {("", "length", None)}


def test_sigterm_stops_a_run_that_waits_for_a_slow_endpoint(
    server: Server, prompts_file: Path, tmp_path: Path, start_warm: Callable[..., WarmRun]
) -> None:
    asked, release = threading.Event(), threading.Event()

    def slow(server: Server, body: dict[str, Any], headers: Any) -> Reply:
        asked.set()
        release.wait()
        return answer(body)

    server.behave = slow
    process = start_warm(endpoint_spec(server, prompts_file, tmp_path / "run"))
    assert asked.wait(60)

    os.kill(process.pid, signal.SIGTERM)

    assert process.wait()[0] == 75
    release.set()


def test_no_torch_is_imported_for_an_endpoint() -> None:
    program = "import sys, training.engine.__main__, training.engine.endpoint; print('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"
