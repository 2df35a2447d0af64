"""How rankings lie in a forward pass: which rows there are, and which position scores what.

P tokens of prompt with K responses of R tokens are P + K·R tokens as one tree, K·(P + R) as separate sequences and
K·(K − 1)·(P + R) as pairs. But attention costs the square of a row's width, so a tree of long responses to a short
prompt is dearer than its parts: `plan_rows` estimates and takes the cheaper layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from training.engine.tree_attention import PROMPT, Tree

Layout = Literal["auto", "tree", "separate", "alone"]
"""Those of `training.engine.methods.TrainingMethod.layout`, and alone: each response behind a prompt of its own in a
row of its own, for models whose attention cannot be told to leave out what else is in a row."""
Tokens = Sequence[int]


@dataclass(frozen=True, slots=True)
class Branching:
    """One prompt and the responses to be scored after it."""

    prompt: Tokens
    responses: Sequence[Tokens]


@dataclass(frozen=True, slots=True)
class Piece:
    """A prompt with some of its responses, next to each other in one row."""

    owner: int
    """Which of the pass's branchings it is of."""
    branches: tuple[int, ...]
    """Which of its responses."""
    width: int


@dataclass(frozen=True, slots=True)
class Work:
    """What a row of `width` tokens costs, in units of one token's pass through the layers.

    The score of a response's token on the vocabulary costs the same in every layout and is left out.
    """

    attention: float
    """Cost of attending from one position to one other."""

    def of(self, rows: int, width: int, *, plain: bool = False) -> float:
        """Return the cost of rows that are padded to one width; `plain` ones need no mask and skip what is masked."""
        return rows * width * (1 + self.attention * width * (0.5 if plain else 1))


@dataclass(frozen=True, slots=True)
class Packed:
    """A forward pass over rankings: R rows of T positions, N scored tokens, S responses in the branchings' order."""

    input_ids_RT: torch.Tensor
    tree: Tree
    sources_N: torch.Tensor
    """The flat position (row · T + column) whose output predicts the token. A prompt's last predicts the first token
    of each of its responses."""
    targets_N: torch.Tensor
    """The token."""
    responses_N: torch.Tensor
    """The response it is of, from 0 to S − 1, ascending."""
    ends_S: torch.Tensor
    """The flat position of each response's last token (of its prompt's, if it is empty)."""
    used: int
    """Tokens computed that are no padding."""
    plain: bool
    """Whether each row is one prompt with one response, so that causal attention does and no mask is needed."""

    @property
    def responses(self) -> int:
        """How many responses there are, S."""
        return len(self.ends_S)

    @property
    def size(self) -> int:
        """Tokens computed, padding included."""
        return self.input_ids_RT.numel()

    def to(self, device: torch.device) -> Packed:
        """Return the same on another device."""
        tree = Tree(*(getattr(self.tree, name).to(device) for name in Tree.__slots__))
        tensors = {
            name: getattr(self, name).to(device)
            for name in self.__slots__
            if name not in ("tree", "used", "plain")
        }
        return Packed(tree=tree, used=self.used, plain=self.plain, **tensors)

    def sums(self, values_N: torch.Tensor) -> torch.Tensor:
        """Return for each response the sum over its tokens. Shape: ``(responses,)``."""
        return values_N.new_zeros(self.responses).index_add(0, self.responses_N, values_N)

    @property
    def lengths_S(self) -> torch.Tensor:
        """Tokens of each response, float32."""
        return self.sums(torch.ones_like(self.targets_N, dtype=torch.float32))


def pack(branchings: Sequence[Branching], work: Work, layout: Layout = "auto", *, pad: int = 0) -> Packed:
    """Lay out a forward pass.

    Args:
        branchings: prompts, not empty, with their responses.
        work: the costs that `auto` goes by.
        layout: how.
        pad: the token that fills up rows; nothing attends to it.
    """
    rows = plan_rows(branchings, work, layout)
    width = max(sum(piece.width for piece in row) for row in rows)
    first = [0]
    for branching in branchings:
        first.append(first[-1] + len(branching.responses))
    ids: list[int] = []
    positions: list[int] = []
    trees: list[int] = []
    branches: list[int] = []
    scored: list[tuple[int, Sequence[int], Tokens]] = []
    ends = [0] * first[-1]
    for number, row in enumerate(rows):
        start = number * width
        for tree, piece in enumerate(row):
            branching = branchings[piece.owner]
            prompt = branching.prompt
            ids += prompt
            positions += range(len(prompt))
            trees += [tree] * piece.width
            branches += [PROMPT] * len(prompt)
            last = start + len(prompt) - 1
            at = start + len(prompt)
            for branch in piece.branches:
                response = branching.responses[branch]
                ids += response
                positions += range(len(prompt), len(prompt) + len(response))
                branches += [branch] * len(response)
                sources = [last, *range(at, at + len(response) - 1)] if response else []
                scored.append((first[piece.owner] + branch, sources, response))
                at += len(response)
                ends[first[piece.owner] + branch] = at - 1 if response else last
            start = at
        room = (number + 1) * width - start
        ids += [pad] * room
        positions += [0] * room
        trees += [len(row)] * room
        branches += [PROMPT] * room
    scored.sort(key=lambda each: each[0])
    table = torch.tensor([ids, positions, trees, branches]).view(4, len(rows), width)
    return Packed(
        input_ids_RT=table[0],
        tree=Tree(table[1], table[2], table[3]),
        sources_N=torch.tensor([source for _, sources, _ in scored for source in sources], dtype=torch.long),
        targets_N=torch.tensor([token for _, _, response in scored for token in response], dtype=torch.long),
        responses_N=torch.tensor(
            [number for number, _, response in scored for _ in response], dtype=torch.long
        ),
        ends_S=torch.tensor(ends),
        used=sum(piece.width for row in rows for piece in row),
        plain=is_plain(rows),
    )


def plan_rows(branchings: Sequence[Branching], work: Work, layout: Layout = "auto") -> list[list[Piece]]:
    """Return the rows of a forward pass, each a list of pieces side by side: those of the cheapest plan considered."""
    plans = []
    if layout != "tree":
        pieces = [piece for n, each in enumerate(branchings) for piece in _parts(n, each, 1)]
        plans.append(_one_a_row(pieces))
        if layout != "alone":
            plans.append(_first_fit(pieces))
    if layout in ("auto", "tree"):
        plans.append(
            _first_fit([piece for n, each in enumerate(branchings) for piece in _parts(n, each, None)])
        )
    if layout == "auto":
        plans.append(
            _first_fit(
                [piece for n, each in enumerate(branchings) for piece in _cheapest_parts(n, each, work)]
            )
        )
    return min(plans, key=lambda rows: cost_of(rows, work))


def cost_of(rows: Sequence[Sequence[Piece]], work: Work) -> float:
    """Return the estimated cost of a plan."""
    widest = max(sum(piece.width for piece in row) for row in rows)
    return work.of(len(rows), widest, plain=is_plain(rows))


def is_plain(rows: Sequence[Sequence[Piece]]) -> bool:
    """Whether each row holds one response and its prompt."""
    return all(len(row) == 1 and len(row[0].branches) == 1 for row in rows)


def _parts(owner: int, branching: Branching, at_once: int | None) -> list[Piece]:
    """Return the branching in pieces of so many responses (None: all), like lengths together."""
    lengths = [len(response) for response in branching.responses]
    order = sorted(range(len(lengths)), key=lambda branch: (-lengths[branch], branch))
    size = at_once or max(1, len(order))
    groups = [tuple(sorted(order[start : start + size])) for start in range(0, len(order), size)]
    return [
        Piece(owner, group, len(branching.prompt) + sum(lengths[branch] for branch in group))
        for group in groups
    ]


def _cheapest_parts(owner: int, branching: Branching, work: Work) -> list[Piece]:
    choices = [_parts(owner, branching, size) for size in range(len(branching.responses), 0, -1)]
    return min(
        choices,
        key=lambda pieces: sum(work.of(1, piece.width, plain=len(piece.branches) == 1) for piece in pieces),
        default=[],
    )


def _one_a_row(pieces: Sequence[Piece]) -> list[list[Piece]]:
    return [[piece] for piece in pieces]


def _first_fit(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Put pieces into as few rows as wide as the widest, each into the first that has room: room that would be padding
    costs nothing to fill."""
    rows: list[list[Piece]] = []
    room: list[int] = []
    widest = max(piece.width for piece in pieces)
    for piece in sorted(pieces, key=lambda piece: (-piece.width, piece.owner, piece.branches)):
        row = next((n for n, left in enumerate(room) if left >= piece.width), None)
        if row is None:
            rows.append([])
            room.append(widest)
            row = len(rows) - 1
        rows[row].append(piece)
        room[row] -= piece.width
    return rows
