"""A reward run leaves a model that plain transformers loads, and that gives the rewards it was trained to give."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AutoPeftModelForSequenceClassification
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from tests.training.engine.families import build
from tests.training.engine.runs import Run, events_of, figures_of, models_of, rankings, training_spec
from training.engine.records import Ranking
from training.engine.refusal import Refused
from training.engine.reward import with_reward_head

Spec = dict[str, Any]


@pytest.fixture
def spec(tmp_path: Path, tiny_model: Path) -> Spec:
    return training_spec("reward", tmp_path, tiny_model, learning_rate=1e-2, epochs=4)


def tokens_of(tokenizer: Any, ranking: Ranking, response: int) -> torch.Tensor:
    reply = {"role": "assistant", "content": ranking.responses[response]}
    return tokenizer.apply_chat_template([*ranking.prompt, reply], return_tensors="pt", return_dict=False)


def at_the_last_token(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """The reward as it was trained: read at the very last token."""
    with torch.no_grad():
        return model.score(model.base_model(ids).last_hidden_state[0, -1]).view(())


def as_it_stands(model: Any, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(ids).logits.view(())


def orders_rightly(model: Any, tokenizer: Any) -> float:
    right = 0
    for ranking in rankings(16):
        best, middle, worst = (as_it_stands(model, tokens_of(tokenizer, ranking, n)) for n in (1, 0, 2))
        right += bool(best > middle > worst)
    return right / 16


def test_adapters_load_with_plain_peft_and_order_what_they_learned(spec: Spec, run_warm: Run) -> None:
    spec["method"]["epochs"] = 12
    spec["data"]["held_out"] = None

    code, log = run_warm(spec)

    assert code == 0, log
    assert models_of(spec) == ["adapter"]
    folder = Path(spec["output"]) / "adapter"
    model = AutoPeftModelForSequenceClassification.from_pretrained(folder, num_labels=1)
    assert orders_rightly(model, AutoTokenizer.from_pretrained(folder)) >= 0.8
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert 'pipeline_tag: "text-classification"' in card


def test_figures_are_those_of_rewards_and_nothing_is_answered(spec: Spec, run_warm: Run) -> None:
    code, log = run_warm(spec)

    assert code == 0, log
    told = {name for row in events_of(spec, "metric") for name in row["values"]}
    assert {"eval_accuracy", "eval_calibration_error", "eval_gap", "eval_accuracy/clear", "margin"} <= told
    assert not {"eval_perplexity", "eval_kl", "eval_length"} & told
    losses = figures_of(spec, "loss")
    assert losses[1] == pytest.approx(math.log(2), abs=1), "rewards start with a spread near 1"
    assert losses[16] < losses[1] / 2
    assert not [row for row in events_of(spec, "progress") if row["phase"] == "reference"]


@pytest.fixture
def padded_with_its_closing_token(tmp_path: Path, tiny_model: Path) -> Path:
    """A model whose conversations end with the very token that it pads with, as of many a model without a padding
    token of its own."""
    folder = tmp_path / "closing"
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.chat_template = tokenizer.chat_template.replace("<|im_end|>\n", "<|im_end|>")
    tokenizer.save_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    model.config.pad_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    ids = tokens_of(tokenizer, rankings(1)[0], 0)
    assert ids[0, -1] == tokenizer.eos_token_id == tokenizer.pad_token_id
    return folder


@pytest.mark.parametrize("ends_with_padding", [False, True])
@pytest.mark.parametrize(("settings", "name"), [({"kind": "full"}, "weights"), ({"kind": "lora"}, "merged")])
def test_a_whole_reward_model_gives_its_rewards_at_the_last_token_whatever_pads(
    settings: dict[str, Any],
    name: str,
    ends_with_padding: bool,
    spec: Spec,
    run_warm: Run,
    padded_with_its_closing_token: Path,
) -> None:
    spec["method"] |= {"parameters": settings, "merged": settings["kind"] == "lora", "epochs": 1}
    spec["data"]["held_out"] = None
    if ends_with_padding:
        spec["model"]["base"] = str(padded_with_its_closing_token)
    code, log = run_warm(spec)

    assert code == 0, log
    assert models_of(spec)[-1] == name
    folder = Path(spec["output"]) / name
    model, info = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert model.num_labels == 1
    tokenizer = AutoTokenizer.from_pretrained(folder)
    sequences = [tokens_of(tokenizer, ranking, 0) for ranking in rankings(3, words=3) + rankings(3)]
    expected = torch.stack([at_the_last_token(model, ids) for ids in sequences])
    torch.testing.assert_close(torch.stack([as_it_stands(model, ids) for ids in sequences]), expected)
    batch = tokenizer.pad(
        {"input_ids": [ids[0].tolist() for ids in sequences]}, return_tensors="pt", padding_side="right"
    )
    with torch.no_grad():
        torch.testing.assert_close(model(**batch).logits.view(-1), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("ends_with_padding", [False, True])
def test_an_adapters_card_says_how_to_read_rewards_where_the_base_pads_with_its_closing_token(
    ends_with_padding: bool, spec: Spec, run_warm: Run, padded_with_its_closing_token: Path
) -> None:
    spec["method"]["epochs"] = 1
    spec["data"]["held_out"] = None
    if ends_with_padding:
        spec["model"]["base"] = str(padded_with_its_closing_token)
    code, log = run_warm(spec)

    assert code == 0, log
    folder = Path(spec["output"]) / "adapter"
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert ("model.config.pad_token_id = tokenizer.pad_token_id" in card) == ends_with_padding
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoPeftModelForSequenceClassification.from_pretrained(folder, num_labels=1)
    if ends_with_padding:
        model.config.pad_token_id = tokenizer.pad_token_id
    ids = tokens_of(tokenizer, rankings(1)[0], 0)
    torch.testing.assert_close(as_it_stands(model, ids), at_the_last_token(model.base_model.model, ids))


def test_an_architecture_without_a_classifier_is_refused_by_name() -> None:
    with pytest.raises(Refused, match="a mamba cannot be a reward model"):
        with_reward_head(build("mamba", "eager"))
