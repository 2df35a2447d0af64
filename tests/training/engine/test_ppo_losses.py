"""The arithmetic of proximal policy optimization, on numbers that a person can check on paper."""

from __future__ import annotations

import math

import pytest
import torch

from training.engine.ppo_losses import (
    adapted_coefficient,
    aggregate,
    best_line,
    explained_variance,
    final_scores,
    generalised_advantages,
    kl_estimates,
    policy_losses,
    token_rewards,
    value_losses,
    whiten,
)

MASK_BT = torch.tensor([[True, True, True], [True, False, False]])


def close(found: torch.Tensor, expected: object) -> None:
    torch.testing.assert_close(found, torch.as_tensor(expected, dtype=found.dtype), rtol=1e-5, atol=1e-6)


def test_k1_is_the_log_ratio_and_k3_is_never_negative() -> None:
    log_probs, reference = torch.tensor([-1.0, -2.0, -1.0]), torch.tensor([-1.5, -1.0, -1.0])

    close(kl_estimates(log_probs, reference, "k1"), [0.5, -1.0, 0.0])
    close(
        kl_estimates(log_probs, reference, "k3"),
        [math.exp(-0.5) - 1 + 0.5, math.exp(1.0) - 1 - 1.0, 0.0],
    )


def test_both_estimators_have_the_kl_as_their_mean() -> None:
    policy, reference = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.4, 0.4, 0.2])
    exact = float((policy * (policy / reference).log()).sum())

    for estimator in ("k1", "k3"):
        assert float(
            (policy * kl_estimates(policy.log(), reference.log(), estimator)).sum()
        ) == pytest.approx(exact, abs=1e-6)


def test_a_response_that_was_cut_pays_or_waits_for_its_value() -> None:
    scores_B, ended_B = torch.tensor([1.0, 3.0]), torch.tensor([True, False])

    close(final_scores(scores_B, ended_B, penalty=0.5, bootstrap=False), [1.0, 2.5])
    close(final_scores(scores_B, ended_B, penalty=0.5, bootstrap=True), [1.0, 0.0])


def test_the_score_stands_on_the_last_real_token_and_padding_earns_nothing() -> None:
    kl_BT = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])

    rewards_BT = token_rewards(kl_BT, torch.tensor([10.0, 20.0]), MASK_BT, coefficient=0.1)

    close(rewards_BT, [[-0.1, -0.2, 9.7], [19.6, 0.0, 0.0]])


def test_advantages_are_discounted_sums_of_temporal_differences() -> None:
    rewards_BT = torch.tensor([[0.0, 0.0, 1.0], [2.0, 9.0, 9.0]])
    values_BT = torch.tensor([[0.5, 0.4, 0.6], [1.0, 7.0, 7.0]])

    advantages_BT, returns_BT = generalised_advantages(
        rewards_BT, values_BT, MASK_BT, torch.zeros(2), discount=0.9, decay=0.5
    )

    # δ = (0.9·0.4 − 0.5, 0.9·0.6 − 0.4, 1 − 0.6); A3 = 0.4, A2 = 0.14 + 0.45·0.4, A1 = −0.14 + 0.45·0.32
    close(advantages_BT, [[0.004, 0.32, 0.4], [1.0, 0.0, 0.0]])
    close(returns_BT, [[0.504, 0.72, 1.0], [2.0, 0.0, 0.0]])


def test_a_response_that_was_cut_goes_on_in_its_final_value() -> None:
    rewards_BT, values_BT = torch.zeros(2, 3), torch.ones(2, 3)

    advantages_BT, _ = generalised_advantages(
        rewards_BT, values_BT, MASK_BT, torch.tensor([3.0, 5.0]), discount=0.5, decay=0.0
    )

    close(advantages_BT, [[-0.5, -0.5, 0.5], [1.5, 0.0, 0.0]])


def test_whitening_is_over_real_tokens_alone() -> None:
    values_BT = torch.tensor([[1.0, 2.0, 3.0], [6.0, 100.0, -100.0]])  # mean 3, variance 14 / 4

    close(whiten(values_BT, MASK_BT), [[-2 / 3.5**0.5, -1 / 3.5**0.5, 0], [3 / 3.5**0.5, 0, 0]])
    kept = whiten(values_BT, MASK_BT, keep_mean=True)
    close(kept[0], [3 - 2 / 3.5**0.5, 3 - 1 / 3.5**0.5, 3.0])


def test_whitening_by_two_processes_is_that_of_both_together() -> None:
    values_BT = torch.tensor([[1.0, 2.0, 3.0], [6.0, 100.0, -100.0]])
    together = whiten(values_BT, MASK_BT)
    # Each process adds what the other would say; both are asked the same questions in the same order.
    theirs: list[torch.Tensor] = []
    whiten(values_BT[1:], MASK_BT[1:], total=lambda mine: (theirs.append(mine), mine)[1])
    count_and_sum = theirs[0] + torch.tensor([3.0, 6.0], dtype=torch.float64)
    squares = torch.tensor(14.0, dtype=torch.float64)
    answers = iter([count_and_sum, squares])

    mine = whiten(values_BT[:1], MASK_BT[:1], total=lambda _: next(answers))

    close(mine, together[:1])


def test_the_policys_loss_rewards_no_step_beyond_the_clip() -> None:
    old_N = torch.tensor([-1.0, -2.0, -3.0, -1.0, 0.0])
    ratio_N = torch.tensor([1.0, 1.5, 1.5, 0.5, 0.5])
    log_probs_N = (ratio_N.log() + old_N).requires_grad_()
    advantages_N = torch.tensor([2.0, 1.0, -1.0, 1.0, -1.0])

    losses_N, clipped_N = policy_losses(log_probs_N, old_N, advantages_N, 0.2)
    losses_N.sum().backward()

    close(losses_N.detach(), [-2.0, -1.2, 1.5, -0.5, 0.8])
    assert clipped_N.tolist() == [False, True, False, False, True]
    close(log_probs_N.grad, [-2.0, 0.0, 1.5, -0.5, 0.0])


def test_the_values_loss_rewards_no_step_beyond_the_clip() -> None:
    values_N = torch.tensor([1.0, 1.0, 0.1, 1.5], requires_grad=True)
    old_N, returns_N = torch.tensor([0.0, 0.0, 0.0, 1.0]), torch.tensor([2.0, 0.0, 1.0, 2.0])

    losses_N, clipped_N = value_losses(values_N, old_N, returns_N, 0.2)
    losses_N.sum().backward()

    # clipped to 0.2: (0.2 − 2)² / 2 is worse than (1 − 2)² / 2; (0.2 − 0)² / 2 is not worse than 1 / 2
    # clipped to 1.2: (1.2 − 2)² / 2 is worse than (1.5 − 2)² / 2
    close(losses_N.detach(), [1.62, 0.5, 0.405, 0.32])
    assert clipped_N.tolist() == [True, False, False, True]
    close(values_N.grad, [0.0, 1.0, -0.9, 0.0])


def test_explained_variance_is_of_real_tokens() -> None:
    returns_BT = torch.tensor([[1.0, 2.0, 3.0], [6.0, 50.0, 50.0]])

    assert explained_variance(returns_BT, returns_BT, MASK_BT) == pytest.approx(1.0)
    assert explained_variance(torch.zeros(2, 3), returns_BT, MASK_BT) == pytest.approx(0.0)
    assert explained_variance(-returns_BT, returns_BT, MASK_BT) == pytest.approx(-3.0)
    assert explained_variance(torch.zeros(2, 3), torch.ones(2, 3), MASK_BT) == 0.0


def test_the_best_line_is_the_one_of_least_squares() -> None:
    values_BT = torch.tensor([[0.0, 1.0, 2.0], [3.0, 99.0, 99.0]])

    assert best_line(values_BT, 2 * values_BT + 1, MASK_BT) == pytest.approx((2.0, 1.0))
    # values 0 to 3 with targets (1, 0, 0, 3): slope (−1.5·1 − 0 + 0 + 1.5·3 …) / 5 = 0.6, mean 1, intercept 0.1
    uneven = torch.tensor([[1.0, 0.0, 0.0], [3.0, 0.0, 0.0]])
    assert best_line(values_BT, uneven, MASK_BT) == pytest.approx((0.6, 0.1))
    assert best_line(values_BT, -values_BT, MASK_BT) == pytest.approx((0.0, -1.5)), "never against the values"
    assert best_line(torch.ones(2, 3), values_BT, MASK_BT) == pytest.approx((0.0, 1.5))


@pytest.mark.parametrize(("kl", "expected"), [(6.0, 0.1), (6.6, 0.101), (60.0, 0.102), (0.0, 0.098)])
def test_an_adaptive_coefficient_moves_by_the_clipped_relative_error(kl: float, expected: float) -> None:
    assert adapted_coefficient(0.1, kl, target=6.0, gain=0.1) == pytest.approx(expected)


def test_an_ensemble_is_its_mean_less_its_spread() -> None:
    scores_MB = torch.tensor([[1.0, 2.0], [3.0, 2.0]])

    close(aggregate(scores_MB, 0.0), [2.0, 2.0])
    close(aggregate(scores_MB, 0.5), [1.5, 2.0])
    close(aggregate(scores_MB[:1], 1.0), [1.0, 2.0])
