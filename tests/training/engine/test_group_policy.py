"""RLOO and GRPO by TRL's trainers, with reward adapters on the policy's own base."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from peft import AutoPeftModelForCausalLM
from transformers import TrainerControl, TrainerState

from tests.training.engine.ppo_runs import group_spec, with_dropout
from tests.training.engine.runs import Run, events_of, figures_of, models_of, weights_of
from training.engine.events import Events
from training.engine.group_policy import CUT, GroupProgress
from training.engine.interrupt import Interrupt
from training.engine.ppo_settings import PpoMethod

Spec = dict[str, Any]


@pytest.fixture
def spec(tmp_path: Path, tiny_model: Path, tiny_reward: Path) -> Spec:
    return group_spec(tmp_path, tiny_model, tiny_reward)


@pytest.mark.parametrize("algorithm", ["rloo", "grpo"])
def test_a_run_leaves_an_adapter_and_tells_what_it_scored(
    algorithm: str, spec: Spec, run_warm: Run, tiny_reward: Path
) -> None:
    spec["method"] |= {
        "algorithm": algorithm,
        "sample_rollouts": 2,
        "shown": 3,
        "watch_oracle": "training.engine.oracles:vader",
    }
    spec["data"]["watch"] = str(tiny_reward)

    code, log = run_warm(spec)

    assert code == 0, log
    assert models_of(spec) == ["adapter"]
    AutoPeftModelForCausalLM.from_pretrained(Path(spec["output"]) / "adapter")
    for name in ("score", "reward", "kl", "entropy", "length", "ended", "clip_fraction"):
        assert len(figures_of(spec, name)) >= 4, name
    assert len(figures_of(spec, "watch/oracle")) == 4
    watched = figures_of(spec, "watch/reward_model")
    assert watched == pytest.approx({step: figures_of(spec, "score")[step] for step in watched}, abs=1e-4), (
        "the very reward model watches, so it says the same"
    )
    assert figures_of(spec, "kl")[1] == pytest.approx(0, abs=1e-4)
    assert all(1 <= length <= 10 for length in figures_of(spec, "length").values())
    samples = events_of(spec, "sample")
    assert len(samples) == 6
    scores = [sample["scores"]["score"] for sample in samples[:3]]
    assert scores == sorted(scores, reverse=True)


def guarded(folder: Path, **method: Any) -> tuple[GroupProgress, TrainerControl, Callable[..., None]]:
    """What a trainer tells, what it is told, and how it logs the figures of a step."""
    settings = PpoMethod(**{"algorithm": "rloo", "samples": 2, "missing_end_penalty": 2.0, **method})
    rewards = SimpleNamespace(independent={})
    progress = GroupProgress(Events(folder), Interrupt(None), settings, rewards)  # type: ignore[arg-type]
    control = TrainerControl()

    def log(independent: dict[str, float], **logs: float) -> None:
        rewards.independent = independent
        progress.on_log(None, TrainerState(), control, logs)  # type: ignore[arg-type]

    return progress, control, log


def test_figures_are_those_of_a_ppo_run(tmp_path: Path) -> None:
    progress, _, _ = guarded(tmp_path)
    drawn = {
        "rewards/reward_model/mean": 1.0,
        "completions/mean_length": 8.0,
        "completions/clipped_ratio": 0.25,
        "kl": 0.5,
    }

    assert progress.renamed(drawn) == {
        "rewards/reward_model/mean": 1.0,
        "length": 8.0,
        "ended": 0.75,
        "score": 1.5,
        "kl": 4.0,
    }
    later = progress.renamed({"kl": 0.25, "clip_ratio/region_mean": 0.1})
    assert later == {"kl": 2.0, "clip_fraction": 0.1}, "of the same responses"


def test_it_keeps_to_a_kl_budget(tmp_path: Path) -> None:
    _, control, log = guarded(tmp_path, kl_budget=3.0)
    rollout = {"rewards/reward_model/mean": 0.0, "completions/mean_length": 10.0, CUT: 0.0}

    log({}, **rollout, kl=0.29)
    assert not control.should_training_stop
    log({}, **rollout, kl=0.31)

    assert control.should_training_stop and control.should_save
    assert "Stopped after 2 rollouts" in (tmp_path / "events.jsonl").read_text(encoding="utf-8")


def test_a_gradient_that_is_no_number_ends_it_without_a_checkpoint(tmp_path: Path) -> None:
    _, control, log = guarded(tmp_path)

    log({}, grad_norm=1.0)
    assert not control.should_training_stop
    log({}, grad_norm=math.nan)

    assert control.should_training_stop and not control.should_save


def test_an_alarm_can_stop_it(tmp_path: Path) -> None:
    _, control, log = guarded(tmp_path, watch_window=2, on_alarm="stop")

    for n in range(4):
        assert not control.should_training_stop
        log({"oracle": -float(n)}, **{"rewards/reward_model/mean": float(n), CUT: 0.0})
        log(
            {"oracle": -float(n)}, **{"clip_ratio/region_mean": 0.0}
        )  # the rollout's second step is no other rollout

    assert control.should_training_stop
    spec = {"output": str(tmp_path)}
    assert list(figures_of(spec, "watch/alarm").values()) == [1.0]


def test_the_reward_rises(spec: Spec, run_warm: Run) -> None:
    spec["method"] |= {
        "algorithm": "rloo",
        "episodes": 640,
        "batch_size": 32,
        "samples": 8,
        "epochs": 1,
        "max_tokens": 5,
        "learning_rate": 3e-2,
        "scheduler": "constant",
        "kl_coefficient": 0.0,
        "missing_end_penalty": 0.0,
    }

    code, log = run_warm(spec)

    assert code == 0, log
    rewards = list(figures_of(spec, "reward").values())
    assert sum(rewards[-4:]) / 4 > sum(rewards[:4]) / 4 + 0.5


def test_a_reward_adapter_that_was_trained_with_dropout_drops_nothing(
    spec: Spec, run_warm: Run, tiny_reward: Path, tmp_path: Path
) -> None:
    copy = with_dropout(tiny_reward, tmp_path / "reward")
    spec["method"]["episodes"] = 8
    scores = []

    for reward in (tiny_reward, copy):
        own = {
            **spec,
            "output": str(tmp_path / reward.name),
            "data": {**spec["data"], "rewards": [str(reward)]},
        }
        code, log = run_warm(own)
        assert code == 0, log
        scores.append(figures_of(own, "score")[1])

    assert scores[0] == pytest.approx(scores[1], abs=1e-5)


def test_a_run_that_ended_but_for_its_artifact_is_not_trained_again(spec: Spec, run_warm: Run) -> None:
    code, log = run_warm(spec)
    assert code == 0, log
    before = weights_of(spec)

    code, log = run_warm(spec)

    assert code == 0, log
    assert weights_of(spec) == before


def test_every_weight_is_trained_against_a_whole_reward_model(
    spec: Spec, run_warm: Run, run_here: Callable[[Spec], int], whole_reward: Path
) -> None:
    spec["method"] |= {"algorithm": "grpo", "parameters": {"kind": "full"}, "learning_rate": 1e-4}
    assert run_here(spec) == 2
    assert "takes whole reward models" in events_of(spec, "error")[-1]["sentence"]
    spec["data"]["rewards"] = [str(whole_reward)]

    code, log = run_warm(spec)

    assert code == 0, log
    assert models_of(spec) == ["weights"]
