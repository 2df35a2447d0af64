"""Which examples make an optimizer step, and how they are divided into forward passes.

A step has a fixed number of examples, whatever the hardware. They are divided into as many passes as the token budget
demands, the same number in every step, so that the Trainer's gradient accumulation carries them out; each pass holds
examples of like length, so that little is padding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from training.engine.methods import TrainingMethod
from training.engine.packing import Branching, Layout, Work, plan_rows

LONGEST_SAVE_STEPS = 50


@dataclass(frozen=True, slots=True)
class Pass:
    """One process's forward pass."""

    examples: tuple[int, ...]
    step: tuple[int, ...]
    """All examples of the step, over all passes and processes: the loss is a mean over them."""
    idle: bool = False
    """Nothing was left for this process; it computes an example for company, which counts for nothing."""


@dataclass(frozen=True, slots=True)
class Cadence:
    """How many optimizer steps there are, and lie between checkpoints and between measurements."""

    steps: int
    """Of the whole run."""
    save: int
    measure: int

    @classmethod
    def of(cls, method: TrainingMethod, examples: int) -> Cadence:
        """Return that of a run over so many examples."""
        steps = math.ceil(math.ceil(examples / method.batch_size) * method.epochs)
        save = method.save_steps or min(LONGEST_SAVE_STEPS, max(1, steps // 10))
        each = method.save_steps is not None or method.patience is not None
        return cls(steps, save, save * (method.eval_saves or (1 if each else 5)))


class StepPlan(torch.utils.data.Sampler[Pass]):
    """The passes of one process, epoch by epoch: a batch sampler for a DataLoader.

    Args:
        branchings: what each example computes.
        batch_size: examples a step, over all processes; the last step of an epoch may have fewer.
        tokens_at_once: most tokens of a pass, padding included; a single example may exceed it.
        work: what layouts cost.
        layout: how examples are laid out.
        epochs: as many are looked at for the number of passes.
        seed: decides the order, with the epoch.
        rank: which process this is, of `world`.
        shuffle: whether each epoch has an order of its own.
    """

    def __init__(
        self,
        branchings: Sequence[Branching],
        *,
        batch_size: int,
        tokens_at_once: int,
        work: Work,
        layout: Layout,
        epochs: int = 1,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        shuffle: bool = True,
    ) -> None:
        self._branchings = branchings
        self._batch_size = batch_size
        self._tokens_at_once = tokens_at_once
        self._work = work
        self._layout: Layout = layout
        self._seed = seed
        self._rank = rank
        self._world = world
        self._shuffle = shuffle
        self._epoch = 0
        self._widths = [len(each.prompt) + sum(map(len, each.responses)) for each in branchings]
        self.passes = self._passes_a_step(epochs if shuffle else 1)
        """Forward passes of each process in each step."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that is iterated over next."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self.passes * math.ceil(len(self._branchings) / self._batch_size)

    def __iter__(self) -> Iterator[Pass]:
        for step in self._steps(self._epoch):
            groups = self._divide(step, self.passes * self._world)
            for number in range(self.passes):
                # Neighbours in length run beside each other, so that no process waits long for another.
                group = groups[number * self._world + self._rank]
                yield Pass(group or (step[-1],), tuple(step), idle=not group)

    def _steps(self, epoch: int) -> Iterator[list[int]]:
        """Yield the examples of each step, the widest first."""
        order = np.arange(len(self._branchings))
        if self._shuffle:
            np.random.default_rng([self._seed, epoch]).shuffle(order)
        for start in range(0, len(order), self._batch_size):
            step = order[start : start + self._batch_size].tolist()
            yield sorted(step, key=lambda example: (-self._widths[example], example))

    def _divide(self, step: Sequence[int], parts: int) -> list[tuple[int, ...]]:
        """Cut a step, sorted by width, into so many parts within the token budget; some may be empty."""
        groups = self._balanced(step, parts)
        if not all(self._fits(group) for group in groups):
            groups = self._filled(step)
        return groups + [()] * (parts - len(groups))

    def _balanced(self, step: Sequence[int], parts: int) -> list[tuple[int, ...]]:
        """Cut a step into parts of about as many tokens."""
        groups: list[list[int]] = [[] for _ in range(parts)]
        total, before = sum(self._widths[example] for example in step), 0
        for example in step:
            middle = before + self._widths[example] / 2
            groups[min(parts - 1, int(parts * middle / total))].append(example)
            before += self._widths[example]
        return [tuple(group) for group in groups]

    def _filled(self, step: Sequence[int]) -> list[tuple[int, ...]]:
        """Cut a step into as few parts as the token budget allows."""
        groups: list[tuple[int, ...]] = []
        start, size = 0, 1
        while start < len(step):
            size = self._largest(step, start, size)
            groups.append(tuple(step[start : start + size]))
            start += size
        return groups

    def _largest(self, step: Sequence[int], start: int, guess: int) -> int:
        """Return how many examples from `start` on fit a pass, looking around a guess: neighbours in width fit in about
        equal numbers, and a plan of all that is left would cost more than training."""
        left = len(step) - start
        fits, too_many = 1, left + 1
        size = min(guess, left)
        while too_many - fits > 1:
            if self._fits(step[start : start + size]):
                fits, size = size, min(2 * size, left)
                if fits == left:
                    break
            else:
                too_many = size
            if size >= too_many or size <= fits:
                size = (fits + too_many) // 2
        return fits

    def _passes_a_step(self, epochs: int) -> int:
        """Return the smallest number of passes with which every part of every step fits the token budget."""
        parts = max(
            (len(self._filled(step)) for epoch in range(epochs) for step in self._steps(epoch)), default=1
        )
        return math.ceil(parts / self._world)

    def _fits(self, group: Sequence[int]) -> bool:
        if len(group) < 2:
            return True
        if sum(self._widths[example] for example in group) > self._tokens_at_once:
            return False  # no layout computes fewer tokens than a tree
        rows = plan_rows([self._branchings[example] for example in group], self._work, self._layout)
        widest = max(sum(piece.width for piece in row) for row in rows)
        return len(rows) * widest <= self._tokens_at_once
