"""Tree attention: a prompt once, its responses side by side in the same row, each seeing the prompt and itself only.

Rows may hold several such trees. transformers derives every kind of mask (full, sliding window, chunked) from a
function of a query's and a key's position in the row. Here that function is given *logical* positions, at which a
response continues its prompt, so that windows and chunks follow each response's own line of text; and what is another
tree's or another response's is masked out. The models' own code stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AttentionMaskInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

PROMPT = -1
"""The branch of a prompt's positions, which all branches of its tree see."""

ATTENTION = ("sdpa", "eager")
"""transformers' implementations of attention whose masks are tree-aware once `install` was called."""


@dataclass(frozen=True, slots=True)
class Tree:
    """Where each position of a batch of rows belongs. Shape of each: ``(rows, width)``, int64."""

    positions_RT: torch.Tensor
    """Logical: a response's first token follows its prompt's last."""
    trees_RT: torch.Tensor
    """Which tree of the row; a number of its own for padding."""
    branches_RT: torch.Tensor
    """Which response of the tree, or `PROMPT`."""


_TREE: ContextVar[Tree | None] = ContextVar("tree", default=None)


@contextmanager
def attending(tree: Tree) -> Iterator[None]:
    """Have the forward passes within the block attend as `tree` says; call them with its ``positions_RT`` as
    ``position_ids`` and a two-dimensional ``attention_mask`` of ones: with none, transformers takes positions that
    start again for the start of another text, and cuts responses off their prompt."""
    token = _TREE.set(tree)
    try:
        yield
    finally:
        _TREE.reset(token)


def install() -> None:
    """Make transformers' masks tree-aware; outside of `attending` they stay as they are. May be called again."""
    for name in ATTENTION:
        build = ALL_MASK_ATTENTION_FUNCTIONS[name]
        if not hasattr(build, "builds"):
            AttentionMaskInterface.register(name, _TreeAware(build))


@dataclass(frozen=True)
class _TreeAware:
    """A builder of masks that asks `_TREE` first."""

    builds: Callable[..., Any]

    def __call__(self, *args: Any, mask_function: Callable[..., Any], **options: Any) -> Any:
        tree = _TREE.get()
        if tree is None:
            return self.builds(*args, mask_function=mask_function, **options)
        # Both would skip or vectorize what only holds for plain causal masks.
        options |= {"allow_is_causal_skip": False, "use_vmap": False}
        mask = self.builds(*args, mask_function=_within(tree, mask_function), **options)
        if mask.dtype != torch.bool or mask.device.type != "cpu":
            return mask
        # On a CPU each layer would turn booleans into numbers anew, and keep them for its backward pass.
        dtype = options.get("dtype") or torch.float32
        return torch.zeros(mask.shape, dtype=dtype).masked_fill_(~mask, torch.finfo(dtype).min)


def _within(tree: Tree, rule: Callable[..., Any]) -> Callable[..., Any]:
    def sees(row: Any, head: Any, query: Any, key: Any) -> Any:
        same_tree = tree.trees_RT[row, key] == tree.trees_RT[row, query]
        branch = tree.branches_RT[row, key]
        on_the_line = (branch == PROMPT) | (branch == tree.branches_RT[row, query])
        logical = rule(row, head, tree.positions_RT[row, query], tree.positions_RT[row, key])
        return same_tree & on_the_line & logical

    return sees
