"""A rollout: responses of the policy as it is, and all that a step of learning from them needs to know.

What decides it is the seed, the number of the rollout and the weights: prompts come in an order of their own for each
pass over them, and each response has random numbers by its prompt's place in that stream. So a resumed run, or one with
more processes, draws the same.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from training.engine.conversation import Message
from training.engine.packing import Branching, Layout, Packed, Tokens, Work, pack
from training.engine.prompts import Prompt
from training.engine.step_plan import StepPlan


@dataclass(frozen=True, slots=True)
class Task:
    """A prompt as the model is shown it."""

    id: str
    messages: tuple[Message, ...]
    """As people wrote them, for oracles and samples."""
    shown: tuple[Message, ...]
    """With system prompt and passages, for a reward model with another tokenizer."""
    tokens: Tokens


@dataclass(frozen=True, slots=True)
class Episode:
    """One response to a prompt, drawn from the policy."""

    task: int
    """The number of its prompt."""
    tokens: Tokens
    """Up to and with the first that ends a reply."""
    ended: bool
    """Whether the last token ends it; otherwise it was cut at the longest length."""

    @property
    def text_tokens(self) -> Tokens:
        """The tokens without the one that ends it."""
        return self.tokens[:-1] if self.ended else self.tokens


PROMPTS, TOKENS, MINIBATCHES = 1, 2, 3
"""Numbers that keep the draws of one seed apart: NumPy seeds alike from (s, t) and (s, t, 0)."""


class PromptStream:
    """Prompts without end: every prompt once, in an order drawn for each pass.

    Args:
        count: how many there are.
        seed: decides the orders.
    """

    def __init__(self, count: int, seed: int) -> None:
        self._count = count
        self._seed = seed
        self._order: tuple[int, np.ndarray] | None = None

    def at(self, place: int) -> int:
        """Return the number of the prompt at a place in the stream."""
        turn, index = divmod(place, self._count)
        if self._order is None or self._order[0] != turn:
            dice = np.random.default_rng([self._seed, PROMPTS, turn])
            self._order = turn, dice.permutation(self._count)
        return int(self._order[1][index])


def uniforms(seed: int, place: int, samples: int, longest: int) -> np.ndarray:
    """Return the random numbers of the responses to one prompt of a run.

    Args:
        seed: the run's.
        place: of the prompt in the stream of prompts: a prompt that comes again gets other numbers.
        samples: responses.
        longest: tokens of each.

    Returns:
        Shape: ``(samples, longest)``, float32 in [0, 1).
    """
    dice = [np.random.default_rng([seed, TOKENS, place, n]) for n in range(samples)]
    return np.stack([each.random(longest, dtype=np.float32) for each in dice])


@dataclass
class Experience:
    """B responses with what was measured of them once, on the CPU. T is the longest one's length.

    ``episodes`` are in the order of the rows. Tensors named BT have the shape ``(responses, tokens)`` and are 0 at
    padding.
    """

    episodes: list[Episode]
    log_probs_BT: torch.Tensor
    """Under the policy that drew them, recomputed: what generation says is rounded otherwise."""
    reference_BT: torch.Tensor
    values_BT: torch.Tensor
    """V before each token is chosen."""
    final_values_B: torch.Tensor
    """V after the last token."""
    scores_B: torch.Tensor
    """Normalised and clipped, the penalty for a missing end not yet taken off."""
    advantages_BT: torch.Tensor
    returns_BT: torch.Tensor
    features_BTD: torch.Tensor
    """Hidden states before each token, for a value function that is a head alone; otherwise D is 0."""

    @property
    def mask_BT(self) -> torch.Tensor:
        """True at real tokens."""
        return mask_of(self.episodes)

    @property
    def ended_B(self) -> torch.Tensor:
        """True where a response ended by itself."""
        return torch.tensor([each.ended for each in self.episodes], dtype=torch.bool)

    def save(self, file: Path) -> None:
        """Write it as safetensors; `read` gives the same bits."""
        tensors = {name: getattr(self, name).contiguous() for name in _TENSORS}
        episodes = [[each.task, list(each.tokens), each.ended] for each in self.episodes]
        save_file(tensors, file, metadata={"episodes": json.dumps(episodes)})

    @classmethod
    def read(cls, file: Path) -> Experience:
        """Read what `save` wrote."""
        with safe_open(file, "pt") as content:
            episodes = json.loads(content.metadata()["episodes"])
            return cls(
                episodes=[Episode(task, tuple(tokens), ended) for task, tokens, ended in episodes],
                **{name: content.get_tensor(name) for name in _TENSORS},
            )


_TENSORS = (
    "log_probs_BT",
    "reference_BT",
    "values_BT",
    "final_values_B",
    "scores_B",
    "advantages_BT",
    "returns_BT",
    "features_BTD",
)


def mask_of(episodes: Sequence[Episode]) -> torch.Tensor:
    """Return which places hold a token: by length, so that a token that doubles as padding counts as what it is. Shape:
    ``(responses, tokens)``."""
    lengths_B = torch.tensor([len(each.tokens) for each in episodes], dtype=torch.long)
    longest = int(lengths_B.max()) if len(lengths_B) else 0
    return torch.arange(longest) < lengths_B[:, None]


@dataclass(frozen=True)
class ForwardPass:
    """A pass over some episodes."""

    packed: Packed
    rows_S: torch.Tensor
    """The row in the rollout of each of its responses."""

    def to(self, device: torch.device) -> ForwardPass:
        """Return the same with its tokens on another device."""
        return ForwardPass(self.packed.to(device), self.rows_S)

    def pick(self, values_BT: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
        """Return a rollout's values at this pass's tokens, in their order. Shape: ``(tokens,)``."""
        return values_BT[self.rows_S][mask_BT[self.rows_S]].to(self.packed.targets_N.device)

    def put(self, values_BT: torch.Tensor, mask_BT: torch.Tensor, values_N: torch.Tensor) -> None:
        """Write this pass's values at its tokens into a rollout's."""
        part_ST = values_BT[self.rows_S]
        part_ST[mask_BT[self.rows_S]] = values_N.detach().cpu()
        values_BT[self.rows_S] = part_ST


@dataclass(frozen=True, slots=True)
class PassMaker:
    """Lays out episodes in forward passes of like lengths within a token budget."""

    work: Work
    layout: Layout
    pad: int
    tokens_at_once: int

    def passes(
        self, prompts: Sequence[Tokens], responses: Sequence[Tokens], rows: Sequence[int]
    ) -> list[ForwardPass]:
        """Return passes over some rows, the longest first. Responses to one prompt may share its computation.

        Args:
            prompts: each row's.
            responses: each row's.
            rows: which are wanted; none: no passes.
        """
        together: dict[tuple[int, ...], list[int]] = {}
        for row in rows:
            together.setdefault(tuple(prompts[row]), []).append(row)
        shared = 0 if self.layout in ("separate", "alone") else common_length(list(together))
        by_prompt = sum(len(p) + sum(len(responses[row]) for row in own) for p, own in together.items())
        by_beginning = shared + sum(len(prompts[row]) - shared + len(responses[row]) for row in rows)
        if by_beginning < by_prompt:
            return self._sharing_a_beginning(prompts, responses, rows, shared)
        groups = list(together.values())
        branchings = [Branching(prompts[g[0]], [responses[row] for row in g]) for g in groups]
        plan = StepPlan(
            branchings,
            batch_size=max(1, len(branchings)),
            tokens_at_once=self.tokens_at_once,
            work=self.work,
            layout=self.layout,
            shuffle=False,
        )
        return [
            ForwardPass(
                pack([branchings[n] for n in chosen.examples], self.work, self.layout, pad=self.pad),
                torch.tensor([row for n in chosen.examples for row in groups[n]]),
            )
            for chosen in plan
            if not chosen.idle
        ]

    def _sharing_a_beginning(
        self, prompts: Sequence[Tokens], responses: Sequence[Tokens], rows: Sequence[int], shared: int
    ) -> list[ForwardPass]:
        """Return passes in which the tokens that all prompts begin with (a system prompt, mostly) are the prompt of one
        tree, and what is left of each prompt with its response a branch."""
        widths = {row: len(prompts[row]) - shared + len(responses[row]) for row in rows}
        order = sorted(rows, key=lambda row: (-widths[row], row))
        parts = -(-sum(widths.values()) // max(1, self.tokens_at_once - shared))
        waiting = [part.tolist() for part in np.array_split(np.array(order), min(parts, len(order)))]
        made = []
        while waiting:
            part = waiting.pop(0)
            beginning = prompts[part[0]][:shared]
            branches = [(*prompts[row][shared:], *responses[row]) for row in part]
            packed = pack([Branching(beginning, branches)], self.work, self.layout, pad=self.pad)
            if packed.size > self.tokens_at_once and len(part) > 1:
                # Rows with the beginning each were cheaper than one tree, and take more tokens.
                waiting[:0] = [part[: len(part) // 2], part[len(part) // 2 :]]
                continue
            made.append(
                ForwardPass(_scoring(packed, [len(responses[row]) for row in part]), torch.tensor(part))
            )
        return made


def common_length(rows: Sequence[tuple[int, ...]]) -> int:
    """Return how many tokens all rows begin with."""
    ordered = [tuple(row) for row in rows]
    first, last = min(ordered, default=()), max(ordered, default=())
    length = min(len(first), len(last))
    return next((n for n in range(length) if first[n] != last[n]), length)


def _scoring(packed: Packed, lengths: Sequence[int]) -> Packed:
    """Return a pass that scores only so many of each branch's last tokens."""
    counts_S = packed.responses_N.bincount(minlength=len(lengths))
    from_end_N = counts_S.cumsum(0)[packed.responses_N] - torch.arange(len(packed.responses_N))
    kept_N = from_end_N <= torch.tensor(lengths)[packed.responses_N]
    return replace(
        packed,
        sources_N=packed.sources_N[kept_N],
        targets_N=packed.targets_N[kept_N],
        responses_N=packed.responses_N[kept_N],
    )


def minibatches(seed: int, rollout: int, epoch: int, batch: int, count: int) -> list[list[int]]:
    """Return the episodes of a rollout, by their numbers over all processes, in so many parts in an order of the
    epoch's own (N+, shuffling within an epoch)."""
    order = np.random.default_rng([seed, MINIBATCHES, rollout, epoch]).permutation(batch)
    return [part.tolist() for part in np.array_split(order, count)]


def tasks_of(prompts: Sequence[Prompt], shown: Sequence[Any], tokens: Sequence[Tokens]) -> list[Task]:
    """Put prompts together with what the model is shown of them."""
    return [
        Task(prompt.id, tuple(prompt.messages), tuple(messages), tuple(ids))
        for prompt, messages, ids in zip(prompts, shown, tokens, strict=True)
    ]
