"""One pass forward and backward, as training will do it, that leaves nothing behind."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from transformers import TrainingArguments

from training.engine.batches import Batch
from training.engine.objectives import Objective


def dry_run(model: Any, batch: Batch, objective: Objective, arguments: TrainingArguments) -> float:
    """Carry out a pass with its backward pass, and return its seconds.

    Weights, random state, gradients and mode are afterwards as they were; there is no optimizer yet. So a run ends in
    the same weights with and without.

    Args:
        model: what is trained, on its device, without gradients.
        batch: the pass; references are not needed, since what they are changes nothing of the cost.
        objective: the loss.
        arguments: the Trainer's, for precision and checkpointing.
    """
    device = arguments.device
    if batch.references_S is None:
        batch = replace(batch, references_S=torch.zeros(batch.packed.responses))
    batch = batch.to(device)
    was_training = model.training
    started = time.perf_counter()
    try:
        with (
            _checkpointing(model, arguments),
            torch.random.fork_rng([device] if device.type == "cuda" else []),
        ):
            model.train()
            with torch.autocast(device.type, torch.bfloat16, enabled=arguments.bf16):
                output = model(packed=batch.packed).float()
                loss = objective.outcome(output, batch).loss
            loss.backward()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
    finally:
        model.zero_grad(set_to_none=True)
        model.train(was_training)
    return time.perf_counter() - started


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device has no more memory."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    # What the CPU's allocator raises has no type of its own.
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


@contextmanager
def _checkpointing(model: Any, arguments: TrainingArguments) -> Iterator[None]:
    """Switch activation checkpointing on as the Trainer will, if it will."""
    if not arguments.activation_checkpointing:
        yield
        return
    model.activation_checkpointing_enable(
        activation_checkpointing_kwargs=arguments.activation_checkpointing_kwargs
    )
    try:
        yield
    finally:
        model.activation_checkpointing_disable()
