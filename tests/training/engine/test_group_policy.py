"""RLOO and GRPO by TRL's trainers, with reward adapters on the policy's own base."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from peft import AutoPeftModelForCausalLM

from tests.training.engine.ppo_runs import make_reward, ppo_spec
from tests.training.engine.runs import Run, events_of, figures_of, models_of, weights_of
from tests.training.engine.warm_engine import WarmEngine

Spec = dict[str, Any]


@pytest.fixture
def spec(tmp_path: Path, tiny_model: Path, tiny_reward: Path) -> Spec:
    return ppo_spec(tmp_path, tiny_model, tiny_reward, samples=4)


@pytest.mark.parametrize("algorithm", ["rloo", "grpo"])
def test_a_run_leaves_an_adapter_and_tells_what_it_scored(algorithm: str, spec: Spec, run_warm: Run) -> None:
    spec["method"] |= {"algorithm": algorithm, "sample_rollouts": 2, "shown": 3}

    code, log = run_warm(spec)

    assert code == 0, log
    assert models_of(spec) == ["adapter"]
    AutoPeftModelForCausalLM.from_pretrained(Path(spec["output"]) / "adapter")
    assert len(figures_of(spec, "reward")) >= 4
    samples = events_of(spec, "sample")
    assert len(samples) == 6
    scores = [sample["scores"]["score"] for sample in samples[:3]]
    assert scores == sorted(scores, reverse=True)


def test_the_reward_rises(spec: Spec, run_warm: Run) -> None:
    spec["method"] |= {
        "algorithm": "rloo",
        "episodes": 1920,
        "batch_size": 32,
        "samples": 8,
        "epochs": 2,
        "learning_rate": 1e-2,
        "kl_coefficient": 0.0,
        "missing_end_penalty": 0.0,
    }

    code, log = run_warm(spec)

    assert code == 0, log
    rewards = list(figures_of(spec, "reward").values())
    assert sum(rewards[-8:]) / 8 > sum(rewards[:8]) / 8 + 0.2


def test_a_run_that_ended_but_for_its_artifact_is_not_trained_again(spec: Spec, run_warm: Run) -> None:
    spec["method"] |= {"algorithm": "rloo"}
    code, log = run_warm(spec)
    assert code == 0, log
    before = weights_of(spec)

    code, log = run_warm(spec)

    assert code == 0, log
    assert weights_of(spec) == before


def test_every_weight_is_trained_against_a_whole_reward_model(
    spec: Spec, run_warm: Run, warm_engine: WarmEngine, tmp_path: Path, wider_tiny_model: Path
) -> None:
    spec["method"] |= {"algorithm": "grpo", "parameters": {"kind": "full"}, "learning_rate": 1e-4}
    code, _ = run_warm(spec)
    assert code == 2
    assert "takes whole reward models" in events_of(spec, "error")[-1]["sentence"]
    spec["data"]["rewards"] = [
        str(make_reward(warm_engine, tmp_path / "whole", wider_tiny_model, parameters="full"))
    ]

    code, log = run_warm(spec)

    assert code == 0, log
    assert models_of(spec) == ["weights"]
