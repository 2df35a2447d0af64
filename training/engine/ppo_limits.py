"""Settings of a *ppo* run whose defaults depend on the device."""

from __future__ import annotations

import torch

from training.engine.needs import TOKENS_AT_ONCE
from training.engine.ppo_settings import PpoMethod

CPU_TOKENS_AT_ONCE = 512
"""On a CPU. What a pass keeps for its backward pass is most of the memory, and larger passes are no faster there."""


def tokens_at_once(method: PpoMethod, device: torch.device) -> int:
    """Return the token budget of a pass."""
    usual = CPU_TOKENS_AT_ONCE if device.type == "cpu" else TOKENS_AT_ONCE["cuda"]
    return method.tokens_at_once or usual


def recomputes(method: PpoMethod, device: torch.device) -> bool:
    """Whether activations are computed again in the backward pass."""
    wanted = method.activation_checkpointing
    return device.type == "cuda" if wanted is None else wanted
