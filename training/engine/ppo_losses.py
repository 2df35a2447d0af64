"""What proximal policy optimization of a language model computes beside the model: pure functions over tensors.

Axes: B responses of a rollout, T tokens of the longest, N tokens of a pass one after another. A mask is True at the
tokens of a response, its end token included, and False at the padding to its right; which is which is known from
lengths, never from a token's id, since many a model pads with the token that ends its replies.

Sources: Schulman et al. 2017, "Proximal policy optimization algorithms" (PPO); Schulman et al. 2016, "High-dimensional
continuous control using generalized advantage estimation" (GAE); Ziegler et al. 2019, "Fine-tuning language models from
human preferences"; Huang et al. 2024, "The N+ implementation details of RLHF with PPO" (N+); Schulman 2020,
"Approximating KL divergence".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch

KlEstimator = Literal["k1", "k3"]
Total = Callable[[torch.Tensor], torch.Tensor]
"""Sums a tensor over the processes of a run."""

VARIANCE_FLOOR = 1e-8
"""Added to a variance that is divided by (N+, as in OpenAI's code)."""
LARGEST_ERROR = 0.2
"""To which the KL's relative error is clipped before it moves the coefficient (Ziegler et al. 2019, section 2.2)."""


def just_mine(value: torch.Tensor) -> torch.Tensor:
    """The sum over the processes where there is one."""
    return value


def kl_estimates(log_probs: torch.Tensor, reference: torch.Tensor, estimator: KlEstimator) -> torch.Tensor:
    """Return an estimate of KL(policy ‖ reference) at each token that was drawn from the policy.

    With r the probability under the reference over that under the policy, k1 is −log r and k3 is (r − 1) − log r
    (Schulman 2020). Both are unbiased; k3 is never negative and varies less while the two are close.

    Args:
        log_probs: of the tokens under the policy, in nats. Any shape.
        reference: the same under the reference.
        estimator: which.

    Returns:
        Nats, of the same shape.
    """
    log_ratio = reference - log_probs
    return -log_ratio if estimator == "k1" else log_ratio.expm1() - log_ratio


def final_scores(
    scores_B: torch.Tensor, ended_B: torch.Tensor, *, penalty: float, bootstrap: bool
) -> torch.Tensor:
    """Return what each response is given at its last token.

    Args:
        scores_B: by the reward models. Shape: ``(responses,)``.
        ended_B: whether each ended by itself; others were cut at the longest length.
        penalty: taken off where a response was cut (N+, the end-of-sequence trick, in TRL's form).
        bootstrap: a response that was cut is given nothing: it goes on, and the value of that stands for what it would
            have come to (Pardo et al. 2018, "Time limits in reinforcement learning").

    Returns:
        Shape: ``(responses,)``.
    """
    return scores_B.where(ended_B, 0.0) if bootstrap else scores_B - penalty * ~ended_B


def token_rewards(
    kl_BT: torch.Tensor, scores_B: torch.Tensor, mask_BT: torch.Tensor, coefficient: float
) -> torch.Tensor:
    """Return each token's reward: minus the coefficient times its KL, and the score at the last real token (Ziegler et
    al. 2019, equation 2; N+, details on rewards).

    Args:
        kl_BT: see `kl_estimates`. Shape: ``(responses, tokens)``.
        scores_B: of the whole responses. Shape: ``(responses,)``.
        mask_BT: real tokens; each response has one at least.
        coefficient: β.

    Returns:
        Shape: ``(responses, tokens)``, 0 at padding.
    """
    rewards_BT = (-coefficient * kl_BT).masked_fill(~mask_BT, 0)
    last_B1 = mask_BT.sum(-1, keepdim=True) - 1
    return rewards_BT.scatter_add(-1, last_B1, scores_B[:, None].to(rewards_BT.dtype))


def generalised_advantages(
    rewards_BT: torch.Tensor,
    values_BT: torch.Tensor,
    mask_BT: torch.Tensor,
    final_values_B: torch.Tensor,
    *,
    discount: float,
    decay: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return advantages and returns by generalised advantage estimation (GAE, equations 11 to 16).

    δ_t = r_t + γ·V(s_{t+1}) − V(s_t), and A_t = δ_t + γλ·A_{t+1}. After the last real token comes nothing, or what the
    caller expects of it: a response that was cut goes on in `final_values_B`.

    Args:
        rewards_BT: see `token_rewards`. Shape: ``(responses, tokens)``.
        values_BT: V before each token is chosen.
        mask_BT: real tokens.
        final_values_B: V after the last real token, where the episode goes on beyond it; 0 where it ended. Shape:
            ``(responses,)``.
        discount: γ.
        decay: λ.

    Returns:
        Advantages and returns A + V, both of shape ``(responses, tokens)``, 0 at padding.
    """
    advantages_BT = torch.zeros_like(rewards_BT)
    next_value_B, next_advantage_B = final_values_B, torch.zeros_like(final_values_B)
    for at in range(rewards_BT.shape[1] - 1, -1, -1):
        real_B, values_B = mask_BT[:, at], values_BT[:, at]
        delta_B = rewards_BT[:, at] + discount * next_value_B - values_B
        advantage_B = delta_B + discount * decay * next_advantage_B
        advantages_BT[:, at] = torch.where(real_B, advantage_B, 0.0)
        next_value_B = torch.where(real_B, values_B, next_value_B)
        next_advantage_B = torch.where(real_B, advantage_B, next_advantage_B)
    return advantages_BT, (advantages_BT + values_BT).masked_fill(~mask_BT, 0)


def whiten(
    values_BT: torch.Tensor, mask_BT: torch.Tensor, *, keep_mean: bool = False, total: Total = just_mine
) -> torch.Tensor:
    """Return values divided by their standard deviation, and shifted to mean 0 unless `keep_mean` (N+, whitening).

    Mean and variance (the biased one) are over the real tokens of all processes together.

    Args:
        values_BT: Shape: ``(responses, tokens)``.
        mask_BT: real tokens.
        keep_mean: as rewards are whitened; advantages are shifted.
        total: sums over processes.

    Returns:
        Shape: ``(responses, tokens)``, 0 at padding.
    """
    real_N = values_BT[mask_BT].double()
    count, amount = total(torch.stack([real_N.new_tensor(float(len(real_N))), real_N.sum()])).unbind()
    mean = amount / count
    variance = total(((real_N - mean) ** 2).sum()) / count
    whitened_BT = (values_BT.double() - mean) * (variance + VARIANCE_FLOOR).rsqrt()
    if keep_mean:
        whitened_BT = whitened_BT + mean
    return whitened_BT.masked_fill(~mask_BT, 0).to(values_BT.dtype)


def policy_losses(
    log_probs_N: torch.Tensor, old_N: torch.Tensor, advantages_N: torch.Tensor, clip: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each token's clipped surrogate, to be minimised (PPO, equation 7), and whether the clipping took hold.

    Args:
        log_probs_N: under the policy as it is, in nats. Shape: ``(tokens,)``.
        old_N: under the policy that drew them.
        advantages_N: whitened.
        clip: ε.

    Returns:
        Losses and booleans, of shape ``(tokens,)``.
    """
    ratio_N = (log_probs_N - old_N).exp()
    free_N = -advantages_N * ratio_N
    clipped_N = -advantages_N * ratio_N.clamp(1 - clip, 1 + clip)
    return torch.maximum(free_N, clipped_N), clipped_N.detach() > free_N.detach()


def value_losses(
    values_N: torch.Tensor, old_N: torch.Tensor, returns_N: torch.Tensor, clip: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each token's squared error of the value, halved, with the value clipped to within `clip` of the old one
    where that is worse (N+, value function clipping), and whether the clipping took hold.

    Args:
        values_N: as they are. Shape: ``(tokens,)``.
        old_N: at the time of the rollout.
        returns_N: what they should have been.
        clip: the largest step that is rewarded.
    """
    free_N = (values_N - returns_N) ** 2
    clipped_N = (values_N.clamp(old_N - clip, old_N + clip) - returns_N) ** 2
    return torch.maximum(free_N, clipped_N) / 2, clipped_N.detach() > free_N.detach()


def explained_variance(
    values_BT: torch.Tensor, returns_BT: torch.Tensor, mask_BT: torch.Tensor, *, total: Total = just_mine
) -> float:
    """Return 1 − Var(returns − values) / Var(returns) over real tokens: 1 is a perfect value function, 0 is no better
    than a constant, below 0 is worse than one. Of constant returns it is 0."""

    def variance(values_N: torch.Tensor) -> torch.Tensor:
        count, amount = total(
            torch.stack([values_N.new_tensor(float(len(values_N))), values_N.sum()])
        ).unbind()
        return total(((values_N - amount / count) ** 2).sum()) / count

    returns_N, values_N = returns_BT[mask_BT].double(), values_BT[mask_BT].double()
    whole = variance(returns_N)
    left = variance(returns_N - values_N)
    return float(1 - left / whole) if float(whole) > VARIANCE_FLOOR else 0.0


def best_line(
    values_BT: torch.Tensor, targets_BT: torch.Tensor, mask_BT: torch.Tensor, *, total: Total = just_mine
) -> tuple[float, float]:
    """Return slope and intercept of the line of values that is closest to the targets in squares, over the real tokens
    of all processes. Values that do not vary, or that vary against the targets, have slope 0."""
    values_N, targets_N = values_BT[mask_BT].double(), targets_BT[mask_BT].double()
    sums = torch.stack([values_N.new_tensor(float(len(values_N))), values_N.sum(), targets_N.sum()])
    count, value, target = total(sums).tolist()
    apart_N = values_N - value / count
    moments = total(torch.stack([(apart_N**2).sum(), (apart_N * (targets_N - target / count)).sum()]))
    spread, together = moments.tolist()
    slope = max(0.0, together / spread) if spread / count > VARIANCE_FLOOR else 0.0
    return slope, target / count - slope * value / count


def adapted_coefficient(coefficient: float, kl: float, target: float, gain: float) -> float:
    """Return the KL coefficient for the next rollout: β·(1 + gain · clip(KL / target − 1, ±0.2)) (Ziegler et al. 2019,
    section 2.2).

    Args:
        coefficient: β of the rollout.
        kl: measured in it, nats a response.
        target: what it should be.
        gain: their K_β, 0.1 there.
    """
    error = min(max(kl / target - 1, -LARGEST_ERROR), LARGEST_ERROR)
    return coefficient * (1 + gain * error)


def aggregate(scores_MB: torch.Tensor, penalty: float) -> torch.Tensor:
    """Return one score a response from those of an ensemble's members: their mean less `penalty` times their standard
    deviation, which is large where they were not trained (Coste et al. 2023, "Reward model ensembles help mitigate
    overoptimization", section 4.2, with the standard deviation for their variance).

    Args:
        scores_MB: normalised. Shape: ``(members, responses)``.
        penalty: 0 is the mean alone.

    Returns:
        Shape: ``(responses,)``.
    """
    mean_B = scores_MB.mean(0)
    return mean_B - penalty * scores_MB.std(0, correction=0) if penalty else mean_B
