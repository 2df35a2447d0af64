"""What a rollout is measured by."""

from __future__ import annotations

import math

import torch

from training.engine.ppo_losses import Total, explained_variance, final_scores, kl_estimates
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
        ``score`` and ``score_spread`` (normalised), ``reward`` (what the policy is given: less penalty and KL, see
        `final_scores`), ``kl`` (nats a response), ``kl_coefficient``, ``entropy`` (nats a token: the mean of −log π
        over tokens drawn from π, which needs no logits), ``length``, ``ended`` (a share) and ``explained_variance``.
    """
    mask_BT = experience.mask_BT
    kl_BT = kl_estimates(experience.log_probs_BT, experience.reference_BT, method.kl_estimator)
    ended_B = experience.ended_B
    scores_B = experience.scores_B.double()
    final_B = final_scores(
        scores_B,
        ended_B,
        penalty=method.missing_end_penalty,
        bootstrap=method.truncated == "bootstrap",
    )
    sums = [
        torch.tensor(len(experience.episodes)),
        mask_BT.sum(),
        scores_B.sum(),
        (scores_B**2).sum(),
        kl_BT.masked_fill(~mask_BT, 0).sum(),
        ended_B.sum(),
        final_B.sum(),
        -experience.log_probs_BT.masked_fill(~mask_BT, 0).sum(),
    ]
    found = total(torch.stack([each.double() for each in sums])).tolist()
    count, tokens, score, squares, kl, ended, final, surprise = found
    return {
        "score": score / count,
        "score_spread": math.sqrt(max(0.0, squares / count - (score / count) ** 2)),
        "reward": (final - coefficient * kl) / count,
        "kl": kl / count,
        "kl_coefficient": coefficient,
        "entropy": surprise / tokens,
        "length": tokens / count,
        "ended": ended / count,
        "explained_variance": explained_variance(
            experience.values_BT, experience.returns_BT, mask_BT, total=total
        ),
    }
