"""Whoever has to qualify ranks tasks with known answers first, and is told how they did."""

from __future__ import annotations

import uuid

import pytest

from annotation import gold
from annotation.assigning import next_assignment, return_lease, skip
from annotation.batching import close_batch, pause_batch
from annotation.models import Assignment, Membership, Project, User
from annotation.projects import add_member, create_user
from annotation.qualifying import feedback_on
from annotation.refusals import Refusal
from annotation.standing import lift_pause, set_qualified
from annotation.submitting import amend
from tests.annotation.conftest import (
    Compose,
    People,
    answer,
    answer_rightly,
    answer_wrongly,
    take,
)

pytestmark = pytest.mark.django_db


def membership(user: User) -> Membership:
    return Membership.objects.get(user=user)


def test_the_qualification_comes_first_and_who_passes_it_goes_on_to_the_tasks(
    project: Project, people: People, compose: Compose, compose_gold: Compose
) -> None:
    compose(1, priority=99)
    test = compose_gold(2, kind="qualification")
    (annotator,) = people(1)

    first = take(annotator, project)
    assert first.batch_id == test.pk
    answer_rightly(first)
    assert membership(annotator).qualified_at is None, "one task is left"
    answer_rightly(take(annotator, project))

    assert membership(annotator).qualified_at is not None
    assert take(annotator, project).task.gold_tiers is None


def test_who_fails_is_paused_with_the_reason_and_what_they_ranked_stays(
    project: Project, people: People, compose: Compose, compose_gold: Compose
) -> None:
    compose(1)
    compose_gold(2, kind="qualification")
    (annotator,) = people(1)
    for _ in range(2):
        answer_wrongly(take(annotator, project))

    paused = membership(annotator)
    assert paused.paused_at is not None and paused.qualified_at is None
    assert paused.pause_reason == (
        "In the qualification, 0 % of the pairs were ordered as is known; 60 % are asked for."
    )
    with pytest.raises(
        Refusal, match=r"You are paused in Answers.*0 % of the pairs.*ask a manager"
    ) as refused:
        next_assignment(annotator=annotator, project=project)
    assert refused.value.code == "forbidden"
    assert annotator.rankings.count() == 2


def test_exactly_the_bar_is_enough(
    project: Project, people: People, compose: Compose, compose_gold: Compose
) -> None:
    project.gold_bar = 0.5
    project.save()
    compose(1)
    compose_gold(2, kind="qualification")
    (annotator,) = people(1)
    answer_rightly(take(annotator, project))
    answer_wrongly(take(annotator, project))
    assert membership(annotator).qualified_at is not None


def test_a_skipped_task_of_the_qualification_counts_as_wrong_and_skipping_all_is_failing(
    project: Project, people: People, compose: Compose, compose_gold: Compose
) -> None:
    compose(1)
    test = compose_gold(2, kind="qualification")
    for annotator in people(4):
        for _ in range(2):
            place = take(annotator, project)
            skip(assignment=place, annotator=annotator, lease=place.lease)
        assert membership(annotator).paused_at is not None
    assert not test.assignments.filter(state="skipped").exists(), "a skip takes no place from others"


def test_giving_a_task_back_decides_nothing(
    project: Project, people: People, compose: Compose, compose_gold: Compose
) -> None:
    compose_gold(2, kind="qualification")
    (annotator,) = people(1)
    answer_wrongly(take(annotator, project))
    held = take(annotator, project)
    return_lease(assignment=held, annotator=annotator, lease=held.lease)
    assert membership(annotator).paused_at is None
    assert take(annotator, project).pk == held.pk


def test_a_qualification_that_is_paused_midway_judges_nobody(
    project: Project, people: People, compose: Compose, compose_gold: Compose
) -> None:
    test = compose_gold(2, kind="qualification")
    (annotator,) = people(1)
    held = take(annotator, project)
    pause_batch(test)
    answer_wrongly(held)
    assert membership(annotator).paused_at is None


def test_reviewers_and_managers_are_not_asked_to_qualify(
    project: Project, manager: User, compose: Compose, compose_gold: Compose
) -> None:
    reviewer = create_user(username="reviewer")
    add_member(project=project, user=reviewer, role="reviewer")
    compose_gold(1, kind="qualification")
    ordinary = compose(1, overlap=2)
    assert {take(user, project).batch_id for user in (reviewer, manager)} == {ordinary.pk}


def test_who_is_qualified_by_hand_is_not_asked(
    project: Project, people: People, compose: Compose, compose_gold: Compose
) -> None:
    compose_gold(1, kind="qualification")
    ordinary = compose(1)
    (annotator,) = people(1)
    set_qualified(project=project, user=annotator, qualified=True)
    assert take(annotator, project).batch_id == ordinary.pk


def test_a_closed_qualification_asks_nobody(
    project: Project, people: People, compose: Compose, compose_gold: Compose
) -> None:
    close_batch(compose_gold(1, kind="qualification"))
    ordinary = compose(1)
    assert take(people(1)[0], project).batch_id == ordinary.pk


def test_after_failing_a_second_qualification_is_another_chance(
    project: Project, people: People, compose: Compose, compose_gold: Compose
) -> None:
    compose(1)
    compose_gold(1, kind="qualification")
    (annotator,) = people(1)
    answer_wrongly(take(annotator, project))
    second = compose_gold(1, kind="qualification")

    lift_pause(project=project, user=annotator)

    assert membership(annotator).qualified_at is None
    place = take(annotator, project)
    assert place.batch_id == second.pk
    answer_rightly(place)
    assert membership(annotator).qualified_at is not None


def test_the_manager_who_lifts_a_pause_answers_for_who_has_no_qualification_task_left(
    project: Project, people: People, compose: Compose, compose_gold: Compose
) -> None:
    ordinary = compose(1)
    compose_gold(1, kind="qualification")
    (annotator,) = people(1)
    answer_wrongly(take(annotator, project))

    lift_pause(project=project, user=annotator)

    assert membership(annotator).qualified_at is not None
    assert take(annotator, project).batch_id == ordinary.pk


def test_there_is_a_place_for_everybody_who_has_to_qualify(
    project: Project, people: People, compose: Compose, compose_gold: Compose
) -> None:
    compose(1, overlap=3)
    exam = compose_gold(2, kind="qualification", overlap=1)
    annotators = people(3)
    held = [take(annotator, project) for annotator in annotators]
    assert {place.task_id for place in held} == {exam.tasks.earliest("pk").pk}
    for place in held:
        answer_rightly(place)
    for annotator in annotators:
        answer_rightly(take(annotator, project))
        assert membership(annotator).qualified_at is not None
    places = exam.assignments.order_by("task", "place").values_list("place", "state")
    assert list(places) == [(number, "submitted") for number in range(3)] * 2


def test_a_place_that_was_given_back_is_used_before_another_one_is_made(
    project: Project, people: People, compose_gold: Compose
) -> None:
    exam = compose_gold(1, kind="qualification")
    assert not exam.assignments.exists()
    first, second, third = people(3)
    held = take(first, project)
    return_lease(assignment=held, annotator=first, lease=held.lease)
    assert take(second, project).pk == held.pk
    take(third, project)
    assert exam.assignments.count() == 2


def test_a_qualification_has_no_more_places_than_its_overlap(
    project: Project, people: People, compose_gold: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gold, "MAX_OVERLAP", 2)
    exam = compose_gold(1, kind="qualification")
    one, two, three = people(3)
    take(one, project), take(two, project)
    assert next_assignment(annotator=three, project=project) is None
    assert exam.assignments.count() == 2


def test_feedback_tells_both_orders_the_pairs_and_why(
    project: Project, people: People, compose_gold: Compose
) -> None:
    compose_gold(2, kind="qualification", note="The guidelines put truth first.")
    (annotator,) = people(1)
    place = take(annotator, project)
    best, middle, worst = (tier[0] for tier in place.task.gold_tiers)
    answer(place, [[best], [worst], [middle]])

    told = feedback_on(assignment=Assignment.objects.get(pk=place.pk), annotator=annotator)

    assert told.tiers == [[best], [worst], [middle]]
    assert told.known_tiers == [[best], [middle], [worst]]
    assert (told.right, told.pairs, told.done, told.tasks, told.outcome) == (2, 3, 1, 2, "going")
    assert told.note == "The guidelines put truth first."


def test_there_is_no_feedback_on_a_task_that_is_not_ranked_yet_or_is_no_qualification(
    project: Project, people: People, compose: Compose, compose_gold: Compose, always_gold: None
) -> None:
    compose(1)
    compose_gold(1)
    (annotator,) = people(1)
    gold = take(annotator, project)
    answer(gold, gold.task.gold_tiers)
    test = compose_gold(1, kind="qualification")
    held = take(annotator, project)
    assert held.batch_id == test.pk
    for place in (gold, held):
        with pytest.raises(Refusal, match="Only for a qualification task"):
            feedback_on(assignment=Assignment.objects.get(pk=place.pk), annotator=annotator)


def test_an_answer_to_a_task_whose_answer_was_told_is_not_amended(
    project: Project, people: People, compose_gold: Compose
) -> None:
    compose_gold(2, kind="qualification")
    (annotator,) = people(1)
    place = take(annotator, project)
    answer_wrongly(place)
    with pytest.raises(Refusal, match="You were told the known answer") as refused:
        amend(annotator=annotator, assignment_id=place.pk, key=uuid.uuid4(), tiers=place.task.gold_tiers)
    assert refused.value.code == "conflict"
    assert place.rankings.count() == 1


def test_nothing_is_leased_ahead_of_what_follows_a_qualification_task(
    project: Project, people: People, compose: Compose, compose_gold: Compose
) -> None:
    compose(3)
    (annotator,) = people(1)
    in_work = take(annotator, project)
    exam = compose_gold(2, kind="qualification")

    ahead = take(annotator, project, besides=[in_work.public_id])

    assert ahead.batch_id == exam.pk, "it may itself be ahead of an ordinary one"
    answer(in_work)
    assert next_assignment(annotator=annotator, project=project, besides=[ahead.public_id]) is None
    answer_rightly(ahead)
    assert take(annotator, project, besides=[]).batch_id == exam.pk
