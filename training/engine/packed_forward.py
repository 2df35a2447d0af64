"""A model's forward pass over packed rankings: ``model(packed=…)`` scores responses and holds no logits.

It is the model's own ``forward`` that is extended, because that is what DDP, FSDP, PEFT and autocast wrap.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from transformers import PreTrainedModel

from training.engine.packing import Packed
from training.engine.token_scores import Head, token_log_probs
from training.engine.tree_attention import attending, install


def score_packed_responses(network: PreTrainedModel) -> None:
    """Let a causal language model take ``packed``, a `Packed` on its device, and return the log-probability of each
    scored token: nats, float32, shape ``(tokens,)``. Other calls are as before."""

    def score(packed: Packed) -> torch.Tensor:
        hidden_ND = hidden_states(network, packed).index_select(0, packed.sources_N)
        return token_log_probs(hidden_ND, Head.of(network), packed.targets_N)

    _extend(network, score)


def reward_packed_responses(network: PreTrainedModel) -> None:
    """Let a sequence classifier with one label take ``packed`` and return the reward of each response: float32, shape
    ``(responses,)``. Other calls are as before.

    The reward is read at the response's last token, by its position: the classifier itself looks for the last token
    that is no padding, and takes a closing token that doubles as padding for such.
    """

    def score(packed: Packed) -> torch.Tensor:
        hidden_SD = hidden_states(network, packed).index_select(0, packed.ends_S)
        head: Any = network.score
        rewards_S: torch.Tensor = head(hidden_SD).float().squeeze(-1)
        return rewards_S

    _extend(network, score)


def hidden_states(network: Any, packed: Packed) -> torch.Tensor:
    """Return the last hidden state at each flat position. Shape: ``(rows · width, hidden)``."""
    if packed.plain:
        # Causal attention never looks right, where the padding is.
        output = network.base_model(input_ids=packed.input_ids_RT, use_cache=False)
    else:
        with attending(packed.tree):
            output = network.base_model(
                input_ids=packed.input_ids_RT,
                attention_mask=torch.ones_like(packed.input_ids_RT),
                position_ids=packed.tree.positions_RT,
                use_cache=False,
            )
    hidden_RTD: torch.Tensor = output.last_hidden_state
    return hidden_RTD.flatten(0, 1)


def _extend(network: PreTrainedModel, score: Callable[[Packed], torch.Tensor]) -> None:
    install()
    usual_forward = network.forward

    # Wrapped, so that what asks for its arguments (generation does) finds the usual ones.
    @wraps(usual_forward)
    def forward(*args: Any, packed: Packed | None = None, **kwargs: Any) -> Any:
        return usual_forward(*args, **kwargs) if packed is None else score(packed)

    network.forward = forward
