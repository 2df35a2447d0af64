"""What a rollout is measured by."""

from __future__ import annotations

import math

import torch

from training.engine.ppo_losses import Total, explained_variance, kl_estimates
from training.engine.ppo_settings import PpoMethod
from training.engine.rollout import Experience


def figures_of(
    experience: Experience, method: PpoMethod, coefficient: float, total: Total
) -> dict[str, float]:
    """Return figures of a rollout's responses over all processes.

    Args:
        experience: this process's.
        method: how KL is estimated, and what is taken off the score.
        coefficient: of the KL in the reward.
        total: sums over processes.

    Returns:
        ``score`` and ``score_spread`` (normalised), ``reward`` (less penalty and KL), ``kl`` (nats a response),
        ``kl_coefficient``, ``entropy`` (nats a token: the mean of −log π over tokens drawn from π, which needs no
        logits), ``length``, ``ended`` (a share) and ``explained_variance``.
    """
    mask_BT = experience.mask_BT
    kl_BT = kl_estimates(experience.log_probs_BT, experience.reference_BT, method.kl_estimator)
    ended_B = torch.tensor([each.ended for each in experience.episodes])
    scores_B = experience.scores_B.double()
    sums = [
        torch.tensor(len(experience.episodes)),
        mask_BT.sum(),
        scores_B.sum(),
        (scores_B**2).sum(),
        kl_BT.masked_fill(~mask_BT, 0).sum(),
        ended_B.sum(),
        -experience.log_probs_BT.masked_fill(~mask_BT, 0).sum(),
    ]
    found = total(torch.stack([each.double() for each in sums])).tolist()
    count, tokens, score, squares, kl, ended, surprise = found
    values = {
        "score": score / count,
        "score_spread": math.sqrt(max(0.0, squares / count - (score / count) ** 2)),
        "kl": kl / count,
        "kl_coefficient": coefficient,
        "entropy": surprise / tokens,
        "length": tokens / count,
        "ended": ended / count,
        "explained_variance": explained_variance(
            experience.values_BT, experience.returns_BT, mask_BT, total=total
        ),
    }
    penalty = 0.0 if method.truncated == "bootstrap" else method.missing_end_penalty
    values["reward"] = values["score"] - penalty * (1 - values["ended"]) - coefficient * values["kl"]
    return values
