"""Rubrics to begin with add what a project lacks, and leave what it has alone."""

from __future__ import annotations

import pytest

from annotation.models import Aspect, AspectRating, Project, User
from annotation.projects import create_project, set_aspects
from annotation.refusals import Refusal
from annotation.rubrics import MOST_ASPECTS, RUBRICS, add_rubric
from tests.annotation.conftest import Compose, People, answer, take

pytestmark = pytest.mark.django_db


def names(project: Project) -> list[str]:
    return list(project.aspects.values_list("name", flat=True))


@pytest.mark.parametrize("rubric", RUBRICS)
def test_each_rubric_is_one_that_set_aspects_would_take(project: Project, rubric: str) -> None:
    added = add_rubric(project=project, rubric=rubric)
    assert [(a.name, a.question, a.steps) for a in added] == list(RUBRICS[rubric].aspects)
    for aspect in added:
        aspect.full_clean()
    assert names(project) == [name for name, _, _ in RUBRICS[rubric].aspects]


def test_a_rubric_adds_what_is_missing_below_what_is_there(project: Project) -> None:
    own = {"name": "safety", "question": "Would I give it to my child?", "steps": 3}
    set_aspects(project=project, aspects=[{"name": "charm", "question": "Is it charming?"}, own])

    added = add_rubric(project=project, rubric="answer_engine")

    assert [aspect.name for aspect in added] == ["relevance", "citations", "formatting", "accuracy"]
    assert names(project) == ["charm", "safety", "relevance", "citations", "formatting", "accuracy"]
    assert project.aspects.filter(**own).exists()
    assert add_rubric(project=project, rubric="answer_engine") == []


def test_an_aspect_that_has_ratings_stays_as_it_is(
    project: Project, people: People, compose: Compose
) -> None:
    set_aspects(project=project, aspects=[{"name": "accuracy", "question": "True?", "steps": 2}])
    compose(1)
    ranking = answer(take(people(1)[0], project))
    rated = AspectRating.objects.create(ranking=ranking, aspect=Aspect.objects.get(), position=0, rating=2)

    add_rubric(project=project, rubric="answer_engine")

    rated.refresh_from_db()
    assert (rated.rating, rated.aspect.question, rated.aspect.steps) == (2, "True?", 2)


def test_a_project_can_begin_with_a_rubric(manager: User) -> None:
    project = create_project(name="Engine", rubric="general_assistant", created_by=manager)
    assert names(project) == ["helpful", "honest", "harmless"]


def test_no_such_rubric_is_refused_and_makes_nothing(manager: User) -> None:
    with pytest.raises(Refusal, match="one of general_assistant, answer_engine, not 'search'") as refused:
        create_project(name="Engine", rubric="search", created_by=manager)
    assert refused.value.field == "rubric"
    assert not Project.objects.filter(name="Engine").exists()


def test_a_rubric_that_would_be_too_much_adds_nothing(project: Project) -> None:
    many = [{"name": f"aspect-{n}", "question": "?"} for n in range(MOST_ASPECTS - 2)]
    set_aspects(project=project, aspects=many)
    with pytest.raises(Refusal, match="more than 50 aspects"):
        add_rubric(project=project, rubric="general_assistant")
    assert project.aspects.count() == MOST_ASPECTS - 2
