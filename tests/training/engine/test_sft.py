"""An sft run imitates the best responses of rankings, or conversations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AutoPeftModelForCausalLM
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.training.engine.runs import Run, events_of, figures_of, models_of, rankings, training_spec

Spec = dict[str, Any]


@pytest.fixture
def spec(tmp_path: Path, tiny_model: Path) -> Spec:
    return training_spec("sft", tmp_path, tiny_model, learning_rate=1e-2, epochs=6)


def surprise(model: Any, tokenizer: Any, response: int) -> float:
    """Mean negative log-likelihood a token of a response of the training rankings."""
    total, count = 0.0, 0
    for ranking in rankings(16):
        reply = {"role": "assistant", "content": ranking.responses[response]}
        ids = tokenizer.apply_chat_template([*ranking.prompt, reply], return_tensors="pt", return_dict=False)
        start = len(
            tokenizer.apply_chat_template(ranking.prompt, add_generation_prompt=True, return_dict=False)
        )
        with torch.no_grad():
            table = model(ids).logits[0, start - 1 : -1].log_softmax(-1)
        total -= table.gather(-1, ids[0, start:, None]).sum().item()
        count += ids.shape[1] - start
    return total / count


def test_the_best_responses_come_to_be_expected(spec: Spec, run_warm: Run) -> None:
    code, log = run_warm(spec)

    assert code == 0, log
    assert models_of(spec) == ["adapter"]
    folder = Path(spec["output"]) / "adapter"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    before = surprise(AutoModelForCausalLM.from_pretrained(spec["model"]["base"]), tokenizer, 1)
    model = AutoPeftModelForCausalLM.from_pretrained(folder)
    after = surprise(model, tokenizer, 1)
    assert after < before / 2
    losses = figures_of(spec, "loss")
    assert losses[24] == pytest.approx(after, rel=0.3), "the loss is a mean over the response's tokens"
    assert list(figures_of(spec, "eval_loss"))[-1] == 24
    told = {name for row in events_of(spec, "metric") for name in row["values"]}
    assert {"eval_perplexity", "eval_perplexity_before"} <= told
    assert not {"accuracy", "eval_accuracy"} & told, "nothing is compared"


def test_conversations_are_imitated_as_the_best_responses_are(
    spec: Spec, run_warm: Run, tmp_path: Path
) -> None:
    spec["data"]["held_out"] = None
    conversations = [
        {"messages": [*r.prompt, {"role": "assistant", "content": r.responses[1]}]} for r in rankings(16)
    ]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(each) + "\n" for each in conversations))
    other = {**spec, "output": spec["output"] + "-other", "data": {"train": str(tmp_path / "train.jsonl")}}
    for each in (spec, other):
        code, log = run_warm(each)
        assert code == 0, log

    assert figures_of(spec, "loss") == figures_of(other, "loss")


def test_full_tuning_leaves_weights_that_expect_them_too(spec: Spec, run_warm: Run) -> None:
    spec["method"] |= {"parameters": {"kind": "full"}, "learning_rate": 3e-3}
    spec["data"]["held_out"] = None

    code, log = run_warm(spec)

    assert code == 0, log
    folder = Path(spec["output"]) / "weights"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert (
        surprise(model, tokenizer, 1)
        < surprise(AutoModelForCausalLM.from_pretrained(spec["model"]["base"]), tokenizer, 1) / 2
    )
