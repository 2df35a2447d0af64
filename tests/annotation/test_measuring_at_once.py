"""Measuring, pausing and qualifying, with many connections at work at once."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import pytest
from django.db import connections, transaction
from django.utils import timezone

from annotation.assigning import next_assignment, skip
from annotation.batching import close_batch, make_places
from annotation.measuring import FEWEST
from annotation.models import Assignment, Membership, Project, User
from annotation.projects import add_member, remove_member
from annotation.refusals import Refusal
from annotation.standing import lift_pause, pause_member
from annotation.submitting import submit
from annotation.uncertainty import disagreement
from tests.annotation.conftest import Compose, People, answer, answer_wrongly, take
from tests.annotation.parallel import all_at_once

pytestmark = pytest.mark.django_db(transaction=True)


def lease_all(annotator: User, places: list[Assignment]) -> list[Assignment]:
    """Leases as several pages of one annotator may hold them."""
    for place in places:
        place.state, place.annotator, place.lease = "leased", annotator, uuid.uuid4()
        place.leased_at = place.leased_until = timezone.now() + timedelta(minutes=30)
        place.shown_order = [0, 1, 2]
        place.save()
    return places


def test_of_answers_around_the_bar_at_one_moment_the_last_one_pauses(
    project: Project, people: People, compose: Compose, compose_gold: Compose
) -> None:
    """Each alone would see four gold answers, which are too few to pause anybody."""
    compose(1)
    for _ in range(5):
        gold = compose_gold(FEWEST)
        (annotator,) = people(1)
        places = lease_all(annotator, list(gold.assignments.filter(place=0).select_related("task")))
        for place in places[:3]:
            answer_wrongly(place)

        all_at_once([partial(answer_wrongly, place) for place in places[3:]])

        assert annotator.rankings.count() == FEWEST
        assert Membership.objects.get(user=annotator).paused_at is not None
        assert not Assignment.objects.filter(annotator=annotator, state="leased").exists()


def test_a_place_that_is_taken_while_its_annotator_is_paused_is_open_afterwards(
    project: Project, people: People, compose: Compose
) -> None:
    compose(8, overlap=8)
    annotators = people(6)
    for _ in range(3):
        calls = [
            call
            for annotator in annotators
            for call in (
                partial(next_assignment, annotator=annotator, project=project),
                partial(pause_member, project=project, user=annotator),
            )
        ]
        all_at_once(calls)
        assert not Assignment.objects.filter(state="leased").exists()
        for annotator in annotators:
            with pytest.raises(Refusal, match="paused"):
                next_assignment(annotator=annotator, project=project)
            lift_pause(project=project, user=annotator)


def test_what_was_submitted_at_the_moment_of_a_pause_is_kept_or_refused_whole(
    project: Project, people: People, compose: Compose
) -> None:
    compose(6, overlap=6)
    annotators = people(6)
    held = [take(annotator, project) for annotator in annotators]

    results = all_at_once(
        [
            *(partial(answer, place) for place in held),
            *(partial(pause_member, project=project, user=annotator) for annotator in annotators),
        ]
    )

    for place, result in zip(held, results, strict=False):
        place.refresh_from_db()
        kept = place.rankings.count() == 1
        assert kept == (place.state == "submitted") == (not isinstance(result, Refusal))
    assert not Assignment.objects.filter(state="leased").exists()


def test_two_tabs_that_end_the_qualification_at_once_end_it_once(
    project: Project, people: People, compose: Compose, compose_gold: Compose
) -> None:
    compose(1)
    for _ in range(5):
        test = compose_gold(2, kind="qualification")
        (annotator,) = people(1)
        make_places(test)
        ranked, skipped = lease_all(
            annotator, list(test.assignments.filter(place=0).select_related("task").order_by("pk"))
        )
        all_at_once(
            [
                partial(
                    submit,
                    annotator=annotator,
                    assignment_id=ranked.pk,
                    lease=ranked.lease,
                    key=uuid.uuid4(),
                    tiers=ranked.task.gold_tiers,
                ),
                partial(skip, assignment=skipped, annotator=annotator, lease=skipped.lease),
            ]
        )
        member = Membership.objects.get(user=annotator)
        assert member.paused_at is not None, "three of six pairs are right"
        assert "50 %" in member.pause_reason
        close_batch(test)
        lift_pause(project=project, user=annotator)


def test_all_who_come_to_a_qualification_at_one_moment_get_a_place(
    project: Project, people: People, compose_gold: Compose
) -> None:
    exam = compose_gold(1, kind="qualification")
    annotators = people(8)
    places = all_at_once(
        [partial(next_assignment, annotator=annotator, project=project) for annotator in annotators]
    )
    assert sorted(place.place for place in places) == list(range(8))
    assert {place.annotator_id for place in places} == {annotator.pk for annotator in annotators}
    assert exam.assignments.count() == 8


def test_passing_a_qualification_by_and_coming_to_it_at_one_moment_do_not_wait_for_each_other(
    project: Project, people: People, compose: Compose, compose_gold: Compose
) -> None:
    compose(1, overlap=8)
    compose_gold(2, kind="qualification")
    annotators = people(6)
    held = [take(annotator, project) for annotator in annotators]
    all_at_once(
        [
            call
            for annotator, place in zip(annotators, held, strict=True)
            for call in (
                partial(skip, assignment=place, annotator=annotator, lease=place.lease),
                partial(next_assignment, annotator=annotator, project=project),
            )
        ]
    )
    for annotator, place in zip(annotators, held, strict=True):
        assert take(annotator, project).task_id != place.task_id


def test_who_is_removed_while_they_take_a_place_holds_none(
    project: Project, people: People, compose: Compose
) -> None:
    compose(8, overlap=8)
    annotators = people(6)
    for _ in range(3):
        all_at_once(
            [
                call
                for annotator in annotators
                for call in (
                    partial(next_assignment, annotator=annotator, project=project),
                    partial(remove_member, project=project, user=annotator),
                )
            ]
        )
        assert not Assignment.objects.filter(state="leased").exists()
        for annotator in annotators:
            add_member(project=project, user=annotator, role="annotator")


def test_a_place_that_is_being_leased_is_waited_for_by_who_removes_its_annotator(
    project: Project, people: People, compose: Compose
) -> None:
    """In this order, whatever the machine's speed: the lease is not committed when the removal comes."""
    compose(1)
    (annotator,) = people(1)
    with ThreadPoolExecutor(1) as another:
        with transaction.atomic():
            place = take(annotator, project)
            removal = another.submit(apart, partial(remove_member, project=project, user=annotator))
            with pytest.raises(TimeoutError):
                removal.result(timeout=0.5)
        removal.result(timeout=10)
    place.refresh_from_db()
    assert (place.state, place.annotator_id) == ("open", None)
    with pytest.raises(Refusal, match="you are no member"):
        next_assignment(annotator=annotator, project=project)


def test_what_was_submitted_at_the_moment_of_a_removal_is_kept_or_refused_whole(
    project: Project, people: People, compose: Compose
) -> None:
    compose(6, overlap=6)
    annotators = people(6)
    held = [take(annotator, project) for annotator in annotators]

    results = all_at_once(
        [
            *(partial(answer, place) for place in held),
            *(partial(remove_member, project=project, user=annotator) for annotator in annotators),
        ]
    )

    for place, result in zip(held, results, strict=False):
        place.refresh_from_db()
        kept = place.rankings.count() == 1
        assert kept == (place.state == "submitted") == (not isinstance(result, Refusal))
    assert not Assignment.objects.filter(state="leased").exists()


def apart(call: Callable[[], object]) -> object:
    """The call, in a thread whose connection is closed behind it."""
    try:
        return call()
    finally:
        connections.close_all()


def test_rankings_of_one_task_at_one_moment_all_count_in_its_uncertainty(
    project: Project, people: People, compose: Compose
) -> None:
    batch = compose(1, overlap=9, order="uncertainty", responses_per_task=2)
    held = [take(annotator, project) for annotator in people(8)]
    orders = [[[0], [1]] if at % 2 else [[1], [0]] for at in range(8)]
    all_at_once([partial(answer, place, tiers) for place, tiers in zip(held, orders, strict=True)])
    assert batch.assignments.get(state="open").uncertainty == pytest.approx(disagreement(orders))
