"""How much memory and time training takes, by arithmetic: pure functions of sizes.

Memory is what must be there at once: weights, optimizer state, gradients, and what a pass keeps until its backward pass
is through. Time is operations by rate (Kaplan et al. 2020, "Scaling laws for neural language models", section 2.1):
2 operations a weight and token forward, and as many again for each of the two halves of the backward pass, that to the
layer's input and that to its weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from training.engine.methods import TrainingMethod
from training.engine.model_shape import ModelShape
from training.engine.packing import Branching, Layout, Work, is_plain, plan_rows
from training.engine.step_plan import Pass, StepPlan
from training.engine.token_scores import LOGITS_AT_ONCE

TOKENS_AT_ONCE = {"cpu": 4_096, "cuda": 16_384}
NF4_BYTES = 4.127 / 8
"""Of a weight in 4-bit NormalFloat with double quantization (Dettmers et al. 2023, section 3)."""
FLOAT32 = 4
KEPT, SCORING = "kept for the backward pass", "scoring"
"""What a pass holds, among the terms of memory."""
LIBRARIES = {"cpu": 150 * 2**20, "cuda": 512 * 2**20}
"""What libraries take when they first compute: code, threads, buffers. Measured on a CPU; a guess on a GPU (cuBLAS'
workspaces and PyTorch's rounding up)."""
AUTOCAST_SHARE = 1.25
"""Kept with autocast, in what a model keeps that is in 16 bits throughout: norms and residuals stay in 32. A guess."""
LAYER_SECONDS = {"cpu": 1e-3, "cuda": 1e-4}
"""Of a layer's forward pass however few its tokens: about 30 calls of PyTorch. On a CPU from a pass of 60 tokens
through SmolLM2-135M; a guess on a GPU."""
BYTES_A_SECOND = {"cpu": 5e9, "cuda": 1e12}
"""Memory traffic, where it is what takes the time: the optimizer's step, and drawing a token. Of two cores of a shared
server; of a GPU half of what an A100 is sold with."""
UPDATE_BYTES = 7 * FLOAT32
"""A step of Adam reads weight, gradient and both moments, and writes all but the gradient."""

Kind = Literal["lora", "qlora", "full"]


@dataclass(frozen=True, slots=True)
class Setup:
    """The settings that decide what a run needs."""

    kind: Kind
    tokens_at_once: int
    checkpointing: bool
    """Whether activations are computed again in the backward pass."""

    @classmethod
    def of(cls, method: TrainingMethod, device: torch.device) -> Setup:
        """Return the settings of a method, its defaults for the device filled in."""
        checkpointing = method.activation_checkpointing
        return cls(
            kind=method.parameters.kind,
            tokens_at_once=method.tokens_at_once or TOKENS_AT_ONCE.get(device.type, TOKENS_AT_ONCE["cpu"]),
            checkpointing=device.type == "cuda" if checkpointing is None else checkpointing,
        )


@dataclass(frozen=True, slots=True)
class Precision:
    """Bytes of a number."""

    weights: int
    """Of the base's weights."""
    compute: int
    """Of activations."""

    @property
    def autocast(self) -> bool:
        """Whether weights are cast as they are used."""
        return self.compute < self.weights


@dataclass(frozen=True, slots=True)
class PassSize:
    """What a forward pass computes."""

    rows: int
    width: int
    """Tokens of a row, padding included."""
    scored: int
    """Tokens that are scored on the vocabulary."""
    plain: bool
    """Whether no mask is needed."""

    @property
    def tokens(self) -> int:
        """Tokens computed, padding included."""
        return self.rows * self.width


def pass_sizes(
    plan: StepPlan, branchings: Sequence[Branching], work: Work, layout: Layout
) -> Iterator[tuple[Pass, PassSize]]:
    """Yield the passes of a plan's epoch with their sizes."""
    for chosen in plan:
        picked = [branchings[number] for number in chosen.examples]
        rows = plan_rows(picked, work, layout)
        yield (
            chosen,
            PassSize(
                rows=len(rows),
                width=max(sum(piece.width for piece in row) for row in rows),
                scored=sum(len(response) for branching in picked for response in branching.responses),
                plain=is_plain(rows),
            ),
        )


def memory_of(
    shape: ModelShape,
    setup: Setup,
    size: PassSize,
    precision: Precision,
    *,
    accumulates: bool,
    scores_tokens: bool,
    sharded: int = 1,
    replicated: bool = False,
) -> dict[str, int]:
    """Return the bytes that training has at once, by what they hold.

    Args:
        shape: the model's, its adapters for `setup.kind`.
        setup: the settings.
        size: the pass that needs most.
        precision: bytes of numbers.
        accumulates: whether a step has several passes: gradients of the earlier ones are there in the later ones.
            Otherwise they grow while what the pass kept is let go, so that the larger of both counts.
        scores_tokens: whether tokens are scored on the vocabulary (a reward model has no such head).
        sharded: among how many processes weights, gradients and optimizer state are divided (FSDP).
        replicated: whether several processes have the same weights (DDP): it holds gradients a second time, in buckets.
    """
    head = shape.head if scores_tokens else 0
    rest = shape.body + head - shape.matrices
    weights = (shape.body + head) * precision.weights
    if setup.kind == "qlora":
        # What is not quantized is in float32: PEFT's preparation for 4-bit training.
        weights = round(shape.matrices * NF4_BYTES) + rest * FLOAT32
    trained = shape.body + head if setup.kind == "full" else shape.adapters
    trained_bytes = precision.weights if setup.kind == "full" else FLOAT32
    kept = kept_by(shape, setup, size, precision)
    logits = scoring_bytes(shape, setup, size, precision) if scores_tokens else 0
    gradients = trained * trained_bytes
    if not accumulates:
        gradients = max(0, gradients - kept)
    return {
        "weights": weights // sharded,
        "adapters": 0 if setup.kind == "full" else shape.adapters * FLOAT32,
        "optimizer state": 2 * trained * trained_bytes // sharded,
        "gradients": gradients // sharded + (trained * trained_bytes if replicated else 0),
        KEPT: kept,
        SCORING: logits,
    }


def kept_by(shape: ModelShape, setup: Setup, size: PassSize, precision: Precision) -> int:
    """Return the bytes that a pass keeps for its backward pass.

    With checkpointing that is each layer's input, and one layer at a time whole (Chen et al. 2016, "Training deep nets
    with sublinear memory cost"). Masks come on top: fused attention turns a mask of booleans into numbers, anew in each
    layer, and keeps them.
    """
    layers = max(1, shape.layers)
    whole = size.tokens * (shape.kept_plain if size.plain else shape.kept)
    if precision.compute < FLOAT32:
        whole = round(whole * AUTOCAST_SHARE)
    if not size.plain:
        whole += size.rows * size.width**2 * precision.compute * layers
    if shape.materialises_attention:
        # Its weights in float32, and as they were rounded.
        whole += size.rows * size.width**2 * shape.heads * layers * (FLOAT32 + precision.compute)
    if setup.checkpointing:
        whole = whole // layers + size.tokens * shape.hidden * layers * precision.compute
    if precision.autocast:
        whole += shape.matrices * precision.compute
    mask = 0 if size.plain else size.rows * size.width**2
    return whole + mask


def scoring_bytes(shape: ModelShape, setup: Setup, size: PassSize, precision: Precision) -> int:
    """Return the bytes that scoring tokens on the vocabulary takes beside what the layers keep.

    Three times the logits that are held at once, in float32 (logits, their exponentials, and their slope), and a number
    a token and hidden dimension. The gradient of a trained head is there twice, one part's and the sum.
    """
    held = min(LOGITS_AT_ONCE, size.scored * shape.vocabulary)
    table = 2 * shape.vocabulary * shape.hidden * FLOAT32 if setup.kind == "full" else 0
    return 3 * held * FLOAT32 + size.scored * shape.hidden * precision.compute + table


def layout_check_bytes(shape: ModelShape, width: int, precision: Precision) -> int:
    """Return the bytes of comparing packed scores with the model's own on one sequence, which holds logits of all its
    positions, and their logarithms of probabilities in float32."""
    return width * shape.vocabulary * (precision.compute + 2 * FLOAT32)


def forward_operations(shape: ModelShape, size: PassSize, work: Work, *, scores_tokens: bool) -> float:
    """Return the operations of a pass without gradients."""
    layers = 2 * shape.matrices * work.of(size.rows, size.width, plain=size.plain)
    return layers + (2 * shape.vocabulary * shape.hidden * size.scored if scores_tokens else 0)


def training_operations(
    shape: ModelShape, setup: Setup, size: PassSize, work: Work, *, scores_tokens: bool
) -> float:
    """Return the operations of a pass with its backward pass.

    Adapters need no gradient of the base's weights. Attention's backward pass is 2.5 times its forward pass (Dao 2023,
    "FlashAttention-2", section 4.1). The head is computed anew in the backward pass where it is trained; where it
    is not, its slope is found in the forward pass at the price of a second product.
    """
    once = 2 * shape.matrices * size.tokens
    attending = 2 * shape.matrices * work.of(size.rows, size.width, plain=size.plain) - once
    again = 1 if setup.checkpointing else 0
    full = setup.kind == "full"
    operations = once * ((3 if full else 2) + again) + attending * (3.5 + again)
    operations += 2 * shape.adapters * size.tokens * (3 + again)
    head = 2 * shape.vocabulary * shape.hidden * size.scored if scores_tokens else 0
    return operations + head * (4 if full else 2)


def seconds_of(operations: float, layer_passes: float, rate: float, device: str) -> float:
    """Return the time of operations at a rate a second, and of going through so many layers at all."""
    return operations / rate + layer_passes * LAYER_SECONDS.get(device, LAYER_SECONDS["cpu"])


def smaller_setups(setup: Setup, smallest_pass: int, *, qlora: bool) -> Iterator[Setup]:
    """Yield what could be tried in a setup's place, the least change first: smaller passes, then activation
    checkpointing, then adapters in place of full training, then a 4-bit base.

    Args:
        setup: what needs too much.
        smallest_pass: tokens of the largest single example: no pass can be made smaller than it.
        qlora: whether 4-bit weights can be had here.
    """
    kinds: list[Kind] = [setup.kind]
    if setup.kind == "full":
        kinds.append("lora")
    if qlora and setup.kind != "qlora":
        kinds.append("qlora")
    for kind in kinds:
        for checkpointing in (False, True) if not setup.checkpointing else (True,):
            tokens = setup.tokens_at_once
            while True:
                candidate = Setup(kind, tokens, checkpointing)
                if candidate != setup:
                    yield candidate
                if tokens <= smallest_pass:
                    break
                tokens = max(smallest_pass, tokens // 2)
