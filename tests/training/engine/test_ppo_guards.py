"""What stops a ppo run, or slows it down."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from tests.training.engine.conftest import read_lines
from tests.training.engine.test_rollout import experience
from training.engine.events import Events
from training.engine.ppo_checkpoints import Progress
from training.engine.ppo_guards import (
    Diverged,
    check_finite,
    check_gradients,
    check_ratio,
    keep_to_budget,
    watch,
)
from training.engine.ppo_losses import just_mine
from training.engine.ppo_settings import PpoMethod
from training.engine.rollout import Episode

EPISODES = [Episode(0, (7, 8), True), Episode(0, (9,), False)]


def told(folder: Path) -> list[str]:
    file = folder / "events.jsonl"
    return [row["text"] for row in read_lines(file)] if file.exists() else []


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("log_probs_BT", (2, 2)),
        ("reference_BT", (2, 2)),
        ("values_BT", (2, 2)),
        ("final_values_B", (2,)),
        ("scores_B", (2,)),
    ],
)
@pytest.mark.parametrize("broken", [math.nan, -math.inf])
def test_what_a_model_says_must_be_numbers(name: str, shape: tuple[int, ...], broken: float) -> None:
    values = torch.zeros(shape)
    check_finite(experience(EPISODES, **{name: values}), just_mine)
    values.view(-1)[1] = broken

    with pytest.raises(Diverged, match=name.rsplit("_", 1)[0]):
        check_finite(experience(EPISODES, **{name: values}), just_mine)


def test_another_processs_numbers_count_as_well() -> None:
    with pytest.raises(Diverged):
        check_finite(experience(EPISODES), total=lambda mine: mine + 1)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_gradients_must_be_numbers(broken: float) -> None:
    check_gradients({"policy": 1e30, "value": 0.0})

    with pytest.raises(Diverged, match="the value's gradient"):
        check_gradients({"policy": 1.0, "value": broken})


def test_the_first_ratio_may_differ_from_1_by_a_ten_thousandth() -> None:
    check_ratio(0.99e-4)
    check_ratio(math.nan)  # the gradient is none either, and the run stops for that

    with pytest.raises(RuntimeError, match=r"differs from 1 by 0\.00011"):
        check_ratio(1.1e-4)


def test_within_its_budget_nothing_happens(tmp_path: Path) -> None:
    for budget in (None, 2.0):
        progress = Progress(coefficient=0.1)
        keep_to_budget(progress, PpoMethod(kl_budget=budget), 2.0, Events(tmp_path))
        assert progress == Progress(coefficient=0.1)
    assert told(tmp_path) == []


def test_beyond_its_budget_it_ends_or_goes_on_at_half_the_rates(tmp_path: Path) -> None:
    ending, slow = Progress(coefficient=0.1), Progress(coefficient=0.1)

    keep_to_budget(ending, PpoMethod(kl_budget=2.0), 2.5, Events(tmp_path))
    for _ in range(2):
        keep_to_budget(slow, PpoMethod(kl_budget=2.0, on_kl_budget="slow"), 2.5, Events(tmp_path))

    assert "the KL is 2.5 nats a response, beyond the budget of 2" in ending.over
    assert ending.rate_factor == 1.0
    assert slow.over == "" and slow.rate_factor == 0.25
    assert len(told(tmp_path)) == 3


@pytest.mark.parametrize(("on_alarm", "over"), [("tell", False), ("stop", True)])
def test_it_rings_where_the_scorer_falls_and_the_reward_rises(
    on_alarm: str, over: bool, tmp_path: Path
) -> None:
    method = PpoMethod(watch_window=2, on_alarm=on_alarm)
    progress = Progress(coefficient=0.1)
    alarms = []
    for rollout in range(4):
        values = {"score": float(rollout), "kl": 4.0}
        told_of = watch(progress, method, values, {"oracle": -float(rollout)}, Events(tmp_path))
        assert told_of["watch/oracle"] == -rollout and told_of["watch/sqrt_kl"] == 2.0
        alarms.append(told_of["watch/alarm"])

    assert alarms == [0.0, 0.0, 0.0, 1.0]
    assert bool(progress.over) == over
    assert [text.startswith("Alarm: over the last 4 rollouts") for text in told(tmp_path)] == [True]


def test_a_kl_that_is_estimated_below_0_has_the_root_0(tmp_path: Path) -> None:
    values = {"score": 0.0, "kl": -0.1}

    found = watch(Progress(coefficient=0.1), PpoMethod(), values, {"oracle": 1.0}, Events(tmp_path))

    assert found["watch/sqrt_kl"] == 0.0


def test_without_a_scorer_nothing_is_watched(tmp_path: Path) -> None:
    progress = Progress(coefficient=0.1)

    assert watch(progress, PpoMethod(), {"score": 0.0, "kl": 0.0}, {}, Events(tmp_path)) == {}
    assert progress.watched == []
