"""What an annotator says besides the ranking is kept as given, or refused in a sentence that changes nothing."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from annotation.models import Assignment, Demonstration, Flag, Project, Ranking
from annotation.projects import update_project
from annotation.refusals import Refusal
from annotation.submitting import amend, submit
from tests.annotation.conftest import ORDER, Compose, People, take

pytestmark = pytest.mark.django_db


@pytest.fixture
def place(project: Project, people: People, compose: Compose) -> Assignment:
    """A place of a task with four responses, leased, in a project that asks for strengths."""
    update_project(project=project, ask_strength=True)
    compose(1, overlap=2)
    return take(people(1)[0], project)


def send(place: Assignment, **said: Any) -> Ranking:
    given = {
        "annotator": place.annotator,
        "assignment_id": place.pk,
        "lease": place.lease,
        "key": uuid.uuid4(),
        "tiers": ORDER,
    }
    return submit(**{**given, **said})


def text_of(place: Assignment, number: int) -> str:
    return place.task.task_responses.get(position=number).response.text


def flags_of(ranking: Ranking) -> set[tuple[int, str, str]]:
    return set(Flag.objects.filter(ranking=ranking).values_list("position", "kind", "note"))


def test_flags_are_kept_with_their_notes(place: Assignment) -> None:
    ranking = send(
        place,
        flags=[
            {"number": 2, "kind": "unsafe"},
            {"number": 2, "kind": "other", "note": " It flatters. "},
            {"number": 0, "kind": "wrong_language", "note": ""},
        ],
    )
    assert flags_of(ranking) == {
        (2, "unsafe", ""),
        (2, "other", "It flatters."),
        (0, "wrong_language", ""),
    }


def test_better_responses_are_kept_to_the_character(place: Assignment) -> None:
    ranking = send(
        place,
        demonstrations=[
            {"number": 1, "text": "Seven minutes.\n\n\n* Not  more. \n"},
            {"number": None, "text": "Seven."},
        ],
    )
    kept = dict(Demonstration.objects.filter(ranking=ranking).values_list("position", "text"))
    assert kept == {1: "Seven minutes.\n\n\n* Not  more. \n", None: "Seven."}


@pytest.mark.parametrize(
    ("given", "kept"),
    [([1, 2, 4], [1, 2, 4]), ([None, 3, None], [None, 3, None]), ([None] * 3, None), (None, None)],
)
def test_strengths_are_kept_where_they_were_said(place: Assignment, given: Any, kept: Any) -> None:
    ranking = send(place, strengths=given)
    ranking.refresh_from_db()
    assert ranking.strengths == kept


def test_a_single_tier_has_no_strength_to_tell(place: Assignment) -> None:
    assert send(place, tiers=[[0, 1, 2, 3]], strengths=[]).strengths is None


def test_a_revision_is_a_whole_answer_and_the_earlier_one_keeps_what_it_said(place: Assignment) -> None:
    first = send(
        place,
        strengths=[4, 4, 4],
        flags=[{"number": 0, "kind": "unsafe"}],
        demonstrations=[{"number": None, "text": "Seven."}],
    )
    second = amend(
        annotator=place.annotator,
        assignment_id=place.pk,
        key=uuid.uuid4(),
        tiers=[[0], [1, 2, 3]],
        strengths=[2],
        flags=[{"number": 1, "kind": "truncated"}],
    )
    assert (second.strengths, flags_of(second), second.demonstrations.count()) == (
        [2],
        {(1, "truncated", "")},
        0,
    )
    first.refresh_from_db()
    assert (first.strengths, flags_of(first), first.demonstrations.get().text) == (
        [4, 4, 4],
        {(0, "unsafe", "")},
        "Seven.",
    )


def test_the_same_key_again_keeps_what_was_said_once(place: Assignment) -> None:
    key = uuid.uuid4()
    said = {
        "flags": [{"number": 0, "kind": "unsafe"}],
        "demonstrations": [{"number": None, "text": "Seven."}],
    }
    assert send(place, key=key, **said) == send(place, key=key, **said)
    assert (Flag.objects.count(), Demonstration.objects.count()) == (1, 1)


WRONG = [
    ("flags", "unsafe", "must be a list of objects"),
    ("flags", ["unsafe"], "Entry 1 of the flags must be an object of kind, note, number"),
    ("flags", [{"number": 0, "kind": "unsafe", "why": ""}], "Entry 1 of the flags"),
    ("flags", [{"kind": "unsafe"}], "Flag 1 is of response None; the task's response numbers are 0, 1, 2, 3"),
    ("flags", [{"number": 4, "kind": "unsafe"}], "Flag 1 is of response 4"),
    ("flags", [{"number": True, "kind": "unsafe"}], "Flag 1 is of response True"),
    ("flags", [{"number": 0, "kind": "rude"}], "must be one of unsafe, hallucinated, .*, not 'rude'"),
    ("flags", [{"number": 0, "kind": ["unsafe"]}], r"not \['unsafe'\]"),
    ("flags", [{"number": 0, "kind": "other"}], "flagged as other without a note"),
    ("flags", [{"number": 0, "kind": "other", "note": " \n"}], "flagged as other without a note"),
    ("flags", [{"number": 0, "kind": "other", "note": 7}], "the note must be text, not 7"),
    ("flags", [{"number": 0, "kind": "unsafe", "note": "x" * 1001}], "has 1,001 characters; 1,000 are"),
    ("flags", [{"number": 0, "kind": "unsafe", "note": "a\x00b"}], "Take it out"),
    ("flags", [{"number": 0, "kind": "unsafe"}] * 2, r"Response 0 \(A\) is flagged as unsafe twice"),
    ("demonstrations", {"number": 0, "text": "a"}, "must be a list of objects"),
    ("demonstrations", [{"number": 0, "texts": "a"}], "Entry 1 of the demonstrations must be an object"),
    ("demonstrations", [{"number": 9, "text": "a"}], "Demonstration 1 edits response 9; .* Null: it was"),
    ("demonstrations", [{"number": False, "text": "a"}], "Demonstration 1 edits response False"),
    ("demonstrations", [{"number": 0}], r"The edited response 0 \(A\) must be text, not None"),
    ("demonstrations", [{"number": None, "text": " \n\t"}], "The response written anew is empty"),
    ("demonstrations", [{"number": 0, "text": "x" * 200_001}], "has 200,001 characters; 200,000 are allowed"),
    ("demonstrations", [{"number": 0, "text": "a\x00b"}], "Take it out"),
    ("demonstrations", [{"number": 0, "text": "\ud800"}], "Take it out"),
    ("demonstrations", [{"number": 0, "text": "a"}, {"number": 0, "text": "b"}], "is given twice"),
    ("demonstrations", [{"number": None, "text": "a"}, {"text": "b"}], "anew is given twice"),
    ("strengths", "much", "must be a list"),
    ("strengths", 3, "must be a list"),
    ("strengths", [1, 2], "one entry fewer than there are tiers: 3, not 2"),
    ("strengths", [1, 2, 3, 4], "3, not 4"),
    ("strengths", [1, 0, 2], r"Strength 2, of tier 2 over tier 3, must be one of 1 \(negligibly better\)"),
    ("strengths", [1, 2, 5], "not 5"),
    ("strengths", [1, 2, True], "not True"),
    ("strengths", [1.0, 2, 3], "not 1.0"),
    ("strengths", ["1", 2, 3], "not '1'"),
]


@pytest.mark.parametrize(("field", "given", "sentence"), WRONG)
def test_what_cannot_be_taken_is_named_and_nothing_is_kept(
    place: Assignment, field: str, given: Any, sentence: str
) -> None:
    with pytest.raises(Refusal, match=sentence) as refused:
        send(place, **{field: given})
    assert refused.value.field == field
    assert Assignment.objects.get(pk=place.pk).lease == place.lease
    assert not Ranking.objects.exists() and not Flag.objects.exists() and not Demonstration.objects.exists()


@pytest.mark.parametrize("around", ["{}", "{}\n", " {}", "{}\r\n"])
def test_an_edit_that_changes_nothing_but_space_around_is_none(place: Assignment, around: str) -> None:
    same = around.format(text_of(place, 3))
    with pytest.raises(Refusal, match=r"The edited response 3 \(D\) is the same as before") as refused:
        send(place, demonstrations=[{"number": 3, "text": same}])
    assert refused.value.field == "demonstrations"
    assert send(place, demonstrations=[{"number": 2, "text": same}]).demonstrations.count() == 1


def test_strengths_are_refused_where_the_project_does_not_ask(place: Assignment) -> None:
    update_project(project=place.batch.project, ask_strength=False)
    with pytest.raises(Refusal, match="does not ask how much better") as refused:
        send(place, strengths=[1, 2, 3])
    assert refused.value.field == "strengths"
    assert send(place, strengths=None).strengths is None


def test_all_five_flags_and_all_texts_of_a_task_fit_one_answer(place: Assignment) -> None:
    ranking = send(
        place,
        flags=[
            {"number": number, "kind": kind, "note": "n" * 1000}
            for number in range(4)
            for kind in Flag.Kind.values
        ],
        demonstrations=[{"number": number, "text": "x" * 200_000} for number in (0, 1, 2, 3, None)],
    )
    assert (ranking.flags.count(), ranking.demonstrations.count()) == (20, 5)
