"""Specs of small ppo runs, and a reward model for them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tests.training.engine.runs import training_spec
from tests.training.engine.warm_engine import WarmEngine


def make_reward(
    engine: WarmEngine, folder: Path, model: Path, *, seed: int = 3, parameters: str = "lora"
) -> Path:
    """Train a reward model on the rankings of `runs`, and return its folder."""
    folder.mkdir()
    spec = training_spec(
        "reward", folder, model, learning_rate=1e-2, parameters={"kind": parameters, "rank": 4}
    )
    code, log = engine.start({**spec, "seed": seed}, folder).wait()
    assert code == 0, log
    return Path(spec["output"]) / ("adapter" if parameters == "lora" else "weights")


def with_dropout(reward: Path, folder: Path) -> Path:
    """Copy a reward adapter, as if it had been trained with dropout."""
    shutil.copytree(reward, folder)
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    (folder / "adapter_config.json").write_text(json.dumps({**config, "lora_dropout": 0.5}), encoding="utf-8")
    return folder


def write_prompts(path: Path, count: int = 9) -> Path:
    """Write prompts of different lengths."""
    prompts = [
        {"id": f"p{n}", "prompt": [{"role": "user", "content": " ".join(["How is the day?"] * (1 + n % 3))}]}
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(prompt) + "\n" for prompt in prompts), encoding="utf-8")
    return path


def ppo_spec(folder: Path, model: Path, reward: Path, **method: Any) -> dict[str, Any]:
    """A run of 4 rollouts of 8 responses, 4 optimizer steps on each, a checkpoint every other rollout."""
    return {
        "kind": "ppo",
        "run": "p1",
        "seed": 5,
        "output": str(folder / "ppo"),
        "model": {"base": str(model)},
        "data": {"prompts": str(write_prompts(folder / "prompts.jsonl")), "rewards": [str(reward)]},
        "method": {
            "episodes": 32,
            "batch_size": 8,
            "samples": 2,
            "epochs": 2,
            "minibatches": 2,
            "max_tokens": 10,
            "tokens_at_once": 100,
            "learning_rate": 1e-3,
            "save_rollouts": 2,
            "parameters": {"rank": 4},
            **method,
        },
    }


def group_spec(folder: Path, model: Path, reward: Path, **method: Any) -> dict[str, Any]:
    """The same by TRL's RLOO: 4 responses a prompt, 2 optimizer steps a rollout."""
    return ppo_spec(folder, model, reward, **{"algorithm": "rloo", "samples": 4, "minibatches": 1, **method})
