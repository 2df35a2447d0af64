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

from tests.frontend.kitchen import ANSWERS, answers
from training.engine.events import Events

STEPS = 24
ROLLOUTS = 20
EPISODES = 3
"""Shown of a rollout."""


def main(spec_file: str) -> int:
    spec = json.loads(Path(spec_file).read_text())
    events = Events(Path(spec["output"]))
    print(f"kitchen engine: {spec['kind']}, seed {spec['seed']}", flush=True)
    does = {"sample": sample, "sft": train, "dpo": train, "reward": train, "ppo": learn, "evaluate": evaluate}
    does[spec["kind"]](spec, events)
    print("done", flush=True)
    events.end("succeeded")
    return 0


def sample(spec: dict[str, Any], events: Events) -> None:
    write_responses(events, draws(spec, spec["model"], spec["method"]["responses"]))


def train(spec: dict[str, Any], events: Events) -> None:
    """Curves as training gives them: a loss that falls (for DPO from ln 2), preferences that are told apart better and
    better, held out a little less than in training; and a model that moves away from what it was."""
    dice = random.Random(spec["seed"])
    prefers = spec["kind"] in ("dpo", "reward")
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
    leave_adapter(spec, events)


def learn(spec: dict[str, Any], events: Events) -> None:
    """Curves as a policy that learns from a reward model gives them: the score rises with the distance from the model
    before; an independent scorer rises with it, and falls at the end, where the alarm is given."""
    assert all((Path(folder) / "adapter_config.json").is_file() for folder in spec["data"]["rewards"])
    dice = random.Random(spec["seed"])
    questions = [each["prompt"] for each in prompts_of(spec)]
    for rollout in range(1, ROLLOUTS + 1):
        learnt = 1 - math.exp(-rollout / 8)
        score, kl = 1.9 * learnt + dice.gauss(0, 0.08), 9 * learnt**2 + abs(dice.gauss(0, 0.1))
        late = max(0, rollout - 14)
        values = {
            "score": score,
            "score_spread": 1.0 - 0.3 * learnt,
            "reward": score - 0.05 * kl,
            "kl": kl,
            "kl_coefficient": 0.05,
            "entropy": 2.1 - 0.7 * learnt,
            "length": 58.0 - 9 * learnt + dice.gauss(0, 1),
            "ended": 0.7 + 0.25 * learnt,
            "clip_fraction": 0.04 + 0.05 * dice.random(),
            "value_clip_fraction": 0.02 + 0.03 * dice.random(),
            "policy_loss": -0.02 * dice.random(),
            "value_loss": 0.4 - 0.25 * learnt,
            "policy_change": 0.004 + 0.002 * dice.random(),
            "ratio": 1 + dice.gauss(0, 0.002),
            "explained_variance": 0.7 * learnt,
            "grad_norm": 0.8 + 0.2 * dice.random(),
            "value_grad_norm": 1.4 - 0.6 * learnt,
            "learning_rate": 5e-5 * (1 - (rollout - 1) / ROLLOUTS),
            "watch/oracle": 0.5 * learnt - 0.06 * late + dice.gauss(0, 0.01),
            "watch/sqrt_kl": math.sqrt(kl),
            "watch/alarm": float(late > 3),
            "seconds/generation": 4.0,
            "seconds/scoring": 2.0,
            "seconds/optimisation": 6.0,
        }
        events.metric(rollout, values)
        events.progress(rollout, ROLLOUTS, "ppo")
        print(f"rollout {rollout:>2} of {ROLLOUTS}  score {score:.3f}", flush=True)
        if rollout % 10 == 0:
            question = questions[rollout // 10 % len(questions)]
            for place, text in enumerate(answers(question[-1]["content"], times_tuned=2, count=EPISODES)):
                scores = {"score": score + 1.2 - place, "kl": kl + place, "length": float(len(text) // 4)}
                events.sample(question, text, step=rollout, scores=scores)
    leave_adapter(spec, events)


def leave_adapter(spec: dict[str, Any], events: Events) -> None:
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
    if spec["method"].get("rewards"):
        old = [draw for draw in drawn if draw["model"] == "old" and draw["index"] == 0]
        text_of = {prompt["id"]: ANSWERS[prompt["prompt"][-1]["content"]][2] for prompt in prompts_of(spec)}
        drawn += [{**draw, "model": "best_of", "text": text_of[draw["id"]]} for draw in old]
    write_responses(events, drawn)
    scorecard: dict[str, Any] = {
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
    if spec["method"].get("rewards"):
        scorecard["best_of"] = {
            "n": spec["method"]["best_of"],
            "mean_length_tokens": 57.3,
            "ended_share": 0.88,
            "oracle_mean": None,
            **dict.fromkeys(("win_rate", "win_rate_low", "win_rate_high", "pairs")),
            **dict.fromkeys(("new_win_rate", "new_win_rate_low", "new_win_rate_high", "new_pairs")),
            "kl_bound": 0.64,
        }
    if spec["method"]["oracle"]:
        judge(spec, scorecard)
    with events.artifact("scorecard.json") as path:
        path.write_text(json.dumps(scorecard))


def judge(spec: dict[str, Any], scorecard: dict[str, Any]) -> None:
    """What an oracle might find, best-of-n between the two models."""
    scorecard |= {"judge": f"oracle:{spec['method']['oracle']}", "pairs": 40}
    found: list[tuple[dict[str, Any], str, float]] = [(scorecard, "", 0.78)]
    scorecard["new"]["oracle_mean"], scorecard["old"]["oracle_mean"] = 0.61, 0.22
    if "best_of" in scorecard:
        best = scorecard["best_of"]
        best["oracle_mean"] = 0.47
        found += [(best, "", 0.66), (best, "new_", 0.63)]
    for into, prefix, rate in found:
        bounds = {"win_rate": rate, "win_rate_low": rate - 0.1, "win_rate_high": rate + 0.1}
        into |= {f"{prefix}{name}": value for name, value in bounds.items()}


def draws(spec: dict[str, Any], model: dict[str, Any], count: int) -> list[dict[str, Any]]:
    return [
        {"id": prompt["id"], "index": index, "text": text, "tokens": len(text) // 4, "finish": "stop"}
        for prompt in prompts_of(spec)
        for index, text in enumerate(
            answers(prompt["prompt"][-1]["content"], times_tuned=len(model["adapters"]), count=count)
        )
    ]


def prompts_of(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(spec["data"]["prompts"]).read_text().splitlines()]


def write_responses(events: Events, drawn: list[dict[str, Any]]) -> None:
    events.progress(len(drawn), len(drawn), "sampling")
    with events.artifact("responses.jsonl") as path:
        path.write_text("".join(json.dumps(draw) + "\n" for draw in drawn))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
