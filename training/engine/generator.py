"""What draws responses, behind one interface: this process's own loop, or vLLM where it is installed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from training.engine.drawing import Request, draw
from training.engine.methods import ModelSpec, SampleMethod
from training.engine.models import end_tokens, load_model

CPU_ROWS = 64
"""Rows at a time on a CPU, where a batch takes a minute or more: what is not finished is drawn again after a kill."""

GPU_ROWS = 256
"""Rows at a time on a GPU, unless the settings say otherwise. A guess."""


class Generator(Protocol):
    """Draws responses from a policy."""

    @property
    def ends(self) -> Sequence[int]:
        """Tokens that end a response."""

    @property
    def rows(self) -> int:
        """Responses that it draws together, at most."""

    def refresh(self, step: int) -> None:
        """Take over the policy as it is now, after so many optimizer steps; without effect where it is the very model
        that draws."""

    def draw(self, request: Request) -> list[list[list[int]]]:
        """Return for each prompt, for each response, its tokens, with the one that ended it.

        Raises:
            Stopped: as the interrupt asks; nothing is kept.
        """

    def close(self) -> None:
        """Give back what the drawing alone takes; nothing is drawn afterwards."""


@dataclass(frozen=True)
class OwnGenerator:
    """The loop of `training.engine.drawing.draw`: one run of a prompt for all its responses, in the precision of the
    model, with no logits kept; rows leave when they have ended.

    Args:
        network: a causal language model in eval mode, whose active adapter is the policy.
        ends: tokens that end a response.
        pad: fills up shorter prompts.
        rows: responses that are drawn together, at most; prompts of like length lie together.
    """

    network: PreTrainedModel
    ends: Sequence[int]
    pad: int
    rows: int

    @classmethod
    def of(
        cls, network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: int | None = None
    ) -> OwnGenerator:
        """Return the generator for a model.

        Args:
            network: the model.
            tokenizer: its own.
            rows: responses at a time; on a CPU no more than `CPU_ROWS` all the same. None: as the device takes.
        """
        if network.device.type == "cpu":
            rows = min(rows or CPU_ROWS, CPU_ROWS)
        padding: Any = tokenizer.pad_token_id
        return cls(network, end_tokens(network, tokenizer), padding, rows or GPU_ROWS)

    def refresh(self, step: int) -> None:
        """See `Generator.refresh`: the network is the policy."""

    def draw(self, request: Request) -> list[list[list[int]]]:
        """See `Generator.draw`; the longest prompts come first, so that memory runs out early or never."""
        prompts, uniforms = request.prompts, request.uniforms
        order = sorted(range(len(prompts)), key=lambda n: -len(prompts[n]))
        size = max(1, self.rows // max(1, len(uniforms[0]) if uniforms else 1))
        drawn: list[list[list[int]]] = [[] for _ in prompts]
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            part = replace(
                request,
                prompts=[prompts[n] for n in chosen],
                uniforms=[uniforms[n] for n in chosen],
                on_progress=partial(_tell, request.on_progress, start / len(order), len(chosen) / len(order)),
            )
            rows = draw(self.network, part, ends=self.ends, pad=self.pad)
            for n, each in zip(chosen, rows, strict=True):
                drawn[n] = each
        return drawn

    def close(self) -> None:
        """See `Generator.close`: the network is its owner's."""


def _tell(on_progress: Callable[[float], object], before: float, part: float, share: float) -> None:
    on_progress(before + part * share)


def make_generator(model: ModelSpec, method: SampleMethod) -> tuple[Generator, PreTrainedTokenizerBase]:
    """Return what draws from a model version, and its tokenizer.

    Raises:
        Refused: as `training.engine.models.load_model`, or vLLM is asked for and not installed.
        Unavailable: as `load_model`.
    """
    if method.generator == "vllm":
        # Imported only here: it is large, and seldom installed.
        from training.engine.vllm_generator import VllmGenerator

        return VllmGenerator.of_version(model, rows=method.batch_size)
    network, tokenizer = load_model(model, "sampling")
    return OwnGenerator.of(network, tokenizer, method.batch_size), tokenizer
