"""The true engine on a tiny model, from the asking to the artifact."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import InThread, steps_measured, wait_for
from tests.training.engine.conftest import make_tiny_model
from training.engine.records import Ranking, write_rankings
from training.launching import LOG_FILE, artifact_path, create_run, run_folder
from training.models import Run
from training.supervising import supervise

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny", seed=0)


def test_a_sample_run_leaves_every_response(tiny_model: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    lines = [
        {"id": str(n), "prompt": [{"role": "user", "content": f"How is day {n}?"}], "context": []}
        for n in range(3)
    ]
    prompts.write_text("".join(json.dumps(line) + "\n" for line in lines))
    spec = {
        "seed": 7,
        "model": {"base": str(tiny_model)},
        "data": {"prompts": str(prompts)},
        "method": {"responses": 2, "max_tokens": 8},
    }
    run = create_run(kind="sample", spec=spec, queue="nobody-listens")

    supervise(run.pk)

    run.refresh_from_db()
    assert (run.state, run.reason) == ("succeeded", "")
    drawn = [json.loads(line) for line in artifact_path(run, "responses.jsonl").read_text().splitlines()]
    assert {(draw["id"], draw["index"]) for draw in drawn} == {
        (str(n), k) for n in range(3) for k in range(2)
    }
    assert run.done == run.total == 6
    log = (run_folder(run) / LOG_FILE).read_text()
    assert "kernels-community" not in log and "it/s" not in log


def test_a_training_run_whose_process_is_killed_goes_on_from_its_checkpoint(
    tiny_model: Path, tmp_path: Path
) -> None:
    spec = training_spec(tiny_model, tmp_path, batch_size=4, epochs=60, save_steps=10)
    run = create_run(kind="dpo", spec=spec, queue="nobody-listens")

    with InThread(run):
        wait_for(lambda: max(steps_measured(run), default=0) > 20, "twenty steps", 120)
        child = json.loads((run_folder(run) / "child.json").read_text())
        os.kill(child["pid"], signal.SIGKILL)
    assert Run.objects.get(pk=run.pk).state == "queued"
    supervise(run.pk)

    run.refresh_from_db()
    assert (run.state, run.reason) == ("succeeded", "")
    assert steps_measured(run) == list(range(1, 121))
    assert (artifact_path(run, "adapter") / "adapter_model.safetensors").exists()
    events = [json.loads(line) for line in (run_folder(run) / "events.jsonl").read_text().splitlines()]
    steps = [event["step"] for event in events if event["event"] == "metric"]
    assert steps.count(1) == 1, "It began anew instead of at its checkpoint."
    assert run.token == 2


def test_a_training_run_in_two_processes_leaves_one_model(tiny_model: Path, tmp_path: Path) -> None:
    spec = training_spec(tiny_model, tmp_path, batch_size=4, epochs=2) | {"processes": 2}
    run = create_run(kind="sft", spec=spec, queue="nobody-listens")
    supervise(run.pk)
    run.refresh_from_db()
    assert (run.state, run.reason) == ("succeeded", "")
    assert steps_measured(run) == [1, 2, 3, 4]
    assert (artifact_path(run, "adapter") / "adapter_model.safetensors").exists()


def test_what_two_processes_refuse_is_refused_once(tiny_model: Path, tmp_path: Path) -> None:
    spec = training_spec(tiny_model, tmp_path, max_length=8) | {"processes": 2}
    run = create_run(kind="dpo", spec=spec, queue="nobody-listens")
    supervise(run.pk)
    run.refresh_from_db()
    assert run.state == "failed" and "method.max_length" in run.reason
    assert run.token == 1


def training_spec(model: Path, folder: Path, **method: Any) -> dict[str, Any]:
    """A spec that trains a model on eight rankings."""
    rankings = [
        Ranking(
            prompt=[{"role": "user", "content": f"How is day {n}?"}],
            responses=["a good day", "a bad day"],
            tiers=[[0], [1]],
            scores=[1.0, -1.0],
        )
        for n in range(8)
    ]
    write_rankings(folder / "train.parquet", rankings)
    return {
        "seed": 7,
        "model": {"base": str(model)},
        "data": {"train": str(folder / "train.parquet"), "held_out": None},
        "method": method,
    }
