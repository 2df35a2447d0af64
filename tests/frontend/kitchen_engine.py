"""An engine that keeps the real protocol and answers kitchen questions from a list: a round takes seconds.

``python -m tests.frontend.kitchen_engine SPEC.json``
"""

from __future__ import annotations

import json
import math
import random
import sys
from pathlib import Path
from typing import Any

from tests.frontend.kitchen import answers
from training.engine.events import Events

STEPS = 24


def main(spec_file: str) -> int:
    spec = json.loads(Path(spec_file).read_text())
    events = Events(Path(spec["output"]))
    print(f"kitchen engine: {spec['kind']}, seed {spec['seed']}", flush=True)
    {"sample": sample, "sft": train, "dpo": train, "evaluate": evaluate}[spec["kind"]](spec, events)
    print("done", flush=True)
    events.end("succeeded")
    return 0


def sample(spec: dict[str, Any], events: Events) -> None:
    write_responses(events, draws(spec, spec["model"], spec["method"]["responses"]))


def train(spec: dict[str, Any], events: Events) -> None:
    """Curves as training gives them: a loss that falls (for DPO from ln 2), preferences that are told apart better and
    better, held out a little less than in training; and a model that moves away from what it was."""
    dice = random.Random(spec["seed"])
    prefers = spec["kind"] == "dpo"
    first_loss = math.log(2) if prefers else 1.9
    for step in range(1, STEPS + 1):
        learnt = 1 - math.exp(-step / 9)
        values = {
            "loss": first_loss - 0.34 * learnt + dice.gauss(0, 0.018),
            "learning_rate": 5e-5 * (1 - (step - 1) / STEPS),
            "grad_norm": 2.1 - 0.8 * learnt + dice.gauss(0, 0.1),
            "padding": 0.06 + dice.random() * 0.08,
        }
        if prefers:
            values |= {
                "accuracy": min(1.0, 0.5 + 0.36 * learnt + dice.gauss(0, 0.03)),
                "margin": 0.9 * learnt + dice.gauss(0, 0.03),
            }
        events.progress(step, STEPS, "training")
        events.metric(step, values)
        print(f"step {step:>2} of {STEPS}  loss {values['loss']:.4f}", flush=True)
        if step % 6 == 0:
            events.metric(step, held_out(first_loss, learnt, prefers))
    question = "Can I freeze cooked pasta?"
    (response,) = answers(question, times_tuned=2, count=1)
    events.sample([{"role": "user", "content": question}], response)
    with events.artifact("adapter") as folder:
        folder.mkdir()
        (folder / "adapter_config.json").write_text(json.dumps({"r": spec["method"]["parameters"]["rank"]}))


def held_out(first_loss: float, learnt: float, prefers: bool) -> dict[str, float]:
    """What a measurement on held-out rankings finds when so much, from 0 to 1, is learnt."""
    values = {
        "eval_loss": first_loss - 0.24 * learnt,
        "eval_perplexity": 21.4 + 1.3 * learnt,
        "eval_perplexity_before": 21.4,
    }
    if prefers:
        values |= {
            "eval_accuracy": 0.5 + 0.25 * learnt,
            "eval_accuracy/close": 0.5 + 0.08 * learnt,
            "eval_accuracy/clear": 0.5 + 0.27 * learnt,
            "eval_accuracy/sure": 0.5 + 0.4 * learnt,
            "eval_calibration_error": 0.19 - 0.11 * learnt,
            "eval_margin": 0.6 * learnt,
            "eval_gap": 0.11 * learnt,
            "eval_kl": 3.6 * learnt,
            "eval_length": 61.0 - 12 * learnt,
            "eval_ended": 0.83 + 0.13 * learnt,
        }
    return values


def evaluate(spec: dict[str, Any], events: Events) -> None:
    drawn = [
        {**draw, "model": name}
        for name, model in (("new", spec["model"]), ("old", spec["method"]["old"]))
        for draw in draws(spec, model, spec["method"]["responses"])
    ]
    write_responses(events, drawn)
    scorecard = {
        "prompts": len({draw["id"] for draw in drawn}),
        "responses": spec["method"]["responses"],
        "new": {"mean_length_tokens": 48.6, "ended_share": 0.96, "oracle_mean": None},
        "old": {"mean_length_tokens": 61.2, "ended_share": 0.83, "oracle_mean": None},
        **dict.fromkeys(("win_rate", "win_rate_low", "win_rate_high", "judge")),
        "pairs": 0,
        "held_out_pair_accuracy": 0.81,
        "held_out_pairs": 16,
        "kl": 3.42,
    }
    with events.artifact("scorecard.json") as path:
        path.write_text(json.dumps(scorecard))


def draws(spec: dict[str, Any], model: dict[str, Any], count: int) -> list[dict[str, Any]]:
    prompts = [json.loads(line) for line in Path(spec["data"]["prompts"]).read_text().splitlines()]
    return [
        {"id": prompt["id"], "index": index, "text": text, "tokens": len(text) // 4, "finish": "stop"}
        for prompt in prompts
        for index, text in enumerate(
            answers(prompt["prompt"][-1]["content"], times_tuned=len(model["adapters"]), count=count)
        )
    ]


def write_responses(events: Events, drawn: list[dict[str, Any]]) -> None:
    events.progress(len(drawn), len(drawn), "sampling")
    with events.artifact("responses.jsonl") as path:
        path.write_text("".join(json.dumps(draw) + "\n" for draw in drawn))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
