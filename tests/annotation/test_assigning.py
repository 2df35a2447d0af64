"""Places are handed out by priority, then age, one lease at a time."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from django.db import connection
from django.utils import timezone

from annotation.assigning import (
    SKIPS_THAT_CLOSE,
    expire_leases,
    next_assignment,
    renew_lease,
    return_lease,
    shown_order,
    skip,
)
from annotation.batching import (
    batch_progress,
    close_batch,
    compose_batch,
    is_complete,
    pause_batch,
    reopen_batch,
)
from annotation.importing import import_prompts
from annotation.models import Assignment, Batch, Project, Prompt, Response, Source, User
from annotation.ordering import OLDEST_FIRST, Seeker
from annotation.projects import create_project, create_user, remove_member, update_project
from annotation.refusals import Refusal
from annotation.tasks import expire_leases as expire_leases_task
from tests.annotation.conftest import Compose, People, answer, run_out, take
from tests.annotation.plans import analyze, plan_of

pytestmark = pytest.mark.django_db


def test_places_come_by_priority_then_age(project: Project, people: People, compose: Compose) -> None:
    usual, urgent = compose(2), compose(2, priority=5)
    (annotator,) = people(1)

    handed_out = []
    while (place := next_assignment(annotator=annotator, project=project)) is not None:
        handed_out.append(place.task_id)
        answer(place)

    in_order = [*urgent.tasks.order_by("pk"), *usual.tasks.order_by("pk")]
    assert handed_out == [task.pk for task in in_order]


def test_asking_again_gives_the_same_lease(project: Project, people: People, compose: Compose) -> None:
    compose(2)
    (annotator,) = people(1)
    first = take(annotator, project)
    again = take(annotator, project)
    assert (again.pk, again.lease) == (first.pk, first.lease)


def test_one_place_is_held_ahead_of_the_one_in_work_and_no_more(
    project: Project, people: People, compose: Compose
) -> None:
    compose(4)
    (annotator,) = people(1)
    first = take(annotator, project)

    ahead = take(annotator, project, besides=[first.public_id])
    assert ahead.pk != first.pk
    assert take(annotator, project, besides=[first.public_id]).lease == ahead.lease, (
        "asked again, it is the same one"
    )
    assert (
        next_assignment(annotator=annotator, project=project, besides=[first.public_id, ahead.public_id])
        is None
    )
    assert take(annotator, project).pk == first.pk, "the one in work is the one that was taken first"

    answer(first)
    assert take(annotator, project).pk == ahead.pk
    assert take(annotator, project, besides=[first.public_id, ahead.public_id]).pk not in (first.pk, ahead.pk)


def test_a_place_in_work_whose_time_ran_out_is_not_taken_from_under_a_page_that_asks_ahead(
    project: Project, people: People, compose: Compose
) -> None:
    compose(2)
    (annotator,) = people(1)
    late = take(annotator, project)
    run_out(late)

    take(annotator, project, besides=[late.public_id])

    answer(late)


def test_a_place_ahead_whose_time_ran_out_gives_way_to_another(
    project: Project, people: People, compose: Compose
) -> None:
    compose(2)
    (annotator,) = people(1)
    first = take(annotator, project)
    ahead = take(annotator, project, besides=[first.public_id])
    run_out(ahead)

    again = take(annotator, project, besides=[first.public_id])

    assert again.lease != ahead.lease
    assert Assignment.objects.filter(state="leased").count() == 2


def test_skipping_twice_is_skipping_once(project: Project, people: People, compose: Compose) -> None:
    batch = compose(1, overlap=3)
    (annotator,) = people(1)
    place = take(annotator, project)
    for _ in range(2):
        skip(assignment=place, annotator=annotator, lease=place.lease, reason="Unclear")
    assert batch.tasks.get().skips.count() == 1


def test_nobody_ranks_a_task_twice(project: Project, people: People, compose: Compose) -> None:
    compose(1, overlap=3)
    (annotator,) = people(1)
    answer(take(annotator, project))
    assert next_assignment(annotator=annotator, project=project) is None


def test_only_members_of_the_project_get_places(project: Project, compose: Compose) -> None:
    compose(1)
    with pytest.raises(Refusal, match="role of annotator in Answers") as refused:
        next_assignment(annotator=create_user(username="stranger"), project=project)
    assert refused.value.code == "forbidden"


@pytest.mark.parametrize("stop", [pause_batch, close_batch])
def test_a_batch_that_is_not_open_hands_out_nothing(
    project: Project, people: People, compose: Compose, stop: Callable[[Batch], Batch]
) -> None:
    batch = compose(1)
    stop(batch)
    assert next_assignment(annotator=people(1)[0], project=project) is None


def test_a_paused_batch_goes_on_when_reopened(project: Project, people: People, compose: Compose) -> None:
    batch = compose(1)
    pause_batch(batch)
    reopen_batch(batch)
    assert take(people(1)[0], project).batch_id == batch.pk


def test_an_archived_project_hands_out_nothing(project: Project, people: People, compose: Compose) -> None:
    compose(1)
    archived = update_project(project=project, archived=True)
    assert next_assignment(annotator=people(1)[0], project=archived) is None


def test_an_expired_lease_opens_the_place_for_others(
    project: Project, people: People, compose: Compose
) -> None:
    compose(1)
    slow, quick = people(2)
    held = take(slow, project)
    assert expire_leases_task() == 0
    run_out(held)

    assert expire_leases_task() == 1

    assert take(quick, project).pk == held.pk


def test_an_expired_place_is_found_before_the_scheduler_opens_it(
    project: Project, people: People, compose: Compose
) -> None:
    compose(1)
    slow, quick = people(2)
    held = take(slow, project)
    run_out(held)
    assert take(quick, project).pk == held.pk


def test_an_annotator_may_get_their_own_expired_place_back_under_a_new_lease(
    project: Project, people: People, compose: Compose
) -> None:
    compose(1)
    (annotator,) = people(1)
    first = take(annotator, project)
    run_out(first)
    again = take(annotator, project)
    assert again.pk == first.pk
    assert again.lease != first.lease


def test_a_renewed_lease_does_not_expire(project: Project, people: People, compose: Compose) -> None:
    compose(1)
    (annotator,) = people(1)
    held = take(annotator, project)
    run_out(held)

    renewed = renew_lease(assignment=held, annotator=annotator, lease=held.lease)

    assert renewed.leased_until > held.leased_at
    assert expire_leases() == 0


def test_a_lease_that_went_to_another_cannot_be_renewed_returned_or_skipped(
    project: Project, people: People, compose: Compose
) -> None:
    compose(1)
    slow, quick = people(2)
    held = take(slow, project)
    run_out(held)
    taken = take(quick, project)
    for act in (renew_lease, return_lease, skip):
        with pytest.raises(Refusal) as refused:
            act(assignment=held, annotator=slow, lease=held.lease)
        assert refused.value.code == "lease_lost"
    assert Assignment.objects.get(pk=held.pk).lease == taken.lease


def test_a_returned_place_is_open_for_anybody(project: Project, people: People, compose: Compose) -> None:
    compose(2)
    first, second = people(2)
    held = take(first, project)
    return_lease(assignment=held, annotator=first, lease=held.lease)
    assert take(second, project).pk == held.pk


def test_a_place_given_back_behind_everybody_is_still_handed_out(
    project: Project, people: People, compose: Compose
) -> None:
    compose(4)
    fast, slow = people(2)
    held = take(slow, project)
    for _ in range(3):
        answer(take(fast, project))
    return_lease(assignment=held, annotator=slow, lease=held.lease)
    assert take(fast, project).pk == held.pk


def test_a_place_passed_over_in_a_race_is_still_handed_out(
    project: Project, people: People, compose: Compose
) -> None:
    """A transaction that failed while it held a place leaves it never leased, behind the others' last tasks."""
    batch = compose(3)
    (annotator,) = people(1)
    passed_over, *rest = batch.assignments.order_by("pk")
    Assignment.objects.filter(pk=passed_over.pk).update(state="skipped")
    for _ in rest:
        answer(take(annotator, project))
    Assignment.objects.filter(pk=passed_over.pk).update(state="open")
    assert take(annotator, project).pk == passed_over.pk


def test_a_skipped_task_is_not_offered_again_and_its_place_is_open_for_others(
    project: Project, people: People, compose: Compose
) -> None:
    compose(2)
    picky, other = people(2)
    held = take(picky, project)

    skip(assignment=held, annotator=picky, lease=held.lease, reason="not my field")

    assert take(picky, project).task_id != held.task_id
    assert take(other, project).pk == held.pk


def test_a_task_that_three_annotators_passed_by_closes_for_good(
    project: Project, people: People, compose: Compose
) -> None:
    batch = compose(1, overlap=2)
    annotators = people(SKIPS_THAT_CLOSE + 1)
    for annotator in annotators[:-1]:
        assert not is_complete(batch)
        held = take(annotator, project)
        skip(assignment=held, annotator=annotator, lease=held.lease)
    assert set(batch.assignments.values_list("state", flat=True)) == {"skipped"}
    assert next_assignment(annotator=annotators[-1], project=project) is None
    assert is_complete(batch)


def test_a_place_in_work_stays_when_others_pass_the_task_by(
    project: Project, people: People, compose: Compose
) -> None:
    batch = compose(1, overlap=2)
    working, *passing = people(4)
    held = take(working, project)
    for annotator in passing:
        place = take(annotator, project)
        skip(assignment=place, annotator=annotator, lease=place.lease)

    answer(held)

    progress = batch_progress(batch)
    assert (progress.places, progress.submitted, progress.skipped) == (2, 1, 1)


def test_a_skips_reason_has_a_limit_and_too_long_a_one_changes_nothing(
    project: Project, people: People, compose: Compose
) -> None:
    compose(1)
    (annotator,) = people(1)
    held = take(annotator, project)
    with pytest.raises(Refusal, match="301 characters; 300"):
        skip(assignment=held, annotator=annotator, lease=held.lease, reason="x" * 301)
    with pytest.raises(Refusal, match="half of a surrogate pair"):
        skip(assignment=held, annotator=annotator, lease=held.lease, reason="\ud800")
    assert take(annotator, project).lease == held.lease


def test_a_removed_members_places_are_open_again(project: Project, people: People, compose: Compose) -> None:
    compose(1)
    leaving, staying = people(2)
    held = take(leaving, project)
    remove_member(project=project, user=leaving)
    assert take(staying, project).pk == held.pk


def test_the_order_shown_follows_from_task_and_annotator_and_is_recorded(
    project: Project, people: People, compose: Compose
) -> None:
    batch = compose(1, overlap=20)
    orders = set()
    for annotator in people(20):
        place = take(annotator, project)
        assert place.shown_order == shown_order(place.task, annotator)
        assert sorted(place.shown_order) == [0, 1, 2, 3]
        assert answer(place).shown_order == place.shown_order
        orders.add(tuple(place.shown_order))
    assert len(orders) > 5
    assert is_complete(batch)


def test_nobody_is_handed_what_they_wrote_themselves(
    project: Project, sources: list[Source], people: People
) -> None:
    writer, other = people(2)
    theirs = Source.objects.create(project=project, name="theirs", kind=Source.Kind.PERSON, person=writer)
    import_prompts(project=project, rows=[(n, {"prompt": f"Question {n}?"}) for n in range(3)])
    prompts = list(project.prompts.order_by("pk"))
    for prompt in prompts:
        for source in (sources[0], theirs if prompt == prompts[1] else sources[1]):
            Response.objects.create(
                prompt=prompt, source=source, drawn_by=uuid.uuid4(), index=0, text=source.name
            )
    compose_batch(
        project=project,
        name="b",
        prompts=prompts,
        sources=[*sources, theirs],
        responses_per_task=2,
        overlap=2,
    )

    def drain(annotator: User) -> list[Prompt]:
        asked = []
        while (place := next_assignment(annotator=annotator, project=project)) is not None:
            asked.append(place.task.prompt)
            answer(place, [[0], [1]])
        return sorted(asked, key=lambda prompt: prompt.pk)

    assert drain(writer) == [prompts[0], prompts[2]]
    assert drain(other) == prompts


def test_a_batch_of_another_project_is_not_handed_out(
    manager: User, project: Project, people: People, compose: Compose
) -> None:
    compose(1)
    other = create_project(name="Other", created_by=manager)
    assert next_assignment(annotator=manager, project=other) is None


def test_an_unknown_assignment_is_told(project: Project, people: People, compose: Compose) -> None:
    compose(1)
    (annotator,) = people(1)
    held = take(annotator, project)
    Batch.objects.all().delete()
    with pytest.raises(Refusal) as refused:
        renew_lease(assignment=held, annotator=annotator, lease=uuid.uuid4())
    assert refused.value.code == "not_found"


@pytest.mark.parametrize(
    "statistics",
    [
        "as they are",
        "fresh",
        "of a project all ranked",
        "of a project all given back",
        "of a project that one ranks",
        "of an empty table",
        "shunning indexes",
    ],
)
def test_the_cost_of_assigning_does_not_grow_with_the_batch_or_with_the_work_done(
    project: Project, people: People, compose: Compose, statistics: str
) -> None:
    """Two overlap places of each ranked task stay open behind the annotator; none of them is looked at again,
    whatever the planner believes of the table: its statistics are minutes older than a batch that was just released.
    """
    if statistics == "of an empty table":
        compose(300, overlap=3).delete()
        analyze()
    compose(300, overlap=3)
    annotator, skipping = people(2)
    if statistics == "of a project all ranked":
        Assignment.objects.update(state=Assignment.State.SKIPPED)
        analyze()
        Assignment.objects.update(state=Assignment.State.OPEN)
    if statistics == "of a project all given back":
        Assignment.objects.update(leased_at=timezone.now())
        analyze()
        Assignment.objects.update(leased_at=None)
    if statistics == "of a project that one ranks":
        Assignment.objects.filter(place=0).update(state=Assignment.State.SUBMITTED, annotator=annotator)
        analyze()
        Assignment.objects.update(state=Assignment.State.OPEN, annotator=None)
    for _ in range(120):
        answer(take(annotator, project))
    for _ in range(5):
        held = take(skipping, project)
        skip(assignment=held, annotator=skipping, lease=held.lease)
    if statistics == "fresh":
        analyze()
    if statistics == "shunning indexes":
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL random_page_cost = 10000")

    visited, plan = plan_of(OLDEST_FIRST, Seeker(annotator.pk, project.pk), project)

    assert visited < 40
    assert "JIT" not in plan, "compiling takes longer than the search"
