"""What each training method makes of a forward pass: values of responses, and the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from transformers import PreTrainedModel

from training.engine.batches import Batch
from training.engine.losses import ipo_losses, order_loss, pair_losses
from training.engine.methods import DpoMethod, RankingMethod, RewardMethod, SftMethod
from training.engine.packed_forward import reward_packed_responses, score_packed_responses


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a forward pass."""

    loss: torch.Tensor
    """Its share of the step's loss: the shares of all passes add up to the mean over the step. A scalar."""
    values_S: torch.Tensor
    """What responses are ordered by. Shape: ``(responses,)``."""


class Objective(Protocol):
    """A training method."""

    @property
    def calibrated(self) -> bool:
        """Whether σ of a lead in values is the probability of a preference that the loss aims at."""

    def extend(self, network: PreTrainedModel) -> None:
        """Let the network take ``packed``, before it is wrapped."""

    def outcome(self, output: torch.Tensor, batch: Batch) -> Outcome:
        """Return what came of ``network(packed=batch.packed)``."""


@dataclass(frozen=True, slots=True)
class SftObjective:
    """Mean negative log-likelihood of a token of the responses to imitate; the prompt's tokens count for nothing."""

    method: SftMethod

    calibrated: ClassVar[bool] = False

    def extend(self, network: PreTrainedModel) -> None:
        score_packed_responses(network)

    def outcome(self, output: torch.Tensor, batch: Batch) -> Outcome:
        log_probs_S = batch.packed.sums(output)
        loss = -(batch.weights_E * log_probs_S[batch.best_E]).sum() / batch.totals.tokens
        return Outcome(loss, log_probs_S)


@dataclass(frozen=True, slots=True)
class RewardObjective:
    """Rewards in the order of the rankings."""

    method: RewardMethod

    @property
    def calibrated(self) -> bool:
        return self.method.margin_scale == 0

    def extend(self, network: PreTrainedModel) -> None:
        reward_packed_responses(network)

    def outcome(self, output: torch.Tensor, batch: Batch) -> Outcome:
        loss = ranking_loss(output, batch, self.method)
        if self.method.centring:
            sums_P = output[batch.better_P] + output[batch.worse_P]
            loss = loss + self.method.centring * (sums_P**2).sum() / batch.totals.pairs
        return Outcome(loss, output)


@dataclass(frozen=True, slots=True)
class DpoObjective:
    """Log-ratios to the reference in the order of the rankings."""

    method: DpoMethod

    @property
    def calibrated(self) -> bool:
        return self.method.margin_scale == 0 and self.method.loss == "sigmoid"

    def extend(self, network: PreTrainedModel) -> None:
        score_packed_responses(network)

    def outcome(self, output: torch.Tensor, batch: Batch) -> Outcome:
        method = self.method
        assert batch.references_S is not None, "reference scores come before training"
        log_probs_S = batch.packed.sums(output)
        lengths_S = batch.packed.lengths_S.clamp(min=1)
        ratios_S = log_probs_S - batch.references_S
        if method.length_normalised or method.loss == "ipo":
            ratios_S = ratios_S / lengths_S
        values_S = method.beta * ratios_S
        if method.loss == "ipo":
            margins_P = method.margin_scale * batch.margins_P if method.margin_scale else None
            losses_P = ipo_losses(ratios_S[batch.better_P] - ratios_S[batch.worse_P], method.beta, margins_P)
            loss = _weighted_sum(losses_P, batch.weights_P, method) / batch.totals.pairs
        else:
            loss = ranking_loss(values_S, batch, method, label_smoothing=method.label_smoothing)
        if method.nll_weight:
            surprise_E = -(log_probs_S / lengths_S)[batch.best_E]
            imitation = _weighted_sum(surprise_E, batch.weights_E, method) / batch.totals.examples
            loss = loss + method.nll_weight * imitation
        return Outcome(loss, values_S)


def ranking_loss(
    values_S: torch.Tensor, batch: Batch, method: RankingMethod, *, label_smoothing: float = 0.0
) -> torch.Tensor:
    """Return the pass's share of the mean loss over the step: over its comparisons (objective pairs) or rankings.

    With weights it is their weighted sum over the same number, so that a ranking of half the weight moves the model
    half as far, whatever it shares a step with.
    """
    if method.objective == "pairs":
        losses_P = pair_losses(
            values_S[batch.better_P] - values_S[batch.worse_P],
            targets_P=batch.probabilities_P if method.soft_labels else None,
            margins_P=method.margin_scale * batch.margins_P if method.margin_scale else None,
            label_smoothing=label_smoothing,
        )
        return _weighted_sum(losses_P, batch.weights_P, method) / batch.totals.pairs
    stages = 1 if method.objective == "top_choice" else None
    losses_E = torch.stack(
        [
            order_loss(values_S, [[start + n for n in tier] for tier in example.tiers], stages=stages)
            for start, example in zip(batch.first_E.tolist(), batch.examples, strict=True)
        ]
    )
    return _weighted_sum(losses_E, batch.weights_E, method) / batch.totals.examples


def _weighted_sum(losses: torch.Tensor, weights: torch.Tensor, method: RankingMethod) -> torch.Tensor:
    return (losses * weights).sum() if method.weighted else losses.sum()
