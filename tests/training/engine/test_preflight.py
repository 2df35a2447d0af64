"""What a run needs is estimated before it takes a device, tried by one pass, and held against what it took."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.training.engine.runs import Run, events_of, rankings, weights_of
from training.engine.records import write_rankings


@pytest.fixture
def spec(tmp_path: Path, tiny_model: Path) -> dict[str, Any]:
    """A dpo run of 12 steps, with dropout, without held-out data."""
    write_rankings(tmp_path / "train.parquet", rankings(24))
    return {
        "kind": "dpo",
        "run": "r1",
        "seed": 3,
        "output": str(tmp_path / "run"),
        "model": {"base": str(tiny_model)},
        "data": {"train": str(tmp_path / "train.parquet")},
        "method": {
            "batch_size": 2,
            "learning_rate": 1e-3,
            "save_steps": 5,
            "parameters": {"dropout": 0.1},
        },
    }


def logged(spec: dict[str, Any]) -> str:
    return "\n".join(row["text"] for row in events_of(spec, "log"))


def recorded(spec: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(
        (Path(spec["output"]) / "preflight.json").read_text(encoding="utf-8")
    )
    return content


def preflight(spec: dict[str, Any], free: int | None) -> Any:
    from training.engine.events import Events
    from training.engine.models import load_tokenizer
    from training.engine.preflight import Preflight
    from training.engine.spec import Spec
    from training.engine.training_run import read_data, training_arguments

    read = Spec.from_record(spec)
    events = Events(read.output)
    assert read.model is not None
    train, held_out = read_data(read, load_tokenizer(read.model), events)
    arguments = training_arguments(read, examples=8, measure=False)
    return Preflight(read, events, arguments, train.examples, held_out.examples, resumed=False, free=free)


def test_a_run_that_is_too_big_is_refused_with_what_would_fit(spec: dict[str, Any]) -> None:
    from training.engine.refusal import Refused

    write_rankings(Path(spec["data"]["train"]), rankings(24, words=60))
    spec["method"] |= {"batch_size": 8, "tokens_at_once": 4096}
    needed = preflight(spec, 2**40).estimate.needed
    with pytest.raises(Refused, match=r"MiB of memory and \d+ MiB are free") as smaller:
        preflight(spec, needed - 2**20)
    assert "It would fit with `method.tokens_at_once` 2048:" in str(smaller.value)
    assert "`method.preflight` false" in str(smaller.value)

    with pytest.raises(
        Refused, match=r"Nothing would make it fit: with .*tokens_at_once.* it would still need"
    ) as none:
        preflight(spec, 2**20)
    assert "max_length" in str(none.value)


def test_what_is_proposed_does_fit(spec: dict[str, Any]) -> None:
    """Each halving is proposed where the one before does not do, down to checkpointing and adapters."""
    from training.engine.preflight import changes
    from training.engine.refusal import Refused

    write_rankings(Path(spec["data"]["train"]), rankings(24, words=60))
    spec["method"] |= {"batch_size": 8, "tokens_at_once": 4096, "parameters": {"kind": "full"}}
    check = preflight(spec, 2**40)
    estimator, setup = check._estimator, check.estimate.setup
    for other in (
        replace(setup, tokens_at_once=1024),
        replace(setup, tokens_at_once=1024, checkpointing=True),
    ):
        free = estimator.estimate(other, 0).needed
        with pytest.raises(Refused) as refused:
            preflight(spec, free)
        assert f"fit with {changes(setup, other)}:" in str(refused.value)


def test_a_refused_run_is_started_all_the_same_without_preflight(spec: dict[str, Any]) -> None:
    spec["method"]["preflight"] = False

    assert not preflight(spec, 2**20).estimate.fits


def test_where_a_model_takes_no_trees_the_estimate_is_made_again_for_rows_of_one_response(
    spec: dict[str, Any],
) -> None:
    """Which need more than trees that share a long prompt."""
    from training.engine.refusal import Refused

    long = [
        replace(each, prompt=[{"role": "user", "content": "How is the day? " * 40}]) for each in rankings(24)
    ]
    write_rankings(Path(spec["data"]["train"]), long)
    spec["method"] |= {"layout": "tree", "tokens_at_once": 4096}
    check = preflight(spec, 2**40)
    trees = check.estimate
    check.estimate_again("alone")

    assert check.estimate.needed > trees.needed
    assert logged(spec).count("Estimate: ") == 2
    tight = preflight(spec, trees.needed)
    with pytest.raises(Refused, match="It would fit with"):
        tight.estimate_again("alone")


def test_a_pass_that_runs_out_of_memory_is_refused_with_what_would_fit(spec: dict[str, Any]) -> None:
    import torch

    from training.engine.refusal import Refused

    class Exhausted:
        training = False

        def __call__(self, **inputs: Any) -> Any:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")

        def train(self, mode: bool = True) -> None:
            self.training = mode

        def zero_grad(self, set_to_none: bool) -> None: ...

    check = preflight(spec, None)
    with check, pytest.raises(Refused, match=r"ran out of memory \(CUDA out of memory") as refused:
        check.try_out(Exhausted(), examples_of(spec), None)
    assert "\nmore" not in str(refused.value)
    assert "fit" in str(refused.value)


def examples_of(spec: dict[str, Any]) -> Any:
    """The training split as passes take it."""
    from training.engine.batches import Examples
    from training.engine.events import Events
    from training.engine.models import load_tokenizer
    from training.engine.packing import Work
    from training.engine.spec import Spec
    from training.engine.training_run import read_data

    read = Spec.from_record(spec)
    assert read.model is not None
    train, _ = read_data(read, load_tokenizer(read.model), Events(read.output))
    return Examples(train.examples, Work(attention=0.1), "auto", 0)


def test_a_dry_run_leaves_no_trace(spec: dict[str, Any]) -> None:
    import torch

    from training.engine.dry_run import dry_run
    from training.engine.objectives import DpoObjective
    from training.engine.parameters import load_for_training, with_adapters
    from training.engine.spec import Spec
    from training.engine.step_plan import Pass
    from training.engine.training_run import training_arguments

    read = Spec.from_record({**spec, "method": {**spec["method"], "activation_checkpointing": True}})
    assert read.model is not None
    network, _ = load_for_training(read.model, read.method.parameters, torch.device("cpu"))
    objective = DpoObjective(read.method)
    objective.extend(network)
    model = with_adapters(network, read.method.parameters, "CAUSAL_LM").eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trained = [parameter.requires_grad for parameter in model.parameters()]
    random_state = torch.get_rng_state()
    batch = examples_of(spec).__getitems__(Pass((0, 1), (0, 1)))

    assert dry_run(model, batch, objective, training_arguments(read, examples=8, measure=False)) > 0

    assert torch.equal(torch.get_rng_state(), random_state), "dropout drew from a copy"
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert [parameter.requires_grad for parameter in model.parameters()] == trained
    assert not any(module.training for module in model.modules())
    assert not any(getattr(module, "gradient_checkpointing", False) for module in model.modules())


def test_a_run_ends_in_the_same_weights_with_and_without_a_dry_run(
    spec: dict[str, Any], run_warm: Run
) -> None:
    hashes = []
    for name, wanted in (("with", True), ("without", False)):
        each = {
            **spec,
            "output": spec["output"] + name,
            "method": {**spec["method"], "preflight": wanted, "activation_checkpointing": True},
        }
        code, log = run_warm(each)
        assert code == 0, log
        assert ("A dry run of the largest" in logged(each)) == wanted, logged(each)
        hashes.append(weights_of(each))

    assert hashes[0] == hashes[1]


def test_what_was_estimated_and_what_it_took_are_left_beside_each_other(
    spec: dict[str, Any], run_warm: Run
) -> None:
    code, log = run_warm(spec)

    assert code == 0, log
    found = recorded(spec)
    assert found["estimated"]["steps"] == 12
    assert found["estimated"]["passes"] == 12
    assert found["dry_run"]["seconds"] > 0
    assert found["measured"]["seconds"] > 0
    error = found["relative_error"]
    assert error["seconds"] == pytest.approx(found["estimated"]["seconds"] / found["measured"]["seconds"] - 1)
    # A model of 30,000 weights takes nothing beside the libraries, which are estimated at their largest.
    assert 0 < found["measured"]["bytes"] < found["estimated"]["bytes"] < 300 * 2**20
    assert "preflight.json" in [row["name"] for row in events_of(spec, "artifact")]


def test_a_resumed_run_and_a_short_one_have_no_dry_run(spec: dict[str, Any], run_warm: Run) -> None:
    assert run_warm(spec, kill=("in a step", 8))[0] != 0
    assert logged(spec).count("A dry run of the largest") == 1

    code, log = run_warm(spec)

    assert code == 0, log
    assert logged(spec).count("A dry run of the largest") == 1
    assert "No dry run: the run goes on from a checkpoint." in logged(spec)
    assert recorded(spec)["measured"]["seconds"] is None, "of the part before nothing is known"
    short = {**spec, "output": spec["output"] + "-short", "method": {**spec["method"], "batch_size": 8}}
    assert run_warm(short)[0] == 0
    assert "No dry run: the whole run is 3 passes." in logged(short)


def test_asking_prints_the_estimate_and_writes_nothing(
    spec: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from training.engine.__main__ import main

    path = tmp_path / "spec.json"
    path.write_text(json.dumps(spec), encoding="utf-8")

    assert main(["--preflight", str(path)]) == 0

    *lines, last = capsys.readouterr().out.splitlines()
    assert any(line.startswith("memory needed") for line in lines)
    assert json.loads(last)["fits"]
    assert not Path(spec["output"]).exists()


def test_asking_refuses_what_the_run_would_refuse(
    spec: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from training.engine.__main__ import main

    spec["method"] |= {"sharding": "fsdp", "parameters": {"kind": "full"}}
    (tmp_path / "spec.json").write_text(json.dumps(spec), encoding="utf-8")

    assert main(["--preflight", str(tmp_path / "spec.json")]) == 2
    assert "`method.sharding` fsdp" in capsys.readouterr().err


def test_asking_after_a_run_that_does_not_train_is_refused(
    tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from training.engine.__main__ import main

    record = {
        "kind": "sample",
        "run": "r1",
        "output": str(tmp_path / "run"),
        "model": {"base": str(tiny_model)},
        "data": {"prompts": str(tmp_path / "prompts.jsonl")},
    }
    (tmp_path / "spec.json").write_text(json.dumps(record), encoding="utf-8")

    assert main(["--preflight", str(tmp_path / "spec.json")]) == 2
    assert "have a preflight, not sample" in capsys.readouterr().err


@pytest.mark.real_model
@pytest.mark.parametrize(("kind", "words"), [("lora", 60), ("full", 30)])
def test_a_real_models_estimate_is_near_what_it_takes(
    kind: str, words: int, spec: dict[str, Any], real_model: str, run_warm: Run
) -> None:
    """Memory within a factor of 1.5; how near time comes depends on what else the machine does, and is recorded."""
    write_rankings(Path(spec["data"]["train"]), rankings(2, words=words))
    spec["model"] = {"base": real_model}
    spec["method"] |= {"batch_size": 2, "learning_rate": 1e-6, "parameters": {"kind": kind}}

    code, log = run_warm(spec)

    assert code == 0, log
    error = recorded(spec)["relative_error"]
    assert 1 / 1.5 < 1 + error["bytes"] < 1.5
    assert error["seconds"] is not None
