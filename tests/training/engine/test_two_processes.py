"""Two processes train what one trains, and speak with one voice."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load

from tests.training.engine.ppo_runs import ppo_spec
from tests.training.engine.runs import Run, events_of, figures_of, models_of, training_spec, weights_of
from tests.training.engine.two_processes import SHARDED
from tests.training.engine.warm_engine import DRAWING_PLACE, WarmEngine

KINDS = ("dpo", "reward", "sft")
Spec = dict[str, Any]


def spec_of(kind: str, folder: Path, model: Path) -> Spec:
    """16 rankings in 6 steps of 3: in the last step one process has nothing to do."""
    folder.mkdir(exist_ok=True)
    return training_spec(
        kind,
        folder,
        model,
        batch_size=3,
        tokens_at_once=100,
        epochs=1,
        retention=kind == "sft",
        activation_checkpointing=kind == "reward",
    )


def ppo_spec_of(folder: Path, model: Path, reward: Path) -> Spec:
    """3 prompts a rollout: one process answers two of them, the other one."""
    return ppo_spec(
        folder, model, reward, batch_size=6, episodes=18, watch_oracle="training.engine.oracles:vader"
    )


@pytest.fixture(scope="module")
def together(
    warm_engine: WarmEngine, tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, tiny_reward: Path
) -> Path:
    """The folder in which two processes carried out a run of each kind."""
    folder = tmp_path_factory.mktemp("together")
    (folder / "ppo").mkdir()
    spec = {**ppo_spec_of(folder / "ppo", tiny_model, tiny_reward), "processes": 2}
    (folder / "ppo.spec").write_text(json.dumps(spec), encoding="utf-8")
    for kind in KINDS:
        spec = {**spec_of(kind, folder / kind, tiny_model), "processes": 2}
        (folder / f"{kind}.spec").write_text(json.dumps(spec), encoding="utf-8")
    running = warm_engine.start_together(2, "tests.training.engine.two_processes:main", folder)
    for code, log in [process.wait() for process in running]:
        assert code == 0, log
    assert json.loads((folder / "codes.json").read_text()) == dict.fromkeys([*KINDS, "ppo"], 0)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_end_where_one_ends(
    kind: str, together: Path, tmp_path: Path, tiny_model: Path, run_warm: Run
) -> None:
    alone = spec_of(kind, tmp_path, tiny_model)
    code, log = run_warm(alone)
    assert code == 0, log
    both = json.loads((together / f"{kind}.spec").read_text())

    assert len(events_of(both, "end")) == 1
    assert models_of(both) == models_of(alone) == ["adapter"]
    names = ["loss", "eval_loss", "learning_rate", "grad_norm"]
    names += {"sft": ["eval_perplexity", "eval_perplexity_before"]}.get(
        kind, ["accuracy", "margin", "eval_accuracy"]
    )
    names += {"dpo": ["eval_kl", "eval_length"]}.get(kind, [])
    for name in names:
        assert figures_of(both, name) == pytest.approx(figures_of(alone, name), rel=1e-3, abs=1e-4), name
    found, expected = load(weights_of(both)), load(weights_of(alone))
    assert found.keys() == expected.keys()
    for name, weights in expected.items():
        # Adam divides by the gradient's size, so that where it is all rounding, steps are as well.
        gap = (found[name] - weights).norm() / weights.norm()
        assert gap < 1e-2, f"{name}: {gap}"


@pytest.mark.parametrize(
    ("place", "step", "number"),
    [
        ("between passes", 4, signal.SIGKILL),
        ("between passes", 4, signal.SIGTERM),
        (DRAWING_PLACE, 0, signal.SIGTERM),
    ],
)
def test_two_processes_of_which_one_is_stopped_go_on_from_a_checkpoint_and_end_where_unbroken_ones_end(
    place: str,
    step: int,
    number: int,
    together: Path,
    tmp_path: Path,
    tiny_model: Path,
    warm_engine: WarmEngine,
) -> None:
    """The other one is stopped at the same step, or where it was killed, by torchrun."""
    spec = {**spec_of("dpo", tmp_path, tiny_model), "processes": 2}
    (tmp_path / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
    call = "tests.training.engine.two_processes:run_one"
    first, last = warm_engine.start_together(2, call, tmp_path, kill_last=(place, step, number))
    ended, log = last.wait()
    if number == signal.SIGKILL:
        assert ended == -signal.SIGKILL, log
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    else:
        assert [ended, first.wait()[0]] == [75, 75], log
    assert not models_of(spec)

    for code, log in [process.wait() for process in warm_engine.start_together(2, call, tmp_path)]:
        assert code == 0, log

    unbroken = json.loads((together / "dpo.spec").read_text())
    assert figures_of(spec, "loss") == figures_of(unbroken, "loss")
    assert weights_of(spec) == weights_of(unbroken)


def test_two_processes_draw_and_learn_what_one_does(
    together: Path, tmp_path: Path, tiny_model: Path, tiny_reward: Path, run_warm: Run
) -> None:
    alone = ppo_spec_of(tmp_path, tiny_model, tiny_reward)
    code, log = run_warm(alone)
    assert code == 0, log
    both = json.loads((together / "ppo.spec").read_text())

    assert len(events_of(both, "end")) == 1
    for name in (
        "score",
        "kl",
        "entropy",
        "length",
        "policy_loss",
        "value_loss",
        "grad_norm",
        "watch/oracle",
    ):
        assert figures_of(both, name) == pytest.approx(figures_of(alone, name), rel=1e-2, abs=1e-3), name
    shown = [[row["response"] for row in events_of(spec, "sample")] for spec in (both, alone)]
    assert shown[0] == shown[1]
    found, expected = load(weights_of(both)), load(weights_of(alone))
    for name, weights in expected.items():
        gap = (found[name] - weights).norm() / weights.norm()
        assert gap < 1e-2, f"{name}: {gap}"


@pytest.mark.parametrize("family", SHARDED)
def test_a_model_divided_among_processes_gives_what_the_whole_one_gives(family: str, together: Path) -> None:
    scores, gradients = json.loads((together / "sharded.json").read_text())[family]

    assert scores <= 1e-4
    assert gradients <= 1e-4
