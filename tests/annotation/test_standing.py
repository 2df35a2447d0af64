"""What a member may be given: languages, tags, the most of a batch, and pauses by hand."""

from __future__ import annotations

import pytest

from annotation.assigning import next_assignment
from annotation.models import Assignment, Membership, Project, User
from annotation.projects import create_user
from annotation.refusals import Refusal
from annotation.standing import change_member, lift_pause, pause_member, set_limits
from tests.annotation.conftest import Compose, People, answer, take

pytestmark = pytest.mark.django_db

PROMPTS = [
    {"language": "en"},
    {"language": "fr", "tags": ["law"]},
    {"language": "en-GB", "tags": ["law", "tax"]},
    {"tags": ["medicine"]},
    {},
]


def numbers_given(annotator: User, project: Project) -> list[int]:
    """Which of the prompts, by the number in their text, the annotator is handed."""
    numbers = []
    while (place := next_assignment(annotator=annotator, project=project)) is not None:
        numbers.append(int(place.task.prompt.messages[-1]["content"].split()[-1].rstrip("?")))
        answer(place)
    return numbers


@pytest.mark.parametrize(
    ("limits", "given"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"languages": ["en"]}, [0, 2, 3, 4]),
        ({"languages": ["EN-gb"]}, [2, 3, 4]),
        ({"languages": ["fr", "de"]}, [1, 3, 4]),
        ({"tags": ["law"]}, [0, 1, 2, 4]),
        ({"tags": ["tax", "medicine"]}, [0, 2, 3, 4]),
        ({"languages": ["fr"], "tags": ["medicine"]}, [3, 4]),
    ],
)
def test_languages_and_tags_limit_which_prompts_are_given(
    project: Project, people: People, compose: Compose, limits: dict[str, list[str]], given: list[int]
) -> None:
    compose(len(PROMPTS), of_prompts=lambda number: PROMPTS[number])
    (annotator,) = people(1)
    set_limits(project=project, user=annotator, **limits)
    assert numbers_given(annotator, project) == given


def test_what_an_annotator_may_not_be_given_stays_for_others(
    project: Project, people: People, compose: Compose
) -> None:
    compose(4, of_prompts=lambda number: {"language": ("en", "fr")[number % 2]})
    french, anybody = people(2)
    set_limits(project=project, user=french, languages=["fr"])
    assert numbers_given(french, project) == [1, 3]
    assert numbers_given(anybody, project) == [0, 2]


def test_a_limit_that_is_lifted_opens_the_tasks_passed_over(
    project: Project, people: People, compose: Compose
) -> None:
    compose(4, of_prompts=lambda number: {"language": ("en", "fr")[number % 2]})
    (annotator,) = people(1)
    set_limits(project=project, user=annotator, languages=["fr"])
    numbers_given(annotator, project)
    set_limits(project=project, user=annotator, languages=[])
    assert numbers_given(annotator, project) == [0, 2]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"languages": ["en", ""]}, "1 to 100 characters, not 0"),
        ({"tags": ["x" * 101]}, "not 101"),
        ({"tags": [str(n) for n in range(51)]}, "There are 51 tags; 50 are allowed"),
        ({"languages": "en"}, "must be a list"),
        ({"tags": ["\x00"]}, "NUL"),
    ],
)
def test_limits_that_are_none_are_refused_and_change_nothing(
    project: Project, people: People, wrong: dict[str, list[str]], sentence: str
) -> None:
    (annotator,) = people(1)
    set_limits(project=project, user=annotator, languages=["en"], tags=["law"])
    with pytest.raises(Refusal, match=sentence):
        set_limits(project=project, user=annotator, **wrong)
    kept = Membership.objects.get(user=annotator)
    assert (kept.languages, kept.tags) == (["en"], ["law"])


def test_nobody_is_given_more_of_a_batch_than_its_most(
    project: Project, people: People, compose: Compose
) -> None:
    limited = compose(5, max_per_annotator=2, overlap=2)
    other = compose(1, overlap=2)
    one, two = people(2)
    for annotator in (one, two):
        batches = []
        while (place := next_assignment(annotator=annotator, project=project)) is not None:
            batches.append(place.batch_id)
            answer(place)
        assert batches == [limited.pk, limited.pk, other.pk]


def test_a_paused_member_gets_nothing_and_what_they_hold_is_open_for_others(
    project: Project, people: People, compose: Compose
) -> None:
    compose(1)
    resting, other = people(2)
    held = take(resting, project)

    pause_member(project=project, user=resting, reason="On holiday until May.")

    with pytest.raises(Refusal, match=r"paused in Answers.*On holiday until May\.") as refused:
        next_assignment(annotator=resting, project=project)
    assert refused.value.code == "forbidden"
    assert take(other, project).pk == held.pk
    with pytest.raises(Refusal) as late:
        answer(held)
    assert late.value.code == "lease_lost"


def test_a_lifted_pause_lets_them_go_on(project: Project, people: People, compose: Compose) -> None:
    compose(1)
    (annotator,) = people(1)
    pause_member(project=project, user=annotator)
    lifted = lift_pause(project=project, user=annotator)
    assert (lifted.paused_at, lifted.pause_reason) == (None, "")
    take(annotator, project)


def test_pausing_again_keeps_since_when_and_takes_the_new_reason(project: Project, people: People) -> None:
    (annotator,) = people(1)
    first = pause_member(project=project, user=annotator, reason="One.")
    again = pause_member(project=project, user=annotator, reason="Two.")
    assert (again.paused_at, again.pause_reason) == (first.paused_at, "Two.")
    with pytest.raises(Refusal, match="301 characters; 300"):
        pause_member(project=project, user=annotator, reason="x" * 301)


def test_only_members_have_a_standing(project: Project) -> None:
    stranger = create_user(username="stranger")
    for act in (pause_member, lift_pause, set_limits):
        with pytest.raises(Refusal, match="no member of Answers"):
            act(project=project, user=stranger)


def test_of_several_changes_all_are_made_or_none(project: Project, people: People) -> None:
    (annotator,) = people(1)
    changed = change_member(
        project=project, user=annotator, role="reviewer", languages=["en"], paused=True, pause_reason="Away."
    )
    assert (changed.role, changed.languages, changed.pause_reason) == ("reviewer", ["en"], "Away.")
    with pytest.raises(Refusal, match="A reason goes with a pause"):
        change_member(project=project, user=annotator, role="annotator", pause_reason="Why?")
    with pytest.raises(Refusal, match="1 to 100"):
        change_member(project=project, user=annotator, role="annotator", tags=[""])
    assert Membership.objects.get(user=annotator).role == "reviewer"


def test_a_pause_takes_the_place_ahead_too_and_late_work_is_told_why_it_is_not_taken(
    project: Project, people: People, compose: Compose
) -> None:
    compose(3)
    (annotator,) = people(1)
    in_work = take(annotator, project)
    ahead = take(annotator, project, besides=[in_work.public_id])

    pause_member(project=project, user=annotator)

    assert not Assignment.objects.filter(annotator=annotator).exists()
    for place in (in_work, ahead):
        with pytest.raises(Refusal, match="You are paused in this project") as refused:
            answer(place)
        assert refused.value.code == "lease_lost"
    with pytest.raises(Refusal, match="no tasks are handed to you"):
        next_assignment(annotator=annotator, project=project, besides=[in_work.public_id, ahead.public_id])
