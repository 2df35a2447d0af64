"""The estimate of what a training run needs, from its spec, the model's configuration and the data's token counts."""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from training.engine.examples import Example
from training.engine.methods import DpoMethod, TrainingMethod
from training.engine.model_shape import ModelShape, shape_of
from training.engine.models import choose_dtype
from training.engine.needs import (
    BYTES_A_SECOND,
    KEPT,
    LIBRARIES,
    SCORING,
    UPDATE_BYTES,
    Kind,
    PassSize,
    Precision,
    Setup,
    forward_operations,
    layout_check_bytes,
    memory_of,
    pass_sizes,
    seconds_of,
    training_operations,
)
from training.engine.packing import Layout, Work
from training.engine.policy_measures import SAMPLE_TOKENS, WINDOW
from training.engine.spec import Spec
from training.engine.step_plan import Cadence, Pass, StepPlan
from training.engine.work import ATTENTION_RATE

EFFICIENCY = {"cpu": 0.65, "cuda": 0.4}
"""Share of a plain matrix product's rate that passes reach. On a CPU 0.60 to 0.71 were measured with SmolLM2-135M,
adapters and full training, passes of 380 to 760 tokens; on a GPU it is a guess (Chowdhery et al. 2022, "PaLM", section
4.1, list 21 to 46 % of the hardware's peak)."""
PROBE_OPERATIONS = {"cpu": 2**31, "cuda": 2**37}
PROBES = 7
GENERAL_TEXT = PassSize(rows=5, width=WINDOW, scored=5 * WINDOW, plain=True)
"""Of the text that retention is measured on, about."""
KEPT_FOR_LATER = 0.85
"""The most freed memory that the C library keeps, as a share of what a pass holds at once. How much it is depends on
where blocks happen to lie: SmolLM2-135M with adapters, passes of 130 to 1,100 tokens, 2 to 30 of them, left 0 to 0.85,
and the same run from 0 to 0.3."""
FAMILIAR_EXAMPLES = 64
"""Most examples of the training split that are measured beside held-out ones, for the gap between them; no more than
there are held-out ones either."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run needs, and what there is."""

    setup: Setup
    terms: Mapping[str, int]
    """Bytes by what they hold, of the dearest pass."""
    needed: int
    """Bytes at once."""
    free: int
    seconds: Mapping[str, float]
    """By phase, once the model is loaded."""
    steps: int
    passes: int
    """Of all steps."""
    largest: PassSize
    dearest: Pass
    """The pass that needs most, and its size."""
    dearest_seconds: float

    @property
    def fits(self) -> bool:
        """Whether what is needed is free."""
        return self.needed <= self.free

    @property
    def most_growth(self) -> int:
        """Bytes that the process comes to at most on a CPU, where freed memory is kept for later, see
        `training.engine.memory.give_freed_memory_back`."""
        return self.needed + round(KEPT_FOR_LATER * (self.terms[KEPT] + self.terms[SCORING]))

    @property
    def total_seconds(self) -> float:
        """Of all phases."""
        return sum(self.seconds.values())


class Estimator:
    """Estimates for one spec and its data.

    Args:
        spec: of a training run.
        train: its examples.
        held_out: what is measured on; may be empty.
        device: where it is to run.
        processes: how many share the work.
        rank: which of them this is.
        layout: how examples are laid out; by default as the spec asks.
    """

    def __init__(
        self,
        spec: Spec,
        train: Sequence[Example],
        held_out: Sequence[Example],
        device: torch.device,
        *,
        processes: int = 1,
        rank: int = 0,
        layout: Layout | None = None,
    ) -> None:
        self.setup = Setup.of(spec.method, device)
        self._spec = spec
        self._method: TrainingMethod = spec.method
        self._train = train
        self._held_out = held_out
        self._device = device
        self._processes = processes
        self._rank = rank
        self._layout: Layout = layout or spec.method.layout
        self._scores_tokens = spec.kind != "reward"
        self._shapes: dict[Kind, ModelShape] = {}
        self._passes: dict[int, list[list[tuple[Pass, PassSize]]]] = {}
        self._rate: float | None = None

    @property
    def longest(self) -> int:
        """Tokens of the largest example by itself."""
        return max(
            size.tokens for epoch in self._epochs(1) for _, size in epoch
        )  # a budget of one token leaves each example by itself

    def estimate(self, setup: Setup, free: int) -> Estimate:
        """Return what the run needs in a setup, where so many bytes are free."""
        epochs = self._epochs(setup.tokens_at_once)
        needs = {
            each: self._memory(setup, each, epochs) for _, each in (p for epoch in epochs for p in epoch)
        }
        dearest, largest = max(
            (each for epoch in epochs for each in epoch), key=lambda each: sum(needs[each[1]].values())
        )
        steps = math.ceil(self._method.epochs * math.ceil(len(self._train) / self._method.batch_size))
        return Estimate(
            setup=setup,
            terms=needs[largest],
            needed=max(sum(needs[largest].values()), self._loading_and_checking(setup)),
            free=free,
            seconds=self._seconds(setup, epochs, steps),
            steps=steps,
            passes=steps * (len(epochs[0]) // max(1, self._steps_an_epoch)),
            largest=largest,
            dearest=dearest,
            dearest_seconds=self._pass_seconds(setup, largest),
        )

    @property
    def _steps_an_epoch(self) -> int:
        return math.ceil(len(self._train) / self._method.batch_size)

    def _shape(self, kind: Kind) -> ModelShape:
        if kind not in self._shapes:
            assert self._spec.model is not None
            parameters = dataclasses.replace(self._method.parameters, kind=kind)
            dtype = torch.float32 if self._precision(kind).compute == 4 else torch.bfloat16
            self._shapes[kind] = shape_of(self._spec.model, parameters, dtype)
        return self._shapes[kind]

    def _precision(self, kind: Kind) -> Precision:
        """Return what `training.engine.parameters.load_for_training` and the Trainer's autocast make of the dtype."""
        assert self._spec.model is not None
        wanted = self._spec.model.dtype
        if kind == "full" and wanted == "auto":
            wanted = "float32"
        weights = choose_dtype(wanted, "training", self._device).itemsize
        autocast = self._device.type == "cuda" and self._spec.model.dtype != "float32"
        return Precision(weights=weights, compute=2 if autocast else weights)

    def _work(self, kind: Kind) -> Work:
        rate = ATTENTION_RATE.get(self._device.type, 1.0)
        return Work(attention=rate * self._shape(kind).attention)

    def _epochs(self, tokens_at_once: int) -> list[list[tuple[Pass, PassSize]]]:
        """Return this process's passes of each epoch."""
        if tokens_at_once not in self._passes:
            branchings = [example.branching for example in self._train]
            work, layout = self._work(self.setup.kind), self._layout
            epochs = math.ceil(self._method.epochs)
            plan = StepPlan(
                branchings,
                batch_size=self._method.batch_size,
                tokens_at_once=tokens_at_once,
                work=work,
                layout=layout,
                epochs=epochs,
                seed=self._spec.seed,
                rank=self._rank,
                world=self._processes,
            )
            found = []
            for epoch in range(epochs):
                plan.set_epoch(epoch)
                found.append(list(pass_sizes(plan, branchings, work, layout)))
            self._passes[tokens_at_once] = found
        return self._passes[tokens_at_once]

    def _memory(
        self, setup: Setup, size: PassSize, epochs: Sequence[Sequence[tuple[Pass, PassSize]]]
    ) -> dict[str, int]:
        fsdp = self._method.sharding == "fsdp"
        terms = memory_of(
            self._shape(setup.kind),
            setup,
            size,
            self._precision(setup.kind),
            accumulates=len(epochs[0]) > self._steps_an_epoch,
            scores_tokens=self._scores_tokens,
            sharded=self._processes if fsdp else 1,
            replicated=self._processes > 1 and not fsdp,
        )
        return terms | {"libraries": LIBRARIES.get(self._device.type, LIBRARIES["cpu"])}

    def _loading_and_checking(self, setup: Setup) -> int:
        """Return the bytes that the run needs before training."""
        shape, precision = self._shape(setup.kind), self._precision(setup.kind)
        weights = (shape.body + shape.head) * precision.weights
        widest = max(len(e.prompt) + max(map(len, e.responses)) for e in self._train)
        return weights + layout_check_bytes(shape, widest, precision) if self._scores_tokens else weights

    def _seconds(
        self, setup: Setup, epochs: Sequence[Sequence[tuple[Pass, PassSize]]], steps: int
    ) -> dict[str, float]:
        shape, device = self._shape(setup.kind), self._device.type
        an_epoch = sum(self._pass_seconds(setup, size) for epoch in epochs for _, size in epoch) / len(epochs)
        trained = shape.adapters or shape.body + shape.head
        traffic = BYTES_A_SECOND.get(device, BYTES_A_SECOND["cpu"])
        once = self._forward_seconds(setup, [size for _, size in epochs[0]])
        # Held-out examples are about as long as the training split's.
        unseen = once * len(self._held_out) / len(self._train)
        judged = unseen + once * min(FAMILIAR_EXAMPLES, len(self._held_out), len(self._train)) / len(
            self._train
        )
        every = Cadence.of(self._method, len(self._train)).measure
        measurements = math.ceil(steps / every) if self._held_out else 0
        general, drawn = 0.0, 0.0
        if self._held_out and self._scores_tokens and self._method.retention:
            general = self._forward_seconds(setup, [GENERAL_TEXT])
        if self._held_out and self._scores_tokens:
            answers = min(self._method.eval_samples, len(self._held_out))
            operations = 2 * (shape.matrices + shape.vocabulary * shape.hidden) * answers
            weights = (shape.body + shape.head) * self._precision(setup.kind).weights
            token = max(operations / self._speed(), weights / traffic) if answers else 0.0
            drawn = SAMPLE_TOKENS * (token + (seconds_of(0, shape.layers, 1, device) if answers else 0.0))
        has_references = isinstance(self._method, DpoMethod)
        return {
            "reference": (once + unseen if has_references else 0.0)
            + general
            + (drawn if setup.kind == "full" else 0.0),
            "training": an_epoch * self._method.epochs + steps * trained * UPDATE_BYTES / traffic,
            "measuring": measurements * (judged + general + drawn),
        }

    def _pass_seconds(self, setup: Setup, size: PassSize) -> float:
        shape = self._shape(setup.kind)
        operations = training_operations(
            shape, setup, size, self._work(setup.kind), scores_tokens=self._scores_tokens
        )
        # Backward, or forward again, goes through as many calls as forward; adapters add two products to each layer's.
        times = (4 if setup.checkpointing else 3) * (1 if setup.kind == "full" else 2)
        return seconds_of(operations, times * shape.layers, self._speed(), self._device.type)

    def _forward_seconds(self, setup: Setup, sizes: Sequence[PassSize]) -> float:
        shape, work = self._shape(setup.kind), self._work(setup.kind)
        operations = sum(
            forward_operations(shape, size, work, scores_tokens=self._scores_tokens) for size in sizes
        )
        return seconds_of(operations, shape.layers * len(sizes), self._speed(), self._device.type)

    def _speed(self) -> float:
        if self._rate is None:
            kind = self.setup.kind
            dtype = torch.float32 if self._precision(kind).compute == 4 else torch.bfloat16
            self._rate = measured_rate(self._device, self._shape(kind).hidden, dtype)
        return self._rate * EFFICIENCY.get(self._device.type, EFFICIENCY["cpu"])


def measured_rate(device: torch.device, hidden: int, dtype: torch.dtype) -> float:
    """Return the operations a second of a matrix product as wide as a model's layers; it takes a fraction of a second.

    Args:
        device: where.
        hidden: the model's hidden size; layers are taken to widen it fourfold.
        dtype: of the numbers.
    """
    budget = PROBE_OPERATIONS.get(device.type, PROBE_OPERATIONS["cpu"])
    rows = min(4096, max(16, budget // (2 * hidden * 4 * hidden)))
    # Not random: the state that training draws from stays as it is.
    left = torch.ones(rows, hidden, dtype=dtype, device=device)
    right = torch.ones(hidden, 4 * hidden, dtype=dtype, device=device)
    taken = []
    for _ in range(PROBES):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        start = time.perf_counter()
        left @ right
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - start)
    return 2 * rows * hidden * 4 * hidden / statistics.median(taken)
