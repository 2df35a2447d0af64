"""What the loss of one forward pass needs, besides the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from training.engine.examples import Comparison, Example
from training.engine.packing import Layout, Packed, Work, pack
from training.engine.step_plan import Pass


@dataclass(frozen=True, slots=True)
class Totals:
    """What the losses of a step's passes are divided by, so that together they are the mean over the step."""

    examples: int
    pairs: int
    tokens: int
    """Of the responses to imitate."""

    @classmethod
    def of(cls, examples: Sequence[Example]) -> Totals:
        """Count a step."""
        return cls(
            examples=len(examples),
            pairs=sum(len(example.comparisons) for example in examples),
            tokens=sum(len(example.responses[example.best]) for example in examples),
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """One forward pass: E examples with S responses and P comparisons."""

    packed: Packed
    examples: tuple[Example, ...]
    first_E: torch.Tensor
    """The number of each example's first response."""
    better_P: torch.Tensor
    worse_P: torch.Tensor
    margins_P: torch.Tensor
    probabilities_P: torch.Tensor
    weights_E: torch.Tensor
    weights_P: torch.Tensor
    best_E: torch.Tensor
    """The response of each example to imitate."""
    references_S: torch.Tensor | None
    """Log-probability of each response under the reference, in nats."""
    totals: Totals
    share: float
    """1, or 0 for a pass that counts for nothing."""

    def to(self, device: torch.device) -> Batch:
        """Return the same on another device."""
        moved: dict[str, Any] = {
            name: value.to(device) if isinstance(value, (torch.Tensor, Packed)) else value
            for name, value in ((name, getattr(self, name)) for name in self.__slots__)
        }
        return Batch(**moved)


class Examples(torch.utils.data.Dataset[Batch]):
    """Examples, of which a `Pass` picks those of a forward pass.

    Args:
        examples: all of them.
        work: what layouts cost.
        layout: how passes are laid out.
        pad: the token that fills up rows.
    """

    def __init__(self, examples: Sequence[Example], work: Work, layout: Layout, pad: int) -> None:
        self.examples = examples
        self.references: list[list[float]] | None = None
        """Reference log-probabilities: one a response of each example."""
        self._work = work
        self._layout: Layout = layout
        self._pad = pad

    def __len__(self) -> int:
        return len(self.examples)

    def __getitems__(self, chosen: Pass) -> Batch:
        picked = tuple(self.examples[number] for number in chosen.examples)
        packed = pack([example.branching for example in picked], self._work, self._layout, pad=self._pad)
        first = [0]
        for example in picked:
            first.append(first[-1] + len(example.responses))
        pairs = [
            (start, example.weight, comparison)
            for start, example in zip(first, picked, strict=False)
            for comparison in example.comparisons
        ]
        references = None
        if self.references is not None:
            references = torch.tensor([score for n in chosen.examples for score in self.references[n]])
        return Batch(
            packed=packed,
            examples=picked,
            first_E=torch.tensor(first[:-1]),
            better_P=_indices(start + comparison.better for start, _, comparison in pairs),
            worse_P=_indices(start + comparison.worse for start, _, comparison in pairs),
            margins_P=_numbers(comparison.margin for _, _, comparison in pairs),
            probabilities_P=_numbers(comparison.probability for _, _, comparison in pairs),
            weights_E=_numbers(example.weight for example in picked),
            weights_P=_numbers(weight for _, weight, _ in pairs),
            best_E=_indices(start + example.best for start, example in zip(first, picked, strict=False)),
            references_S=references,
            totals=Totals.of([self.examples[number] for number in chosen.step]),
            share=0.0 if chosen.idle else 1.0,
        )

    def comparisons(self, numbers: Sequence[int]) -> list[tuple[Example, Comparison]]:
        """Return the comparisons of some examples, in their order."""
        return [
            (self.examples[n], comparison) for n in numbers for comparison in self.examples[n].comparisons
        ]


def _indices(values: object) -> torch.Tensor:
    return torch.tensor(list(values), dtype=torch.long)  # type: ignore[call-overload]


def _numbers(values: object) -> torch.Tensor:
    return torch.tensor(list(values), dtype=torch.float32)  # type: ignore[call-overload]
