"""A ppo run, as the process it is, on a tiny model: what it leaves, what it tells, what it refuses."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AutoPeftModelForCausalLM
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.training.engine.ppo_runs import make_reward, ppo_spec
from tests.training.engine.runs import Run, events_of, figures_of, models_of, weights_of
from tests.training.engine.warm_engine import WarmEngine
from training.engine.__main__ import main

Spec = dict[str, Any]


@pytest.fixture
def spec(tmp_path: Path, tiny_model: Path, tiny_reward: Path) -> Spec:
    return ppo_spec(tmp_path, tiny_model, tiny_reward)


@pytest.mark.parametrize(("value", "epochs", "episodes"), [("adapter", 2, 2560), ("head", 1, 3200)])
def test_the_reward_rises_and_an_adapter_is_left_that_plain_peft_loads(
    value: str, epochs: int, episodes: int, spec: Spec, run_warm: Run
) -> None:
    spec["method"] |= {
        "value": value,
        "epochs": epochs,
        "episodes": episodes,
        "batch_size": 64,
        "samples": 8,
        "minibatches": 1,
        "max_tokens": 5,
        "learning_rate": 3e-2,
        "scheduler": "constant",
        "kl_coefficient": 0.0,
        "missing_end_penalty": 0.0,
        "tokens_at_once": 4096,
    }

    code, log = run_warm(spec)

    assert code == 0, log
    scores = list(figures_of(spec, "score").values())
    assert sum(scores[-4:]) / 4 > sum(scores[:4]) / 4 + 0.4
    assert models_of(spec) == ["adapter"]
    folder = Path(spec["output"]) / "adapter"
    AutoPeftModelForCausalLM.from_pretrained(folder)
    assert AutoTokenizer.from_pretrained(folder).chat_template
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "Data (rewards): `adapter`, SHA-256" in card
    assert "KL from the model before training, nats a response, last rollout" in card


def test_what_it_tells(spec: Spec, run_warm: Run) -> None:
    spec["method"] |= {"watch_oracle": "training.engine.oracles:vader", "sample_rollouts": 2, "shown": 4}

    code, log = run_warm(spec)

    assert code == 0, log
    told = {name for row in events_of(spec, "metric") for name in row["values"]}
    assert told >= {
        "score", "reward", "kl", "kl_coefficient", "entropy", "length", "ended", "clip_fraction",
        "explained_variance", "policy_loss", "value_loss", "learning_rate", "watch/oracle", "watch/sqrt_kl",
        "watch/alarm", "grad_norm", "seconds/generation", "seconds/scoring", "seconds/optimisation",
    }  # fmt: skip
    assert sorted(figures_of(spec, "score")) == [1, 2, 3, 4]
    assert figures_of(spec, "kl")[1] == pytest.approx(0, abs=1e-4), "the policy starts as the reference"
    rates = list(figures_of(spec, "learning_rate").values())
    assert rates == sorted(rates, reverse=True) and rates[-1] == pytest.approx(1e-3 / 16)
    samples = events_of(spec, "sample")
    assert [sample["step"] for sample in samples] == [2] * 4 + [4] * 4
    scores = [sample["scores"]["score"] for sample in samples[:4]]
    assert scores == sorted(scores, reverse=True)
    preflight = json.loads((Path(spec["output"]) / "preflight.json").read_text())
    assert preflight["estimated"]["bytes_by_content"]["other models"] == 0


def test_only_the_policy_and_the_value_function_learn(spec: Spec, run_warm: Run, tiny_reward: Path) -> None:
    spec["data"]["rewards"] = [str(tiny_reward), str(tiny_reward)]

    code, log = run_warm(spec)

    assert code == 0, log
    newest = max(
        (Path(spec["output"]) / "checkpoints").iterdir(), key=lambda each: int(each.name.split("-")[1])
    )
    tensors = load_file(newest / "tensors.safetensors")
    started = load_file(tiny_reward / "adapter_model.safetensors")
    for name, before in started.items():
        if "lora_" in name:
            assert not torch.equal(tensors[f"value/{name}"], before), (
                "the value function learned, from the reward"
            )
    assert {name.split("/")[0] for name in tensors} == {"policy", "value"}
    policy = {
        name: value
        for name, value in tensors.items()
        if name.startswith("policy/") and name.endswith("weight")
    }
    assert policy and all(bool((value != 0).any()) for name, value in policy.items() if "lora_B" in name)


def test_it_stops_beyond_its_kl_budget_with_the_policy_it_has(spec: Spec, run_warm: Run) -> None:
    spec["method"] |= {"kl_budget": 0.05, "learning_rate": 1e-2, "episodes": 400, "kl_coefficient": 0.0}

    code, log = run_warm(spec)

    assert code == 0, log
    kl = figures_of(spec, "kl")
    assert len(kl) < 50 and kl[max(kl)] > 0.05
    assert all(value <= 0.05 for step, value in kl.items() if step < max(kl))
    assert models_of(spec) == ["adapter"]
    code, log = run_warm(spec)
    assert code == 0 and len(figures_of(spec, "kl")) == len(kl), "started again, it does not go on"


def test_or_it_lowers_its_rate(spec: Spec, run_warm: Run) -> None:
    spec["method"] |= {
        "kl_budget": 1e-6,
        "on_kl_budget": "slow",
        "learning_rate": 1e-2,
        "scheduler": "constant",
        "kl_estimator": "k3",
    }

    code, log = run_warm(spec)

    assert code == 0, log
    assert list(figures_of(spec, "learning_rate").values()) == pytest.approx([1e-2, 1e-2, 5e-3, 2.5e-3])


def test_the_kl_coefficient_follows_its_target(spec: Spec, run_warm: Run) -> None:
    spec["method"] |= {"kl_target": 1000.0}

    code, log = run_warm(spec)

    assert code == 0, log
    assert list(figures_of(spec, "kl_coefficient").values()) == pytest.approx(
        [0.05 * 0.98**n for n in range(4)]
    )


def test_it_says_so_where_no_response_ends_and_none_is_scored(spec: Spec, run_warm: Run) -> None:
    spec["method"] |= {"truncated": "bootstrap", "max_tokens": 1, "episodes": 8}

    code, log = run_warm(spec)

    assert code == 0, log
    assert figures_of(spec, "ended")[1] == 0
    assert any("no response of the rollout ended" in row["text"] for row in events_of(spec, "log"))


def test_an_alarm_can_stop_it(
    spec: Spec, run_here: Callable[[Spec], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "training.engine.ppo_guards.falling", lambda points, window: ["oracle"] * (len(points) == 2)
    )
    spec["method"] |= {"watch_oracle": "training.engine.oracles:vader", "on_alarm": "stop"}

    assert run_here(spec) == 0

    assert list(figures_of(spec, "watch/alarm").values()) == [0.0, 1.0]
    assert any("Alarm" in row["text"] for row in events_of(spec, "log"))


def test_numbers_that_are_none_stop_it_at_the_last_good_checkpoint(
    spec: Spec, run_here: Callable[[Spec], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.engine import ppo

    usual = ppo.policy_losses
    calls: list[int] = []

    def failing(*args: Any) -> Any:
        losses_N, clipped_N = usual(*args)
        calls.append(1)
        return (losses_N * math.nan if len(calls) > 30 else losses_N), clipped_N

    monkeypatch.setattr(ppo, "policy_losses", failing)

    assert run_here(spec) == 2

    sentence = events_of(spec, "error")[-1]["sentence"]
    assert "the policy's gradient is no finite number any more" in sentence
    assert "after 2 rollouts" in sentence
    good = load_file(Path(spec["output"]) / "checkpoints/checkpoint-8/tensors.safetensors")
    left = load_file(Path(spec["output"]) / "adapter/adapter_model.safetensors")
    for name, weights in left.items():
        assert torch.equal(weights, good[f"policy/{name}"])


def test_a_checkpoint_whose_models_say_no_numbers_is_not_the_last_good_one(
    spec: Spec, run_here: Callable[[Spec], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.engine.judging import Judge

    usual, calls = Judge.scores, []

    def failing(*args: Any) -> Any:
        calls.append(1)
        return usual(*args) * (math.nan if len(calls) > 2 else 1)

    monkeypatch.setattr(Judge, "scores", failing)
    spec["method"]["save_rollouts"] = 1

    assert run_here(spec) == 2

    sentence = events_of(spec, "error")[-1]["sentence"]
    assert "scores of a rollout" in sentence and "after 1 rollouts" in sentence
    good = load_file(Path(spec["output"]) / "checkpoints/checkpoint-4/tensors.safetensors")
    left = load_file(Path(spec["output"]) / "adapter/adapter_model.safetensors")
    assert all(torch.equal(weights, good[f"policy/{name}"]) for name, weights in left.items())


def test_a_first_ratio_other_than_1_is_a_mistake_that_is_not_trained_on(
    spec: Spec, run_here: Callable[[Spec], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.engine.actor_critic import Role

    usual = Role.log_probs
    monkeypatch.setattr(
        Role,
        "log_probs",
        lambda self, packed: usual(self, packed) * (1.001 if torch.is_grad_enabled() else 1),
    )

    assert run_here(spec) == 1

    assert "first minibatch's ratio differs from 1" in events_of(spec, "error")[-1]["sentence"]


def test_a_reward_adapter_of_another_model_is_refused(
    spec: Spec, other_tiny_model: Path, run_here: Callable[[Spec], int]
) -> None:
    spec["model"]["base"] = str(other_tiny_model)

    assert run_here(spec) == 2

    sentence = events_of(spec, "error")[-1]["sentence"]
    assert "`data.rewards[0]`" in sentence and "trained on another model than `model`" in sentence


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"parameters": {"dropout": 0.1}}, "`method.parameters.dropout` must be 0"),
        ({"samples": 3}, "must be a multiple of `method.samples`"),
        ({"minibatches": 9}, "`method.minibatches` 9 is more than"),
        ({"algorithm": "rloo", "samples": 1}, "set `method.samples` to 2 at least"),
        ({"clip": 0}, "`method.clip` must be above 0"),
        (
            {"algorithm": "grpo", "kl_target": 9.0},
            "takes no notice of `method.minibatches`, `method.kl_target`",
        ),
        ({"algorithm": "rloo", "kl_budget": 9.0, "kl_coefficient": 0}, "set `method.kl_coefficient` above 0"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_by_name(
    change: dict[str, Any], words: str, spec: Spec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec["method"] |= change
    (tmp_path / "spec.json").write_text(json.dumps(spec))

    assert main([str(tmp_path / "spec.json")]) == 2

    assert words in capsys.readouterr().err


def test_rewards_that_cannot_be_normalised_are_refused(
    spec: Spec, tiny_reward: Path, tmp_path: Path, run_here: Callable[[Spec], int]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_reward, copy)
    statistics = json.loads((copy / "reward.json").read_text())
    (copy / "reward.json").write_text(json.dumps({**statistics, "std": 0.0}))
    spec["data"]["rewards"] = [str(copy)]
    assert run_here(spec) == 2
    assert "teaches nothing" in events_of(spec, "error")[-1]["sentence"]

    (copy / "reward.json").unlink()
    assert run_here(spec) == 2
    assert "has no reward.json" in events_of(spec, "error")[-1]["sentence"]


def test_every_weight_can_be_trained_and_a_whole_model_can_judge(
    spec: Spec, run_warm: Run, tiny_model: Path, whole_reward: Path
) -> None:
    spec["data"]["rewards"] = [str(whole_reward)]
    spec["method"] |= {"parameters": {"kind": "full"}, "learning_rate": 1e-4}

    code, log = run_warm(spec)

    assert code == 0, log
    assert models_of(spec) == ["weights"]
    assert figures_of(spec, "kl")[1] == pytest.approx(0, abs=1e-4)
    assert figures_of(spec, "kl")[4] != pytest.approx(0, abs=1e-4)
    preflight = json.loads((Path(spec["output"]) / "preflight.json").read_text())
    assert preflight["estimated"]["bytes_by_content"]["other models"] > 2 * 4 * 20_000
    assert len(weights_of(spec)) == (tiny_model / "model.safetensors").stat().st_size


def test_a_base_in_4_bits_is_shared_like_any_other(
    run_warm: Run, warm_engine: WarmEngine, tmp_path: Path, wider_tiny_model: Path
) -> None:
    pytest.importorskip("bitsandbytes")
    reward = make_reward(warm_engine, tmp_path / "reward", wider_tiny_model)
    spec = ppo_spec(tmp_path, wider_tiny_model, reward, parameters={"kind": "qlora", "rank": 4}, merged=True)

    code, log = run_warm(spec)

    assert code == 0, log
    assert models_of(spec) == ["adapter", "merged"]
    assert figures_of(spec, "kl")[4] != pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_merged_model_is_the_base_with_the_adapter(
    dtype: str, spec: Spec, run_warm: Run, tiny_model: Path
) -> None:
    spec["model"]["dtype"] = dtype
    spec["method"] |= {"merged": True, "learning_rate": 1e-2}

    code, log = run_warm(spec)

    assert code == 0, log
    ids = torch.arange(10, 30)[None]
    merged = AutoModelForCausalLM.from_pretrained(Path(spec["output"]) / "merged", dtype=torch.float32)
    adapted = AutoPeftModelForCausalLM.from_pretrained(Path(spec["output"]) / "adapter", dtype=torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(merged(ids).logits, adapted(ids).logits, rtol=1e-3, atol=1e-2)
        moved = (
            (adapted(ids).logits - AutoModelForCausalLM.from_pretrained(tiny_model)(ids).logits).abs().max()
        )
    assert moved > 0.05


def test_a_preflight_says_what_a_run_needs_without_it(
    spec: Spec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "spec.json").write_text(json.dumps(spec))

    assert main(["--preflight", str(tmp_path / "spec.json")]) == 0

    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(told["seconds_by_phase"]) == {"generation", "scoring", "optimisation"}
    assert told["steps"] == 16
    assert not Path(spec["output"]).exists()


def test_a_value_function_that_is_a_head_alone_needs_less_and_says_so(
    spec: Spec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {}
    for value in ("adapter", "head"):
        spec["method"]["value"] = value
        (tmp_path / "spec.json").write_text(json.dumps(spec))
        assert main(["--preflight", str(tmp_path / "spec.json")]) == 0
        told[value] = json.loads(capsys.readouterr().out.splitlines()[-1])
    by_content = {value: each["bytes_by_content"] for value, each in told.items()}

    assert by_content["head"]["kept hidden states"] == 8 * 10 * 32 * 4
    assert by_content["adapter"]["kept hidden states"] == 0
    # The policy's adapters with two moments each, and the head's 33 numbers; the other value function's as many again.
    learned = by_content["head"]["optimizer state"] // 8 - 33
    assert by_content["adapter"]["optimizer state"] == 2 * 4 * (2 * learned + 33)
    shares = {
        value: each["seconds_by_phase"]["optimisation"] / each["seconds_by_phase"]["scoring"]
        for value, each in told.items()
    }
    assert shares["head"] < 0.8 * shares["adapter"], "whatever the machine's speed"
