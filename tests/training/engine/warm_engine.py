"""The engine as processes of its own, forked from one that has imported torch and transformers already.

A start by ``python -m training.engine`` spends about ten seconds on imports; these tests start some forty.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class WarmRun:
    """A running engine. Its exit code is negative for a signal, as in `subprocess`."""

    pid: int
    log_file: Path
    server: WarmEngine

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        return self.server.ask({"poll": self.pid})

    def wait(self) -> tuple[int, str]:
        """The exit code and the log, when it has ended."""
        return self.server.ask({"wait": self.pid}), self.log

    @property
    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8")


class WarmEngine:
    """Starts engines on specs."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.training.engine.warm_engine"],
            env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1"},
            cwd=Path(__file__).parents[3],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(
        self,
        spec: dict[str, Any],
        folder: Path,
        kill: tuple[Any, ...] | None = None,
        variables: dict[str, str] | None = None,
    ) -> WarmRun:
        """Start a run; spec and log are written to `folder`.

        Args:
            variables: of the run's environment.
            kill: a place in the training loop (see `KILLING_PLACES`), the global step at which the process gets a
                signal there, and the signal, if it is another than SIGKILL.
        """
        log = folder / "engine.log"
        (folder / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
        order = {"start": str(folder / "spec.json"), "log": str(log), "kill": kill}
        return WarmRun(self.ask({**order, "variables": variables or {}}), log, self)

    def start_together(
        self, count: int, call: str, folder: Path, kill_last: tuple[Any, ...] | None = None
    ) -> list[WarmRun]:
        """Start as many processes as one group, as torchrun would, that each call ``module:function`` with `folder`;
        the last of them gets a signal as `start` says."""
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
        group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        group |= {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
        runs = []
        for rank in range(count):
            log = folder / f"process-{rank}.log"
            kill = kill_last if rank == count - 1 else None
            order = {"call": call, "start": str(folder), "log": str(log), "kill": kill}
            variables = group | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            runs.append(WarmRun(self.ask({**order, "variables": variables}), log, self))
        return runs

    def ask(self, order: dict[str, Any]) -> Any:
        """Send an order, return the answer."""
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """End the server, and with it what still runs."""
        self._process.stdin.close()
        self._process.wait()


KILLING_PLACES = {
    "in a step": ("training_step", "before"),
    "between passes": ("training_step", "after"),
    "in a checkpoint": ("_save_rng_state", "before"),
    "after a checkpoint": ("_save_checkpoint", "after"),
    "in an evaluation": ("outcome_of", "before"),
}
DRAWING_PLACE = "while answers are drawn"
"""The same in measuring a policy; the step is the number of times that answers were drawn before."""
PPO_PLACES = {
    "in a rollout": ("draw", "before"),
    "in scoring": ("estimate_advantages", "before"),
    "in optimisation": ("take_step", "before"),
    "before telling": ("measure", "before"),
    "after a rollout": ("finish_rollout", "after"),
}
"""The same for a ppo run; the step is that of its optimizer."""


def serve() -> None:
    """Take orders, one JSON object a line, until the input ends."""
    # What is imported here, no run imports again.
    import training.engine.dpo
    import training.engine.ppo
    import training.engine.reward
    import training.engine.sft  # noqa: F401

    # A run collects garbage twice; it need not look through all that was imported each time.
    gc.collect()
    gc.freeze()
    codes: dict[int, int] = {}
    running: set[int] = set()
    for line in sys.stdin:
        order = json.loads(line)
        if "start" in order:
            pid = os.fork()
            if pid == 0:
                become_engine(order)
            running.add(pid)
            answer = pid
        else:
            pid = order.get("poll") or order["wait"]
            if pid in running:
                ended, status = os.waitpid(pid, os.WNOHANG if "poll" in order else 0)
                if ended:
                    running.remove(pid)
                    codes[pid] = os.waitstatus_to_exitcode(status)
            answer = codes.get(pid)
        print(json.dumps(answer), flush=True)
    for pid in running:
        os.kill(pid, signal.SIGKILL)


def become_engine(order: dict[str, Any]) -> None:
    """Carry out a run in this process, and end it."""
    from training.engine.__main__ import main

    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.update(order["variables"])
    if order["kill"] is not None:
        kill_itself(*order["kill"])
    code = 1
    try:
        if "call" in order:
            module, function = order["call"].split(":")
            code = getattr(importlib.import_module(module), function)(Path(order["start"]))
        else:
            code = main([order["start"]])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def kill_itself(place: str, step: int, number: int = signal.SIGKILL) -> None:
    """Let this process send itself a signal, once, when training has come to a place and a global step."""
    from training.engine.policy_measures import Answers
    from training.engine.ppo import PpoRun
    from training.engine.ranking_trainer import RankingTrainer

    owner: Any = PpoRun if place in PPO_PLACES else Answers if place == DRAWING_PLACE else RankingTrainer
    name, when = (KILLING_PLACES | PPO_PLACES | {DRAWING_PLACE: ("draw", "before")})[place]
    original = getattr(owner, name)
    sent = False
    calls = -1

    def reached(self: Any) -> bool:
        if owner is Answers:
            return calls == step
        steps = self.steps_done if owner is PpoRun else self.state.global_step
        return bool(steps == step)

    def killing(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal sent, calls
        calls += 1
        if when == "before" and reached(self) and not sent:
            sent = True
            os.kill(os.getpid(), number)
        value = original(self, *args, **kwargs)
        if when == "after" and reached(self) and not sent:
            sent = True
            os.kill(os.getpid(), number)
        return value

    setattr(owner, name, killing)


if __name__ == "__main__":
    serve()
