"""Measuring, pausing and qualifying, with many connections at work at once."""

from __future__ import annotations

import uuid
from datetime import timedelta
from functools import partial

import pytest
from django.utils import timezone

from annotation.assigning import next_assignment, skip
from annotation.batching import close_batch
from annotation.measuring import FEWEST
from annotation.models import Assignment, Membership, Project, User
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


def test_rankings_of_one_task_at_one_moment_all_count_in_its_uncertainty(
    project: Project, people: People, compose: Compose
) -> None:
    batch = compose(1, overlap=9, order="uncertainty", responses_per_task=2)
    held = [take(annotator, project) for annotator in people(8)]
    orders = [[[0], [1]] if at % 2 else [[1], [0]] for at in range(8)]
    all_at_once([partial(answer, place, tiers) for place, tiers in zip(held, orders, strict=True)])
    assert batch.assignments.get(state="open").uncertainty == pytest.approx(disagreement(orders))
