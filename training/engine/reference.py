"""Log-probabilities of responses under the model that training starts from, computed once.

Doing so before training keeps a second model out of memory even where every weight is trained. They are kept by the
content of model and tokens and by how these share passes, which decides on the last digit: so a resumed run, or another
one on the same data, goes on with the very numbers that it would compute itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from peft import PeftModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from training.engine.batches import Examples
from training.engine.collecting import collect
from training.engine.events import Events
from training.engine.files import engine_home, put_in_place
from training.engine.interrupt import Interrupt
from training.engine.step_plan import StepPlan

_FORMAT = 1
"""Raised when the same model and tokens would give other numbers."""


def add_references(
    model: Any,
    examples: Examples,
    plan: StepPlan,
    *,
    fingerprint: Sequence[str],
    device: torch.device,
    processes: int,
    first: bool,
    events: Events,
    interrupt: Interrupt,
) -> None:
    """Give `examples` their references.

    Args:
        model: before its training, taking ``packed``; adapters are switched off for the time.
        examples: what is scored.
        plan: their passes in this process, in a fixed order.
        fingerprint: of the model, see `training.engine.models.model_fingerprint`, and of how it computes.
        device: where the model is.
        processes: how many share the work.
        first: whether this process keeps the scores.
        events: gets progress in rankings.
        interrupt: asked at each pass.

    Raises:
        Stopped: nothing is kept.
    """
    sizes = [len(example.responses) for example in examples.examples]
    file = _file(fingerprint, examples, plan)
    scores = _read(file, sum(sizes))
    if processes > 1:
        # All go by what the first one finds, or some would wait for others that have nothing to do.
        scores = gather_object([scores])[0]
    if scores is None:
        scores = _score(model, examples, plan, device, processes, events, interrupt)
        if first:
            _write(file, scores)
    examples.references = [part.tolist() for part in scores.split(sizes)]


def _score(
    model: Any,
    examples: Examples,
    plan: StepPlan,
    device: torch.device,
    processes: int,
    events: Events,
    interrupt: Interrupt,
) -> torch.Tensor:
    """Return the log-probability of each response, in the examples' order. Shape: ``(responses,)``, float32."""
    base = model.disable_adapter() if isinstance(model, PeftModel) else contextlib.nullcontext()

    def tell(done: int) -> None:
        interrupt.check()
        events.progress(min(done * processes, len(examples)), len(examples), "reference")

    was_training = model.training
    model.eval()
    with base, torch.no_grad():
        scores = collect(
            examples,
            plan,
            lambda batch: batch.packed.sums(model(packed=batch.packed).float()),
            device=device,
            processes=processes,
            after_pass=tell,
        )
    model.train(was_training)
    return torch.tensor([score for each in scores for score in each], dtype=torch.float32)


def _file(fingerprint: Sequence[str], examples: Examples, plan: StepPlan) -> Path:
    passes = [chosen.examples for chosen in plan]
    content = hashlib.sha256(json.dumps([_FORMAT, list(fingerprint), passes]).encode())
    for example in examples.examples:
        content.update(json.dumps([example.prompt, example.responses]).encode())
    folder = engine_home() / "references"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{content.hexdigest()}.safetensors"


def _read(file: Path, responses: int) -> torch.Tensor | None:
    try:
        scores = load_file(file)["log_probs"]
    except (OSError, SafetensorError, KeyError):
        return None
    return scores if scores.shape == (responses,) else None


def _write(file: Path, scores: torch.Tensor) -> None:
    aside = file.with_name(f".{file.name}.{os.getpid()}.part")
    save_file({"log_probs": scores}, aside)
    put_in_place(aside, file)
