"""The engine's guide says what is so: its specs are read, and its list of model families is the tests'."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.training.engine.families import NOT_PACKABLE, PACKABLE
from training.engine.spec import Spec

GUIDE = (Path(__file__).parents[3] / "docs" / "engine.md").read_text(encoding="utf-8")
SPECS = [text for text in re.findall(r"```json\n(.*?)```", GUIDE, flags=re.DOTALL) if '"kind"' in text]


@pytest.mark.parametrize("text", SPECS, ids=lambda text: json.loads(text)["run"])
def test_a_spec_of_the_guide_is_one(text: str) -> None:
    record = json.loads(text)

    assert Spec.from_record(record).run == record["run"]


def test_there_is_a_spec_of_each_kind_of_training() -> None:
    assert {json.loads(text)["kind"] for text in SPECS} >= {
        "sample",
        "sft",
        "reward",
        "dpo",
        "ppo",
        "evaluate",
    }


def test_the_families_that_take_trees_are_those_that_are_tested() -> None:
    (told,) = re.findall(r"by the tests \([^)]*\): (.*?)\. (.*?) do not", GUIDE, flags=re.DOTALL)
    takes, refuses = ({_plain(name) for name in re.split(r",\s+|\s+and\s+", text)} for text in told)

    assert takes == {_plain(name.split(",")[0]) for name in PACKABLE}
    assert refuses == set(NOT_PACKABLE)


def _plain(name: str) -> str:
    """A family's name without its notes, spaces and capitals."""
    return re.sub(r"\(.*?\)|[\s-]", "", name).lower()
