"""What memory and time a *ppo* run needs, by arithmetic: see `training.engine.needs` for its parts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from safetensors import safe_open

from training.engine.estimate import EFFICIENCY, Estimate, measured_rate
from training.engine.generator import CPU_ROWS, GPU_ROWS
from training.engine.model_shape import ModelShape, shape_of
from training.engine.models import choose_dtype, load_config
from training.engine.needs import (
    BYTES_A_SECOND,
    FLOAT32,
    KEPT,
    LIBRARIES,
    NF4_BYTES,
    SCORING,
    Kind,
    PassSize,
    Precision,
    Setup,
    forward_operations,
    kept_by,
    scoring_bytes,
    seconds_of,
    training_operations,
)
from training.engine.packing import Work
from training.engine.ppo_settings import PpoMethod
from training.engine.reward_models import RewardFolder
from training.engine.rollout import Task
from training.engine.spec import Spec
from training.engine.step_plan import Pass
from training.engine.work import ATTENTION_RATE

CACHE_COPIES = 1.5
"""Of keys and values: rows that ended leave by copying the rest."""
FEATURES = "kept hidden states"
"""Before each token, for a value function that is a head alone."""
LOGITS_COPIES = 3
"""While a token is drawn: logits, probabilities, their running sums."""


class PpoEstimator:
    """Estimates for one spec and its prompts, with the interface of `training.engine.estimate.Estimator`.

    Args:
        spec: of a ppo run.
        tasks: its prompts.
        rewards: its reward models.
        watch: the independent one, if any.
        device: where it is to run.
        tokens_at_once: the token budget of a pass.
        checkpointing: whether activations are computed again.
        processes: how many share the work.
    """

    def __init__(
        self,
        spec: Spec,
        tasks: Sequence[Task],
        rewards: Sequence[RewardFolder],
        watch: RewardFolder | None,
        device: torch.device,
        *,
        tokens_at_once: int,
        checkpointing: bool,
        processes: int = 1,
    ) -> None:
        self._spec = spec
        self._method: PpoMethod = spec.method
        self._folders = [*rewards, *([watch] if watch else [])]
        self._starts_from_reward = rewards[0].adapter
        self._device = device
        self._processes = processes
        self.setup = Setup(self._method.parameters.kind, tokens_at_once, checkpointing)
        lengths = sorted(len(task.tokens) for task in tasks)
        self.longest = lengths[-1] + self._method.max_tokens
        """Tokens of the longest prompt with the longest response."""
        self._usual = sum(lengths) / len(lengths) + self._method.max_tokens
        self._shapes: dict[Kind, ModelShape] = {}
        self._rate: float | None = None

    def estimate(self, setup: Setup, free: int) -> Estimate:
        """Return what the run needs in a setup, where so many bytes are free."""
        rows = max(1, setup.tokens_at_once // self.longest)
        mine = self._mine
        rows = min(rows, mine)
        size = PassSize(rows, self.longest, rows * self._method.max_tokens, plain=self._method.samples == 1)
        terms = self._memory(setup, size)
        kept = ("weights", "other models", "adapters", "optimizer state", FEATURES, "libraries")
        lasting = sum(terms[name] for name in kept)
        learning = terms["gradients"] + terms[KEPT] + terms[SCORING]
        steps = self._method.rollouts * self._method.epochs * self._method.minibatches
        passes = steps * max(1, round(mine * self._usual / setup.tokens_at_once / self._method.minibatches))
        return Estimate(
            setup=setup,
            terms=terms,
            needed=lasting + max(learning, terms["generation"]),
            free=free,
            seconds=self._seconds(setup, mine),
            steps=steps,
            passes=passes,
            largest=size,
            dearest=Pass((), ()),
            dearest_seconds=0.0,
        )

    def _shape(self, kind: Kind) -> ModelShape:
        if kind not in self._shapes:
            assert self._spec.model is not None
            parameters = dataclasses.replace(self._method.parameters, kind="lora" if kind == "full" else kind)
            dtype = torch.float32 if self._precision.compute == FLOAT32 else torch.bfloat16
            self._shapes[kind] = shape_of(self._spec.model, parameters, dtype)
        return self._shapes[kind]

    @property
    def _precision(self) -> Precision:
        assert self._spec.model is not None
        weights = choose_dtype(self._spec.model.dtype, "training", self._device).itemsize
        autocast = self._device.type == "cuda" and self._spec.model.dtype != "float32"
        return Precision(weights=weights, compute=2 if autocast else weights)

    def _memory(self, setup: Setup, size: PassSize) -> dict[str, int]:
        shape, precision = self._shape(setup.kind), self._precision
        whole = shape.body + shape.head
        weights = whole * precision.weights
        if setup.kind == "qlora":
            weights = round(shape.matrices * NF4_BYTES) + (whole - shape.matrices) * FLOAT32
        a_rank = shape.adapters / self._method.parameters.rank
        value_rank = self._method.value_rank or self._method.parameters.rank
        shared = [folder.rank() for folder in self._folders if folder.adapter]
        if self._starts_from_reward:
            value_rank = shared[0]
        full = setup.kind == "full"
        policy = whole if full else shape.adapters
        if self._head_only:
            value_rank = 0
        trained = policy + round(a_rank * value_rank) + shape.hidden + 1
        features = 0
        if self._head_only and self._device.type == "cpu":  # where rollouts are kept
            features = self._mine * self._method.max_tokens * shape.hidden
        others = sum(parameters_in(folder) for folder in self._folders if not folder.adapter)
        return {
            "weights": weights,
            "other models": others * FLOAT32 + (whole * FLOAT32 if full else 0),
            "adapters": round(a_rank * (value_rank + sum(shared))) * FLOAT32
            + (0 if full else policy * FLOAT32),
            "optimizer state": 2 * trained * FLOAT32,
            "gradients": trained * FLOAT32,
            KEPT: kept_by(shape, setup, size, precision),
            SCORING: scoring_bytes(shape, setup, size, precision),
            "generation": self._generation(shape, precision),
            FEATURES: features * FLOAT32,
            "libraries": LIBRARIES.get(self._device.type, LIBRARIES["cpu"]),
        }

    @property
    def _head_only(self) -> bool:
        """Whether of the value function a head alone learns, from hidden states that are kept."""
        return self._method.value == "head"

    @property
    def _mine(self) -> int:
        """Responses of a rollout in each process."""
        return max(1, self._method.batch_size // self._processes)

    @property
    def _rows(self) -> int:
        """Responses that are drawn together."""
        return min(CPU_ROWS if self._device.type == "cpu" else GPU_ROWS, self._mine)

    def _generation(self, shape: ModelShape, precision: Precision) -> int:
        assert self._spec.model is not None
        config: Any = load_config(self._spec.model).get_text_config()
        heads = getattr(config, "num_attention_heads", None) or 0
        groups = getattr(config, "num_key_value_heads", None) or heads
        width = getattr(config, "head_dim", None) or shape.hidden // max(1, heads)
        cache = 2 * shape.layers * groups * width * self._rows * self.longest * precision.compute
        return round(CACHE_COPIES * cache) + LOGITS_COPIES * self._rows * shape.vocabulary * FLOAT32

    def _seconds(self, setup: Setup, mine: int) -> Mapping[str, float]:
        method, shape, device = self._method, self._shape(setup.kind), self._device.type
        tokens = round(mine * self._usual)
        size = PassSize(mine, round(self._usual), mine * method.max_tokens, plain=method.samples == 1)
        passes = max(1, tokens // setup.tokens_at_once)
        work = Work(attention=ATTENTION_RATE.get(device, 1.0) * shape.attention)
        rate = self._speed(shape)
        forward, backward = (
            (
                forward_operations(shape, size, work, scores_tokens=scored),
                training_operations(shape, setup, size, work, scores_tokens=scored),
            )
            for scored in (True, False)
        )
        layers = shape.layers * passes
        scoring = sum(
            seconds_of(operations, 2 * layers, rate, device)
            for operations in [forward[0]] * 2 + [backward[0]] * (1 + len(self._folders))
        )
        learned = (forward[1],) if self._head_only else (forward[1], backward[1])
        learning = method.epochs * sum(
            seconds_of(operations, 6 * layers, rate, device) for operations in learned
        )
        traffic = BYTES_A_SECOND.get(device, BYTES_A_SECOND["cpu"])
        weights = (shape.body + shape.head) * self._precision.weights
        products = 2 * (shape.matrices + shape.vocabulary * shape.hidden) * self._rows
        token = max(products / rate, weights / traffic) + seconds_of(0, 2 * shape.layers, 1, device)
        turns = -(-mine // self._rows)
        return {
            "generation": method.rollouts * turns * method.max_tokens * token,
            "scoring": method.rollouts * scoring,
            "optimisation": method.rollouts * learning,
        }

    def _speed(self, shape: ModelShape) -> float:
        if self._rate is None:
            dtype = torch.float32 if self._precision.compute == FLOAT32 else torch.bfloat16
            self._rate = measured_rate(self._device, shape.hidden, dtype)
        return self._rate * EFFICIENCY.get(self._device.type, EFFICIENCY["cpu"])


def parameters_in(folder: RewardFolder) -> int:
    """Return how many numbers a whole model's files hold."""
    found = 0
    for file in sorted(folder.path.glob("*.safetensors")):
        with safe_open(file, "pt") as content:
            for name in content.keys():  # noqa: SIM118  (it is no dictionary)
                size = 1
                for length in content.get_slice(name).get_shape():
                    size *= length
                found += size
    return found
