"""Adapters on a base in 4-bit weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AutoPeftModelForCausalLM, AutoPeftModelForSequenceClassification, PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from tests.training.engine.runs import Run, events_of, figures_of, models_of, training_spec

pytest.importorskip("bitsandbytes")
Spec = dict[str, Any]
QLORA = {"kind": "qlora", "rank": 4}


@pytest.mark.parametrize("kind", ["dpo", "reward", "sft"])
def test_every_kind_trains_on_a_base_in_4_bits_and_leaves_an_adapter_for_the_whole_one(
    kind: str, tmp_path: Path, wider_tiny_model: Path, run_warm: Run
) -> None:
    spec = training_spec(
        kind, tmp_path, wider_tiny_model, parameters=QLORA, learning_rate=1e-2, epochs=4, save_steps=8
    )

    code, log = run_warm(spec)

    assert code == 0, log
    assert models_of(spec) == ["adapter"]
    losses = figures_of(spec, "loss")
    if kind == "dpo":
        assert losses[1] == pytest.approx(math.log(2), abs=1e-4), "the reference is in 4 bits as well"
    assert losses[16] < 0.8 * losses[1]
    load = AutoPeftModelForSequenceClassification if kind == "reward" else AutoPeftModelForCausalLM
    model = load.from_pretrained(
        Path(spec["output"]) / "adapter", **({"num_labels": 1} if kind == "reward" else {})
    )
    assert any("lora_B" in name and p.abs().max() > 0 for name, p in model.named_parameters())


@pytest.mark.parametrize("kind", ["dpo", "reward"])
def test_a_merged_model_is_whole_again(
    kind: str, tmp_path: Path, wider_tiny_model: Path, run_warm: Run
) -> None:
    """And the next round quantizes what the last one made."""
    first = training_spec("sft", tmp_path, wider_tiny_model, parameters=QLORA)
    second = training_spec(kind, tmp_path, wider_tiny_model, parameters=QLORA, merged=True)
    second["output"] += "-2"
    second["model"]["adapters"] = [first["output"] + "/adapter"]
    for spec in (first, second):
        spec["data"]["held_out"] = None
        code, log = run_warm(spec)
        assert code == 0, log

    assert models_of(second) == ["adapter", "merged"]
    load = AutoModelForSequenceClassification if kind == "reward" else AutoModelForCausalLM
    merged = load.from_pretrained(Path(second["output"]) / "merged")
    assert {parameter.dtype for parameter in merged.parameters()} == {torch.float32}
    base = AutoModelForCausalLM.from_pretrained(wider_tiny_model)
    base = PeftModel.from_pretrained(base, Path(first["output"]) / "adapter").merge_and_unload()
    adapter = load_file(Path(second["output"]) / "adapter" / "adapter_model.safetensors")
    name = "model.layers.0.self_attn.q_proj"
    update = (
        adapter[f"base_model.model.{name}.lora_B.weight"] @ adapter[f"base_model.model.{name}.lora_A.weight"]
    ) * (32 / 4)
    torch.testing.assert_close(
        merged.get_submodule(name).weight, base.get_submodule(name).weight + update, rtol=1e-4, atol=1e-5
    )


def test_a_reward_model_is_no_base_in_4_bits_either(
    tmp_path: Path, whole_reward: Path, run_here: Callable[[Spec], int]
) -> None:
    spec = training_spec("dpo", tmp_path, whole_reward, parameters=QLORA)

    assert run_here(spec) == 2

    (error,) = events_of(spec, "error")
    assert "is a reward model" in error["sentence"]


def test_a_model_that_cannot_be_quantized_is_refused_in_a_sentence(
    tmp_path: Path, tiny_model: Path, run_here: Callable[[Spec], int]
) -> None:
    spec = training_spec("dpo", tmp_path, tiny_model, parameters=QLORA)

    assert run_here(spec) == 2

    (error,) = events_of(spec, "error")
    assert "`method.parameters.kind` qlora" in error["sentence"]
    assert "lora" in error["sentence"]
