"""A spec is checked as a whole before anything starts, and a refusal names the field."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from training.engine.__main__ import main
from training.engine.methods import SampleMethod
from training.engine.refusal import Refused
from training.engine.settings import check_settings
from training.engine.spec import Spec

SAMPLE = {
    "kind": "sample",
    "run": "r",
    "seed": 1,
    "output": "/tmp/out",
    "model": {"base": "org/name", "adapters": ["/a", "/b"]},
    "data": {"prompts": "/p.jsonl"},
    "method": {"few_shot": [{"prompt": [{"role": "user", "content": "?"}], "response": "!"}]},
}
DPO = {
    "kind": "dpo",
    "run": "r",
    "output": "/tmp/out",
    "model": {"base": "org/name"},
    "data": {"train": "/t.parquet"},
    "method": {"parameters": {"kind": "full"}, "learning_rate": 1},
}
REWARD = {**DPO, "kind": "reward", "method": {"centring": 0.01, "margin_scale": 1, "objective": "pairs"}}
SFT = {
    **DPO,
    "kind": "sft",
    "processes": 2,
    "method": {"parameters": {"kind": "qlora"}, "tokens_at_once": 512},
}
EVALUATE = {**SAMPLE, "kind": "evaluate", "method": {"old": {"base": "org/old"}, "responses": 2}}


@pytest.mark.parametrize("record", [SAMPLE, DPO, REWARD, SFT, EVALUATE], ids=lambda record: record["kind"])
def test_a_spec_written_out_with_its_defaults_reads_back_as_itself(
    record: dict[str, Any], tmp_path: Path
) -> None:
    spec = Spec.from_record(record)
    (tmp_path / "spec.json").write_text(json.dumps(spec.to_record()))

    assert json.loads(json.dumps(Spec.read(tmp_path / "spec.json").to_record())) == json.loads(
        json.dumps(spec.to_record())
    )
    assert spec.to_record()["method"] != record["method"]


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ([], "object"),
        ({**SAMPLE, "kind": "ppo2"}, "`kind` must be one of"),
        ({**SAMPLE, "run": None}, "`run`"),
        ({**SAMPLE, "seed": -1}, "`seed`"),
        ({**SAMPLE, "seed": True}, "`seed` must be a whole number"),
        ({**SAMPLE, "output": "relative"}, "`output` must be an absolute path"),
        ({**SAMPLE, "lease": 3}, "`lease`"),
        ({**SAMPLE, "model": None}, "either `model` or `endpoint`"),
        ({**SAMPLE, "endpoint": {"url": "http://x/v1", "model": "m"}}, "either `model` or `endpoint`"),
        ({**SAMPLE, "model": {}}, "`model.base` is missing"),
        ({**SAMPLE, "model": {"base": "x", "dtype": "int8"}}, "`model.dtype` must be one of auto"),
        ({**SAMPLE, "model": {"base": "x", "adapters": "/a"}}, "`model.adapters` must be a list"),
        ({**SAMPLE, "model": {"base": "x", "adapters": [1]}}, "`model.adapters[0]` must be text"),
        ({**SAMPLE, "data": {}}, "`data.prompts` is missing"),
        ({**SAMPLE, "method": {"top_p": 0}}, "`method.top_p` must be above 0 and at most 1, not 0.0"),
        ({**SAMPLE, "method": {"temperature": float("nan")}}, "`method.temperature` must be a number"),
        ({**SAMPLE, "method": {"tokens": 3}}, "`method.tokens` is not a setting"),
        ({**SAMPLE, "method": {"few_shot": [{"prompt": []}]}}, "`method.few_shot[0]`"),
        ({**SAMPLE, "extra": 1}, "`extra` is not a setting"),
        ({**DPO, "endpoint": {"url": "http://x/v1", "model": "m"}}, "needs a `model` and no `endpoint`"),
        ({**DPO, "method": {"parameters": {"rank": 0}}}, "`method.parameters.rank` must be at least 1"),
        ({**DPO, "processes": 0}, "`processes` must be 1 for a run of kind dpo, and at least 1"),
        ({**SAMPLE, "processes": 2}, "`processes` must be 1 for a run of kind sample"),
        (
            {**DPO, "method": {"parameters": {"kind": "dora"}}},
            "`method.parameters.kind` must be one of lora, qlora",
        ),
        (
            {**DPO, "method": {"objective": "top_choice", "pairs": "adjacent"}},
            "`method.objective` top_choice",
        ),
        (
            {**DPO, "method": {"objective": "plackett_luce", "soft_labels": True}},
            "`method.objective` plackett_luce",
        ),
        (
            {**REWARD, "method": {"objective": "plackett_luce", "margin_scale": 1}},
            "`method.objective` plackett_luce",
        ),
        ({**DPO, "method": {"loss": "ipo", "objective": "plackett_luce"}}, "`method.loss` ipo"),
        ({**DPO, "method": {"loss": "ipo", "label_smoothing": 0.1}}, "`method.loss` ipo"),
        ({**DPO, "method": {"label_smoothing": 0.1, "soft_labels": True}}, "`method.label_smoothing`"),
        ({**DPO, "method": {"margin_scale": 1, "soft_labels": True}}, "they would count twice"),
        ({**DPO, "method": {"loss": "ipo", "length_normalised": True}}, "leave `length_normalised` off"),
        (
            {**DPO, "method": {"label_smoothing": 0.5}},
            "`method.label_smoothing` must be at least 0 and at most 0.499",
        ),
        ({**REWARD, "method": {"beta": 0.1}}, "`method.beta` is not a setting"),
        ({**SFT, "method": {"objective": "pairs"}}, "`method.objective` is not a setting"),
        ({**SFT, "method": {"patience": 0}}, "`method.patience` must be at least 1"),
        ({**SFT, "method": {"too_long": "drop"}}, "`method.too_long` must be one of refuse, cut, leave_out"),
        ({**SFT, "method": {"layout": "alone"}}, "`method.layout` must be one of auto, tree, separate"),
        ({**EVALUATE, "method": {}}, "`method.old` is missing"),
    ],
)
def test_a_bad_spec_is_refused_by_the_name_of_its_field(record: Any, words: str) -> None:
    with pytest.raises(Refused) as refusal:
        Spec.from_record(record)

    assert words in str(refusal.value)


def test_settings_of_a_method_can_be_checked_alone() -> None:
    assert check_settings(SampleMethod, {"responses": 7}, "settings").responses == 7
    with pytest.raises(Refused, match=r"`settings\.responses` must be at least 1"):
        check_settings(SampleMethod, {"responses": 0}, "settings")


def test_a_spec_that_cannot_be_read_ends_with_the_code_of_a_refusal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "spec.json").write_text("{")

    assert main([str(tmp_path / "spec.json")]) == 2
    assert main([str(tmp_path / "missing.json")]) == 2
    assert main([]) == 2
    assert "spec.json cannot be read" in capsys.readouterr().err


def test_modules_that_web_processes_use_import_no_torch() -> None:
    light = ("spec", "records", "conversation", "prompts", "oracles", "intervals", "refusal", "responses")
    program = f"import sys, importlib\nfor m in {light}: importlib.import_module('training.engine.' + m)\n"
    program += "print({'torch', 'transformers', 'django'} & set(sys.modules))"

    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=os.environ, check=True
    )

    assert ended.stdout == "set()\n"
