"""Sampling from a model version, as a process that may be killed, and as a loop against `generate`."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    FalconH1Config,
    FalconH1ForCausalLM,
    GenerationConfig,
    MistralConfig,
    MistralForCausalLM,
)

from tests.training.engine.conftest import read_lines
from tests.training.engine.families import build
from tests.training.engine.warm_engine import WarmRun
from training.engine import sampling
from training.engine.drawing import Request, can_repeat_cache, draw
from training.engine.events import Events
from training.engine.interrupt import Interrupt, Stopped
from training.engine.methods import ModelSpec
from training.engine.models import encode_prompt, end_tokens, load_model
from training.engine.nucleus import choose_tokens
from training.engine.sampling import run
from training.engine.spec import Spec

Start = Callable[[dict[str, Any]], WarmRun]
Run = Callable[[dict[str, Any]], int]


def sample_spec(model: Path | str, prompts: Path, output: Path, **method: Any) -> dict[str, Any]:
    settings = {"responses": 3, "max_tokens": 24, "batch_size": 6, **method}
    return {
        "kind": "sample",
        "run": "test",
        "seed": 7,
        "output": str(output),
        "model": {"base": str(model)},
        "data": {"prompts": str(prompts)},
        "method": settings,
    }


def greedy(network: Any, prompts: list[list[int]], longest: int, ends: list[int]) -> list[list[int]]:
    uniforms = [np.zeros((1, longest), dtype=np.float32)] * len(prompts)
    request = Request(prompts=prompts, uniforms=uniforms, temperature=0, top_p=1.0, interrupt=Interrupt(None))
    return [rows[0] for rows in draw(network, request, ends=ends, pad=0)]


def greedy_by_generate(network: Any, prompt: list[int], longest: int, ends: list[int]) -> list[int]:
    settings = GenerationConfig(
        do_sample=False, max_new_tokens=longest, eos_token_id=ends, pad_token_id=ends[0]
    )
    return network.generate(torch.tensor([prompt]), generation_config=settings)[0, len(prompt) :].tolist()


def test_a_sample_run_answers_every_prompt_and_announces_a_whole_artifact(
    tiny_model: Path, prompts_file: Path, tmp_path: Path, run_here: Run
) -> None:
    output = tmp_path / "run"

    code = run_here(sample_spec(tiny_model, prompts_file, output))

    assert code == 0
    ids = [json.loads(line)["id"] for line in prompts_file.read_text().splitlines()]
    responses = read_lines(output / "responses.jsonl")
    assert [(r["id"], r["index"]) for r in responses] == [(id, index) for id in ids for index in range(3)]
    assert all(r["finish"] == "length" for r in responses if r["tokens"] == 24)
    assert all(r["tokens"] < 24 for r in responses if r["finish"] == "stop")
    assert len({r["text"] for r in responses}) > len(ids)
    events = read_lines(output / "events.jsonl")
    [artifact] = [event for event in events if event["event"] == "artifact"]
    assert artifact["name"] == "responses.jsonl" and (output / artifact["path"]).is_file()
    kept = [event["done"] for event in events if event["event"] == "progress" and event.get("kept", True)]
    assert kept == [0, 6, 12, 18, 24, 27]
    assert any(event["event"] == "sample" and event["response"] for event in events)
    assert events[-1]["event"] == "end" and events[-1]["state"] == "succeeded"
    assert not list(output.glob("*.partial.jsonl"))


def test_progress_is_told_within_a_batch_and_not_at_every_token(
    tiny_model: Path, prompts_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a batch that takes minutes; what is told within it is no progress that a later start could build on."""

    def told_within(output: Path, seconds: float) -> list[int]:
        monkeypatch.setattr(sampling, "PROGRESS_SECONDS", seconds)
        spec = Spec.from_record(
            sample_spec(tiny_model, prompts_file, output, batch_size=64, temperature=0, max_tokens=100)
        )
        run(spec, Events(output), Interrupt(None))
        events = [event for event in read_lines(output / "events.jsonl") if event["event"] == "progress"]
        assert [event["done"] for event in events if event.get("kept", True)] == [0, 27]
        return [event["done"] for event in events if not event.get("kept", True)]

    within = told_within(tmp_path / "each", 0.0)
    assert len(within) > 20 and within == sorted(within) and 0 <= within[0] < within[-1] < 27
    assert not told_within(tmp_path / "seldom", 3600.0)


def test_a_batch_on_a_cpu_is_no_larger_than_a_kill_may_cost(
    tiny_model: Path, tmp_path: Path, run_here: Run
) -> None:
    prompts = tmp_path / "prompts.jsonl"
    rows = ({"id": f"{n}", "prompt": [{"role": "user", "content": "Hello?"}]} for n in range(30))
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows))

    assert run_here(sample_spec(tiny_model, prompts, tmp_path / "run", responses=4, batch_size=128)) == 0

    events = read_lines(tmp_path / "run" / "events.jsonl")
    done = [event["done"] for event in events if event["event"] == "progress" and event.get("kept", True)]
    assert done == [0, 64, 120]


@pytest.mark.parametrize("batches", [1, 3])
def test_a_run_killed_between_batches_ends_where_the_unbroken_run_ends(
    tiny_model: Path, prompts_file: Path, tmp_path: Path, run_here: Run, start_warm: Start, batches: int
) -> None:
    run_here(sample_spec(tiny_model, prompts_file, tmp_path / "unbroken"))

    broken = sample_spec(tiny_model, prompts_file, tmp_path / "broken")
    process = start_warm(broken)
    wait_for_progress(tmp_path / "broken", batches * 6)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    code = run_here(broken)

    assert code == 0
    assert (tmp_path / "broken" / "responses.jsonl").read_bytes() == (
        tmp_path / "unbroken" / "responses.jsonl"
    ).read_bytes()


@pytest.mark.parametrize("cut", [1, 40, 400])
def test_a_torn_partial_output_is_completed_to_the_same_bytes(
    tiny_model: Path, prompts_file: Path, tmp_path: Path, run_here: Run, cut: int
) -> None:
    run_here(sample_spec(tiny_model, prompts_file, tmp_path / "unbroken"))
    broken = sample_spec(tiny_model, prompts_file, tmp_path / "broken")
    stop_after(broken, 12)
    [partial] = (tmp_path / "broken").glob("*.partial.jsonl")

    partial.write_bytes(partial.read_bytes()[:-cut])
    code = run_here(broken)

    assert code == 0
    assert (tmp_path / "broken" / "responses.jsonl").read_bytes() == (
        tmp_path / "unbroken" / "responses.jsonl"
    ).read_bytes()


def test_partial_output_of_other_settings_is_not_resumed(
    tiny_model: Path, prompts_file: Path, tmp_path: Path, run_here: Run
) -> None:
    output = tmp_path / "run"
    stop_after(sample_spec(tiny_model, prompts_file, output), 6)

    run_here(sample_spec(tiny_model, prompts_file, output, temperature=0.2))
    run_here(sample_spec(tiny_model, prompts_file, tmp_path / "fresh", temperature=0.2))

    assert (output / "responses.jsonl").read_bytes() == (tmp_path / "fresh" / "responses.jsonl").read_bytes()


def test_sigterm_stops_within_a_batch_with_a_code_that_says_resumable(
    tiny_model: Path, prompts_file: Path, tmp_path: Path, start_warm: Start
) -> None:
    output = tmp_path / "run"
    process = start_warm(sample_spec(tiny_model, prompts_file, output, max_tokens=400, batch_size=3))
    wait_for_progress(output, 0)

    os.kill(process.pid, signal.SIGTERM)

    assert process.wait()[0] == 75
    assert not (output / "responses.jsonl").exists()
    assert read_lines(output / "events.jsonl")[-1]["state"] == "stopped"


@pytest.mark.parametrize("change", [{"token": 4}, {"until": 1.0}])
def test_a_lost_lease_stops_the_run(
    tiny_model: Path, prompts_file: Path, tmp_path: Path, start_warm: Start, change: dict[str, float]
) -> None:
    lease = {"token": 3, "until": time.time() + 600}
    (tmp_path / "lease.json").write_text(json.dumps(lease))
    spec = sample_spec(
        tiny_model, prompts_file, tmp_path / "run", responses=64, max_tokens=400, batch_size=64
    )
    process = start_warm({**spec, "lease": str(tmp_path / "lease.json")})
    wait_for_progress(tmp_path / "run", 0)

    (tmp_path / "lease.json").write_text(json.dumps({**lease, **change}))

    assert process.wait()[0] == 75
    assert (
        "ease"
        in [e for e in read_lines(tmp_path / "run" / "events.jsonl") if e["event"] == "log"][-1]["text"]
    )


def test_a_second_process_waits_until_the_first_has_left_the_folder(
    tiny_model: Path, prompts_file: Path, tmp_path: Path, start_warm: Start
) -> None:
    spec = sample_spec(tiny_model, prompts_file, tmp_path / "run")
    first = start_warm(spec)
    wait_for_progress(tmp_path / "run", 0)
    os.kill(first.pid, signal.SIGSTOP)

    second = start_warm(spec)
    time.sleep(3)
    assert second.poll() is None
    assert read_lines(tmp_path / "run" / "events.jsonl")[-1]["event"] != "end"
    os.kill(first.pid, signal.SIGKILL)

    code, log = second.wait()
    assert code == 0, log


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("/nowhere/at/all", "config.json"),
        ("package:no_such_package", "pip install"),
        ("a b", "model.base"),
    ],
)
def test_a_model_that_is_not_there_is_refused_with_a_sentence(
    prompts_file: Path, tmp_path: Path, run_here: Run, model: str, words: str
) -> None:
    code = run_here(sample_spec(model, prompts_file, tmp_path / "run"))

    events = read_lines(tmp_path / "run" / "events.jsonl")
    assert code == 2
    assert words in next(event["sentence"] for event in events if event["event"] == "error")
    assert not (tmp_path / "run" / "responses.jsonl").exists()


@pytest.mark.parametrize(
    ("base", "reward"), [("tiny_model", "tiny_reward"), ("wider_tiny_model", "whole_reward")]
)
def test_a_reward_model_is_never_sampled(
    base: str, reward: str, prompts_file: Path, tmp_path: Path, run_here: Run, request: pytest.FixtureRequest
) -> None:
    spec = sample_spec(request.getfixturevalue(base), prompts_file, tmp_path / "run")
    spec["model"]["adapters"] = [str(request.getfixturevalue(reward))]

    assert run_here(spec) == 2

    events = read_lines(tmp_path / "run" / "events.jsonl")
    (sentence,) = [event["sentence"] for event in events if event["event"] == "error"]
    assert "gives responses numbers" in sentence


def test_prompts_longer_than_the_model_takes_are_left_out_by_name_and_the_others_answered(
    tiny_model: Path, prompts_file: Path, tmp_path: Path, run_here: Run
) -> None:
    run_here(sample_spec(tiny_model, prompts_file, tmp_path / "without"))
    long = {"id": "long-one", "prompt": [{"role": "user", "content": "word " * 1100}]}
    prompts_file.write_text(json.dumps(long) + "\n" + prompts_file.read_text())

    assert run_here(sample_spec(tiny_model, prompts_file, tmp_path / "run")) == 0

    assert read_lines(tmp_path / "run" / "responses.jsonl") == read_lines(
        tmp_path / "without" / "responses.jsonl"
    )
    events = read_lines(tmp_path / "run" / "events.jsonl")
    (told,) = [event["text"] for event in events if event["event"] == "log"]
    assert told.startswith("Left out: 1 of 10 prompts") and "'long-one'" in told
    assert [event for event in events if event["event"] == "progress"][-1]["done"] == 27
    assert [event for event in events if event["event"] == "progress"][-1]["total"] == 27


def test_a_run_whose_prompts_are_all_too_long_is_refused_with_their_names(
    tiny_model: Path, tmp_path: Path, run_here: Run
) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text(
        json.dumps({"id": "long-one", "prompt": [{"role": "user", "content": "word " * 1100}]})
    )

    code = run_here(sample_spec(tiny_model, prompts, tmp_path / "run"))

    assert code == 2
    assert "'long-one'" in (tmp_path / "run" / "events.jsonl").read_text()


def test_greedy_output_equals_generate_for_prompts_of_different_lengths(tiny_model: Path) -> None:
    network, tokenizer = load_model(ModelSpec(base=str(tiny_model)), "scoring")
    ends = end_tokens(network, tokenizer)
    prompts = [
        encode_prompt(tokenizer, [{"role": "user", "content": "How is the day? " * n}]) for n in (1, 4, 2, 9)
    ]

    ours = greedy(network, prompts, 40, ends)

    assert ours == [greedy_by_generate(network, prompt, 40, ends) for prompt in prompts]


def test_positions_are_counted_from_where_a_padded_prompt_begins() -> None:
    """Of a model that learned each position; one with rotary embeddings sees distances alone, and would not tell."""
    network = build("gpt2")
    prompts = [[5, 9, 3, 7], [8, 4, 6, 33, 21, 30, 31, 12, 50, 44, 17, 3], [60, 61]]

    ours = greedy(network, prompts, 20, [2])

    assert ours == [greedy_by_generate(network, prompt, 20, [2]) for prompt in prompts]


def test_rows_that_end_early_leave_the_others_as_they_are() -> None:
    network = mistral(sliding_window=None)
    prompts = [
        [int(t) for t in torch.randint(3, 64, (n,), generator=torch.manual_seed(n))] for n in range(5, 25)
    ]
    unended = [greedy_by_generate(network, prompt, 60, [63]) for prompt in prompts]
    # Tokens that end some rows soon and others late or never.
    ends = sorted({row[n] for n, row in enumerate(unended[:8]) if n < len(row)})

    ours = greedy(network, prompts, 60, ends)

    assert ours == [greedy_by_generate(network, prompt, 60, ends) for prompt in prompts]
    assert len({len(row) for row in ours}) > 3


def test_greedy_output_equals_generate_with_a_sliding_window() -> None:
    network = mistral(sliding_window=8)
    prompts = [[5, 9, 3, 7], [8, 4, 6, 33, 21, 30, 31, 12, 50, 44, 17, 3]]

    ours = greedy(network, prompts, 30, [63])

    assert ours == [greedy_by_generate(network, prompt, 30, [63]) for prompt in prompts]


def test_a_model_with_recurrent_state_falls_back_to_generate() -> None:
    torch.manual_seed(0)
    network = FalconH1ForCausalLM(
        FalconH1Config(
            vocab_size=64,
            hidden_size=32,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            mamba_d_ssm=32,
            mamba_n_heads=4,
            mamba_d_head=8,
            mamba_d_state=8,
        )
    ).eval()

    ours = greedy(network, [[5, 9, 3, 7], [8, 4, 6, 33]], 10, [63])

    assert not can_repeat_cache(network)
    assert ours == [greedy_by_generate(network, prompt, 10, [63]) for prompt in ([5, 9, 3, 7], [8, 4, 6, 33])]


def test_responses_follow_the_models_distribution() -> None:
    network = mistral(sliding_window=None)
    with torch.no_grad():
        wanted = network(torch.tensor([[5, 9, 3]])).logits[0, -1].softmax(-1).numpy()
    uniforms = np.random.default_rng(1).random((20_000, 1), dtype=np.float32)
    request = Request(
        prompts=[[5, 9, 3]], uniforms=[uniforms], temperature=1.0, top_p=1.0, interrupt=Interrupt(None)
    )

    drawn = draw(network, request, ends=[63], pad=0)

    shares = np.bincount([row[0] for row in drawn[0]], minlength=64) / 20_000
    assert np.abs(shares - wanted).max() < 0.015


def test_temperature_sharpens_by_dividing_logits() -> None:
    logits = torch.tensor([[1.0, 2.0, 3.0]]).expand(30_000, 3)
    uniforms = torch.rand(30_000, generator=torch.manual_seed(0))

    shares = torch.bincount(choose_tokens(logits, uniforms, 0.5, 1.0), minlength=3) / 30_000

    assert torch.allclose(shares, torch.tensor([2.0, 4.0, 6.0]).softmax(-1), atol=0.01)


@pytest.mark.parametrize("vocabulary", [1000, 20_000])
@pytest.mark.parametrize("spread", [0.1, 3.0])
def test_top_p_keeps_the_smallest_set_that_reaches_it(vocabulary: int, spread: float) -> None:
    logits = torch.randn(1, vocabulary, generator=torch.manual_seed(0)) * spread
    probs, order = logits.softmax(-1)[0].sort(descending=True)
    size = int((probs.cumsum(0) < 0.7).sum()) + 1
    uniforms = torch.linspace(0, 1 - 1e-7, 300)

    chosen = choose_tokens(logits.expand(300, -1), uniforms, 1.0, 0.7)

    assert set(chosen.tolist()) <= set(order[:size].tolist())
    assert int(chosen[0]) == int(order[0]) and int(chosen[-1]) == int(order[size - 1])
    kept = probs[:size] / probs[:size].sum()
    shares = torch.bincount(chosen, minlength=vocabulary)[order[:size]] / 300
    assert torch.allclose(shares, kept, atol=1 / 290)


def test_an_impossible_token_is_never_chosen() -> None:
    logits = torch.tensor([[0.0, float("-inf"), 0.0, float("-inf")]]).expand(5, 4)
    uniforms = torch.tensor([0.0, 0.5, 0.49999997, 0.99999994, 0.75])

    assert not {1, 3} & set(choose_tokens(logits, uniforms, 1.0, 1.0).tolist())
    assert not {1, 3} & set(choose_tokens(logits, uniforms, 1.0, 0.9).tolist())


def test_a_responses_random_numbers_do_not_depend_on_the_other_prompts(
    tiny_model: Path, prompts_file: Path, tmp_path: Path, run_here: Run
) -> None:
    run_here(sample_spec(tiny_model, prompts_file, tmp_path / "all"))
    few = tmp_path / "few.jsonl"
    few.write_text("\n".join(prompts_file.read_text().splitlines()[3:5]))

    run_here(sample_spec(tiny_model, few, tmp_path / "few", batch_size=1))

    everything = {(r["id"], r["index"]): r for r in read_lines(tmp_path / "all" / "responses.jsonl")}
    for response in read_lines(tmp_path / "few" / "responses.jsonl"):
        assert response == everything[response["id"], response["index"]]


@pytest.mark.real_model
def test_the_real_model_answers_a_question(real_model: str, tmp_path: Path, run_here: Run) -> None:
    prompts = tmp_path / "prompts.jsonl"
    question = "What is the capital of France? Answer in one sentence."
    prompts.write_text(json.dumps({"id": "1", "prompt": [{"role": "user", "content": question}]}))

    code = run_here(
        sample_spec(real_model, prompts, tmp_path / "run", responses=2, temperature=0, max_tokens=24)
    )

    assert code == 0
    responses = read_lines(tmp_path / "run" / "responses.jsonl")
    assert all("Paris" in r["text"] and r["finish"] == "stop" for r in responses)


def stop_after(record: dict[str, Any], done: int) -> None:
    """Run a spec until so many responses are done, and then ask it to stop."""

    class StoppingEvents(Events):
        def progress(self, now: int, total: int, phase: str, *, kept: bool = True) -> None:
            if now >= done:
                interrupt.request("The test asked for it.")

    spec = Spec.from_record(record)
    interrupt = Interrupt(None)
    with pytest.raises(Stopped):
        run(spec, StoppingEvents(spec.output), interrupt)


def mistral(sliding_window: int | None) -> MistralForCausalLM:
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.2,
        sliding_window=sliding_window,
    )
    return MistralForCausalLM(config).eval()


def wait_for_progress(output: Path, done: int) -> None:
    """Wait until so many responses are done, whatever the machine's speed; the test's own time limit ends a hang."""
    while True:
        if (output / "events.jsonl").exists():
            lines = (output / "events.jsonl").read_text().split("\n")[:-1]
            events = [json.loads(line) for line in lines]
            if any(event["event"] == "progress" and event["done"] >= done for event in events):
                return
            assert not any(event["event"] == "end" for event in events), events[-2:]
        time.sleep(0.02)
