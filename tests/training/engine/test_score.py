"""Reward models that score responses which are there already."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.training.engine.conftest import read_lines
from training.engine import score
from training.engine.interrupt import Interrupt, Stopped

Run = Callable[[dict[str, Any]], int]
TEXTS = ["A good day.", "Bread and water.", "", "I am sorry, that was a bad answer."]


def score_spec(model: Path, reward: Path, folder: Path, prompts: int = 3, **record: Any) -> dict[str, Any]:
    file = folder / "tasks.jsonl"
    file.write_text(
        "".join(
            json.dumps(
                {
                    "id": f"t{n}",
                    "prompt": [{"role": "user", "content": f"How is day {n}?"}],
                    "responses": TEXTS[: 2 + n % 3],
                    **record,
                }
            )
            + "\n"
            for n in range(prompts)
        )
    )
    return {
        "kind": "score",
        "run": "test",
        "seed": 0,
        "output": str(folder / "run"),
        "model": {"base": str(model)},
        "data": {"prompts": str(file)},
        "method": {"rewards": [str(reward)]},
    }


def test_every_response_gets_a_score_in_its_place(
    tiny_model: Path, tiny_reward: Path, tmp_path: Path, run_here: Run
) -> None:
    assert run_here(score_spec(tiny_model, tiny_reward, tmp_path)) == 0
    scores = read_lines(tmp_path / "run" / "scores.jsonl")
    assert [(each["id"], len(each["scores"])) for each in scores] == [("t0", 2), ("t1", 3), ("t2", 4)]
    # What else is scored in the same pass changes no score.
    alone = tmp_path / "alone"
    alone.mkdir()
    assert run_here(score_spec(tiny_model, tiny_reward, alone, prompts=1)) == 0
    assert read_lines(alone / "run" / "scores.jsonl")[0]["scores"] == pytest.approx(
        scores[0]["scores"], abs=1e-4
    )


def test_a_stopped_run_goes_on_with_what_is_left(
    tiny_model: Path, tiny_reward: Path, tmp_path: Path, run_here: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        folder.mkdir()
    assert run_here(score_spec(tiny_model, tiny_reward, whole, prompts=5)) == 0
    spec = score_spec(tiny_model, tiny_reward, broken, prompts=5)
    monkeypatch.setattr(score, "TASKS_AT_ONCE", 2)
    calls = 0

    def stop_at_the_third(self: Interrupt) -> None:
        nonlocal calls
        if (broken / "run").exists() and list((broken / "run").glob("scores-*")):
            calls += 1
            if calls == 1:
                raise Stopped("asked to")

    monkeypatch.setattr(Interrupt, "check", stop_at_the_third)
    assert run_here(spec) == 75
    (partial,) = (broken / "run").glob("scores-*.partial.jsonl")
    assert len(read_lines(partial)) == 2
    assert run_here(spec) == 0
    found, unbroken = (read_lines(folder / "run" / "scores.jsonl") for folder in (broken, whole))
    for one, other in zip(found, unbroken, strict=True):
        assert one["scores"] == pytest.approx(other["scores"], abs=1e-4)
    assert not list((broken / "run").glob("*.partial.jsonl"))


@pytest.mark.parametrize("responses", [None, [], "text", [1]])
def test_a_line_without_responses_is_refused_by_its_number(
    tiny_model: Path, tiny_reward: Path, tmp_path: Path, run_here: Run, responses: Any
) -> None:
    assert run_here(score_spec(tiny_model, tiny_reward, tmp_path, responses=responses)) == 2
    events = read_lines(tmp_path / "run" / "events.jsonl")
    sentence = next(event for event in events if event["event"] == "error")["sentence"]
    assert "tasks.jsonl, line 1: `responses` must be a list of at least one text" in sentence
