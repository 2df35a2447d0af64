"""In which order places come: the most uncertain first, with some by chance beside them; and what searching costs."""

from __future__ import annotations

import pytest
from django.db import connection

from annotation import ordering
from annotation.assigning import next_assignment, return_lease
from annotation.models import Assignment, Batch, Project
from annotation.ordering import (
    ANYWHERE,
    BY_CHANCE,
    CONTROL,
    MOST_UNCERTAIN,
    OLDEST_FIRST,
    ORDERS,
    Search,
    Seeker,
)
from annotation.refusals import Refusal
from annotation.standing import set_limits
from annotation.uncertainty import set_uncertainty
from tests.annotation.conftest import Compose, People, answer, take
from tests.annotation.plans import analyze, plan_of

pytestmark = pytest.mark.django_db


def test_every_order_of_a_batch_has_its_searches() -> None:
    assert set(ORDERS) == set(Batch.Order.values)


def test_the_most_uncertain_tasks_come_first_and_it_is_recorded(
    project: Project, people: People, compose: Compose
) -> None:
    batch = compose(6, order="uncertainty", control_share=0.0)
    tasks = list(batch.tasks.order_by("pk"))
    set_uncertainty(batch, {tasks[4].pk: 0.9, tasks[1].pk: 0.2, tasks[3].pk: 5})
    (annotator,) = people(1)

    given = []
    while (place := next_assignment(annotator=annotator, project=project)) is not None:
        given.append((place.task_id, place.chosen_by))
        answer(place)

    assert given[:3] == [(tasks[at].pk, "uncertainty") for at in (3, 4, 1)]
    assert {task for task, _ in given[3:]} == {tasks[at].pk for at in (0, 2, 5)}
    assert [chosen_by for _, chosen_by in given[3:]] == [""] * 3, (
        "neither uncertain nor drawn to compare with"
    )
    assert set(
        Assignment.objects.filter(batch=batch, chosen_by="uncertainty").values_list("task", flat=True)
    ) == {tasks[at].pk for at in (3, 4, 1)}


def test_one_place_in_five_is_drawn_by_chance_to_compare_with(
    project: Project, people: People, compose: Compose
) -> None:
    batch = compose(300, order="uncertainty", responses_per_task=2)
    set_uncertainty(batch, {task.pk: 1 for task in batch.tasks.all()})
    for annotator in people(200):
        take(annotator, project)
    control = batch.assignments.filter(chosen_by="control")
    assert batch.assignments.filter(chosen_by="uncertainty").count() == 200 - control.count()
    assert 15 < control.count() < 70, "40 are expected, with a standard deviation of 6"
    ordinals = {pk: at for at, pk in enumerate(batch.tasks.order_by("pk").values_list("pk", flat=True))}
    drawn = [ordinals[task] for task in control.values_list("task", flat=True)]
    assert max(drawn) > 200 and len(set(drawn)) == len(drawn), "from all over the batch"


def test_batches_side_by_side_keep_their_own_shares_by_chance(
    project: Project, people: People, compose: Compose
) -> None:
    none, half = (
        compose(40, order="uncertainty", control_share=share, responses_per_task=2, max_per_annotator=1)
        for share in (0.0, 0.5)
    )
    for batch in (none, half):
        set_uncertainty(batch, {task.pk: 1 for task in batch.tasks.all()})
    for annotator in people(40):
        for _ in range(2):
            answer(take(annotator, project), [[0], [1]])
    assert not none.assignments.filter(chosen_by="control").exists()
    assert 8 < half.assignments.filter(chosen_by="control").count() < 32, "20 are expected, give or take 3"


@pytest.mark.parametrize("share", [-0.1, 0.6])
def test_a_share_by_chance_that_makes_no_sense_is_refused(compose: Compose, share: float) -> None:
    with pytest.raises(Refusal, match="Control share"):
        compose(1, order="uncertainty", control_share=share)


def test_a_place_given_back_and_taken_again_is_recorded_as_it_was_chosen_last(
    project: Project, people: People, compose: Compose
) -> None:
    batch = compose(1, order="uncertainty", control_share=0.0)
    set_uncertainty(batch, {batch.tasks.get().pk: 1})
    first, second = people(2)
    held = take(first, project)
    return_lease(assignment=held, annotator=first, lease=held.lease)
    Assignment.objects.update(uncertainty=0)
    assert take(second, project).chosen_by == ""


def test_all_of_a_batch_is_handed_out_whatever_the_dice_say(
    project: Project, people: People, compose: Compose
) -> None:
    batch = compose(12, order="uncertainty", overlap=2)
    for annotator in people(2):
        while (place := next_assignment(annotator=annotator, project=project)) is not None:
            answer(place)
    assert set(batch.assignments.values_list("state", flat=True)) == {"submitted"}


def test_batches_in_different_orders_keep_their_priority(
    project: Project, people: People, compose: Compose
) -> None:
    low = compose(1, order="uncertainty", priority=-1)
    middle = compose(1)
    high = compose(1, order="uncertainty", priority=1)
    (annotator,) = people(1)
    given = []
    while (place := next_assignment(annotator=annotator, project=project)) is not None:
        given.append(place.batch_id)
        answer(place)
    assert given == [high.pk, middle.pk, low.pk]


def test_a_search_is_planned_once_a_connection(project: Project, people: People, compose: Compose) -> None:
    def plans() -> tuple[int, int]:
        """Searches by the plan for all parameters, and by one for those that were given."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT coalesce(sum(generic_plans), 0), coalesce(sum(custom_plans), 0) FROM pg_prepared_statements "
                "WHERE statement LIKE %s",
                ["%FROM annotation_batch%LATERAL%"],
            )
            return cursor.fetchone()

    compose(5)
    before = plans()
    for annotator in people(4):
        take(annotator, project)
    assert plans() == (before[0] + 4, 0)


def test_looking_whether_there_is_a_place_locks_none(
    project: Project, people: People, compose: Compose
) -> None:
    batch = compose(1)
    seeker = Seeker(people(1)[0].pk, project.pk)
    for search in (OLDEST_FIRST, ANYWHERE, MOST_UNCERTAIN, BY_CHANCE, CONTROL):
        assert "FOR " not in ordering.query_of(search, lock=False)
        assert "SKIP LOCKED" in ordering.query_of(search)
    found = ordering.find_place([batch], seeker, lock=False)
    assert found is not None and found.place == batch.assignments.get().pk


@pytest.mark.parametrize("search", [MOST_UNCERTAIN, BY_CHANCE])
@pytest.mark.parametrize("statistics", ["as they are", "fresh"])
def test_the_cost_of_the_uncertain_order_does_not_grow_with_the_batch(
    project: Project, people: People, compose: Compose, search: Search, statistics: str
) -> None:
    batch = compose(400, overlap=3, order="uncertainty", responses_per_task=2)
    tasks = list(batch.tasks.order_by("pk"))
    set_uncertainty(batch, {task.pk: task.pk % 7 for task in tasks})
    (annotator,) = people(1)
    for _ in range(5):
        answer(take(annotator, project), [[0], [1]])
    if statistics == "fresh":
        analyze()
    visited, _ = plan_of(search, Seeker(annotator.pk, project.pk), project)
    assert visited < 80


def test_the_cost_for_a_limited_annotator_does_not_grow_with_the_work_done(
    project: Project, people: People, compose: Compose
) -> None:
    """What is passed over on the way to a task in their language is passed over once: the next search starts behind
    it."""
    compose(300, overlap=3, responses_per_task=2, of_prompts=lambda n: {"language": ("en", "fr")[n % 2]})
    (annotator,) = people(1)
    set_limits(project=project, user=annotator, languages=["fr"], tags=["law"])
    for _ in range(100):
        answer(take(annotator, project), [[0], [1]])
    analyze()
    seeker = Seeker(annotator.pk, project.pk, languages=("fr",), tags=("law",))
    visited, plan = plan_of(OLDEST_FIRST, seeker, project)
    assert visited < 80
    assert "JIT" not in plan


def test_gold_is_searched_for_at_a_flat_cost(
    project: Project, people: People, compose: Compose, compose_gold: Compose
) -> None:
    compose(200, overlap=2, responses_per_task=2)
    gold = compose_gold(30, overlap=50)
    (annotator,) = people(1)
    for _ in range(100):
        place = take(annotator, project)
        answer(place, place.task.gold_tiers or [[0], [1]])
    seeker = Seeker(annotator.pk, project.pk, new_prompts=True)
    Batch.objects.exclude(pk=gold.pk).update(state="paused")
    visited, _ = plan_of(OLDEST_FIRST, seeker, project)
    assert visited < 40
