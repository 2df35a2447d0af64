"""From what was measured of a rollout to what is learned from it, on numbers that a person can check on paper."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from tests.training.engine.test_rollout import experience
from training.engine.actor_critic import Role
from training.engine.events import Events
from training.engine.ppo import PpoRun
from training.engine.ppo_checkpoints import Progress
from training.engine.ppo_figures import figures_of
from training.engine.ppo_losses import just_mine
from training.engine.ppo_settings import PpoMethod
from training.engine.processes import Processes
from training.engine.rollout import Episode, Experience

PLAIN: dict[str, Any] = {
    "discount": 1.0,
    "decay": 0.5,
    "missing_end_penalty": 1.0,
    "whiten_advantages": False,
    "value_start": "reward",
}
COEFFICIENT = 0.1


def measured() -> Experience:
    """Two responses of two tokens; the first one ended, the second was cut."""
    return experience(
        [Episode(0, (7, 2), True), Episode(1, (8, 9), False)],
        log_probs_BT=torch.tensor([[-1.0, -2.0], [-3.0, -1.0]]),
        reference_BT=torch.tensor([[-2.0, -2.0], [-3.0, -3.0]]),
        values_BT=torch.tensor([[0.5, 0.4], [0.2, 0.1]]),
        final_values_B=torch.tensor([9.0, 0.7]),
        scores_B=torch.tensor([1.0, 3.0]),
    )


def a_run(folder: Path, rollout: int = 1, **method: Any) -> PpoRun:
    """A run in its middle, without a model."""
    run = object.__new__(PpoRun)
    run.method = PpoMethod(**{**PLAIN, **method})
    run.processes, run.events = Processes(), Events(folder)
    run.progress = Progress(coefficient=COEFFICIENT, rollout=rollout)
    run.models = SimpleNamespace(value=Role(None, head=nn.Linear(2, 1)))  # type: ignore[assignment]
    return run


def close(found: torch.Tensor, expected: object) -> None:
    torch.testing.assert_close(found, torch.as_tensor(expected, dtype=found.dtype), rtol=1e-5, atol=1e-6)


def test_a_response_that_was_cut_has_its_score_less_the_penalty(tmp_path: Path) -> None:
    rollout = measured()

    a_run(tmp_path).estimate_advantages(rollout)

    # Rewards: (−0.1·1, 1) and (0, −0.1·2 + 3 − 1).
    # First: δ = (−0.1 + 0.4 − 0.5, 1 − 0.4), A = (−0.2 + 0.5·0.6, 0.6); second: δ = (0.1 − 0.2, 1.8 − 0.1).
    close(rollout.advantages_BT, [[0.1, 0.6], [0.75, 1.7]])
    close(rollout.returns_BT, [[0.6, 1.0], [0.95, 1.8]])


def test_or_the_value_of_going_on_in_place_of_both(tmp_path: Path) -> None:
    rollout = measured()

    a_run(tmp_path, truncated="bootstrap").estimate_advantages(rollout)

    # Rewards of the second: (0, −0.2), and V = 0.7 after it: δ = (0.1 − 0.2, −0.2 + 0.7 − 0.1).
    close(rollout.advantages_BT, [[0.1, 0.6], [0.1, 0.4]])
    close(rollout.returns_BT, [[0.6, 1.0], [0.3, 0.5]])


def test_k3_prices_a_token_by_its_own_estimate(tmp_path: Path) -> None:
    rollout = measured()

    a_run(tmp_path, kl_estimator="k3", decay=0.0).estimate_advantages(rollout)

    # k3 of a log-ratio of −1 is e⁻¹ − 1 + 1 = 0.3679
    close(rollout.advantages_BT[0, 0], -0.1 * 0.367879 + 0.4 - 0.5)


@pytest.mark.parametrize("rollout", [0, 1])
def test_first_values_are_fitted_to_what_followed_and_later_ones_left(rollout: int, tmp_path: Path) -> None:
    """What followed: (0.9, 1) and (1.8, 1.8). Values of mean 0.3 that rise with it by 0.26 / 0.1."""
    found = measured()
    found.values_BT = torch.tensor([[0.1, 0.2], [0.4, 0.5]])
    run = a_run(tmp_path, rollout, value_start="fitted")
    head: Any = run.models.value.head
    weight, bias = head.weight.detach().clone(), head.bias.detach().clone()

    run.estimate_advantages(found)

    slope, intercept = (2.6, 1.375 - 2.6 * 0.3) if rollout == 0 else (1.0, 0.0)
    close(found.values_BT, slope * torch.tensor([[0.1, 0.2], [0.4, 0.5]]) + intercept)
    close(found.final_values_B, slope * torch.tensor([9.0, 0.7]) + intercept)
    close(head.weight.detach(), slope * weight)
    close(head.bias.detach(), slope * bias + intercept)


def test_advantages_are_whitened_and_rewards_only_if_that_is_wanted(tmp_path: Path) -> None:
    rollout = measured()

    a_run(tmp_path, whiten_advantages=True).estimate_advantages(rollout)

    plain = torch.tensor([[0.1, 0.6], [0.75, 1.7]])
    close(rollout.advantages_BT, (plain - plain.mean()) / plain.std(correction=0))
    close(rollout.returns_BT, [[0.6, 1.0], [0.95, 1.8]])

    a_run(tmp_path, whiten_rewards=True, decay=1.0).estimate_advantages(rollout)

    rewards = torch.tensor([[-0.1, 1.0], [0.0, 1.8]])
    whitened = (rewards - rewards.mean()) / rewards.std(correction=0) + rewards.mean()
    close(rollout.returns_BT, torch.stack([whitened.sum(1), whitened[:, 1]], 1))


def test_figures_of_a_rollout() -> None:
    rollout = measured()
    rollout.returns_BT = rollout.values_BT + torch.tensor([[1.0, -1.0], [1.0, -1.0]])

    found = figures_of(rollout, PpoMethod(missing_end_penalty=1.0), COEFFICIENT, just_mine)

    # Scores 1 and 3; KL 1 + 2 over two responses; −log π 7 over 4 tokens.
    # Values vary by 0.025, what they missed by 1, returns (1.5, −0.6, 1.2, −0.9) by 1.125.
    assert found == pytest.approx(
        {
            "score": 2.0,
            "score_spread": 1.0,
            "reward": 2.0 - 0.5 - 0.1 * 1.5,
            "kl": 1.5,
            "kl_coefficient": 0.1,
            "entropy": 7 / 4,
            "length": 2.0,
            "ended": 0.5,
            "explained_variance": 1 - 1 / 1.125,
        },
        rel=1e-5,
    )
    going_on = figures_of(rollout, PpoMethod(truncated="bootstrap"), COEFFICIENT, just_mine)
    assert going_on["reward"] == pytest.approx((1.0 - 0.1 * 3) / 2), "of those that ended alone"
