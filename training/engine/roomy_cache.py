"""A key-value cache that is written in place."""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedConfig
from transformers.cache_utils import DynamicCache, DynamicLayer


def roomy_cache(config: PreTrainedConfig, room: int) -> DynamicCache:
    """Return a cache for a model, whose layers of full attention leave room for `room` more tokens as they fill.

    The stock layer copies all keys and values at every token, an eighth of a step for a small model.
    """
    cache = DynamicCache(config=config)
    cache.layers = [RoomyLayer(room) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


class RoomyLayer(DynamicLayer):
    """Keys and values are views of the filled part of a larger buffer. Shapes: ``(rows, heads, tokens, head_dim)``."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room
        self._buffers: tuple[torch.Tensor, torch.Tensor] | None = None

    keys: torch.Tensor
    values: torch.Tensor

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append new tokens' keys and values; return all."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        filled = self.get_seq_length()
        if filled == 0:
            self.keys, self.values = key_states, value_states
            return self.keys, self.values
        end = filled + key_states.shape[-2]
        if self._buffers is None or self._buffers[0].shape[-2] < end:
            self._buffers = _with_room(self.keys, end + self._room), _with_room(self.values, end + self._room)
        keys, values = self._buffers
        keys[..., filled:end, :] = key_states
        values[..., filled:end, :] = value_states
        self.keys, self.values = keys[..., :end, :], values[..., :end, :]
        return self.keys, self.values

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat each row, in place of it."""
        self._buffers = None
        super().batch_repeat_interleave(repeats)

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep only these rows."""
        self._buffers = None
        super().batch_select_indices(indices)


def _with_room(old: torch.Tensor, length: int) -> torch.Tensor:
    buffer = old.new_empty(*old.shape[:-2], length, old.shape[-1])
    buffer[..., : old.shape[-2], :] = old
    return buffer
