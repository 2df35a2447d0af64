"""An engine that keeps the real protocol (events, lease, signals, exit codes, checkpoints) and does what a script says.

``script.json`` in the run's folder holds: ``steps``, ``seconds`` a step, ``checkpoint_every``; ``die_at``,
``raise_at`` or ``hang_at`` a step, every time or, with ``once``, the first time only; ``refuse`` with a sentence;
``prints`` at the start; ``deaf`` to SIGTERM; ``say_end`` false; ``spoil`` the artifact after announcing it; ``code``
to exit with at the end.

``starts.txt`` gets a line a start, ``overlap`` exists if two processes ever worked in the folder at a time, and
``environment.json`` holds the environment.

Under torchrun the first process does so; the others, a line each in ``followers.txt``, say nothing and work until the
first is done. ``deaf_followers`` do not hear SIGTERM.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path

from training.engine.events import Events
from training.engine.interrupt import Interrupt, Stopped

DEFAULTS = {"steps": 8, "seconds": 0.02, "checkpoint_every": 1, "say_end": True, "code": 0}


def main(spec_file: str) -> int:
    spec = json.loads(Path(spec_file).read_text())
    folder = Path(spec["output"])
    script_file = folder / "script.json"
    script = DEFAULTS | (json.loads(script_file.read_text()) if script_file.exists() else {})
    if os.environ.get("RANK", "0") != "0":
        return follow(folder, script, Path(spec["lease"]))
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        (folder / "overlap").touch()
    with (folder / "starts.txt").open("a") as starts:
        starts.write(f"{os.getpid()}\n")
    (folder / "environment.json").write_text(json.dumps(dict(os.environ)))
    first = len((folder / "starts.txt").read_text().splitlines()) == 1
    events = Events(folder)
    print(script.get("prints", ""), end="", flush=True)
    if "refuse" in script:
        events.error(script["refuse"])
        events.end("refused")
        return 2
    if script.get("deaf"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        work(folder, script, first, events, None)
    else:
        try:
            with Interrupt(Path(spec["lease"])) as interrupt:
                work(folder, script, first, events, interrupt)
        except Stopped as stop:
            print(f"Stopped: {stop}")
            events.end("stopped")
            return 75
    if script["say_end"]:
        events.end("succeeded")
    return int(script["code"])


def follow(folder: Path, script: dict, lease: Path) -> int:
    with (folder / "followers.txt").open("a") as followers:
        followers.write(f"{os.getpid()}\n")
    if script.get("deaf_followers"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
    with Interrupt(lease) as interrupt:
        while not interrupt.requested and not (folder / "responses.jsonl").exists():
            time.sleep(0.02)
    return 75 if interrupt.requested else 0


def work(folder: Path, script: dict, first: bool, events: Events, interrupt: Interrupt | None) -> None:
    checkpoint = folder / "checkpoint"
    start = int(checkpoint.read_text()) if checkpoint.exists() else 0
    trouble = first or not script.get("once")
    for step in range(start + 1, script["steps"] + 1):
        if interrupt is not None and interrupt.requested:
            checkpoint.write_text(str(step - 1))
            interrupt.check()
        if trouble and script.get("die_at") == step:
            os.kill(os.getpid(), signal.SIGKILL)
        if trouble and script.get("raise_at") == step:
            raise RuntimeError(f"the cat sat on step {step}")
        if trouble and script.get("hang_at") == step:
            time.sleep(600)
        time.sleep(script["seconds"])
        events.progress(step, script["steps"], "training")
        events.metric(step, {"loss": 1 / step})
        if step % script["checkpoint_every"] == 0:
            draft = folder / ".checkpoint"
            draft.write_text(str(step))
            draft.replace(checkpoint)
    with events.artifact("responses.jsonl") as path:
        path.write_text(json.dumps({"steps": script["steps"]}))
    if script.get("spoil"):
        (folder / "responses.jsonl").write_text("something else")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
