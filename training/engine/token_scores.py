"""Log-probabilities of given tokens from last hidden states, without ever holding logits for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import linear
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

LOGITS_AT_ONCE = 2**24
"""Logits held at a time: 64 MiB in float32, 341 positions of a vocabulary of 49,152; as fast as all at once."""


@dataclass(frozen=True, slots=True)
class Head:
    """How a causal language model turns a last hidden state into logits: f(W·h + b)."""

    weight_VD: torch.Tensor
    bias_V: torch.Tensor | None
    scale: float
    """The logits are multiplied by this (Cohere's ``logit_scale``, Granite's 1 / ``logits_scaling``)."""
    softcap: float | None
    """They are bent into ±softcap by a hyperbolic tangent (Gemma 2)."""

    @classmethod
    def of(cls, network: PreTrainedModel) -> Head:
        """Return the head of a model. One that does more to its logits is told apart by `scoring_check`, not here."""
        config = network.config.get_text_config()
        layer: Any = network.get_output_embeddings()
        scale = float(getattr(config, "logit_scale", None) or 1.0)
        return cls(
            weight_VD=layer.weight,
            bias_V=layer.bias,
            scale=scale / float(getattr(config, "logits_scaling", None) or 1.0),
            softcap=getattr(config, "final_logit_softcapping", None),
        )

    def logits(self, hidden_ND: torch.Tensor) -> torch.Tensor:
        """Return logits in float32. Shape: ``(positions, vocabulary)``."""
        logits_NV = linear(hidden_ND, self.weight_VD, self.bias_V).float()
        if self.scale != 1:
            logits_NV = logits_NV * self.scale
        if self.softcap is not None:
            logits_NV = torch.tanh(logits_NV / self.softcap) * self.softcap
        return logits_NV


def token_log_probs(hidden_ND: torch.Tensor, head: Head, targets_N: torch.Tensor) -> torch.Tensor:
    """Return the log-probability of each target.

    Args:
        hidden_ND: last hidden states of the positions before the targets. Shape: ``(positions, hidden)``.
        head: the model's.
        targets_N: the tokens that follow. Shape: ``(positions,)``.

    Returns:
        Nats, float32. Shape: ``(positions,)``.
    """
    at_once = max(1, LOGITS_AT_ONCE // head.weight_VD.shape[0])
    parts = [
        _score(hidden, head, targets)
        for hidden, targets in zip(hidden_ND.split(at_once), targets_N.split(at_once), strict=True)
    ]
    return torch.cat(parts) if parts else hidden_ND.new_zeros(0, dtype=torch.float32)


def _score(hidden_ND: torch.Tensor, head: Head, targets_N: torch.Tensor) -> torch.Tensor:
    if not torch.is_grad_enabled():
        return _log_probs(head.logits(hidden_ND), targets_N)
    if head.weight_VD.requires_grad or (head.bias_V is not None and head.bias_V.requires_grad):
        return checkpoint(
            lambda hidden: _log_probs(head.logits(hidden), targets_N), hidden_ND, use_reentrant=False
        )
    if not hidden_ND.requires_grad:
        return _log_probs(head.logits(hidden_ND), targets_N)
    scores_N: torch.Tensor = _FrozenHead.apply(hidden_ND, head, targets_N)
    return scores_N


def _log_probs(logits_NV: torch.Tensor, targets_N: torch.Tensor) -> torch.Tensor:
    return logits_NV.gather(-1, targets_N[:, None]).squeeze(-1) - logits_NV.logsumexp(-1)


class _FrozenHead(torch.autograd.Function):
    """A target's log-probability through a head that is not trained.

    It is one number a position, so its gradient with respect to the hidden state, Wᵀ·(onehot − softmax), is found while
    the logits are at hand: nothing of the vocabulary's size is kept, or computed a second time in the backward pass.
    """

    @staticmethod
    def forward(ctx: Any, hidden_ND: torch.Tensor, head: Head, targets_N: torch.Tensor) -> torch.Tensor:
        logits_NV = head.logits(hidden_ND)
        normalizer_N = logits_NV.logsumexp(-1)
        targets_N1 = targets_N[:, None]
        scores_N = logits_NV.gather(-1, targets_N1).squeeze(-1) - normalizer_N
        slope_NV = (logits_NV - normalizer_N[:, None]).exp_().neg_()
        slope_NV.scatter_add_(-1, targets_N1, torch.ones_like(targets_N1, dtype=slope_NV.dtype))
        if head.softcap is not None:
            slope_NV *= 1 - (logits_NV / head.softcap) ** 2
        weight = head.weight_VD
        ctx.save_for_backward((slope_NV.to(weight.dtype) @ weight) * head.scale)
        return scores_N

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (slope_ND,) = ctx.saved_tensors
        return (gradients[0][:, None] * slope_ND).to(slope_ND.dtype), None, None
