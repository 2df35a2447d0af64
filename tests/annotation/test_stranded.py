"""Who must qualify and cannot: it is known of them, and told to them and to the manager."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from annotation.assigning import next_assignment
from annotation.gold import compose_known, set_known_answer
from annotation.models import Membership, Project, Response, Source, User
from annotation.qualifying import (
    Qualification,
    qualifications_of,
    stranded,
    stranded_sentence,
    why_stranded,
)
from annotation.standing import lift_pause, pause_member, set_limits, set_qualified
from tests.annotation.conftest import Compose, People, answer, answer_rightly, answer_wrongly, take

pytestmark = pytest.mark.django_db


def membership(user: User) -> Membership:
    return Membership.objects.select_related("user", "project").get(user=user)


def qualification(user: User) -> Qualification:
    member = membership(user)
    return qualifications_of(member.project, [member])[user.pk]


def in_english(number: int) -> dict[str, Any]:
    return {"language": "en", "tags": ["law"]}


@pytest.mark.parametrize(
    ("limits", "is_stranded", "why"),
    [
        ({}, False, ""),
        ({"languages": ["en"]}, False, ""),
        ({"languages": ["fr"]}, True, "none that is new to them is in fr"),
        ({"tags": ["tax", "medicine"]}, True, "none that is new to them is tagged tax or medicine"),
        ({"languages": ["fr"], "tags": ["law"]}, True, "none that is new to them is in fr and tagged law"),
    ],
)
def test_a_qualification_of_another_language_or_tag_strands_and_it_is_said_why(
    project: Project,
    people: People,
    compose: Compose,
    compose_gold: Compose,
    limits: dict[str, list[str]],
    is_stranded: bool,
    why: str,
) -> None:
    compose(1)
    compose_gold(2, kind="qualification", of_prompts=in_english)
    (annotator,) = people(1)
    set_limits(project=project, user=annotator, **limits)

    assert (next_assignment(annotator=annotator, project=project) is None) == is_stranded
    assert [one.user for one in stranded(project)] == ([annotator] if is_stranded else [])
    if is_stranded:
        assert qualification(annotator) == Qualification.STRANDED
        assert why_stranded(membership(annotator)) == why
        assert "You must qualify before you rank in Answers" in stranded_sentence(membership(annotator))


def test_each_thing_that_a_manager_is_told_to_do_helps(
    project: Project, people: People, compose: Compose, compose_gold: Compose
) -> None:
    compose(1, overlap=3)
    compose_gold(1, kind="qualification", of_prompts=in_english)
    widened, qualified, given_another = people(3)
    for annotator in (widened, qualified, given_another):
        set_limits(project=project, user=annotator, languages=["fr"])
    assert len(stranded(project)) == 3

    set_limits(project=project, user=widened, languages=[])
    set_qualified(project=project, user=qualified, qualified=True)
    assert [one.user for one in stranded(project)] == [given_another]
    compose_gold(1, kind="qualification", of_prompts=lambda number: {"language": "fr"})

    assert stranded(project) == []
    for annotator in (widened, qualified, given_another):
        assert take(annotator, project).task.prompt.language in ("", "en", "fr")


def test_who_is_at_it_or_was_tested_is_not_stranded(
    project: Project, people: People, compose_gold: Compose
) -> None:
    compose_gold(1, kind="qualification")
    at_it, failed, to_come = people(3)
    take(at_it, project)
    answer_wrongly(take(failed, project))
    assert {qualification(one) for one in (at_it, failed, to_come)} == {Qualification.ASKED}
    assert stranded(project) == []


def test_with_no_qualification_open_and_for_those_who_are_not_measured_there_is_nothing_to_ask(
    project: Project, manager: User, people: People, compose_gold: Compose
) -> None:
    (annotator,) = people(1)
    assert qualification(annotator) == Qualification.NOT_ASKED
    compose_gold(1, kind="qualification", of_prompts=in_english)
    Membership.objects.filter(user=manager).update(languages=["fr"])
    assert qualification(manager) == Qualification.NOT_ASKED


def test_who_wrote_a_response_of_every_task_is_stranded(
    project: Project, people: People, compose_gold: Compose
) -> None:
    exam = compose_gold(1, kind="qualification")
    (writer,) = people(1)
    theirs = Source.objects.create(project=project, name="theirs", kind=Source.Kind.PERSON, person=writer)
    prompt = exam.tasks.get().prompt
    Response.objects.create(prompt=prompt, source=theirs, drawn_by=uuid.uuid4(), text="mine")
    assert stranded(project) == [], "that it answers the same prompt is nothing"
    Source.objects.filter(responses__tasks__batch=exam).update(kind=Source.Kind.PERSON, person=writer)
    assert [one.user for one in stranded(project)] == [writer]


def test_whose_pause_is_lifted_is_not_qualified_by_it_unless_they_were_tested(
    project: Project, people: People, compose: Compose, compose_gold: Compose
) -> None:
    ordinary = compose(1)
    (annotator,) = people(1)
    pause_member(project=project, user=annotator)
    lifted = lift_pause(project=project, user=annotator)
    assert lifted.qualified_at is None and lifted.measured_since is not None
    assert take(annotator, project).batch_id == ordinary.pk, "no qualification asks them"
    answer(take(annotator, project))

    exam = compose_gold(1, kind="qualification")

    assert qualification(annotator) == Qualification.ASKED, "they were never tested"
    answer_rightly(take(annotator, project))
    passed = membership(annotator)
    assert passed.qualified_at is not None and passed.measured_since == passed.qualified_at
    assert exam.assignments.get().annotator == annotator


def test_a_lifted_pause_does_not_qualify_who_is_stranded(
    project: Project, people: People, compose: Compose, compose_gold: Compose
) -> None:
    compose(1)
    compose_gold(1, kind="qualification", of_prompts=in_english)
    (annotator,) = people(1)
    set_limits(project=project, user=annotator, languages=["fr"])
    pause_member(project=project, user=annotator)
    assert stranded(project) == [], "they are paused besides"

    lift_pause(project=project, user=annotator)

    assert membership(annotator).qualified_at is None
    assert [one.user for one in stranded(project)] == [annotator]


def test_a_second_qualification_of_the_tasks_that_they_were_told_of_has_none_for_them(
    project: Project, manager: User, people: People, compose: Compose
) -> None:
    source = compose(2)
    for task in source.tasks.all():
        set_known_answer(task=task, tiers=[[0], [1], [2], [3]], by=manager)
    again: dict[str, Any] = {"project": project, "kind": "qualification", "by": manager}
    first = compose_known(name="first", tasks=source.tasks.all(), **again).batch
    (annotator,) = people(1)
    for _ in range(2):
        answer_wrongly(take(annotator, project))
    compose_known(name="second", tasks=source.tasks.all(), **again)

    lifted = lift_pause(project=project, user=annotator)

    assert lifted.qualified_at is not None, "nothing new is left to test them by"
    assert set(annotator.rankings.values_list("task__batch", flat=True)) == {first.pk}
