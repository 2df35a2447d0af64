"""What a judge is asked is blind, and what it answers is read strictly."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignment.judges.asking import LABELS, NoRanking, default_instructions, question, read_answer
from annotation.models import Batch, Project
from annotation.projects import set_aspects
from tests.alignment.consensus.strategies import tiers_of_some

SHOWN = [2, 0, 3, 1]


@pytest.mark.parametrize(
    ("text", "tiers"),
    [
        ("RANKING: B > A = C > D", [[0], [2, 3], [1]]),
        ("B is best, D is bad.\n\nRanking: B>A=C>D", [[0], [2, 3], [1]]),
        ("RANKING: A > B > C > D\nOn second thought:\n**RANKING: D > C > B > A**", [[1], [3], [0], [2]]),
        ("b > a = c > d", [[0], [2, 3], [1]]),
        ("`RANKING: A = B = C = D`.", [[0, 1, 2, 3]]),
    ],
)
def test_the_last_ranking_of_an_answer_is_read(text: str, tiers: list[list[int]]) -> None:
    assert read_answer(text, SHOWN, ties=True) == tiers


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "No line of the answer has the form of a ranking"),
        ("I cannot judge these.", "No line of the answer has the form of a ranking"),
        ("RANKING: A > B > C", "The ranking lacks D"),
        ("RANKING: A > B > C > D > A", "holds A more than once"),
        ("RANKING: A > B > C > X", "names X, which no response goes by"),
        ("RANKING: A > B, C, D", "No line of the answer has the form of a ranking"),
    ],
)
def test_an_answer_that_is_no_ranking_says_why(text: str, sentence: str) -> None:
    with pytest.raises(NoRanking, match=sentence):
        read_answer(text, SHOWN, ties=True)


def test_a_tie_is_no_answer_where_the_project_has_none() -> None:
    with pytest.raises(NoRanking, match="a tie, which the project does not allow"):
        read_answer("RANKING: A = B > C > D", SHOWN, ties=False)


@given(tiers_of_some(9), st.randoms(use_true_random=False))
def test_every_ranking_that_is_written_is_read_as_it_is(tiers: list[list[int]], dice: object) -> None:
    numbers = sorted(number for tier in tiers for number in tier)
    letter = dict(zip(numbers, LABELS, strict=False))
    line = " > ".join(" = ".join(letter[number] for number in tier) for tier in tiers)
    assert read_answer(f"RANKING: {line}", numbers, ties=True) == [sorted(tier) for tier in tiers]


@given(st.text(max_size=200))
def test_no_text_breaks_the_reader(text: str) -> None:
    try:
        tiers = read_answer(text, [0, 1], ties=True)
    except NoRanking as wrong:
        assert str(wrong).endswith(".")
    else:
        assert sorted(number for tier in tiers for number in tier) == [0, 1]


def test_a_question_has_the_task_and_nothing_of_sources(compose: Callable[..., Batch]) -> None:
    task = compose(1).tasks.select_related("prompt").get()
    (message,) = question(task, [3, 1, 0, 2], ties=True)
    text = message["content"]
    assert task.prompt.messages[0]["content"] in text and "zebrafinch" not in text
    places = [text.index(task.replies[number][0]) for number in (3, 1, 0, 2)]
    assert places == sorted(places)
    assert ", = between two" in text
    assert ", = between two" not in question(task, [3, 1, 0, 2], ties=False)[0]["content"]


def test_a_judge_is_told_what_annotators_read(project: Project) -> None:
    project.guidelines = "Prefer **kind** answers."
    set_aspects(project=project, aspects=[{"name": "warmth", "question": "Is it warm?", "steps": 5}])
    told = default_instructions(project)
    assert "Prefer **kind** answers." in told and "- warmth: Is it warm?" in told
