"""A run that is stopped, killed or out of disk ends in the same weights, bit for bit, as one left alone."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.training.engine.runs import Run, events_of, figures_of, rankings, training_spec, weights_of
from tests.training.engine.warm_engine import WarmRun
from training.engine.files import engine_home
from training.engine.records import write_rankings

Start = Callable[[dict[str, Any]], WarmRun]
Kill = Callable[[dict[str, Any], str, int], None]
MakeSpec = Callable[[str, str], dict[str, Any]]
PATIENCE = 120
STEPS = 12


@pytest.fixture
def make_spec(tmp_path: Path, tiny_model: Path) -> MakeSpec:
    """12 optimizer steps over 2 epochs, adapter dropout and several passes a step included, a checkpoint every 5."""

    def make(kind: str, parameters: str) -> dict[str, Any]:
        method = {"pairs": "adjacent"} if kind != "sft" else {}
        return training_spec(
            kind,
            tmp_path,
            tiny_model,
            batch_size=3,
            tokens_at_once=100,
            save_steps=5,
            retention=False,
            parameters={"kind": parameters, "dropout": 0.1},
            **method,
        )

    return make


@pytest.fixture
def spec(make_spec: MakeSpec) -> dict[str, Any]:
    return make_spec("dpo", "lora")


@pytest.fixture
def run_and_kill(run_warm: Run) -> Kill:
    """Carry out a run until it is killed at a place in the training loop and a global step."""

    def run(spec: dict[str, Any], where: str, step: int) -> None:
        code, log = run_warm(spec, kill=(where, step))
        assert code == -signal.SIGKILL, log

    return run


@pytest.fixture(scope="module")
def unbroken() -> dict[str, bytes]:
    """The weights of a run left alone, by its kind and settings; filled by the first test that needs it."""
    return {}


def weights_left_alone(spec: dict[str, Any], run_warm: Run, unbroken: dict[str, bytes]) -> bytes:
    name = json.dumps([spec["kind"], spec["method"]])
    if name not in unbroken:
        alone = {**spec, "output": spec["output"] + "-alone"}
        code, log = run_warm(alone)
        assert code == 0, log
        assert max(figures_of(alone, "loss")) == STEPS
        unbroken[name] = weights_of(alone)
    return unbroken[name]


@pytest.mark.parametrize(
    ("where", "step"),
    [
        ("in a step", 3),  # before the first checkpoint
        ("in a checkpoint", 5),  # half of the first checkpoint is written
        ("after a checkpoint", 5),  # right after it
        ("between passes", 7),  # a step's gradients are half added up; resumed across an epoch's end
        ("in an evaluation", 10),
        ("after a checkpoint", STEPS),  # trained, measured and saved, but not finished
    ],
)
def test_a_killed_run_ends_where_an_unbroken_one_ends(
    where: str,
    step: int,
    spec: dict[str, Any],
    run_warm: Run,
    run_and_kill: Kill,
    unbroken: dict[str, bytes],
) -> None:
    run_and_kill(spec, where, step)

    code, log = run_warm(spec)

    assert code == 0, log
    assert weights_of(spec) == weights_left_alone(spec, run_warm, unbroken)
    measured = [row["step"] for row in events_of(spec, "metric") if "eval_loss" in row["values"]]
    assert measured[-1] == STEPS, "the last step is measured, whatever happened"


@pytest.mark.parametrize(
    ("kind", "parameters"), [("dpo", "full"), ("reward", "lora"), ("reward", "full"), ("sft", "lora")]
)
def test_so_does_every_kind_of_run(
    kind: str,
    parameters: str,
    make_spec: MakeSpec,
    run_warm: Run,
    run_and_kill: Kill,
    unbroken: dict[str, bytes],
) -> None:
    spec = make_spec(kind, parameters)
    run_and_kill(spec, "between passes", 8)

    code, log = run_warm(spec)

    assert code == 0, log
    assert weights_of(spec) == weights_left_alone(spec, run_warm, unbroken)


def test_a_killed_run_chooses_the_checkpoint_that_an_unbroken_one_chooses(
    spec: dict[str, Any], run_warm: Run, run_and_kill: Kill, unbroken: dict[str, bytes]
) -> None:
    # The first checkpoint is the best: what is held out is the opposite of what is learned.
    spec["method"] |= {"keep_best": True, "learning_rate": 1e-2}
    upside_down = [
        dataclasses.replace(r, tiers=r.tiers[::-1], scores=[-s for s in r.scores]) for r in rankings(4)
    ]
    write_rankings(Path(spec["data"]["held_out"]), upside_down)
    run_and_kill(spec, "in an evaluation", STEPS)

    code, log = run_warm(spec)

    assert code == 0, log
    losses = figures_of(spec, "eval_loss")
    assert min(losses, key=lambda step: losses[step]) == 5
    best = Path(spec["output"]) / "checkpoints" / "checkpoint-5"
    state = json.loads((best / "trainer_state.json").read_text())
    assert state["best_model_checkpoint"] == str(best) and "does not exist" not in log
    assert weights_of(spec) == weights_left_alone(spec, run_warm, unbroken)


@pytest.mark.parametrize("step", [5, 10, STEPS])
def test_a_run_stopped_while_it_measures_measures_again_and_chooses_as_an_unbroken_one(
    step: int, spec: dict[str, Any], run_warm: Run, unbroken: dict[str, bytes]
) -> None:
    """Whatever checkpoint is the best: the one whose measurement was broken off has its say."""
    spec["method"] |= {"keep_best": True, "learning_rate": 1e-2}
    upside_down = [
        dataclasses.replace(r, tiers=r.tiers[::-1], scores=[-s for s in r.scores]) for r in rankings(4)
    ]
    write_rankings(Path(spec["data"]["held_out"]), upside_down)
    code, log = run_warm(spec, kill=("in an evaluation", step, signal.SIGTERM))
    assert code == 75, log
    assert step not in figures_of(spec, "eval_loss")

    code, log = run_warm(spec)

    assert code == 0, log
    assert list(figures_of(spec, "eval_loss")) == [5, 10, STEPS]
    assert weights_of(spec) == weights_left_alone(spec, run_warm, unbroken)


def test_early_stopping_is_the_same_after_a_measurement_that_was_stopped(
    spec: dict[str, Any], run_warm: Run
) -> None:
    spec["method"] |= {"patience": 1, "learning_rate": 1e-2, "epochs": 20}
    upside_down = [
        dataclasses.replace(r, tiers=r.tiers[::-1], scores=[-s for s in r.scores]) for r in rankings(4)
    ]
    write_rankings(Path(spec["data"]["held_out"]), upside_down)
    code, log = run_warm(spec, kill=("in an evaluation", 10, signal.SIGTERM))
    assert code == 75, log

    code, log = run_warm(spec)

    assert code == 0, log
    assert list(figures_of(spec, "eval_loss")) == [5, 10]
    assert max(figures_of(spec, "loss")) == 10


def test_early_stopping_is_the_same_after_a_kill(
    spec: dict[str, Any], run_warm: Run, run_and_kill: Kill
) -> None:
    spec["method"] |= {"patience": 1, "learning_rate": 1e-2, "epochs": 20}
    upside_down = [
        dataclasses.replace(r, tiers=r.tiers[::-1], scores=[-s for s in r.scores]) for r in rankings(4)
    ]
    write_rankings(Path(spec["data"]["held_out"]), upside_down)
    alone = {**spec, "output": spec["output"] + "-alone"}
    assert run_warm(alone)[0] == 0
    assert list(figures_of(alone, "eval_loss")) == [5, 10]
    run_and_kill(spec, "after a checkpoint", 10)  # training is over; nothing is finished yet

    code, log = run_warm(spec)

    assert code == 0, log
    assert weights_of(spec) == weights_of(alone)
    assert max(figures_of(spec, "loss")) == 10


def test_a_run_is_not_scored_against_its_own_training_after_a_resume(
    make_spec: MakeSpec, run_warm: Run, run_and_kill: Kill, unbroken: dict[str, bytes]
) -> None:
    spec = make_spec("dpo", "full")
    run_and_kill(spec, "in a step", 8)
    scored = {file: file.read_bytes() for file in (engine_home() / "references").iterdir()}
    for file in scored:
        file.unlink()

    code, log = run_warm(spec)

    assert code == 0, log
    remade = {file: file.read_bytes() for file in (engine_home() / "references").iterdir()}
    assert remade and all(scored[file] == content for file, content in remade.items())
    assert weights_of(spec) == weights_left_alone(spec, run_warm, unbroken)


def test_half_a_checkpoint_is_removed_and_never_resumed_from(
    spec: dict[str, Any], run_warm: Run, run_and_kill: Kill
) -> None:
    checkpoints = Path(spec["output"]) / "checkpoints"

    run_and_kill(spec, "in a checkpoint", 10)

    assert [folder.name for folder in checkpoints.glob("checkpoint-*")] == ["checkpoint-5"]
    assert list(checkpoints.glob(".*")), "the half that was written"
    assert run_warm(spec)[0] == 0
    assert sorted(folder.name for folder in checkpoints.iterdir()) == ["checkpoint-10", f"checkpoint-{STEPS}"]


def wait_for_step(spec: dict[str, Any], step: int, process: WarmRun) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, process.log
        if (Path(spec["output"]) / "events.jsonl").exists() and any(
            row["step"] >= step for row in events_of(spec, "metric")
        ):
            return
        time.sleep(0.01)
    raise AssertionError(f"no step {step} within {PATIENCE} s")


@pytest.fixture
def long_spec(spec: dict[str, Any]) -> dict[str, Any]:
    """Long enough to be caught in the act, with no checkpoint of its own accord before its end."""
    spec["method"] |= {"epochs": 60, "save_steps": 10_000}
    return spec


def test_sigterm_stops_at_a_checkpoint_and_the_next_start_goes_on_from_it(
    long_spec: dict[str, Any], start_warm: Start
) -> None:
    process = start_warm(long_spec)
    wait_for_step(long_spec, 2, process)

    os.kill(process.pid, signal.SIGTERM)
    code, log = process.wait()

    assert code == 75, log
    assert events_of(long_spec, "end")[-1]["state"] == "stopped"
    assert not (Path(long_spec["output"]) / "adapter").exists()
    (checkpoint,) = (Path(long_spec["output"]) / "checkpoints").iterdir()
    stopped_at = int(checkpoint.name.removeprefix("checkpoint-"))
    before = len(events_of(long_spec, "progress"))
    process = start_warm(long_spec)
    wait_for_step(long_spec, stopped_at + 1, process)
    resumed = [row["done"] for row in events_of(long_spec, "progress")[before:] if row["phase"] == "training"]
    assert resumed[0] == stopped_at


def test_a_run_that_loses_its_lease_stops_resumable(
    long_spec: dict[str, Any], tmp_path: Path, start_warm: Start
) -> None:
    lease = tmp_path / "lease.json"
    lease.write_text(json.dumps({"token": 3, "until": time.time() + 600}), encoding="utf-8")
    process = start_warm({**long_spec, "lease": str(lease)})
    wait_for_step(long_spec, 1, process)

    lease.write_text(json.dumps({"token": 4, "until": time.time() + 600}), encoding="utf-8")
    code, log = process.wait()

    assert code == 75, log
    assert list((Path(long_spec["output"]) / "checkpoints").iterdir())


def test_a_run_stopped_by_a_signal_ends_where_an_unbroken_one_ends(
    spec: dict[str, Any], start_warm: Start, run_warm: Run, unbroken: dict[str, bytes]
) -> None:
    process = start_warm(spec)
    wait_for_step(spec, 2, process)
    os.kill(process.pid, signal.SIGTERM)
    process.wait()

    code, log = run_warm(spec)

    assert code == 0, log
    assert weights_of(spec) == weights_left_alone(spec, run_warm, unbroken)


def test_what_fails_in_a_checkpoint_for_another_reason_is_not_called_a_full_disk(
    spec: dict[str, Any], run_here: Callable[[dict[str, Any]], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any, folder: str) -> None:
        raise RuntimeError("a collective timed out")

    monkeypatch.setattr("training.engine.ranking_trainer.RankingTrainer._save_optimizer_and_scheduler", fail)

    assert run_here(spec) == 1

    (error,) = events_of(spec, "error")
    assert "a collective timed out" in error["sentence"]
    assert "MiB are free" not in error["sentence"]


def test_a_full_disk_fails_with_a_sentence_and_the_run_goes_on_when_there_is_room(
    spec: dict[str, Any], start_warm: Start, run_warm: Run, unbroken: dict[str, bytes]
) -> None:
    spec["method"]["epochs"] = 20
    process = start_warm(spec)
    wait_for_step(spec, 6, process)

    # No file may grow beyond this: like a full disk, writes of a checkpoint fail half way.
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (150_000, 150_000))
    code, log = process.wait()

    assert code == 1, log
    (error,) = events_of(spec, "error")
    assert "could not be written" in error["sentence"]
    assert "MiB are free" in error["sentence"]
    folders = [folder.name for folder in (Path(spec["output"]) / "checkpoints").iterdir()]
    steps = sorted(int(name.removeprefix("checkpoint-")) for name in folders)
    assert steps, "the last good one stays, and nothing half written"
    assert f"it goes on from checkpoint-{steps[-1]}." in error["sentence"]

    code, log = run_warm(spec)

    assert code == 0, log
    alone = {**spec, "output": spec["output"] + "-alone"}
    assert run_warm(alone)[0] == 0
    assert weights_of(spec) == weights_of(alone)
