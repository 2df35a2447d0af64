"""Losses on numbers worked by hand."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.engine.held_out import Judged, figures
from training.engine.losses import calibration_error, ipo_losses, order_loss, pair_losses

# σ(ln 3) = ¾, so a lead of ln 3 is won with ¾ and lost with ¼.
LN3 = math.log(3)
WON, LOST = -math.log(0.75), -math.log(0.25)


def test_a_pair_costs_what_bradley_terry_says() -> None:
    torch.testing.assert_close(
        pair_losses(torch.tensor([LN3, 0.0, -LN3])), torch.tensor([WON, math.log(2), LOST])
    )


def test_a_hopeless_lead_costs_its_size_and_never_becomes_infinite() -> None:
    torch.testing.assert_close(pair_losses(torch.tensor([-1e4, 1e4])), torch.tensor([1e4, 0.0]))


def test_a_soft_target_is_cross_entropy_and_least_where_the_lead_says_it() -> None:
    targets = torch.tensor([0.75, 0.5, 1.0])

    found = pair_losses(torch.full((3,), LN3), targets_P=targets)

    expected = [0.75 * WON + 0.25 * LOST, (WON + LOST) / 2, WON]
    torch.testing.assert_close(found, torch.tensor(expected))
    leads = torch.tensor([LN3], requires_grad=True)
    pair_losses(leads, targets_P=torch.tensor([0.75])).backward()
    assert leads.grad is not None and leads.grad.abs().item() < 1e-6


def test_a_margin_must_be_led_by() -> None:
    torch.testing.assert_close(
        pair_losses(torch.tensor([LN3 + 2.0]), margins_P=torch.tensor([2.0])), torch.tensor([WON])
    )


def test_label_smoothing_is_the_loss_on_clean_labels_when_labels_flip_as_often_as_it_says() -> None:
    epsilon = 0.2
    kept, flipped = (pair_losses(torch.tensor([sign * LN3]), label_smoothing=epsilon) for sign in (1, -1))

    torch.testing.assert_close(kept, torch.tensor([(0.8 * WON - 0.2 * LOST) / 0.6]))
    torch.testing.assert_close((1 - epsilon) * kept + epsilon * flipped, torch.tensor([WON]))


def test_ipo_is_the_squared_distance_to_half_the_inverse_of_beta() -> None:
    found = ipo_losses(torch.tensor([5.0, 2.0]), beta=0.1)

    torch.testing.assert_close(found, torch.tensor([0.0, 9.0]))
    torch.testing.assert_close(ipo_losses(torch.tensor([5.0]), 0.1, torch.tensor([2.0])), torch.tensor([4.0]))


def order_by_hand(values: list[float], tiers: list[list[int]]) -> float:
    """Plackett–Luce with ties that say nothing, from its definition in words."""
    loss = 0.0
    for number, tier in enumerate(tiers):
        worse = [values[index] for lower in tiers[number + 1 :] for index in lower]
        for index in tier if worse else []:
            chance = math.exp(values[index]) / (math.exp(values[index]) + sum(map(math.exp, worse)))
            loss -= math.log(chance)
    return loss


def test_an_order_by_hand() -> None:
    # Worths 3, 2, 1: the first is chosen with 3/6, then the second with 2/3.
    values = torch.tensor([2.0, 3.0, 1.0]).log()

    found = order_loss(values, [[1], [0], [2]])

    assert found.item() == pytest.approx(-math.log(3 / 6) - math.log(2 / 3))
    assert order_loss(values, [[1], [0], [2]], stages=1).item() == pytest.approx(math.log(2))


def test_tied_responses_are_not_chosen_over_each_other() -> None:
    # Worths 3 and 2 tied above 1: 3/4 and 2/3, whatever the other is.
    values = torch.tensor([2.0, 3.0, 1.0]).log()

    assert order_loss(values, [[0, 1], [2]]).item() == pytest.approx(-math.log(3 / 4) - math.log(2 / 3))
    assert order_loss(values, [[1], [0, 2]]).item() == pytest.approx(math.log(2))
    assert order_loss(values, [[0, 1, 2]]).item() == 0


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-3, 3), min_size=2, max_size=5))
def test_the_likelihoods_of_all_orders_add_up_to_one(values: list[float]) -> None:
    value_S = torch.tensor(values, dtype=torch.float64)

    likelihoods = [
        math.exp(-order_loss(value_S, [[index] for index in order]).item())
        for order in itertools.permutations(range(len(values)))
    ]

    assert sum(likelihoods) == pytest.approx(1)


@st.composite
def tiered(draw: st.DrawFn) -> tuple[list[float], list[list[int]]]:
    """Values, and their indices in tiers."""
    values = draw(st.lists(st.floats(-3, 3), min_size=2, max_size=6))
    order = draw(st.permutations(range(len(values))))
    tiers: list[list[int]] = []
    for index in order:
        if tiers and draw(st.booleans()):
            tiers[-1].append(index)
        else:
            tiers.append([index])
    return values, tiers


@settings(max_examples=50, deadline=None)
@given(tiered())
def test_an_order_with_ties_is_what_its_definition_says(given: tuple[list[float], list[list[int]]]) -> None:
    values, tiers = given

    found = order_loss(torch.tensor(values, dtype=torch.float64), tiers).item()

    assert found == pytest.approx(order_by_hand(values, tiers))


@pytest.mark.parametrize("stages", [None, 1])
def test_the_order_of_two_is_bradley_terry(stages: int | None) -> None:
    values = torch.tensor([0.3, -1.2], dtype=torch.float64)

    torch.testing.assert_close(
        order_loss(values, [[1], [0]], stages=stages), pair_losses(values[1] - values[0])
    )


def test_calibration_error_by_hand() -> None:
    # Says 0.85 four times and is right three times: a gap of 0.1. Says 0.55 against twice, is right once: 0.05 there.
    predicted = torch.tensor([0.85, 0.85, 0.85, 0.15, 0.45, 0.55])

    assert calibration_error(predicted) == pytest.approx((4 * abs(0.75 - 0.85) + 2 * abs(0.5 - 0.55)) / 6)


@pytest.mark.parametrize(
    ("predicted", "error"), [([0.5, 0.5], 0.0), ([1.0, 1.0], 0.0), ([0.0], 1.0), ([1.0, 0.0], 0.5)]
)
def test_calibration_error_at_its_ends(predicted: list[float], error: float) -> None:
    assert calibration_error(torch.tensor(predicted)) == pytest.approx(error)


def test_held_out_figures_by_hand() -> None:
    judged = [Judged(2.0, 0.2, "tone"), Judged(-1.0, 1.0), Judged(0.0, 3.0, "tone"), Judged(1.0, 3.0)]

    told = figures(judged)

    assert told["accuracy"] == 2.5 / 4
    assert (told["accuracy/close"], told["accuracy/clear"], told["accuracy/sure"]) == (1.0, 0.0, 0.75)
    assert told["accuracy/aspect:tone"] == 0.75
    assert told["margin"] == 0.5
    assert figures([]) == {}
    assert "calibration_error" in told
    assert "calibration_error" not in figures(judged, calibrated=False)
