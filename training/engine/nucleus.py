"""Choosing the next token from logits: temperature, nucleus, and one uniform number a row."""

from __future__ import annotations

import torch

USUAL_FLOOR = 1e-4
"""Nearly every nucleus reaches its mass with tokens above this probability, and few tokens are above it to sort."""


def choose_tokens(
    logits_RV: torch.Tensor, uniforms_R: torch.Tensor, temperature: float, top_p: float
) -> torch.Tensor:
    """Choose a token for each row by inversion of its distribution function.

    With one uniform number a row, given by the caller, a row's choice depends neither on the other rows
    nor on a generator of the device.

    Args:
        logits_RV: Shape: ``(rows, vocabulary)``, any float dtype.
        uniforms_R: in [0, 1). Shape: ``(rows,)``.
        temperature: logits are divided by it; 0 takes the likeliest token.
        top_p: keep the fewest likeliest tokens whose probabilities reach it (Holtzman et al. 2020,
            section 3.1).

    Returns:
        Token ids. Shape: ``(rows,)``.
    """
    if temperature == 0:
        return logits_RV.argmax(-1)
    probs_RV = (logits_RV.float() / temperature).softmax(-1)
    if top_p == 1:
        return _invert(probs_RV, uniforms_R)
    # Tokens below this floor weigh less than 1 - top_p together, so the nucleus lies above it.
    safe_floor = (1 - top_p) / probs_RV.shape[-1]
    chosen_R, mass_R = _choose_in_nucleus(probs_RV, uniforms_R, top_p, max(USUAL_FLOOR, safe_floor))
    wide_R = mass_R < top_p
    if wide_R.any():
        chosen_R[wide_R], _ = _choose_in_nucleus(probs_RV[wide_R], uniforms_R[wide_R], top_p, safe_floor)
    return chosen_R


def _choose_in_nucleus(
    probs_RV: torch.Tensor, uniforms_R: torch.Tensor, top_p: float, floor: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Choose among tokens of at least the floor's probability; return tokens and what such tokens weigh together.

    Sorting these C tokens a row, rather than the vocabulary, takes a tenth of the time.
    """
    likely_RV = probs_RV >= floor
    counts_R = likely_RV.sum(-1)
    rows_N, tokens_N = likely_RV.nonzero(as_tuple=True)
    places_N = torch.arange(len(rows_N), device=probs_RV.device) - (counts_R.cumsum(0) - counts_R)[rows_N]
    width = max(1, int(counts_R.max()))
    probs_RC = probs_RV.new_zeros(len(probs_RV), width)
    tokens_RC = torch.zeros_like(probs_RC, dtype=torch.long)
    probs_RC[rows_N, places_N] = probs_RV[rows_N, tokens_N]
    tokens_RC[rows_N, places_N] = tokens_N

    probs_RC, order_RC = probs_RC.sort(dim=-1, descending=True, stable=True)
    mass_RC = probs_RC.cumsum(-1)
    kept_RC = probs_RC.masked_fill(mass_RC - probs_RC >= top_p, 0)
    places_R1 = _invert(kept_RC, uniforms_R)[:, None].clamp(max=width - 1)
    chosen_R = tokens_RC.gather(-1, order_RC.gather(-1, places_R1)).squeeze(-1)
    return chosen_R, mass_RC[:, -1]


def _invert(weights_RN: torch.Tensor, uniforms_R: torch.Tensor) -> torch.Tensor:
    """Return for each row the first place whose cumulative weight exceeds that share of the total.

    A place of weight 0 is never returned, unless all are.
    """
    mass_RN = weights_RN.cumsum(-1)
    total_R1 = mass_RN[:, -1:]
    # Rounding may lift the product to the total, which no cumulative weight exceeds.
    below_total_R1 = total_R1.nextafter(torch.zeros_like(total_R1))
    target_R1 = torch.minimum(uniforms_R[:, None] * total_R1, below_total_R1)
    return torch.searchsorted(mass_RN, target_R1, right=True).squeeze(-1)
