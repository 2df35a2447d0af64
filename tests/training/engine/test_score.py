"""Reward models score responses that are there: each as it was trained, and the same however often a run is stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AutoPeftModelForSequenceClassification
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from tests.training.engine.conftest import read_lines
from tests.training.engine.ppo_runs import make_reward
from tests.training.engine.warm_engine import WarmEngine
from training.engine import score
from training.engine.events import Events
from training.engine.interrupt import Interrupt, Stopped
from training.engine.refusal import Refused
from training.engine.spec import Spec

RunHere = Callable[[dict[str, Any]], int]
TEXTS = ("Good bread.", "", "The train to the sea leaves at nine.")


@pytest.fixture(scope="session")
def second_reward(
    warm_engine: WarmEngine, tmp_path_factory: pytest.TempPathFactory, tiny_model: Path
) -> Path:
    """Another reward adapter on the same model, of another seed."""
    return make_reward(warm_engine, tmp_path_factory.mktemp("rewards") / "second", tiny_model, seed=8)


@pytest.fixture
def responses_file(tmp_path: Path, prompts_file: Path) -> Path:
    """Three responses to each prompt, one of them empty."""
    rows = [
        {"id": f"{prompt['id']}/{n}", "prompt": prompt["id"], "text": text}
        for prompt in read_lines(prompts_file)
        for n, text in enumerate(TEXTS)
    ]
    path = tmp_path / "responses.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def spec(
    tiny_model: Path, tiny_reward: Path, second_reward: Path, prompts_file: Path, responses_file: Path
) -> dict[str, Any]:
    return {
        "kind": "score",
        "run": "s1",
        "seed": 1,
        "output": str(prompts_file.parent / "run"),
        "model": {"base": str(tiny_model)},
        "data": {
            "prompts": str(prompts_file),
            "responses": str(responses_file),
            "rewards": [str(tiny_reward), str(second_reward)],
        },
        "method": {"system_prompt": "Be brief."},
    }


def scores_of(spec: dict[str, Any]) -> dict[str, list[float | None]]:
    return {row["id"]: row["scores"] for row in read_lines(Path(spec["output"]) / "scores.jsonl")}


def reward_of(model: Any, tokenizer: Any, prompt: str, text: str) -> float:
    """The reward of one conversation by plain transformers, read at its very last token."""
    conversation = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": prompt},
        {"role": "assistant", "content": text},
    ]
    ids = tokenizer.apply_chat_template(conversation, return_tensors="pt", return_dict=False)
    with torch.no_grad():
        return float(model.score(model.base_model(ids).last_hidden_state[0, -1]))


def test_each_response_gets_the_reward_that_plain_transformers_gives_it(
    spec: dict[str, Any], run_here: RunHere, tiny_model: Path
) -> None:
    assert run_here(spec) == 0

    found = scores_of(spec)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    prompts = {
        row["id"]: row["prompt"][0]["content"]
        for row in read_lines(Path(spec["data"]["prompts"]))
        if row["id"].startswith("p")
    }
    for member, folder in enumerate(spec["data"]["rewards"]):
        plain: Any = AutoPeftModelForSequenceClassification.from_pretrained(folder, num_labels=1)
        model = plain.merge_and_unload().eval()
        for id, prompt in prompts.items():
            for n, text in enumerate(TEXTS):
                expected = reward_of(model, tokenizer, prompt, text)
                assert found[f"{id}/{n}"][member] == pytest.approx(expected, abs=1e-3)
    assert len({tuple(scores) for scores in found.values()}) > len(prompts), "they tell responses apart"
    assert not list(Path(spec["output"]).glob("*.partial.jsonl"))


def test_whole_reward_models_come_one_after_the_other_and_read_with_their_own_tokens(
    spec: dict[str, Any], run_here: RunHere, whole_reward: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[int] = []
    make = score._Scorer.__init__

    def counting(self: Any, spec: Any, folders: Any, prompts: Any) -> None:
        loaded.append(len(folders))
        make(self, spec, folders, prompts)

    monkeypatch.setattr(score._Scorer, "__init__", counting)
    spec["data"]["rewards"].insert(1, str(whole_reward))

    assert run_here(spec) == 0

    assert loaded == [2, 1], "the two adapters share one model"
    tokenizer = AutoTokenizer.from_pretrained(whole_reward)
    model: Any = AutoModelForSequenceClassification.from_pretrained(whole_reward).eval()
    expected = reward_of(model, tokenizer, "How is the day?", TEXTS[2])
    assert scores_of(spec)["p0/2"][1] == pytest.approx(expected, abs=1e-3)


def test_a_stopped_run_goes_on_where_it_was_and_ends_as_an_unbroken_one(
    spec: dict[str, Any], run_here: RunHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score, "RESPONSES_TOGETHER", 10)
    broken = {**spec, "output": spec["output"] + "-broken"}

    class StoppingEvents(Events):
        def progress(self, now: int, total: int, phase: str, *, kept: bool = True) -> None:
            if now >= 20:
                interrupt.request("The test asked for it.")

    interrupt, read = Interrupt(None), Spec.from_record(broken)
    with pytest.raises(Stopped):
        score.run(read, StoppingEvents(read.output), interrupt)
    with next(read.output.glob("scores-*.partial.jsonl")).open("a") as partial:
        partial.write('{"models": [0, 1], "sco')  # as a kill in the middle of a line leaves it

    assert run_here(broken) == 0 and run_here(spec) == 0

    assert scores_of(broken) == scores_of(spec)
    told = [row for row in read_lines(read.output / "events.jsonl") if row["event"] == "progress"]
    assert told[0]["done"] == 20, "what was scored is kept"


def test_what_is_too_long_for_the_model_has_no_score_and_the_log_says_so(
    spec: dict[str, Any], run_here: RunHere
) -> None:
    path = Path(spec["data"]["responses"])
    long = {"id": "long", "prompt": "p0", "text": "bread " * 2000}
    path.write_text(path.read_text() + json.dumps(long) + "\n")
    assert run_here(spec) == 0
    found = scores_of(spec)
    assert found.pop("long") == [None, None]
    assert all(score is not None for scores in found.values() for score in scores)
    logs = [row["text"] for row in read_lines(Path(spec["output"]) / "events.jsonl") if row["event"] == "log"]
    assert any("1 of 28 responses" in text for text in logs)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{", "line 28 must be an object with `id`, `prompt` and `text`"),
        ('{"id": "x", "prompt": "p0"}', "line 28 must be an object"),
        ('{"id": 5, "prompt": "p0", "text": "a"}', "line 28: `id`, `prompt` and `text` must be text"),
        ('{"id": "p0/0", "prompt": "p0", "text": "a"}', "stands twice"),
        ('{"id": "x", "prompt": "q", "text": "a"}', "`data.prompts` has no prompt 'q'"),
    ],
)
def test_a_line_that_is_no_response_is_refused_by_its_number(
    spec: dict[str, Any], run_here: RunHere, line: str, sentence: str
) -> None:
    path = Path(spec["data"]["responses"])
    path.write_text(path.read_text() + line + "\n")
    assert run_here(spec) == 2
    events = read_lines(Path(spec["output"]) / "events.jsonl")
    assert sentence in next(row for row in events if row["event"] == "error")["sentence"]


def test_a_reward_adapter_of_another_model_is_refused(
    spec: dict[str, Any], run_here: RunHere, other_tiny_model: Path
) -> None:
    spec["model"] = {"base": str(other_tiny_model)}
    assert run_here(spec) == 2
    events = read_lines(Path(spec["output"]) / "events.jsonl")
    assert "`data.rewards[0]`" in next(row for row in events if row["event"] == "error")["sentence"]


def test_scoring_needs_responses_reward_models_and_a_model(spec: dict[str, Any]) -> None:
    endpoint = {"url": "http://127.0.0.1:9/v1", "model": "m"}
    without = {name: value for name, value in spec["data"].items() if name != "responses"}
    for changes, sentence in (
        ({"data": {**spec["data"], "rewards": []}}, "`data.rewards` must name at least one folder"),
        ({"data": without}, "data.responses"),
        ({"model": None, "endpoint": endpoint}, "needs a `model` and no `endpoint`"),
    ):
        with pytest.raises(Refused, match=sentence):
            Spec.from_record({**spec, **changes})
