"""What training on rankings minimises: pure functions over tensors.

Axes: S responses of a pass, P comparisons of a better with a worse response. A *value* is what the objective orders
responses by: a reward model's reward, or a policy's β-scaled log-ratio to its reference (Rafailov et al. 2023,
section 4).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import logsigmoid


def pair_losses(
    leads_P: torch.Tensor,
    *,
    targets_P: torch.Tensor | None = None,
    margins_P: torch.Tensor | None = None,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Return the negative log-likelihood of each comparison under Bradley–Terry, P(i beats j) = σ(v_i − v_j).

    Args:
        leads_P: value of the better less that of the worse. Shape: ``(pairs,)``.
        targets_P: the probability that the better one is preferred; none: 1. Cross-entropy with it.
        margins_P: subtracted from the leads (Llama 2, Touvron et al. 2023, equation 2; for policies ODPO, Amini et al.
            2024, equation 4).
        label_smoothing: ε, the share of labels that are flipped; the loss is then the unbiased estimate of the loss on
            clean labels, ((1 − ε)·ℓ(y) − ε·ℓ(1 − y)) / (1 − 2ε) (Chowdhury et al. 2024, equation 12). Goes with hard
            targets.

    Returns:
        Shape: ``(pairs,)``.
    """
    if margins_P is not None:
        leads_P = leads_P - margins_P
    won_P = -logsigmoid(leads_P)
    if targets_P is None and not label_smoothing:
        return won_P
    lost_P = -logsigmoid(-leads_P)
    if targets_P is not None:
        return targets_P * won_P + (1 - targets_P) * lost_P
    return ((1 - label_smoothing) * won_P - label_smoothing * lost_P) / (1 - 2 * label_smoothing)


def ipo_losses(leads_P: torch.Tensor, beta: float, margins_P: torch.Tensor | None = None) -> torch.Tensor:
    """Return identity preference optimization's squared distance of a lead to 1 / 2β (Azar et al. 2023, equation 17).

    Args:
        leads_P: log-ratio a token of the better less that of the worse, not scaled by β. Shape: ``(pairs,)``.
        beta: the paper's τ.
        margins_P: added to the lead that is aimed at.

    Returns:
        Shape: ``(pairs,)``.
    """
    aims = 1 / (2 * beta) if margins_P is None else 1 / (2 * beta) + margins_P
    return (leads_P - aims) ** 2


def order_loss(
    values_S: torch.Tensor, tiers: Sequence[Sequence[int]], *, stages: int | None = None
) -> torch.Tensor:
    """Return the negative log-likelihood of an order under Plackett–Luce (Rafailov et al. 2023, equation 18).

    The order is a series of choices: each response is chosen, by the softmax of values, over all in lower tiers. Those
    tied with it are neither chosen over it nor it over them, so a tie says nothing, as with pairs; without ties this is
    Plackett–Luce itself, and with two responses Bradley–Terry.

    Args:
        values_S: of the pass's responses. Shape: ``(responses,)``.
        tiers: indices into `values_S`, best tier first.
        stages: count the choices of so many tiers only; 1 is the likelihood of the top choice. None: all.

    Returns:
        A scalar; 0 for a single tier.
    """
    loss = values_S.new_zeros(())
    for number, tier in enumerate(tiers[:-1] if stages is None else tiers[:-1][:stages]):
        lower = values_S[[index for worse in tiers[number + 1 :] for index in worse]]
        chosen = values_S[list(tier)]
        rivals = torch.cat([chosen[:, None], lower.expand(len(tier), -1)], dim=1)
        loss = loss + (rivals.logsumexp(-1) - chosen).sum()
    return loss


def calibration_error(probabilities_P: torch.Tensor, bins: int = 10) -> float:
    """Return the expected calibration error of predicted preferences (Naeini et al. 2015; Guo et al. 2017, equation 3).

    A prediction is right if it gave the better response more than ½; its confidence is that of the side it took.

    Args:
        probabilities_P: predicted for the response that was preferred, in [0, 1]. Shape: ``(pairs,)``, not empty.
        bins: of confidence, of equal width over [½, 1].

    Returns:
        From 0 (says 80 % and is right 80 % of the time) to 1 (is sure and wrong).
    """
    confidence_P = torch.maximum(probabilities_P, 1 - probabilities_P).double()
    right_P = (probabilities_P > 0.5).double() + 0.5 * (probabilities_P == 0.5).double()
    bin_P = ((confidence_P - 0.5) * 2 * bins).long().clamp(0, bins - 1)
    gaps = torch.zeros(bins, dtype=torch.float64).index_add(0, bin_P, right_P - confidence_P)
    return float(gaps.abs().sum() / len(confidence_P))
