"""Tasks by what was said of them: the right ones, in the right order."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from annotation.answer_columns import read_answers
from annotation.batch_quality import quality_tasks
from annotation.models import Batch, Project, Review, Skip, Source, Task, User
from annotation.projects import set_aspects
from annotation.quality import batches_of
from annotation.submitting import amend
from annotation.task_figures import TaskChoice, TaskOrder, disagreement_of, rows_of
from tests.annotation.answered import give
from tests.annotation.conftest import Compose, People

pytestmark = pytest.mark.django_db

UP, DOWN = [[0], [1], [2]], [[2], [1], [0]]


@pytest.fixture
def batch(compose: Compose) -> Batch:
    return compose(5, overlap=2, responses_per_task=3)


@pytest.fixture
def tasks(batch: Batch) -> list[Task]:
    return list(batch.tasks.order_by("pk"))


@pytest.fixture
def pair(people: People) -> list[User]:
    return people(2)


def chosen(batch: Batch, order: TaskOrder = TaskOrder.DISAGREEMENT, **choice: object) -> list[int]:
    return quality_tasks(batches_of(batch), TaskChoice(**choice), order)[0]  # type: ignore[arg-type]


def test_disagreement_is_the_share_of_pairs_ordered_differently(
    batch: Batch, tasks: list[Task], pair: list[User]
) -> None:
    ann, bea = pair
    give(tasks[0], ann, UP), give(tasks[0], bea, UP)
    give(tasks[1], ann, UP), give(tasks[1], bea, DOWN)
    give(tasks[2], ann, UP), give(tasks[2], bea, [[0], [2], [1]])  # one of three pairs
    give(tasks[3], ann, UP)
    found = disagreement_of(read_answers(batches_of(batch)))
    assert found == {tasks[0].pk: 0, tasks[1].pk: 1, tasks[2].pk: pytest.approx(1 / 3)}
    assert chosen(batch) == [tasks[n].pk for n in (1, 2, 0, 4, 3)], "then what cannot disagree, newest first"
    assert chosen(batch, twice=True) == [tasks[n].pk for n in (1, 2, 0)]
    assert chosen(batch, TaskOrder.OLDEST) == [task.pk for task in tasks]
    assert chosen(batch, TaskOrder.NEWEST) == [task.pk for task in reversed(tasks)]


def test_tasks_are_chosen_by_all_filters_together(
    project: Project, batch: Batch, tasks: list[Task], pair: list[User]
) -> None:
    ann, bea = pair
    set_aspects(project=project, aspects=[{"name": "accuracy", "question": "?", "steps": 3}])
    give(tasks[0], ann, UP, flags={0: "unsafe"}), give(tasks[0], bea, UP)
    give(tasks[1], ann, UP, ratings={"accuracy": {0: 1}})
    give(tasks[2], bea, UP, flags={1: "truncated"})
    Skip.objects.create(task=tasks[3], annotator=ann)
    Task.objects.filter(pk=tasks[4].pk).update(gold_tiers=UP)
    old = TaskOrder.OLDEST
    Review.objects.create(task=tasks[2], reviewer=ann, verdict="accepted")
    expected = {
        (("verdict", "accepted"),): [2],
        (("verdict", "adjudicated"),): [],
        (("annotator", ann.username),): [0, 1],
        (("annotator", ann.username), ("other", bea.username)): [0],
        (("flag", "any"),): [0, 2],
        (("flag", "unsafe"),): [0],
        (("flag", "any"), ("annotator", ann.username)): [0],
        (("aspect", "accuracy"),): [1],
        (("skipped", True),): [3],
        (("gold", True),): [4],
    }
    for choice, numbers in expected.items():
        assert chosen(batch, old, **dict(choice)) == [tasks[n].pk for n in numbers], choice


def test_tasks_of_a_source_are_those_with_a_response_of_it(
    batch: Batch, tasks: list[Task], sources: list[Source], project: Project
) -> None:
    other = Source.objects.create(project=project, name="third", kind=Source.Kind.IMPORT)
    assert len(chosen(batch, source=sources[0].pk)) == 5
    assert chosen(batch, source=other.pk) == []


def test_tasks_of_two_sources_show_a_response_of_each(
    batch: Batch, sources: list[Source], project: Project
) -> None:
    other = Source.objects.create(project=project, name="third", kind=Source.Kind.IMPORT)
    assert len(chosen(batch, source=sources[0].pk, against=sources[1].pk)) == 5
    assert chosen(batch, source=sources[0].pk, against=other.pk) == []


def test_tasks_with_a_tie_are_those_whose_latest_revision_ties(
    batch: Batch, tasks: list[Task], pair: list[User]
) -> None:
    ann, bea = pair
    give(tasks[0], ann, [[0, 1], [2]]), give(tasks[0], bea, UP)
    before = give(tasks[1], ann, [[0], [1, 2]])
    amend(annotator=ann, assignment_id=before.assignment_id, key=uuid.uuid4(), tiers=UP)
    give(tasks[2], bea, [[0, 1, 2]])
    assert chosen(batch, TaskOrder.OLDEST, tied=True) == [tasks[0].pk, tasks[2].pk]
    assert chosen(batch, tied=True, annotator=ann.username) == [tasks[0].pk]
    assert chosen(batch, tied=True, annotator=bea.username) == [tasks[2].pk]


def test_tasks_of_a_time_are_those_of_which_a_ranking_came_then(
    batch: Batch, tasks: list[Task], pair: list[User]
) -> None:
    ann, bea = pair
    noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
    give(tasks[0], ann, UP, at=noon), give(tasks[0], bea, UP, at=noon + timedelta(days=1))
    give(tasks[1], ann, UP, at=noon + timedelta(hours=1))
    old = TaskOrder.OLDEST
    assert chosen(batch, old, since=noon, until=noon + timedelta(hours=1)) == [tasks[0].pk]
    assert chosen(batch, old, since=noon + timedelta(hours=1)) == [tasks[0].pk, tasks[1].pk]
    assert chosen(batch, old, until=noon) == []


def test_tasks_that_gold_accuracy_rests_on_are_those_of_the_projects_gold_batches(
    project: Project, batch: Batch, tasks: list[Task], pair: list[User], compose_gold: Compose
) -> None:
    ann, _ = pair
    golden = compose_gold(2).tasks.order_by("pk")
    Task.objects.filter(pk=tasks[3].pk).update(gold_tiers=UP)
    give(golden[1], ann, UP)
    assert chosen(batch, TaskOrder.OLDEST, measures=True) == list(golden.values_list("pk", flat=True))
    assert chosen(batch, measures=True, annotator=ann.username) == [golden[1].pk]
    assert chosen(batch, gold=True) == [tasks[3].pk], (
        "what the batch itself has, whose accuracy is told apart"
    )


def test_tasks_of_a_stretch_are_those_that_its_agreement_rests_on(people: People, compose: Compose) -> None:
    batch = compose(41, overlap=2, responses_per_task=2)
    for task in batch.tasks.order_by("-pk")[:40]:
        for annotator in people(2):
            give(task, annotator, UP[:2])
    found = chosen(batch, TaskOrder.OLDEST, stretch=1)
    assert found == list(batch.tasks.order_by("-pk").values_list("pk", flat=True)[:20])[::-1]
    assert chosen(batch, stretch=1, pattern="too-fast") == []
    assert chosen(batch, stretch=3) == []


def test_tasks_of_a_suspicion_are_those_that_it_rests_on(people: People, compose: Compose) -> None:
    batch = compose(8, overlap=2, responses_per_task=3, text=lambda: "x" * 1000)
    hasty, calm = people(2)
    tasks = list(batch.tasks.all())
    for n, task in enumerate(tasks):
        give(task, hasty, [UP, DOWN][n % 2], seconds=1 if n < 6 else 500)
        give(task, calm, [DOWN, UP][n % 2], seconds=500)
    batches = batches_of(batch)
    keys, _ = quality_tasks(batches, TaskChoice(pattern="too-fast"), TaskOrder.OLDEST)
    assert keys == [task.pk for task in tasks[:6]]
    of_calm = TaskChoice(annotator=calm.username, pattern="too-fast")
    nobody, _ = quality_tasks(batches, of_calm, TaskOrder.OLDEST)
    assert nobody == []


def test_rows_count_current_rankings_flags_and_skips(
    batch: Batch, tasks: list[Task], pair: list[User]
) -> None:
    ann, bea = pair
    give(tasks[0], ann, UP, flags={0: "unsafe", 1: "other"})
    Skip.objects.create(task=tasks[0], annotator=bea)
    first, second = rows_of([tasks[0].pk, tasks[1].pk], {tasks[0].pk: 0.25})
    assert (first.disagreement, first.rankings, first.flags, first.skips) == (0.25, 1, 2, 1)
    assert first.last is not None
    assert (second.disagreement, second.rankings, second.flags, second.skips, second.last) == (
        None,
        0,
        0,
        0,
        None,
    )
