"""Nobody meets the same responses with a known answer and without, or a known answer twice."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from annotation.assigning import next_assignment, return_lease, skip
from annotation.batching import KNOWN, compose_batch
from annotation.gold import compose_known, set_known_answer
from annotation.models import Batch, Project, Response, Source, Task, User
from annotation.refusals import Refusal
from tests.annotation.conftest import Compose, People, answer, answer_rightly, take

pytestmark = pytest.mark.django_db


@pytest.fixture
def copy(project: Project, manager: User) -> Any:
    """Releases a batch of known answers with a copy of a task."""

    def make(task: Task, kind: str = "gold", name: str = "copies") -> Any:
        set_known_answer(task=task, tiers=[[number] for number in sorted(task.replies)], by=manager)
        return compose_known(project=project, name=name, kind=kind, overlap=9, by=manager, tasks=[task])

    return make


def given_to(annotator: User, project: Project) -> list[int]:
    """The tasks that the annotator is handed until there is none."""
    tasks = []
    while (place := next_assignment(annotator=annotator, project=project)) is not None:
        tasks.append(place.task_id)
        answer_rightly(place) if place.task.gold_tiers else answer(place)
    return tasks


@pytest.mark.parametrize("passed_by", [False, True])
def test_who_met_a_gold_task_is_not_given_its_responses_as_an_ordinary_one(
    project: Project, people: People, compose: Compose, copy: Any, always_gold: None, passed_by: bool
) -> None:
    original = compose(1, overlap=2).tasks.get()
    filler = compose(2, overlap=2)
    gold = copy(original).batch
    # As a batch does that was composed at the same moment: its places wait.
    original.assignments.update(state="open")
    (annotator,) = people(1)
    first = take(annotator, project)
    assert first.batch_id == gold.pk
    if passed_by:
        skip(assignment=first, annotator=annotator, lease=first.lease)
    else:
        answer_rightly(first)

    assert given_to(annotator, project) == list(filler.tasks.order_by("pk").values_list("pk", flat=True))


def test_who_passed_the_ordinary_task_by_is_not_measured_by_its_copy(
    project: Project, people: People, compose: Compose, copy: Any, always_gold: None
) -> None:
    original, filler = compose(1).tasks.get(), compose(1)
    (annotator,) = people(1)
    place = take(annotator, project)
    skip(assignment=place, annotator=annotator, lease=place.lease)
    copy(original)
    assert given_to(annotator, project) == [filler.tasks.get().pk]


def test_a_qualification_may_ask_again_what_was_ranked_without_its_answer(
    project: Project, people: People, compose: Compose, copy: Any
) -> None:
    original = compose(1).tasks.get()
    (annotator,) = people(1)
    answer(take(annotator, project))
    exam = copy(original, "qualification").batch
    assert take(annotator, project).batch_id == exam.pk


def test_what_is_copied_awaits_no_more_rankings_and_keeps_those_that_it_has(
    project: Project, people: People, compose: Compose, copy: Any
) -> None:
    batch = compose(2, overlap=3)
    original, other = batch.tasks.order_by("pk")
    ranked, held = people(2)
    answer(take(ranked, project))
    in_work = take(held, project)

    report = copy(original)

    assert report.awaited_no_more == 1
    states = original.assignments.order_by("pk").values_list("state", flat=True)
    assert sorted(states) == ["leased", "skipped", "submitted"]
    assert set(other.assignments.values_list("state", flat=True)) == {"open"}
    assert answer(in_work).task == original
    assert copy(original, name="again").awaited_no_more == 0


def test_a_place_that_is_given_back_of_what_was_copied_is_for_those_who_did_not_meet_the_copy(
    project: Project, people: People, compose: Compose, copy: Any
) -> None:
    project.gold_share = 0
    project.save()
    original = compose(1, overlap=1).tasks.get()
    one, other = people(2)
    held = take(one, project)
    copy(original)
    return_lease(assignment=held, annotator=one, lease=held.lease)
    assert take(other, project).task == original


def test_a_new_batch_leaves_out_what_measures_annotators_and_counts_it(
    project: Project, sources: list[Source], compose: Compose, copy: Any
) -> None:
    batch = compose(3, responses_per_task=4)
    known = batch.tasks.earliest("pk")
    copy(known)
    asked: dict[str, Any] = {
        "project": project,
        "prompts": [task.prompt for task in batch.tasks.all()],
        "sources": sources,
        "responses_per_task": 4,
        "overlap": 1,
    }

    report = compose_batch(name="again", **asked)

    assert (report.tasks, report.left_out) == (2, {KNOWN: 1})
    assert known.prompt not in [task.prompt for task in report.batch.tasks.all()]
    with pytest.raises(Refusal, match="stand in tasks whose answer measures annotators") as refused:
        compose_batch(name="none", **{**asked, "prompts": [known.prompt]})
    assert refused.value.field == "prompts"
    assert not Batch.objects.filter(name="none").exists()


def test_responses_are_the_same_whoever_said_them(
    project: Project, people: People, compose: Compose, copy: Any
) -> None:
    """Another import brought the texts of the known answer anew."""
    known = compose(1, overlap=2).tasks.get()
    exam = copy(known, "qualification").batch
    (annotator,) = people(1)
    answer_rightly(take(annotator, project))
    again = Source.objects.create(project=project, name="again", kind=Source.Kind.IMPORT)
    copies = [
        Response.objects.create(
            prompt=one.prompt, source=again, drawn_by=uuid.uuid4(), index=index, text=one.text
        )
        for index, one in enumerate(known.responses.order_by("pk"))
    ]
    asked: dict[str, Any] = {
        "project": project,
        "prompts": [known.prompt],
        "sources": [again],
        "responses_per_task": 4,
        "overlap": 1,
    }
    with pytest.raises(Refusal, match="answer measures annotators"):
        compose_batch(name="again", **asked)
    Batch.objects.filter(pk=exam.pk).update(kind=Batch.Kind.ANNOTATION)
    fresh = compose_batch(name="again", **asked).batch
    assert set(fresh.tasks.get().responses.all()) == set(copies)
    Batch.objects.filter(pk=exam.pk).update(kind=Batch.Kind.QUALIFICATION)
    assert next_assignment(annotator=annotator, project=project) is None
    (newcomer,) = people(1)
    Batch.objects.filter(pk=exam.pk).update(state="paused")
    assert take(newcomer, project).batch_id == fresh.pk


def test_one_response_in_common_is_no_likeness(
    project: Project, sources: list[Source], compose: Compose, copy: Any
) -> None:
    task = compose(1, responses_per_task=2).tasks.get()
    set_of_two = set(task.responses.values_list("pk", flat=True))
    gold = copy(task).batch
    report = compose_batch(
        project=project,
        name="others",
        prompts=[task.prompt],
        sources=sources[:1],
        responses_per_task=2,
        overlap=1,
    )
    assert len(set_of_two & set(report.batch.tasks.get().responses.values_list("pk", flat=True))) == 1
    assert gold.tasks.get().prompt == task.prompt
