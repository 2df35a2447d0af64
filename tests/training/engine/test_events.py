"""Events are whole lines, artifacts are whole or absent, and a run notices when it must stop."""

from __future__ import annotations

import json
import os
import resource
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.training.engine.conftest import read_lines
from training.engine.events import Events, sha256_of
from training.engine.interrupt import Interrupt, Stopped
from training.engine.refusal import Unavailable


def test_events_are_appended_with_their_time_and_in_order(tmp_path: Path) -> None:
    before = time.time()
    Events(tmp_path).progress(1, 2, "sampling")
    Events(tmp_path).metric(10, {"loss": 0.5, "margin": float("inf")})

    first, second = read_lines(tmp_path / "events.jsonl")
    assert (first["event"], first["done"], first["total"], first["phase"]) == ("progress", 1, 2, "sampling")
    assert second["values"] == {"loss": 0.5, "margin": None}
    assert before <= first["time"] <= second["time"]


def test_a_line_torn_by_a_kill_is_cut_off_by_the_next_start(tmp_path: Path) -> None:
    Events(tmp_path).log("whole")
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write('{"event": "log", "te')

    Events(tmp_path).log("next")

    assert [event["text"] for event in read_lines(tmp_path / "events.jsonl")] == ["whole", "next"]


def test_writers_at_the_same_time_never_mix_their_lines(tmp_path: Path) -> None:
    events = Events(tmp_path)
    threads = [
        threading.Thread(target=lambda n=n: [events.log(f"{n} " * 2000) for _ in range(50)]) for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(read_lines(tmp_path / "events.jsonl")) == 200


def test_a_full_disk_is_told_in_a_sentence_and_leaves_no_half_line(tmp_path: Path) -> None:
    events = Events(tmp_path)
    events.log("Before.")
    size = (tmp_path / "events.jsonl").stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, before[1]))
    try:
        with pytest.raises(Unavailable, match="could not be written"):
            events.log("Half of this line would fit.")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    events.log("After.")

    assert [row["text"] for row in read_lines(tmp_path / "events.jsonl")] == ["Before.", "After."]


def test_half_a_surrogate_pair_does_not_break_the_log(tmp_path: Path) -> None:
    Events(tmp_path).sample([{"role": "user", "content": "?"}], "half \ud83d")

    assert read_lines(tmp_path / "events.jsonl")[0]["response"] == "half ?"


def test_an_artifact_is_announced_when_it_is_whole(tmp_path: Path) -> None:
    events = Events(tmp_path)
    with events.artifact("adapter") as path:
        path.mkdir()
        (path / "weights").write_bytes(b"12")
        assert not (tmp_path / "adapter").exists()
        assert not read_lines(tmp_path / "events.jsonl")

    [event] = read_lines(tmp_path / "events.jsonl")
    assert (event["name"], event["path"]) == ("adapter", "adapter")
    assert event["sha256"] == sha256_of(tmp_path / "adapter")


def test_an_artifact_that_fails_leaves_the_one_before(tmp_path: Path) -> None:
    events = Events(tmp_path)
    with events.artifact("a.txt") as path:
        path.write_text("old")

    with pytest.raises(RuntimeError), events.artifact("a.txt") as path:
        path.write_text("new")
        raise RuntimeError

    assert (tmp_path / "a.txt").read_text() == "old"
    assert len(read_lines(tmp_path / "events.jsonl")) == 1


def test_a_folders_hash_follows_from_names_and_contents(tmp_path: Path) -> None:
    def folder(name: str, files: dict[str, str]) -> str:
        for path, text in files.items():
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_text(text)
        return sha256_of(tmp_path / name)

    same = {"b": "1", "sub/a": "2"}
    hashes = [
        folder("1", same),
        folder("2", dict(reversed(same.items()))),
        folder("3", {"b": "1", "sub/c": "2"}),
    ]

    assert hashes[0] == hashes[1] != hashes[2]


def test_a_signal_is_kept_until_a_loop_asks() -> None:
    with Interrupt(None) as interrupt:
        interrupt.check()
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupt.requested
        with pytest.raises(Stopped, match="SIGTERM"):
            interrupt.check()


def test_a_renewed_lease_lets_the_run_go_on_and_a_lost_one_stops_it(tmp_path: Path) -> None:
    lease = tmp_path / "lease.json"
    lease.write_text(json.dumps({"token": 3, "until": time.time() + 1.5}))

    with Interrupt(lease) as interrupt:
        lease.write_text(json.dumps({"token": 3, "until": time.time() + 600}))
        with pytest.raises(Stopped, match="test"):
            stop = threading.Timer(2.5, interrupt.request, ["The test ends."])
            stop.start()
            interrupt.wait(60)

    with Interrupt(lease) as interrupt:
        lease.write_text(json.dumps({"token": 4, "until": time.time() + 600}))
        with pytest.raises(Stopped, match="token 4"):
            interrupt.wait(60)


def test_a_lease_that_ran_out_or_cannot_be_read_stops_the_run(tmp_path: Path) -> None:
    lease = tmp_path / "lease.json"

    with Interrupt(lease) as interrupt, pytest.raises(Stopped, match="cannot be read"):
        interrupt.check()

    lease.write_text(json.dumps({"token": 3, "until": time.time() + 1}))
    with Interrupt(lease) as interrupt, pytest.raises(Stopped, match="ran out"):
        lease.unlink()
        interrupt.wait(60)
