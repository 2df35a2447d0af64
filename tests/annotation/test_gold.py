"""Known answers: marking them, and batches of tasks that have one."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from annotation.assigning import next_assignment
from annotation.batching import compose_batch
from annotation.gold import KnownAnswer, compose_known, set_known_answer, tasks_with_known_answers
from annotation.models import MAX_OVERLAP, Batch, Project, Response, Review, Source, Task, User
from annotation.projects import add_member, create_project, create_user
from annotation.refusals import Refusal
from tests.annotation.conftest import Compose, People, answer, take

pytestmark = pytest.mark.django_db


def texts_by_tier(task: Task) -> list[list[str]]:
    texts = dict(task.task_responses.values_list("position", "response__text"))
    assert task.gold_tiers is not None
    return [sorted(texts[number] for number in tier) for tier in task.gold_tiers]


def test_a_reviewer_says_a_tasks_right_order_and_it_is_kept_who_said_so(
    project: Project, compose: Compose
) -> None:
    reviewer = create_user(username="reviewer")
    add_member(project=project, user=reviewer, role="reviewer")
    task = compose(1).tasks.get()

    set_known_answer(task=task, tiers=[[0], [1, 2, 3]], by=reviewer, note="The first is right.")
    set_known_answer(task=task, tiers=[[1], [0, 2, 3]], by=reviewer)

    task.refresh_from_db()
    assert task.gold_tiers == [[1], [0, 2, 3]]
    reviews = Review.objects.filter(task=task).values_list("verdict", "reviewer", "tiers", "note")
    assert list(reviews) == [
        ("adjudicated", reviewer.pk, [[0], [1, 2, 3]], "The first is right."),
        ("adjudicated", reviewer.pk, [[1], [0, 2, 3]], ""),
    ]


@pytest.mark.parametrize(
    ("tiers", "field"), [([[0], [7]], "tiers"), ([[0]], "tiers"), ([[0], [0]], "tiers"), ("01", "tiers")]
)
def test_what_is_no_order_of_the_responses_is_no_known_answer(
    project: Project, manager: User, compose: Compose, tiers: Any, field: str
) -> None:
    task = compose(1).tasks.get()
    with pytest.raises(Refusal) as refused:
        set_known_answer(task=task, tiers=tiers, by=manager)
    assert refused.value.field == field
    task.refresh_from_db()
    assert task.gold_tiers is None and not task.reviews.exists()


def test_annotators_say_no_known_answers(project: Project, people: People, compose: Compose) -> None:
    with pytest.raises(Refusal, match="role of reviewer"):
        set_known_answer(task=compose(1).tasks.get(), tiers=[[0], [1]], by=people(1)[0])


def test_nobody_says_the_right_order_of_what_they_ranked_or_wrote(
    project: Project, people: People, compose: Compose
) -> None:
    ranked, wrote = people(2)
    task = compose(1, overlap=2).tasks.get()
    held = take(ranked, project)
    for reviewer in (ranked, wrote):
        add_member(project=project, user=reviewer, role="reviewer")
    answer(held)
    Source.objects.filter(responses__tasks=task).update(kind=Source.Kind.PERSON, person=wrote)
    for reviewer in (ranked, wrote):
        with pytest.raises(Refusal, match="somebody else says what its right order is") as refused:
            set_known_answer(task=task, tiers=[[0], [1], [2], [3]], by=reviewer)
        assert refused.value.code == "forbidden"
    task.refresh_from_db()
    assert task.gold_tiers is None and not task.reviews.exists()


def test_nobody_ranks_what_they_said_the_right_order_of(
    project: Project, manager: User, people: People, compose: Compose
) -> None:
    first, second = compose(2).tasks.order_by("pk")
    set_known_answer(task=first, tiers=[[0], [1], [2], [3]], by=manager)
    assert take(manager, project).task == second
    assert take(people(1)[0], project).task == first


def test_a_gold_batch_has_a_number_of_annotators_and_a_qualification_a_place_for_everybody(
    project: Project, manager: User, compose: Compose
) -> None:
    task = compose(1).tasks.get()
    set_known_answer(task=task, tiers=[[0], [1], [2], [3]], by=manager)
    common: dict[str, Any] = {"project": project, "by": manager, "tasks": [task]}
    with pytest.raises(Refusal, match="how many annotators") as refused:
        compose_known(name="gold", kind="gold", **common)
    assert refused.value.field == "overlap"
    for name, given in (("a", {}), ("b", {"overlap": 3})):
        batch = compose_known(name=name, kind="qualification", **common, **given).batch
        assert (batch.overlap, batch.assignments.count()) == (MAX_OVERLAP, 0)


def test_a_gold_batch_copies_adjudicated_tasks_with_their_answers_and_leaves_them_as_they_are(
    project: Project, manager: User, people: People, compose: Compose
) -> None:
    ordinary = compose(3, responses_per_task=3)
    for place in [take(annotator, project) for annotator in people(1)]:
        answer(place, [[0], [1], [2]])
    for task in ordinary.tasks.all():
        set_known_answer(task=task, tiers=[[2], [0, 1]], by=manager, note=f"About {task.pk}.")

    report = compose_known(
        project=project,
        name="gold",
        kind="gold",
        overlap=500,
        by=manager,
        tasks=tasks_with_known_answers(project),
    )

    copies = list(report.batch.tasks.order_by("pk"))
    originals = list(ordinary.tasks.order_by("pk"))
    assert [copy.prompt_id for copy in copies] == [task.prompt_id for task in originals]
    for copy, original in zip(copies, originals, strict=True):
        original.refresh_from_db()
        assert texts_by_tier(copy) == texts_by_tier(original)
        assert copy.reviews.get().note == f"About {original.pk}."
        assert copy.assignments.count() == 500
    assert ordinary.tasks.get(pk=originals[0].pk).rankings.count() == 1
    assert set(tasks_with_known_answers(project)) == set(originals), "copies are no material for copies"


def test_numbers_in_a_copy_are_dealt_anew(project: Project, manager: User, compose: Compose) -> None:
    task = compose(1, responses_per_task=4).tasks.get()
    set_known_answer(task=task, tiers=[[0], [1], [2], [3]], by=manager)
    orders = set()
    for number in range(20):
        batch = compose_known(
            project=project, name=f"g{number}", kind="gold", overlap=1, by=manager, tasks=[task]
        ).batch
        orders.add(str(batch.tasks.get().gold_tiers))
    assert len(orders) > 3


def test_given_answers_become_tasks(compose_gold: Compose) -> None:
    batch = compose_gold(2, kind="qualification", note="See the guidelines.")
    assert [texts_by_tier(task) for task in batch.tasks.all()] == [[["right"], ["half right"], ["wrong"]]] * 2
    assert {task.reviews.get().note for task in batch.tasks.all()} == {"See the guidelines."}


def test_what_makes_no_gold_batch_is_refused_and_changes_nothing(
    manager: User, project: Project, sources: list[Source], compose: Compose
) -> None:
    known, unknown = compose(2).tasks.order_by("pk")
    set_known_answer(task=known, tiers=[[0], [1], [2], [3]], by=manager)
    elsewhere = create_project(name="Elsewhere", created_by=manager)
    prompt = known.prompt
    responses = list(prompt.responses.order_by("pk"))[:2]
    foreign = list(unknown.prompt.responses.all())[:1]
    good: dict[str, Any] = {"project": project, "name": "gold", "kind": "gold", "overlap": 10, "by": manager}

    def given(**changes: Any) -> list[KnownAnswer]:
        return [KnownAnswer(**{"prompt": prompt, "responses": responses, "tiers": [[0], [1]], **changes})]

    for wrong, sentence in (
        ({}, "1 to 1000 of them, not 0"),
        ({"tasks": [unknown]}, "has no known answer"),
        ({"tasks": [known], "project": elsewhere}, "another project"),
        ({"tasks": [known], "kind": "annotation"}, "qualification and gold"),
        ({"tasks": [known], "overlap": 1001}, "Overlap"),
        ({"answers": given(tiers=[[0], [2]])}, "Answer 1"),
        ({"answers": given(responses=responses[:1])}, "2 to 9 responses, not 1"),
        ({"answers": given(responses=[responses[0], *foreign])}, "answers another prompt"),
        ({"answers": given(responses=[responses[0]] * 2)}, "stands twice"),
    ):
        with pytest.raises(Refusal, match=sentence):
            compose_known(**{**good, **wrong})
    assert project.batches.count() == 1


def test_an_ordinary_batch_has_no_known_kind_and_at_most_100_annotators_a_task(
    project: Project, sources: list[Source], compose: Compose
) -> None:
    prompts = [task.prompt for task in compose(1).tasks.all()]
    good: dict[str, Any] = {
        "project": project,
        "name": "b",
        "prompts": prompts,
        "sources": sources,
        "responses_per_task": 2,
        "overlap": 1,
    }
    for kind in ("gold", "qualification"):
        with pytest.raises(Refusal, match="known answers") as refused:
            compose_batch(**good, kind=kind)
        assert refused.value.field == "kind"
    with pytest.raises(Refusal, match="At most 100") as refused:
        compose_batch(**{**good, "overlap": 101})
    assert refused.value.field == "overlap"


def test_a_gold_batch_alone_hands_out_nothing(
    project: Project, people: People, compose_gold: Compose
) -> None:
    """A task that comes when nothing else does would be told by that."""
    compose_gold(5)
    project.gold_share = 0.5
    project.save()
    for annotator in people(8):
        assert next_assignment(annotator=annotator, project=project) is None


def test_nobody_gets_a_gold_task_whose_prompt_they_have_had(
    project: Project, manager: User, people: People, compose: Compose, always_gold: None
) -> None:
    ordinary = compose(1, overlap=5)
    (annotator,) = people(1)
    answer(take(annotator, project))
    task = ordinary.tasks.get()
    set_known_answer(task=task, tiers=[[0], [1], [2], [3]], by=manager)
    compose_known(project=project, name="gold", kind="gold", overlap=9, by=manager, tasks=[task])
    compose(1)

    kinds = []
    while (place := next_assignment(annotator=annotator, project=project)) is not None:
        kinds.append(Batch.objects.get(pk=place.batch_id).kind)
        answer(place)

    assert kinds == ["annotation"]


def test_who_wrote_a_response_is_not_measured_by_it(
    project: Project,
    manager: User,
    people: People,
    compose: Compose,
    always_gold: None,
) -> None:
    writer, other = people(2)
    theirs = Source.objects.create(project=project, name="theirs", kind=Source.Kind.PERSON, person=writer)
    prompt = compose(1, overlap=3).tasks.get().prompt
    written = Response.objects.create(prompt=prompt, source=theirs, drawn_by=uuid.uuid4(), text="mine")
    compose_known(
        project=project,
        name="gold",
        kind="gold",
        overlap=9,
        by=manager,
        answers=[KnownAnswer(prompt=prompt, responses=[written, prompt.responses.first()], tiers=[[0], [1]])],
    )
    assert take(writer, project).task.gold_tiers is None
    assert take(other, project).task.gold_tiers is not None
