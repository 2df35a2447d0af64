"""Adam's steps of roles side by side, on numbers that a person can check on paper."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from training.engine.actor_critic import Role
from training.engine.optimising import Optimiser, course
from training.engine.ppo_settings import PpoMethod
from training.engine.processes import Processes


def optimiser(**method: object) -> tuple[Optimiser, nn.Parameter, nn.Parameter]:
    """Two roles of one weight each, which starts at 0."""
    policy, value = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    for layer in (policy, value):
        nn.init.zeros_(layer.weight)
    settings = PpoMethod(**{"learning_rate": 0.1, "scheduler": "constant", **method})  # type: ignore[arg-type]
    made = Optimiser({"policy": Role(policy), "value": Role(value)}, settings, Processes())
    return made, policy.weight, value.weight


def test_adams_epsilon_is_1e_5() -> None:
    """Its first step is the rate times g / (|g| + ε): half the rate where the gradient is as small as ε."""
    steps, policy, value = optimiser()
    policy.grad, value.grad = torch.tensor([[1e-5]]), torch.tensor([[-1e-5]])

    steps.step(0.0, 1.0)

    assert policy.item() == pytest.approx(-0.05, rel=1e-3)
    assert value.item() == pytest.approx(0.05, rel=1e-3)


def test_each_roles_gradient_is_clipped_by_itself() -> None:
    steps, policy, value = optimiser(max_grad_norm=1e-5)
    policy.grad, value.grad = torch.tensor([[4.0]]), torch.tensor([[2e-6]])

    norms = steps.step(0.0, 1.0)

    assert norms == {"policy": 4.0, "value": pytest.approx(2e-6)}, "told as they were"
    assert policy.item() == pytest.approx(-0.05, rel=1e-3), "scaled down to the limit, which is ε"
    assert value.item() == pytest.approx(-0.1 * 2e-6 / 1.2e-5, rel=1e-3), "left as it was"


def test_a_limit_of_0_leaves_gradients() -> None:
    steps, policy, value = optimiser(max_grad_norm=0.0)
    policy.grad, value.grad = torch.tensor([[4.0]]), torch.tensor([[4.0]])

    steps.step(0.0, 1.0)

    assert policy.item() == pytest.approx(-0.1, rel=1e-4)


def test_a_gradient_that_is_none_moves_nothing() -> None:
    steps, policy, value = optimiser()
    policy.grad, value.grad = torch.tensor([[1.0]]), torch.tensor([[float("nan")]])

    norms = steps.step(0.0, 1.0)

    assert norms["value"] != norms["value"]
    assert policy.item() == value.item() == 0.0
    assert policy.grad is None


def test_rates_follow_their_course_and_the_value_has_its_own() -> None:
    steps, policy, value = optimiser(scheduler="linear", value_learning_rate=0.4)
    policy.grad, value.grad = torch.tensor([[1.0]]), torch.tensor([[1.0]])

    steps.step(share=0.75, factor=0.5)

    assert steps.rate == pytest.approx(0.1 * 0.25 * 0.5)
    assert policy.item() == pytest.approx(-0.0125, rel=1e-3)
    assert value.item() == pytest.approx(-0.05, rel=1e-3)


@pytest.mark.parametrize(
    ("scheduler", "at_begin", "at_quarter", "at_end"),
    [("constant", 1, 1, 1), ("linear", 1, 0.75, 0), ("cosine", 1, (1 + 0.5**0.5) / 2, 0)],
)
def test_courses(scheduler: str, at_begin: float, at_quarter: float, at_end: float) -> None:
    assert [course(scheduler, share) for share in (0, 0.25, 1)] == pytest.approx(
        [at_begin, at_quarter, at_end]
    )


def test_a_head_alone_learns_ten_times_as_fast() -> None:
    steps, policy, value = optimiser(value="head")
    policy.grad, value.grad = torch.tensor([[1.0]]), torch.tensor([[1.0]])

    steps.step(0.0, 1.0)

    assert value.item() == pytest.approx(10 * policy.item(), rel=1e-4)
