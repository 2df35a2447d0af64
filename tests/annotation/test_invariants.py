"""The database itself refuses what must never happen, whatever the code does."""

import uuid
from typing import Any

import pytest
from django.db import IntegrityError, connection
from django.db.models import Model, QuerySet

from annotation.models import (
    Aspect,
    AspectRating,
    Assignment,
    Batch,
    Project,
    Prompt,
    Ranking,
    Response,
    Source,
    Task,
    TaskResponse,
)
from annotation.projects import create_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def task() -> Task:
    project = Project.objects.create(name="p", slug="p")
    prompt = Prompt.objects.create(
        project=project, messages=[{"role": "user", "content": "Hello?"}], digest="0" * 64, split="train"
    )
    batch = Batch.objects.create(project=project, name="b", overlap=2)
    return Task.objects.create(batch=batch, prompt=prompt, overlap=2, seed=1)


def test_a_place_beyond_the_overlap_cannot_exist(task: Task) -> None:
    with pytest.raises(IntegrityError, match="assignment_within_overlap"):
        Assignment.objects.create(task=task, place=2, overlap=2)


def test_a_place_cannot_claim_a_larger_overlap_than_its_task(task: Task) -> None:
    Assignment.objects.create(task=task, place=2, overlap=3)
    with (
        pytest.raises(IntegrityError, match="assignment_overlap_is_the_tasks"),
        connection.cursor() as cursor,
    ):
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def test_a_prompts_text_and_split_cannot_change(task: Task) -> None:
    with pytest.raises(IntegrityError, match="never change"):
        Prompt.objects.filter(pk=task.prompt_id).update(split="held_out")


@pytest.fixture
def ranking(task: Task) -> Ranking:
    """A ranking of the task's two responses, with a rating."""
    source = Source.objects.create(project=task.batch.project, name="s", kind="import")
    for number in range(2):
        response = Response.objects.create(
            prompt=task.prompt, source=source, drawn_by=uuid.uuid4(), text=f"reply {number}"
        )
        TaskResponse.objects.create(task=task, response=response, position=number)
    annotator = create_user(username="annotator")
    place = Assignment.objects.create(task=task, place=0, overlap=2, state="submitted", annotator=annotator)
    ranking = Ranking.objects.create(
        assignment=place, task=task, annotator=annotator, tiers=[[1], [0]], shown_order=[0, 1]
    )
    aspect = Aspect.objects.create(project=task.batch.project, name="safety")
    AspectRating.objects.create(ranking=ranking, aspect=aspect, position=0, rating=3)
    check_now()
    return ranking


def check_now() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")


def delete_row(row: Model) -> None:
    """Without Django's cascade, which would meet other rows first."""
    rows: QuerySet[Any] = type(row)._default_manager.filter(pk=row.pk)
    rows._raw_delete(using="default")


@pytest.mark.parametrize(
    ("model", "changes"),
    [
        (Ranking, {"tiers": [[0], [1]]}),
        (Ranking, {"rationale": "another"}),
        (AspectRating, {"rating": 4}),
        (Response, {"text": "another"}),
        (TaskResponse, {"position": 5}),
        (Task, {"seed": 2}),
        (Task, {"overlap": 3}),
    ],
)
def test_what_a_ranking_says_and_rests_on_cannot_change(
    model: Any, changes: dict[str, object], ranking: Ranking
) -> None:
    with pytest.raises(IntegrityError, match="never change"):
        model.objects.filter(pk=model.objects.latest("pk").pk).update(**changes)


@pytest.mark.parametrize("where", ["prompt", "batch"])
def test_a_task_cannot_move_to_another_prompt_or_batch(where: str, ranking: Ranking) -> None:
    project = ranking.task.batch.project
    other: dict[str, Model] = {
        "prompt": Prompt.objects.create(project=project, messages=[], digest="1" * 64, split="train"),
        "batch": Batch.objects.create(project=project, name="another", overlap=2),
    }
    with pytest.raises(IntegrityError, match="never change"):
        Task.objects.filter(pk=ranking.task_id).update(**{where: other[where]})


def test_a_gold_answer_may_be_learned_later(ranking: Ranking) -> None:
    Task.objects.filter(pk=ranking.task_id).update(gold_tiers=[[0], [1]])

    assert Task.objects.get().gold_tiers == [[0], [1]]


@pytest.mark.parametrize("model", [Ranking, AspectRating, TaskResponse])
def test_a_ranking_and_what_it_rests_on_cannot_be_deleted(model: Any, ranking: Ranking) -> None:
    with pytest.raises(IntegrityError, match="never change"):
        delete_row(model.objects.latest("pk"))


def test_a_ranked_task_gets_no_further_response(ranking: Ranking) -> None:
    response = Response.objects.latest("pk")
    third = Response.objects.create(
        prompt=response.prompt, source=response.source, drawn_by=uuid.uuid4(), text="reply 2"
    )
    with pytest.raises(IntegrityError, match="never change"):
        TaskResponse.objects.create(task=ranking.task, response=third, position=2)


def test_a_ranking_is_of_its_places_task(ranking: Ranking) -> None:
    other = Task.objects.create(batch=ranking.task.batch, prompt=ranking.task.prompt, overlap=1, seed=1)
    Ranking.objects.create(
        assignment=ranking.assignment,
        task=other,
        annotator=ranking.annotator,
        revision=2,
        tiers=[[0], [1]],
        shown_order=[0, 1],
    )
    with pytest.raises(IntegrityError, match="ranking_is_of_its_place"):
        check_now()


def test_a_ranking_is_by_its_places_annotator(ranking: Ranking) -> None:
    Ranking.objects.create(
        assignment=ranking.assignment,
        task=ranking.task,
        annotator=create_user(username="another"),
        revision=2,
        tiers=[[0], [1]],
        shown_order=[0, 1],
    )
    with pytest.raises(IntegrityError, match="ranking_is_of_its_place"):
        check_now()


def test_a_ranked_place_cannot_go_to_somebody_else(ranking: Ranking) -> None:
    Assignment.objects.filter(pk=ranking.assignment_id).update(annotator=create_user(username="another"))
    with pytest.raises(IntegrityError, match="ranking_is_of_its_place"):
        check_now()
