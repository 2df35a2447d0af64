"""Drawing responses with a model in this process.

The loop is our own, because `generate` runs the prompt once for each of its responses: here a batch of prompts is run
once, its cache is repeated K times, and rows that have ended leave the batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from training.engine.interrupt import Interrupt
from training.engine.models import left_padded, takes_logits_to_keep
from training.engine.nucleus import choose_tokens
from training.engine.packing import Tokens
from training.engine.roomy_cache import roomy_cache

SHRINK_BELOW = 0.9
"""Ended rows leave the batch when fewer than this share still run: copying the cache costs less
than a few steps of a tenth of the rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Responses that are wanted: as many of each prompt, and none longer than another may be."""

    prompts: Sequence[Tokens]
    uniforms: Sequence[np.ndarray]
    """For each prompt, the random number for each token of its responses, in [0, 1). Shape of each: ``(responses,
    longest response)``, float32."""
    temperature: float
    """Logits are divided by it; 0 always takes the likeliest token."""
    top_p: float
    """The probability mass that is kept, see `training.engine.nucleus.choose_tokens`."""
    interrupt: Interrupt
    """Asked as often as can be; it stops the drawing."""
    on_progress: Callable[[float], object] = lambda share: None
    """Called with the share of the work that is done, as if no response ended early any more."""


@torch.inference_mode()
def draw(
    network: PreTrainedModel, request: Request, *, ends: Sequence[int], pad: int
) -> list[list[list[int]]]:
    """Draw K responses to each of P prompts together.

    Args:
        network: a causal language model in eval mode.
        request: what is wanted.
        ends: tokens that end a response.
        pad: fills up shorter prompts, on the left.

    Returns:
        For each prompt, for each response, its tokens, with the one that ended it.

    Raises:
        Stopped: as the interrupt asks, at any token; nothing is kept of this batch.
    """
    prompts, uniforms_PKT = request.prompts, np.stack(request.uniforms)
    if not can_repeat_cache(network):
        return _draw_by_generate(network, request, uniforms_PKT, ends, pad)
    device = network.device
    copies, longest = uniforms_PKT.shape[1:]
    rows = len(prompts) * copies
    width = max(len(ids) for ids in prompts)
    ids_PW, mask_PW = left_padded(prompts, width, pad, device)
    positions_PW = (mask_PW.cumsum(-1) - 1).clamp(min=0)

    cache = roomy_cache(network.config, room=longest)
    step = network(
        input_ids=ids_PW,
        attention_mask=mask_PW,
        position_ids=positions_PW,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    cache.batch_repeat_interleave(copies)
    logits_RV = step.logits[:, -1].repeat_interleave(copies, 0)
    mask_RT = torch.ones(rows, width + longest, dtype=mask_PW.dtype, device=device)
    mask_RT[:, :width] = mask_PW.repeat_interleave(copies, 0)
    next_position_R = positions_PW[:, -1].repeat_interleave(copies) + 1
    uniforms_RT = torch.from_numpy(uniforms_PKT.reshape(rows, longest)).to(device)
    ends_E = torch.tensor(ends, device=device)

    drawn_RT = torch.full((rows, longest), ends[0], device=device)
    running_R = torch.arange(rows, device=device)
    ended_R = torch.zeros(rows, dtype=torch.bool, device=device)
    for at in range(longest):
        request.interrupt.check()
        tokens_R = choose_tokens(logits_RV, uniforms_RT[running_R, at], request.temperature, request.top_p)
        tokens_R = tokens_R.where(~ended_R, ends_E[0])
        drawn_RT[running_R, at] = tokens_R
        ended_R |= torch.isin(tokens_R, ends_E)
        still = int((~ended_R).sum())
        if not still or at + 1 == longest:
            break
        request.on_progress(1 - still / rows * (1 - (at + 1) / longest))
        if still < SHRINK_BELOW * len(running_R):
            kept = (~ended_R).nonzero().squeeze(-1)
            cache.batch_select_indices(kept)
            tokens_R, running_R, mask_RT = tokens_R[kept], running_R[kept], mask_RT[kept]
            next_position_R, ended_R = next_position_R[kept], ended_R[kept]
        step = network(
            input_ids=tokens_R[:, None],
            attention_mask=mask_RT[:, : width + at + 1],
            position_ids=next_position_R[:, None] + at,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits_RV = step.logits[:, -1]
    return _cut(drawn_RT.view(len(prompts), copies, longest).tolist(), ends)


def can_repeat_cache(network: PreTrainedModel) -> bool:
    """Whether one run of the prompt can serve several responses: attention layers only, no recurrent state."""
    layers = DynamicCache(config=network.config).layers
    return (
        takes_logits_to_keep(network)
        and cast(Any, network)._supports_default_dynamic_cache()
        and all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers)
    )


def _draw_by_generate(
    network: PreTrainedModel, request: Request, uniforms_PKT: np.ndarray, ends: Sequence[int], pad: int
) -> list[list[list[int]]]:
    """Draw as `draw` does, for models whose state cannot be repeated; the uniform numbers only seed torch's
    generator."""
    prompts = request.prompts
    copies, longest = uniforms_PKT.shape[1:]
    width = max(len(ids) for ids in prompts)
    ids_PW, mask_PW = left_padded(prompts, width, pad, network.device)
    torch.manual_seed(int.from_bytes(hashlib.sha256(uniforms_PKT.tobytes()).digest()[:8], signed=True))
    decoding: dict[str, Any] = {"do_sample": False}
    if request.temperature > 0:
        decoding = {
            "do_sample": True,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "top_k": 0,
        }
    drawn_RT = cast(Any, network).generate(
        input_ids=ids_PW.repeat_interleave(copies, 0),
        attention_mask=mask_PW.repeat_interleave(copies, 0),
        max_new_tokens=longest,
        eos_token_id=list(ends),
        pad_token_id=ends[0],
        **decoding,
    )[:, width:]
    return _cut(drawn_RT.view(len(prompts), copies, -1).tolist(), ends)


def _cut(rows_PKT: list[list[list[int]]], ends: Sequence[int]) -> list[list[list[int]]]:
    """Return each row up to and with its first ending token."""
    cut = []
    for rows in rows_PKT:
        stops = [next((at + 1 for at, token in enumerate(row) if token in ends), len(row)) for row in rows]
        cut.append([row[:stop] for row, stop in zip(rows, stops, strict=True)])
    return cut
