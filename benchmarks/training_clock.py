"""How a side of `benchmarks/training.py` is measured: what is timed of a run, its peak memory, and its first step."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

Run = Callable[[], dict[str, float]]


class Clock(TrainerCallback):
    """Times a Trainer's run from the end of its first forward passes on, which pay for the start, to its last optimizer
    step; and keeps the first step's loss and gradient norm, to show that both sides do the same work.

    Args:
        passes: forward (and backward) passes of an optimizer step.
        steps: optimizer steps.
        untimed: how many passes are not timed. One will do where all have the same shape.
    """

    def __init__(self, passes: int, steps: int, untimed: int = 1) -> None:
        if untimed >= passes * steps:
            raise ValueError(f"A job of {passes * steps} passes times none after the first {untimed}.")
        self.share = 1 - untimed / (passes * steps)
        """Of the run's passes, and so of its rankings, how many are timed."""
        self.seconds = 0.0
        self.first: dict[str, float] = {}
        self._untimed = untimed
        self._seen = 0
        self._began = 0.0

    def on_substep_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._pass_ended()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._pass_ended()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if not self.first and "grad_norm" in (logs or {}):
            self.first = {"loss": float(logs["loss"]), "gradient": float(logs["grad_norm"])}

    def result(self, rankings: float, before: float = 0.0) -> dict[str, float]:
        """Return rankings a second and the first step's figures.

        Args:
            rankings: of the whole run.
            before: seconds that they all took before training.
        """
        return {"rate": rankings * self.share / (self.seconds + before * self.share), **self.first}

    def _pass_ended(self) -> None:
        self._seen += 1
        if self._seen < self._untimed:
            return
        if self._seen == self._untimed:
            self._began = now()
        else:
            self.seconds = now() - self._began


def now() -> float:
    """Return the time in seconds at which all work asked for until here is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def with_peak_memory(run: Run) -> dict[str, float]:
    """Return what a run gives, and its peak memory in MiB above what was held before it."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        return run() | {"mib": (torch.cuda.max_memory_allocated() - held) / 2**20}
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # begins the high-water mark anew
    held = _resident("VmRSS")
    return run() | {"mib": (_resident("VmHWM") - held) / 2**20}


def _resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))
