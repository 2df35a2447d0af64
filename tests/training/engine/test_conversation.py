"""What a model is shown, and what oracles say of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from training.engine.conversation import render
from training.engine.oracles import load_oracle
from training.engine.prompts import read_prompts
from training.engine.refusal import Refused

QUESTION = [{"role": "user", "content": "When?"}]
PASSAGES = [
    {"id": "1", "title": "Timetable", "text": "At nine.", "url": "https://example.org/t"},
    {"id": "2", "title": "", "text": "At ten.", "url": ""},
]


def test_a_bare_prompt_is_shown_as_it_is() -> None:
    assert render(QUESTION) == QUESTION


def test_passages_stand_before_the_question_by_number_unless_they_are_withheld() -> None:
    [message] = render(QUESTION, context=PASSAGES)

    assert "[1] Timetable (https://example.org/t)\nAt nine." in message["content"]
    assert "[2]\nAt ten." in message["content"]
    assert message["content"].endswith("When?")
    assert render(QUESTION, context=PASSAGES, give_context=False) == QUESTION


def test_a_prompts_own_system_message_follows_the_sources_one() -> None:
    prompt = [{"role": "system", "content": "Be kind."}, *QUESTION]

    assert render(prompt, system_prompt="Be brief.") == [
        {"role": "system", "content": "Be brief.\n\nBe kind."},
        *QUESTION,
    ]
    assert render(prompt) == prompt


def test_worked_examples_are_earlier_turns() -> None:
    example = {
        "prompt": [{"role": "system", "content": "left out"}, {"role": "user", "content": "Who?"}],
        "response": "Me.",
        "context": PASSAGES,
    }

    shown = render(QUESTION, system_prompt="S", few_shot=[example])

    assert [m["role"] for m in shown] == ["system", "user", "assistant", "user"]
    assert shown[1]["content"].endswith("Who?") and "At nine." in shown[1]["content"]
    assert shown[2]["content"] == "Me."


def test_rendering_changes_nothing_it_was_given() -> None:
    before = json.dumps([QUESTION, PASSAGES])

    render(QUESTION, context=PASSAGES, system_prompt="S")

    assert json.dumps([QUESTION, PASSAGES]) == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no prompts"),
        ("{", "line 1 is not JSON"),
        ('{"prompt": []}', "line 1 must be an object with an `id`"),
        ('{"id": "1", "prompt": "x"}', "line 1: `prompt`"),
        ('{"id": "1", "prompt": [{"role": "user"}]}', "`prompt[0]`"),
        (
            '{"id": "1", "prompt": [{"role": "user", "content": "x"}]}\n' * 2,
            "line 2: the id '1' stands twice",
        ),
    ],
)
def test_a_bad_file_of_prompts_is_refused_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "prompts.jsonl").write_text(text)

    with pytest.raises(Refused) as refusal:
        read_prompts(tmp_path / "prompts.jsonl")

    assert words in str(refusal.value)


def test_a_line_separator_within_a_prompt_does_not_end_its_line(tmp_path: Path) -> None:
    record = {"id": "1", "prompt": [{"role": "user", "content": "one\u2028two\x85three"}]}
    (tmp_path / "prompts.jsonl").write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")

    assert read_prompts(tmp_path / "prompts.jsonl")[0].messages == record["prompt"]


def test_vader_prefers_kind_words() -> None:
    oracle = load_oracle("training.engine.oracles:vader")

    assert (
        oracle(QUESTION, "What a wonderful, lovely day!")
        > 0.5
        > -0.5
        > oracle(QUESTION, "Horrible, I hate it.")
    )
    assert oracle(QUESTION, "") == 0.0
