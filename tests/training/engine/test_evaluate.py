"""A new model against an old one: what the scorecard says must follow from the responses and the models."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.training.engine.conftest import read_lines
from training.engine.conversation import Message
from training.engine.evaluate import pair_accuracy
from training.engine.interrupt import Interrupt
from training.engine.judging import Judge
from training.engine.methods import ModelSpec
from training.engine.models import encode_prompt, load_model
from training.engine.records import Ranking, write_rankings
from training.engine.scoring import RESPONSES_TOGETHER, sequence_log_probs

Run = Callable[[dict[str, Any]], int]


def length_oracle(prompt: Sequence[Message], text: str) -> float:
    return float(len(text))


def broken_oracle(prompt: Sequence[Message], text: str) -> float:
    return float("nan")


@pytest.fixture
def rankings_file(tmp_path: Path) -> Path:
    path = tmp_path / "held_out.parquet"
    rankings = [
        Ranking(
            prompt=[{"role": "user", "content": f"Question {n}?"}],
            responses=["A good day.", "Bread and water.", "", "I am sorry."],
            tiers=[[0], [1, 3], [2]],
            scores=[1.0, 0.0, -1.0, 0.0],
        )
        for n in range(6)
    ]
    write_rankings(path, rankings)
    return path


def evaluate_spec(new: Path, old: Path, prompts: Path, rankings: Path | None, output: Path) -> dict[str, Any]:
    return {
        "kind": "evaluate",
        "run": "test",
        "seed": 5,
        "output": str(output),
        "model": {"base": str(new)},
        "data": {"prompts": str(prompts), "rankings": None if rankings is None else str(rankings)},
        "method": {
            "old": {"base": str(old)},
            "oracle": f"{__name__}:length_oracle",
            "responses": 3,
            "max_tokens": 16,
        },
    }


def test_the_scorecard_follows_from_the_responses(
    tiny_model: Path,
    other_tiny_model: Path,
    prompts_file: Path,
    rankings_file: Path,
    tmp_path: Path,
    run_here: Run,
) -> None:
    output = tmp_path / "run"

    code = run_here(evaluate_spec(tiny_model, other_tiny_model, prompts_file, rankings_file, output))

    assert code == 0
    scorecard = json.loads((output / "scorecard.json").read_text())
    responses = read_lines(output / "responses.jsonl")
    assert all(r["oracle"] == len(r["text"]) for r in responses)
    assert [r["model"] for r in responses] == ["new"] * 27 + ["old"] * 27
    by_hand = []
    for prompt in read_lines(prompts_file):
        new, old = (
            [r["oracle"] for r in responses if r["id"] == prompt["id"] and r["model"] == name]
            for name in ("new", "old")
        )
        by_hand.append(np.mean([(a > b) + (a == b) / 2 for a in new for b in old]))
    assert scorecard["win_rate"] == pytest.approx(np.mean(by_hand))
    assert scorecard["win_rate_low"] < scorecard["win_rate"] < scorecard["win_rate_high"]
    assert (scorecard["prompts"], scorecard["responses"], scorecard["pairs"]) == (9, 3, 81)
    assert scorecard["judge"] == f"oracle:{__name__}:length_oracle"
    for name in ("new", "old"):
        mine = [r for r in responses if r["model"] == name]
        assert scorecard[name]["oracle_mean"] == pytest.approx(np.mean([r["oracle"] for r in mine]))
        assert scorecard[name]["mean_length_tokens"] == pytest.approx(np.mean([r["tokens"] for r in mine]))
        assert scorecard[name]["ended_share"] == pytest.approx(np.mean([r["finish"] == "stop" for r in mine]))
    assert scorecard["held_out_pairs"] == 6 * 5
    assert 0 <= scorecard["held_out_pair_accuracy"] <= 1
    assert scorecard["kl"] > 1 and 0 < scorecard["kl_error"] < scorecard["kl"]
    announced = [e["name"] for e in read_lines(output / "events.jsonl") if e["event"] == "artifact"]
    assert announced == ["responses.jsonl", "scorecard.json"]


def test_only_prompts_that_both_models_answer_are_compared(
    tiny_model: Path, other_tiny_model: Path, prompts_file: Path, tmp_path: Path, run_here: Run
) -> None:
    """The old model takes fewer tokens than the new one."""
    shorter = tmp_path / "shorter"
    shutil.copytree(other_tiny_model, shorter)
    config = json.loads((shorter / "config.json").read_text())
    (shorter / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 100}))

    assert run_here(evaluate_spec(tiny_model, shorter, prompts_file, None, tmp_path / "run")) == 0

    scorecard = json.loads((tmp_path / "run" / "scorecard.json").read_text())
    responses = read_lines(tmp_path / "run" / "responses.jsonl")
    answered = {name: {r["id"] for r in responses if r["model"] == name} for name in ("new", "old")}
    assert answered["new"] == answered["old"]
    assert scorecard["prompts"] == len(answered["old"]) and scorecard["left_out"] > 0
    assert scorecard["prompts"] + scorecard["left_out"] == 9
    assert scorecard["pairs"] == 9 * scorecard["prompts"]


def test_a_model_against_itself_is_a_draw(
    tiny_model: Path, prompts_file: Path, rankings_file: Path, tmp_path: Path, run_here: Run
) -> None:
    run_here(evaluate_spec(tiny_model, tiny_model, prompts_file, rankings_file, tmp_path / "run"))

    scorecard = json.loads((tmp_path / "run" / "scorecard.json").read_text())
    assert (scorecard["win_rate"], scorecard["held_out_pair_accuracy"], scorecard["kl"]) == (0.5, 0.5, 0.0)
    assert scorecard["win_rate_low"] < 0.5 < scorecard["win_rate_high"], "nine ties prove no equality"


def test_what_is_not_measured_is_null(
    tiny_model: Path, other_tiny_model: Path, prompts_file: Path, tmp_path: Path, run_here: Run
) -> None:
    spec = evaluate_spec(tiny_model, other_tiny_model, prompts_file, None, tmp_path / "run")
    spec["method"]["oracle"] = None

    assert run_here(spec) == 0

    scorecard = json.loads((tmp_path / "run" / "scorecard.json").read_text())
    unmeasured = ("win_rate", "win_rate_low", "win_rate_high", "pairs", "judge", "held_out_pair_accuracy")
    assert all(scorecard[name] is None for name in unmeasured)
    assert scorecard["new"]["oracle_mean"] is None and scorecard["held_out_pairs"] == 0
    assert all("oracle" not in r for r in read_lines(tmp_path / "run" / "responses.jsonl"))


@pytest.mark.parametrize(
    ("oracle", "words"),
    [
        (f"{__name__}:broken_oracle", "nan"),
        (f"{__name__}:no_oracle", "no function"),
        ("no.such.module:f", "PYTHONPATH"),
        ("nonsense", "module:function"),
    ],
)
def test_an_oracle_that_is_no_oracle_is_refused(
    tiny_model: Path, prompts_file: Path, tmp_path: Path, run_here: Run, oracle: str, words: str
) -> None:
    spec = evaluate_spec(tiny_model, tiny_model, prompts_file, None, tmp_path / "run")
    spec["method"]["oracle"] = oracle

    assert run_here(spec) == 2
    sentence = next(
        e["sentence"] for e in read_lines(tmp_path / "run" / "events.jsonl") if e["event"] == "error"
    )
    assert words in sentence and oracle in sentence


def test_sequence_log_probs_equal_a_forward_of_each_sequence_alone(tiny_model: Path) -> None:
    network, tokenizer = load_model(ModelSpec(base=str(tiny_model)), "scoring")
    replies = ["A good day, and bread for the train to the sea!", "No.", "", "I am sorry. " * 12]
    sequences = [
        (
            encode_prompt(tokenizer, [{"role": "user", "content": "Hello there. " * n}]),
            tokenizer.encode(reply, add_special_tokens=False),
        )
        for n in (1, 2)  # each prompt has all replies
        for reply in replies
    ]

    ours = sequence_log_probs(
        network,
        sequences,
        pad=tokenizer.pad_token_id,
        interrupt=Interrupt(None),
        on_progress=lambda done, total: None,
    )

    for (prompt, reply), log_prob in zip(sequences, ours, strict=True):
        with torch.no_grad():
            log_probs = network(torch.tensor([[*prompt, *reply]])).logits[0].log_softmax(-1)
        places = range(len(prompt) - 1, len(prompt) + len(reply) - 1)
        alone = sum(float(log_probs[place, token]) for place, token in zip(places, reply, strict=True))
        assert log_prob == pytest.approx(alone, abs=1e-3)


def test_a_prompt_is_computed_once_for_all_of_its_responses(tiny_model: Path) -> None:
    network, _ = load_model(ModelSpec(base=str(tiny_model)), "scoring")
    prompts = [[10 + n] * 40 for n in range(2)]
    sequences = [(prompts[n % 2], [50 + n] * 4) for n in range(2 * RESPONSES_TOGETHER)]
    computed: list[int] = []
    network.model.register_forward_pre_hook(
        lambda module, args, kwargs: computed.append(kwargs["input_ids"].numel()), with_kwargs=True
    )

    sequence_log_probs(
        network, sequences, pad=0, interrupt=Interrupt(None), on_progress=lambda done, total: None
    )

    # The last pass holds all; those before it compare packed with plain ones.
    assert computed[-1] == 2 * (40 + RESPONSES_TOGETHER * 4)


def test_scoring_more_sequences_than_one_pass_holds_keeps_their_order(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, _ = load_model(ModelSpec(base=str(tiny_model)), "scoring")
    generator = np.random.default_rng(0)
    sequences = [
        (generator.integers(3, 200, n % 7 + 1).tolist(), generator.integers(3, 200, n % 5).tolist())
        for n in range(40)
    ]
    score = lambda: sequence_log_probs(  # noqa: E731
        network, sequences, pad=0, interrupt=Interrupt(None), on_progress=lambda done, total: None
    )

    together = score()
    monkeypatch.setattr("training.engine.scoring.TOKENS_AT_ONCE", 24)

    assert np.allclose(together, score(), atol=1e-4)


def test_pair_accuracy_counts_equal_rewards_half() -> None:
    chosen, rejected = np.array([1.0, 0.0, 2.0, 5.0]), np.array([0.0, 1.0, 2.0, 4.0])

    assert pair_accuracy(chosen, rejected) == 2.5 / 4
    assert pair_accuracy(np.array([]), np.array([])) is None


def test_best_of_n_is_the_baseline_of_what_a_reward_model_taught(
    tiny_model: Path,
    tiny_reward: Path,
    prompts_file: Path,
    tmp_path: Path,
    run_here: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def as_long(self: Judge, tasks: Any, episodes: Any, check: Any) -> torch.Tensor:
        self._rewards(self.rewards[0], tasks, episodes, check)  # the model is there, and takes them
        return torch.tensor([float(len(self.text(each))) for each in episodes])

    monkeypatch.setattr(Judge, "scores", as_long)
    spec = evaluate_spec(tiny_model, tiny_model, prompts_file, None, tmp_path / "run")
    spec["method"] |= {"rewards": [str(tiny_reward)], "best_of": 8}

    code = run_here(spec)

    assert code == 0
    card = json.loads((tmp_path / "run" / "scorecard.json").read_text())
    best = card["best_of"]
    assert best["n"] == 8
    assert best["oracle_mean"] > card["old"]["oracle_mean"], "it likes what the oracle likes"
    assert best["win_rate"] > 0.7
    assert best["new_win_rate"] < 0.3
    assert best["win_rate_low"] <= best["win_rate"] <= best["win_rate_high"]
    assert best["kl_bound"] == pytest.approx(np.log(8) - 7 / 8)
    drawn = read_lines(tmp_path / "run" / "responses.jsonl")
    of_best = [each for each in drawn if each["model"] == "best_of"]
    assert len(of_best) == card["prompts"], "for people to compare, one a prompt"
    assert np.mean([each["oracle"] for each in of_best]) == pytest.approx(best["oracle_mean"])


def test_a_baseline_by_a_reward_model_of_another_base_is_refused(
    tiny_model: Path,
    other_tiny_model: Path,
    tiny_reward: Path,
    prompts_file: Path,
    tmp_path: Path,
    run_here: Run,
) -> None:
    spec = evaluate_spec(tiny_model, other_tiny_model, prompts_file, None, tmp_path / "run")
    spec["method"] |= {"rewards": [str(tiny_reward)]}

    assert run_here(spec) == 2

    events = read_lines(tmp_path / "run" / "events.jsonl")
    assert "`method.rewards[0]`" in next(e for e in events if e["event"] == "error")["sentence"]
