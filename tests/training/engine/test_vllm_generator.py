"""vLLM is asked for what the engine's own loop would draw. The package itself needs a GPU; a stand-in takes its place,
so this says what it is asked, and nothing of what it answers."""

from __future__ import annotations

import json
import sys
import types
import weakref
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

from tests.training.engine.conftest import read_lines
from tests.training.engine.ppo_runs import ppo_spec
from tests.training.engine.runs import events_of, models_of
from training.engine.methods import ModelSpec
from training.engine.models import load_tokenizer
from training.engine.refusal import Refused
from training.engine.vllm_generator import VllmGenerator

Spec = dict[str, Any]


class Asked:
    """What the stand-in was asked."""

    def __init__(self) -> None:
        self.engines: list[dict[str, Any]] = []
        self.settings: list[dict[str, Any]] = []
        self.adapters: list[tuple[int, str] | None] = []
        self.beside: list[int] = []
        """For each engine that was started, how many there were already: one takes nearly all of a GPU's memory."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """A package vllm whose model answers each prompt with its first tokens, reversed."""
    seen = Asked()
    alive: weakref.WeakSet[Any] = weakref.WeakSet()

    class LLM:
        def __init__(self, **options: Any) -> None:
            seen.beside.append(len(alive))
            seen.engines.append(options)
            alive.add(self)

        def generate(self, prompts: Any, settings: Any, lora_request: Any, use_tqdm: bool) -> list[Any]:
            seen.settings += [vars(each) for each in settings]
            seen.adapters.append(
                lora_request
                and (lora_request.number, (Path(lora_request.path) / "adapter_model.safetensors").is_file())
            )
            return [
                types.SimpleNamespace(
                    outputs=[types.SimpleNamespace(token_ids=prompt["prompt_token_ids"][3::-1])]
                )
                for prompt in prompts
            ]

    package, lora = types.ModuleType("vllm"), types.ModuleType("vllm.lora.request")
    package.__spec__ = ModuleSpec("vllm", None)
    package.LLM, package.SamplingParams = LLM, types.SimpleNamespace  # type: ignore[attr-defined]
    lora.LoRARequest = lambda name, number, path: types.SimpleNamespace(  # type: ignore[attr-defined]
        name=name, number=number, path=path
    )
    monkeypatch.setitem(sys.modules, "vllm", package)
    monkeypatch.setitem(sys.modules, "vllm.lora.request", lora)
    return seen


def test_a_sample_run_draws_with_it(
    asked: Asked, tiny_model: Path, prompts_file: Path, tmp_path: Path, run_here: Callable[[Spec], int]
) -> None:
    spec = {
        "kind": "sample",
        "run": "s",
        "output": str(tmp_path / "run"),
        "model": {"base": str(tiny_model)},
        "data": {"prompts": str(prompts_file)},
        "method": {"responses": 2, "max_tokens": 7, "temperature": 0.5, "top_p": 0.9, "generator": "vllm"},
    }

    assert run_here(spec) == 0

    assert len(read_lines(tmp_path / "run" / "responses.jsonl")) == 9 * 2
    assert asked.engines[0]["model"] == str(tiny_model) and not asked.engines[0]["trust_remote_code"]
    assert len({each["seed"] for each in asked.settings}) == 9 * 2, "each response has a seed of its own"
    assert all(
        (each["max_tokens"], each["temperature"], each["top_p"]) == (7, 0.5, 0.9) for each in asked.settings
    )


def test_an_evaluation_draws_with_it_one_model_after_another(
    asked: Asked,
    tiny_model: Path,
    other_tiny_model: Path,
    prompts_file: Path,
    tmp_path: Path,
    run_here: Callable[[Spec], int],
) -> None:
    spec = {
        "kind": "evaluate",
        "run": "e",
        "output": str(tmp_path / "run"),
        "model": {"base": str(tiny_model)},
        "data": {"prompts": str(prompts_file)},
        "method": {"old": {"base": str(other_tiny_model)}, "max_tokens": 7, "generator": "vllm"},
    }

    assert run_here(spec) == 0

    assert [each["model"] for each in asked.engines] == [str(tiny_model), str(other_tiny_model)]
    assert asked.beside == [0, 0], "the first is gone when the second starts"
    drawn = read_lines(tmp_path / "run" / "responses.jsonl")
    assert len(asked.settings) == len(drawn) > 0


def test_a_ppo_run_hands_it_the_policy_of_each_rollout(
    asked: Asked, tmp_path: Path, tiny_model: Path, tiny_reward: Path, run_here: Callable[[Spec], int]
) -> None:
    spec = ppo_spec(tmp_path, tiny_model, tiny_reward, generator="vllm", temperature=0.7)

    assert run_here(spec) == 0

    assert models_of(spec) == ["adapter"]
    assert all(
        (each["max_tokens"], each["temperature"], each["top_p"]) == (10, 0.7, 1.0) for each in asked.settings
    ), "it draws from the distribution whose gradient is taken"
    assert [each.name for each in (Path(spec["output"]) / "policies").iterdir()] == ["step-12"]
    assert asked.engines[0]["enable_lora"]
    assert asked.adapters == [(1, True), (5, True), (9, True), (13, True)]
    assert len({each["seed"] for each in asked.settings}) == 32


@pytest.mark.parametrize(("rank", "room"), [(1, 1), (4, 8), (12, 16), (300, 320), (512, 512)])
def test_an_adapter_of_any_rank_has_room_in_what_vllm_takes(
    asked: Asked, tiny_model: Path, tmp_path: Path, rank: int, room: int
) -> None:
    model = ModelSpec(base=str(tiny_model))
    of_policy(model, rank, tmp_path)
    assert asked.engines[0]["max_lora_rank"] == room


def test_a_rank_above_all_that_vllm_takes_is_refused(asked: Asked, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(
        Refused, match=r"`method\.parameters\.rank` is 600; vLLM takes adapters of at most 512"
    ):
        of_policy(ModelSpec(base=str(tiny_model)), 600, tmp_path)
    assert not asked.engines


def of_policy(model: ModelSpec, rank: int, folder: Path) -> VllmGenerator:
    return VllmGenerator.of_policy(
        model, load_tokenizer(model), rows=4, rank=rank, save=lambda where: None, folder=folder
    )


def test_a_generator_that_was_closed_holds_no_engine() -> None:
    engine = types.ModuleType("engine")
    held = weakref.ref(engine)
    generator = VllmGenerator(engine, ends=[2], rows=4)
    del engine
    assert held() is not None

    generator.close()

    assert held() is None


def test_without_the_package_it_is_refused(
    tmp_path: Path, tiny_model: Path, tiny_reward: Path, run_here: Callable[[Spec], int]
) -> None:
    spec = ppo_spec(tmp_path, tiny_model, tiny_reward, generator="vllm")

    assert run_here(spec) == 2

    assert "needs the package vllm" in json.dumps(events_of(spec, "error")[-1])
