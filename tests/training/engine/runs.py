"""Specs and data of small training runs, and what they told."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.training.engine.conftest import read_lines
from training.engine.records import Ranking, write_rankings

Run = Callable[..., tuple[int, str]]
WORDS = ["good", "bad", "kind", "train", "sea", "bread", "answer", "sorry", "hat", "water"]


def rankings(count: int, *, seed: int = 0, words: int = 8) -> list[Ranking]:
    """Rankings of three random responses each, in three tiers: three pairs a ranking."""
    rng = random.Random(seed)
    return [
        Ranking(
            prompt=[{"role": "user", "content": f"How is day {number}?"}],
            responses=[" ".join(rng.choices(WORDS, k=words)) for _ in range(3)],
            tiers=[[1], [0], [2]],
            scores=[0.0, 1.0, -1.0],
        )
        for number in range(count)
    ]


def training_spec(kind: str, folder: Path, model: Path, **method: Any) -> dict[str, Any]:
    """A run of 8 optimizer steps over 2 epochs on 16 rankings, with 4 held-out ones, measured at steps 3, 6 and 8."""
    write_rankings(folder / "train.parquet", rankings(16))
    write_rankings(folder / "held_out.parquet", rankings(4, seed=1))
    few_samples = {"eval_samples": 1} if kind == "dpo" else {}
    return {
        "kind": kind,
        "run": "r1",
        "seed": 3,
        "output": str(folder / "run"),
        "model": {"base": str(model)},
        "data": {"train": str(folder / "train.parquet"), "held_out": str(folder / "held_out.parquet")},
        "method": {
            "batch_size": 4,
            "epochs": 2,
            "learning_rate": 1e-3,
            "save_steps": 3,
            "keep_best": False,
            **few_samples,
            **method,
        },
    }


def events_of(spec: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """The run's events of a kind."""
    return [row for row in read_lines(Path(spec["output"]) / "events.jsonl") if row["event"] == kind]


def figures_of(spec: dict[str, Any], name: str) -> dict[int, float]:
    """A figure by step; of a step that came twice the last one counts."""
    return {row["step"]: row["values"][name] for row in events_of(spec, "metric") if name in row["values"]}


def models_of(spec: dict[str, Any]) -> list[str]:
    """The models that the run left, by the names of their folders."""
    return [
        row["name"] for row in events_of(spec, "artifact") if row["name"] in ("adapter", "weights", "merged")
    ]


def weights_of(spec: dict[str, Any]) -> bytes:
    """The bytes of what was trained."""
    name = models_of(spec)[0]
    file = {"adapter": "adapter_model.safetensors", "weights": "model.safetensors"}[name]
    return (Path(spec["output"]) / name / file).read_bytes()
