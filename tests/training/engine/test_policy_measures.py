"""What is measured of a policy while every weight of it is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.training.engine.runs import Run, figures_of, training_spec
from training.engine.events import Events
from training.engine.examples import read_examples
from training.engine.interrupt import Interrupt
from training.engine.models import load_tokenizer
from training.engine.policy_measures import Answers
from training.engine.spec import Spec


@pytest.fixture
def spec(tmp_path: Path, tiny_model: Path) -> dict[str, Any]:
    return training_spec("dpo", tmp_path, tiny_model, parameters={"kind": "full"}, eval_samples=4)


def test_full_training_tells_how_far_it_went_on_answers_of_the_model_before(
    spec: dict[str, Any], run_warm: Run
) -> None:
    """Against both models' plain forward passes, one answer at a time."""
    code, log = run_warm(spec)
    assert code == 0, log

    told = figures_of(spec, "eval_forward_kl")
    assert list(told) == [3, 6, 8]
    before = AutoModelForCausalLM.from_pretrained(spec["model"]["base"])
    after = AutoModelForCausalLM.from_pretrained(Path(spec["output"]) / "weights")
    read = Spec.from_record(spec)
    tokenizer = load_tokenizer(read.model)
    prompts = read_examples(read.data.held_out, "data.held_out", read.method, tokenizer).examples
    answers = Answers(
        before, tokenizer, prompts, spec["seed"], None, Events(read.output), Interrupt(None)
    ).draw()
    gaps = [
        log_prob(before, example.prompt, row) - log_prob(after, example.prompt, row)
        for example, row in zip(prompts, answers, strict=True)
    ]
    assert len(gaps) == 4
    assert told[8] == pytest.approx(sum(gaps) / 4, abs=1e-3)
    assert abs(told[8]) > 0.01, "something was learnt"


def test_a_model_that_learns_nothing_went_nowhere(spec: dict[str, Any], run_warm: Run) -> None:
    spec["method"]["learning_rate"] = 1e-30
    code, log = run_warm(spec)

    assert code == 0, log
    assert figures_of(spec, "eval_forward_kl") == pytest.approx({3: 0, 6: 0, 8: 0}, abs=1e-5)


def log_prob(model: Any, prompt: tuple[int, ...], answer: list[int]) -> float:
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([[*prompt, *answer]])).logits[0].log_softmax(-1)
    return float(sum(logits[len(prompt) - 1 + at, token] for at, token in enumerate(answer)))
