"""A ppo run that is killed while it draws, scores or learns ends in the same bits as one left alone."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.training.engine.ppo_runs import ppo_spec
from tests.training.engine.runs import Run, figures_of, weights_of

Spec = dict[str, Any]
STEPS_A_ROLLOUT = 4


@pytest.fixture
def spec(tmp_path: Path, tiny_model: Path, tiny_reward: Path) -> Spec:
    return ppo_spec(
        tmp_path, tiny_model, tiny_reward, kl_target=0.5, watch_oracle="training.engine.oracles:vader"
    )


@pytest.fixture(scope="module")
def unbroken() -> dict[str, Any]:
    """What a run left alone ends in; filled by the first test that needs it."""
    return {}


def left_alone(spec: Spec, run_warm: Run, unbroken: dict[str, Any]) -> tuple[bytes, dict[int, float]]:
    name = json.dumps(spec["method"])
    if name not in unbroken:
        alone = {**spec, "output": spec["output"] + "-alone"}
        code, log = run_warm(alone)
        assert code == 0, log
        unbroken[name] = weights_of(alone), figures_of(alone, "score")
    return unbroken[name]


@pytest.mark.parametrize(
    ("place", "step"),
    [
        ("in a rollout", 0),  # before there is anything to resume from
        ("in scoring", STEPS_A_ROLLOUT),  # after a rollout without a checkpoint
        ("in optimisation", STEPS_A_ROLLOUT + 1),
        ("before telling", 2 * STEPS_A_ROLLOUT),  # learned, but neither told nor saved
        ("after a rollout", 2 * STEPS_A_ROLLOUT),  # right after a checkpoint
        ("in a rollout", 3 * STEPS_A_ROLLOUT),
        ("in optimisation", 3 * STEPS_A_ROLLOUT + 2),
        ("after a rollout", 4 * STEPS_A_ROLLOUT),  # all done but the artifact
    ],
)
def test_a_killed_run_ends_where_an_unbroken_one_ends(
    place: str, step: int, spec: Spec, run_warm: Run, unbroken: dict[str, Any]
) -> None:
    code, log = run_warm(spec, kill=(place, step))
    assert code == -signal.SIGKILL, log

    code, log = run_warm(spec)

    assert code == 0, log
    weights, scores = left_alone(spec, run_warm, unbroken)
    assert weights_of(spec) == weights
    assert figures_of(spec, "score") == scores


def test_so_does_one_whose_value_function_is_a_head(
    spec: Spec, run_warm: Run, unbroken: dict[str, Any]
) -> None:
    spec["method"]["value"] = "head"
    code, log = run_warm(spec, kill=("in optimisation", STEPS_A_ROLLOUT + 1))
    assert code == -signal.SIGKILL, log

    code, log = run_warm(spec)

    assert code == 0, log
    assert weights_of(spec) == left_alone(spec, run_warm, unbroken)[0]


def test_a_stopped_run_keeps_its_responses_and_ends_where_an_unbroken_one_ends(
    spec: Spec, run_warm: Run, unbroken: dict[str, Any]
) -> None:
    code, log = run_warm(spec, kill=("in optimisation", STEPS_A_ROLLOUT + 1, signal.SIGTERM))
    assert code == 75, log
    checkpoints = Path(spec["output"]) / "checkpoints"
    kept = [each.relative_to(checkpoints) for each in checkpoints.glob("*/experience-0.safetensors")]
    assert kept == [Path(f"checkpoint-{STEPS_A_ROLLOUT + 2}/experience-0.safetensors")]

    code, log = run_warm(spec)

    assert code == 0, log
    weights, scores = left_alone(spec, run_warm, unbroken)
    assert weights_of(spec) == weights
    assert figures_of(spec, "score") == scores
