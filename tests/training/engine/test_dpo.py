"""A dpo run, as the process it is, on a tiny model."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AutoPeftModelForCausalLM
from safetensors.torch import load
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.training.engine.families import NOT_PACKABLE, build
from tests.training.engine.runs import (
    Run,
    events_of,
    figures_of,
    models_of,
    rankings,
    training_spec,
    weights_of,
)
from training.engine.events import sha256_of
from training.engine.files import engine_home
from training.engine.records import Ranking, write_rankings
from training.engine.refusal import Refused
from training.engine.spec import Spec as RunSpec
from training.engine.training_run import refuse_impossible_sharding

Spec = dict[str, Any]


@pytest.fixture
def spec(tmp_path: Path, tiny_model: Path) -> Spec:
    return training_spec("dpo", tmp_path, tiny_model)


def test_a_run_leaves_an_adapter_that_plain_peft_loads_and_that_prefers_what_was_preferred(
    spec: Spec, run_engine: Callable[..., tuple[int, str]]
) -> None:
    code, log = run_engine({**spec, "method": {**spec["method"], "epochs": 8}})

    assert code == 0, log
    assert models_of(spec) == ["adapter"]
    folder = Path(spec["output"]) / "adapter"
    model = AutoPeftModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.chat_template
    rewards = [[reward(model, tokenizer, r, n) for n in (1, 0, 2)] for r in rankings(16)]
    assert sum(best > middle > worst for best, middle, worst in rewards) >= 14


def reward(model: Any, tokenizer: Any, ranking: Ranking, response: int) -> float:
    """The implicit reward: log-probability with the adapter less that without."""
    reply = {"role": "assistant", "content": ranking.responses[response]}
    ids = tokenizer.apply_chat_template([*ranking.prompt, reply], return_tensors="pt", return_dict=False)
    start = len(tokenizer.apply_chat_template(ranking.prompt, add_generation_prompt=True, return_dict=False))

    def log_prob() -> float:
        with torch.no_grad():
            table = model(ids).logits[0, start - 1 : -1].log_softmax(-1)
        return table.gather(-1, ids[0, start:, None]).sum().item()

    tuned = log_prob()
    with model.disable_adapter():
        return tuned - log_prob()


def test_progress_and_figures_come_while_it_trains(spec: Spec, run_warm: Run, other_tiny_model: Path) -> None:
    # A model of which no other run has left references.
    spec["model"]["base"] = str(other_tiny_model)
    code, log = run_warm(spec)

    assert code == 0, log
    progress = events_of(spec, "progress")
    totals = {row["total"] for row in progress if row["phase"] == "reference"}
    assert {16, 4} < totals, "rankings of both splits, and pieces of general text"
    assert {row["total"] for row in progress if row["phase"] == "training"} == {8}
    assert progress[-1]["done"] == 8
    trained = {
        name: figures_of(spec, name) for name in ("loss", "accuracy", "margin", "padding", "learning_rate")
    }
    assert all(list(figure) == list(range(1, 9)) for figure in trained.values())
    assert trained["loss"][1] == pytest.approx(math.log(2), abs=1e-4), "no step was made before the first"
    assert 0 <= trained["padding"][1] < 0.5
    measured = figures_of(spec, "eval_loss")
    assert list(measured) == [3, 6, 8], "at each checkpoint"
    for name in (
        "accuracy",
        "accuracy/clear",
        "accuracy/sure",
        "gap",
        "calibration_error",
        "perplexity",
        "ended",
    ):
        assert list(figures_of(spec, f"eval_{name}")) == [3, 6, 8], name
    assert figures_of(spec, "eval_length")[8] > 0
    assert figures_of(spec, "eval_kl")[8] != 0
    assert len(events_of(spec, "sample")) == 3
    before = figures_of(spec, "eval_perplexity_before")
    assert len(set(before.values())) == 1
    assert before[3] == pytest.approx(perplexity(Path(spec["model"]["base"])), rel=1e-3)
    assert figures_of(spec, "eval_perplexity")[8] != before[8]


def perplexity(model: Path) -> float:
    """Of the general text, in windows, by the model's plain forward pass."""
    from training.engine.policy_measures import GENERAL_TEXT, WINDOW

    network, tokenizer = AutoModelForCausalLM.from_pretrained(model), AutoTokenizer.from_pretrained(model)
    ids = tokenizer(GENERAL_TEXT.read_text(encoding="utf-8"), return_tensors="pt").input_ids
    total, count = 0.0, 0
    for part in ids.split(WINDOW, dim=1):
        with torch.no_grad():
            table = network(part).logits[0, :-1].log_softmax(-1)
        total -= table.gather(-1, part[0, 1:, None]).sum().item()
        count += part.shape[1] - 1
    return math.exp(total / count)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(spec: Spec, run_warm: Run) -> None:
    spec["data"]["held_out"] = None
    weights = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        again = {**spec, "output": spec["output"] + name, "seed": seed}
        code, log = run_warm(again)
        assert code == 0, log
        weights.append(weights_of(again))

    assert weights[0] == weights[1]
    assert weights[0] != weights[2]


def test_measuring_makes_no_difference_to_the_weights(spec: Spec, run_warm: Run) -> None:
    spec["method"]["parameters"] = {"dropout": 0.2}
    blind = {**spec, "output": spec["output"] + "-blind", "data": {"train": spec["data"]["train"]}}
    for each in (spec, blind):
        code, log = run_warm(each)
        assert code == 0, log

    assert weights_of(spec) == weights_of(blind)


def test_full_training_leaves_whole_weights(spec: Spec, run_warm: Run) -> None:
    spec["method"]["parameters"] = {"kind": "full"}
    code, log = run_warm(spec)

    assert code == 0, log
    folder = Path(spec["output"]) / "weights"
    assert models_of(spec) == ["weights"]
    tuned = AutoModelForCausalLM.from_pretrained(folder).state_dict()
    base = AutoModelForCausalLM.from_pretrained(spec["model"]["base"]).state_dict()
    assert any((tuned[name] != base[name]).any() for name in base)
    told = {name for row in events_of(spec, "metric") for name in row["values"]}
    assert "eval_forward_kl" in told
    assert "eval_kl" not in told, "it would take the model before training, which is gone"


def test_the_next_round_trains_on_what_the_last_one_made(spec: Spec, run_warm: Run) -> None:
    first = {**spec, "output": spec["output"] + "-1", "data": {"train": spec["data"]["train"]}}
    assert run_warm(first)[0] == 0
    second = {**spec, "model": {**spec["model"], "adapters": [first["output"] + "/adapter"]}}

    code, log = run_warm(second)

    assert code == 0, log
    card = (Path(spec["output"]) / "adapter" / "README.md").read_text(encoding="utf-8")
    assert sha256_of(Path(first["output"]) / "adapter") in card
    assert figures_of(second, "loss")[1] == pytest.approx(math.log(2), abs=1e-4), (
        "the reference is the last model"
    )


def test_the_card_names_base_data_and_figures(spec: Spec, run_warm: Run) -> None:
    assert run_warm(spec)[0] == 0

    folder = Path(spec["output"]) / "adapter"
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert sha256_of(Path(spec["model"]["base"]) / "model.safetensors") in card
    assert sha256_of(Path(spec["data"]["train"])) in card
    assert sha256_of(Path(spec["data"]["held_out"])) in card
    assert "| training examples | 16 |" in card
    assert "| training comparisons | 48 |" in card
    assert "| held-out loss |" in card
    assert not list(folder.rglob("*.bin")), "nothing that is loaded by unpickling"


def test_a_merged_model_is_left_beside_the_adapter_and_says_the_same(spec: Spec, run_warm: Run) -> None:
    spec["method"] |= {"merged": True}
    code, log = run_warm(spec)

    assert code == 0, log
    assert models_of(spec) == ["adapter", "merged"]
    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        merged = AutoModelForCausalLM.from_pretrained(Path(spec["output"]) / "merged")(ids).logits
        apart = AutoPeftModelForCausalLM.from_pretrained(Path(spec["output"]) / "adapter")(ids).logits
        base = AutoModelForCausalLM.from_pretrained(spec["model"]["base"])(ids).logits
    torch.testing.assert_close(merged, apart, rtol=1e-4, atol=1e-4)
    assert (merged - base).abs().max() > 1e-2
    assert AutoTokenizer.from_pretrained(Path(spec["output"]) / "merged").chat_template


@pytest.fixture
def worse_with_time(spec: Spec) -> Spec:
    """Held-out rankings are the training split's turned upside down: what is learned is held out as wrong."""
    upside_down = [
        Ranking(prompt=r.prompt, responses=r.responses, tiers=[[2], [0], [1]], scores=[0.0, -1.0, 1.0])
        for r in rankings(4)
    ]
    write_rankings(Path(spec["data"]["held_out"]), upside_down)
    return spec


def adapter_at(spec: Spec, step: int) -> dict[str, torch.Tensor]:
    return load(
        (
            Path(spec["output"]) / "checkpoints" / f"checkpoint-{step}" / "adapter_model.safetensors"
        ).read_bytes()
    )


@pytest.mark.parametrize("keep_best", [True, False])
def test_the_artifact_is_the_best_checkpoint_or_the_last(
    keep_best: bool, worse_with_time: Spec, run_warm: Run
) -> None:
    spec = worse_with_time
    spec["method"] |= {"keep_best": keep_best, "save_steps": 2}

    code, log = run_warm(spec)

    assert code == 0, log
    losses = figures_of(spec, "eval_loss")
    assert min(losses, key=lambda step: losses[step]) == 2, "the first measurement is the best"
    left, best, last = load(weights_of(spec)), adapter_at(spec, 2), adapter_at(spec, 8)
    kept, other = (best, last) if keep_best else (last, best)
    assert all(torch.equal(left[name], kept[name]) for name in left)
    assert not all(torch.equal(left[name], other[name]) for name in left)
    card = (Path(spec["output"]) / "adapter" / "README.md").read_text(encoding="utf-8")
    assert ("| step of the artifact, the best measured | 2 |" in card) == keep_best


def test_training_stops_when_it_gets_no_better_and_a_second_start_agrees(
    worse_with_time: Spec, run_warm: Run
) -> None:
    spec = worse_with_time
    spec["method"] |= {"patience": 2, "save_steps": 2, "epochs": 10}

    code, log = run_warm(spec)

    assert code == 0, log
    assert list(figures_of(spec, "eval_loss")) == [2, 4, 6], "two measurements in vain after the first"
    weights = weights_of(spec)
    trained = len(events_of(spec, "metric"))
    assert run_warm(spec)[0] == 0
    assert weights_of(spec) == weights
    assert len(events_of(spec, "metric")) == trained, "nothing was trained or measured again"


def reference_files() -> dict[Path, int]:
    return {file: file.stat().st_mtime_ns for file in (engine_home() / "references").glob("*.safetensors")}


def test_references_are_kept_for_the_same_data_and_model_and_for_no_other(
    spec: Spec, run_warm: Run, tmp_path: Path, other_tiny_model: Path
) -> None:
    # Data of this test's own, so that no other test has left its scores.
    write_rankings(Path(spec["data"]["train"]), rankings(3, seed=77))
    spec["data"]["held_out"] = None
    before = reference_files()

    def run(name: str, **change: Any) -> set[Path]:
        code, log = run_warm({**spec, "output": str(tmp_path / name), **change})
        assert code == 0, log
        return set(reference_files()) - set(before)

    first = run("first")
    assert len(first) == 1
    scored = reference_files()
    slower = {**spec["method"], "learning_rate": 1e-5, "parameters": {"rank": 2}}
    assert run("again", method=slower) == first, "settings of the training make no difference"
    assert reference_files() == scored
    assert len(run("other model", model={"base": str(other_tiny_model)})) == 2
    write_rankings(Path(spec["data"]["train"]), rankings(4, seed=77))
    assert len(run("other data")) == 3


def test_what_other_runs_kept_makes_no_difference_to_the_weights(spec: Spec, run_warm: Run) -> None:
    write_rankings(Path(spec["data"]["train"]), rankings(16, seed=79))
    spec["data"]["held_out"] = None
    spec["method"]["epochs"] = 1
    before = reference_files()

    def run(name: str, **method: Any) -> bytes:
        each = {**spec, "output": spec["output"] + name, "method": {**spec["method"], **method}}
        code, log = run_warm(each)
        assert code == 0, log
        return weights_of(each)

    alone = run("alone")
    for file in set(reference_files()) - set(before):
        file.unlink()
    run("other", tokens_at_once=64, layout="separate")  # scores the same responses, rounded otherwise

    assert run("after") == alone


def test_references_that_cannot_be_read_are_made_anew(spec: Spec, run_warm: Run) -> None:
    write_rankings(Path(spec["data"]["train"]), rankings(3, seed=78))
    spec["data"]["held_out"] = None
    before = reference_files()
    assert run_warm(spec)[0] == 0
    (file,) = set(reference_files()) - set(before)
    scores = file.read_bytes()
    file.write_bytes(scores[: len(scores) // 2])

    code, log = run_warm({**spec, "output": spec["output"] + "-again"})

    assert code == 0, log
    assert file.read_bytes() == scores


def test_a_model_that_takes_no_trees_is_trained_in_rows_of_one_response_and_this_is_told(
    spec: Spec, tiny_model: Path, tmp_path: Path, run_warm: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    monkeypatch.setitem(NOT_PACKABLE["bloom"][1], "vocab_size", len(tokenizer))
    build("bloom", "eager").save_pretrained(tmp_path / "bloom")
    tokenizer.save_pretrained(tmp_path / "bloom")
    spec["model"]["base"] = str(tmp_path / "bloom")
    spec["method"] |= {"epochs": 6, "layout": "separate"}

    code, log = run_warm(spec)

    assert code == 0, log
    assert any("does not take trees" in row["text"] for row in events_of(spec, "log"))
    losses = figures_of(spec, "loss")
    assert losses[1] == pytest.approx(math.log(2), abs=1e-4)
    assert losses[max(losses)] < 0.6


@pytest.mark.parametrize("objective", ["plackett_luce", "top_choice"])
def test_whole_orders_are_learned_as_well(objective: str, spec: Spec, run_warm: Run) -> None:
    spec["method"] |= {"objective": objective, "epochs": 6, "nll_weight": 0.1, "weighted": False}
    spec["data"]["held_out"] = None

    code, log = run_warm(spec)

    assert code == 0, log
    losses = figures_of(spec, "loss")
    assert losses[24] < losses[1] - 0.2


def tied(folder: Path) -> str:
    rows = [
        Ranking(prompt=r.prompt, responses=r.responses, tiers=[[0, 1, 2]], scores=[0.0] * 3)
        for r in rankings(3)
    ]
    write_rankings(folder / "bad.parquet", rows)
    return "none of the 3 rankings"


def missing(folder: Path) -> str:
    return "cannot be read"


def not_parquet(folder: Path) -> str:
    (folder / "bad.parquet").write_text("no parquet", encoding="utf-8")
    return "cannot be read"


def wrong_columns(folder: Path) -> str:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"question": ["a"]}), folder / "bad.parquet")
    return "unknown field `question`"


def too_long(folder: Path) -> str:
    write_rankings(folder / "bad.parquet", rankings(3, words=400))
    return "3 of the 3 records"


@pytest.mark.parametrize(
    "make", [tied, missing, not_parquet, wrong_columns, too_long], ids=lambda m: m.__name__
)
def test_data_that_cannot_be_learned_from_are_refused_in_a_sentence_before_the_model_is_loaded(
    make: Callable[[Path], str], spec: Spec, tmp_path: Path, run_here: Callable[[Spec], int]
) -> None:
    reason = make(tmp_path)
    model = tmp_path / "model-without-weights"
    model.mkdir()
    for file in Path(spec["model"]["base"]).iterdir():
        target = model / file.name
        target.write_bytes(b"" if file.suffix == ".safetensors" else file.read_bytes())
    spec["model"]["base"] = str(model)
    spec["data"]["train"] = str(tmp_path / "bad.parquet")

    assert run_here(spec) == 2

    (error,) = events_of(spec, "error")
    assert reason in error["sentence"]
    assert "bad.parquet" in error["sentence"] or "data.train" in error["sentence"]
    assert events_of(spec, "end")[-1]["state"] == "refused"


def test_held_out_rankings_without_a_preference_stop_nothing(spec: Spec, run_warm: Run) -> None:
    write_rankings(Path(spec["data"]["held_out"]), [])
    spec["method"] |= {"keep_best": True, "patience": 1}

    code, log = run_warm(spec)

    assert code == 0, log
    assert any("nothing is measured" in row["text"] for row in events_of(spec, "log"))


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ({"parameters": {"target_modules": ["c_attn"]}}, ("c_attn", "q_proj", "all-linear")),
        ({"parameters": {"target_modules": []}}, ("nothing is no linear layer",)),
        ({"parameters": {"target_modules": ["lm_head"]}}, ("lm_head", "q_proj")),
        ({"sharding": "fsdp"}, ("`method.sharding` fsdp", "one process", "none")),
    ],
    ids=["unknown layer", "no layer", "the head", "fsdp"],
)
def test_what_cannot_be_trained_is_refused_with_what_could(
    method: dict[str, Any], words: tuple[str, ...], spec: Spec, run_here: Callable[[Spec], int]
) -> None:
    assert run_here({**spec, "method": {**spec["method"], **method}}) == 2

    (error,) = events_of(spec, "error")
    assert all(word in error["sentence"] for word in words), error


def test_4_bits_without_their_package_are_refused_before_anything_is_loaded(
    spec: Spec, run_here: Callable[[Spec], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.engine.parameters.QLORA_PACKAGE", "bitsandbytes_of_another_machine")
    monkeypatch.setattr("training.engine.training_run.load_tokenizer", lambda model: pytest.fail("loaded"))
    spec["method"]["parameters"] = {"kind": "qlora"}

    assert run_here(spec) == 2

    (error,) = events_of(spec, "error")
    assert "needs the package bitsandbytes, which is not installed here" in error["sentence"]


def test_adapters_on_a_divided_model_are_refused(spec: Spec) -> None:
    spec = {
        **spec,
        "processes": 2,
        "method": {**spec["method"], "sharding": "fsdp", "parameters": {"kind": "lora"}},
    }
    with pytest.raises(Refused, match=r"`method\.parameters\.kind` to full"):
        refuse_impossible_sharding(RunSpec.from_record(spec))


def test_another_number_of_processes_than_the_specs_is_refused(
    spec: Spec, run_here: Callable[[Spec], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_here({**spec, "processes": 2}) == 2
    (error,) = events_of(spec, "error")
    assert "`processes` is 2, but 1 run" in error["sentence"]
    assert "torchrun --nproc_per_node 2" in error["sentence"]

    monkeypatch.setitem(os.environ, "WORLD_SIZE", "2")
    assert run_here(spec) == 2
    assert "`processes` is 1, but 2 run" in events_of(spec, "error")[-1]["sentence"]


@pytest.mark.parametrize("measured", [True, False])
def test_training_that_diverges_is_refused_and_leaves_no_adapter(
    measured: bool, spec: Spec, run_warm: Run
) -> None:
    spec["method"] |= {"learning_rate": 1.0, "scheduler": "constant", "parameters": {"alpha": 1e15}}
    if not measured:
        spec["data"]["held_out"] = None

    code, log = run_warm(spec)

    assert code == 2, log
    assert "diverged" in events_of(spec, "error")[0]["sentence"]
    assert not (Path(spec["output"]) / "adapter").exists()


def test_a_run_told_of_with_its_defaults_is_the_run_itself(spec: Spec, tmp_path: Path, run_warm: Run) -> None:
    from training.engine.spec import Spec as EngineSpec

    spec["data"]["held_out"] = None
    written_out = json.loads(json.dumps(EngineSpec.from_record(spec).to_record()))
    again = {**written_out, "output": spec["output"] + "-again"}
    for each in (spec, again):
        code, log = run_warm(each)
        assert code == 0, log

    assert weights_of(spec) == weights_of(again)
