"""What a Trainer tells the world while it trains, and how it is stopped."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from training.engine.events import Events
from training.engine.interrupt import Interrupt

PROGRESS_SECONDS = 0.5


class TrainingProgress(TrainerCallback):
    """Sends a Trainer's steps and figures as events, and stops it at a checkpoint when the run must stop.

    Args:
        events: where progress (in optimizer steps) and metrics go.
        interrupt: asked after each step and each evaluated batch.
    """

    def __init__(self, events: Events, interrupt: Interrupt) -> None:
        self._events = events
        self._interrupt = interrupt
        self._told = 0.0
        self._stopping = False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._events.progress(state.global_step, state.max_steps, "training")

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if time.monotonic() - self._told > PROGRESS_SECONDS or state.global_step == state.max_steps:
            self._told = time.monotonic()
            self._events.progress(state.global_step, state.max_steps, "training")
        if self._must_stop(args):
            self._stopping = True
            control.should_save = True
            control.should_evaluate = False
            control.should_training_stop = True

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._stopping:
            control.should_evaluate = False

    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._must_stop(args):
            self._interrupt.check()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        values = {name: value for name, value in (logs or {}).items() if not _is_bookkeeping(name)}
        if values:
            self._events.metric(state.global_step, values)

    def _must_stop(self, args: TrainingArguments) -> bool:
        """Whether any process must stop: all leave the loop at the same step, or some would wait for ever."""
        if args.world_size == 1:
            return self._interrupt.requested
        flag = torch.tensor(int(self._interrupt.requested), device=args.device)
        torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX)
        if flag:
            self._interrupt.request("Another process of the run was stopped.")
        return bool(flag)


def _is_bookkeeping(name: str) -> bool:
    """Whether the Trainer logs this for itself rather than as a measure of training."""
    return name in ("epoch", "total_flos", "num_tokens", "train_loss") or name.endswith(
        ("_runtime", "_per_second", "_epoch")
    )
