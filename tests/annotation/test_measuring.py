"""Gold tasks come unmarked, and pause whoever falls below the bar."""

from __future__ import annotations

import uuid

import pytest

from annotation.agreement import AsKnown, as_known
from annotation.assigning import next_assignment, return_lease
from annotation.known_accuracy import WINDOW
from annotation.measuring import FEWEST, gold_is_due, gold_result
from annotation.models import Assignment, Batch, Membership, Project, User
from annotation.projects import create_user
from annotation.refusals import Refusal
from annotation.showing import blind_view
from annotation.standing import lift_pause
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


@pytest.mark.parametrize(
    ("tiers", "known", "right", "pairs"),
    [
        ([[0], [1], [2]], [[0], [1], [2]], 3, 3),
        ([[2], [1], [0]], [[0], [1], [2]], 0, 3),
        ([[0, 1, 2]], [[0], [1], [2]], 1.5, 3),
        ([[0], [1]], [[0], [1], [2]], 2, 3),  # 2 is left out: its two pairs are undecided
        ([[0], [1], [2]], [[0], [1, 2]], 2.5, 3),
        ([[0], [1, 2]], [[0], [1, 2]], 3, 3),
        ([[2], [0], [1]], [[0], [1]], 1, 1),  # what the known answer leaves out does not count
        ([], [[0], [1]], 0.5, 1),
    ],
)
def test_pairs_as_known_and_half_for_undecided_ones(
    tiers: list[list[int]], known: list[list[int]], right: float, pairs: int
) -> None:
    assert as_known(tiers, known) == AsKnown(right, pairs)


def test_the_share_of_gold_tasks_is_kept_and_can_be_told_again(people: People, compose_gold: Compose) -> None:
    gold = [compose_gold(1)]
    annotators = people(400)
    due = [gold_is_due(annotator=annotator, gold=gold, share=0.25) for annotator in annotators]
    again = [gold_is_due(annotator=annotator, gold=gold, share=0.25) for annotator in annotators]
    assert due == again
    assert 60 < sum(due) < 140, "100 are expected, with a standard deviation of 9"
    assert not any(gold_is_due(annotator=annotator, gold=gold, share=0) for annotator in annotators)
    assert not any(gold_is_due(annotator=annotator, gold=[], share=0.5) for annotator in annotators)


def test_what_is_leased_ahead_is_decided_upon_by_itself(people: People, compose_gold: Compose) -> None:
    gold = [compose_gold(1)]
    both = [
        [gold_is_due(annotator=annotator, gold=gold, share=0.5, ahead=ahead) for ahead in (0, 1)]
        for annotator in people(400)
    ]
    assert 60 < sum(now and then for now, then in both) < 140, (
        "100 are expected, with a standard deviation of 9"
    )


def test_gold_tasks_come_among_the_others_until_they_are_done(
    project: Project, people: People, compose: Compose, compose_gold: Compose
) -> None:
    project.gold_share = 0.5
    project.save()
    ordinary, gold = compose(40), compose_gold(5)
    (annotator,) = people(1)
    kinds = []
    while (place := next_assignment(annotator=annotator, project=project)) is not None:
        kinds.append(place.batch_id)
        answer_rightly(place) if place.batch_id == gold.pk else answer(place)
    assert kinds.count(gold.pk) == 5 and kinds.count(ordinary.pk) == 40
    assert kinds[-1] == ordinary.pk


def test_giving_a_task_back_does_not_change_whether_the_next_is_gold(
    project: Project, people: People, compose: Compose, compose_gold: Compose
) -> None:
    project.gold_share = 0.5
    project.save()
    compose(30), compose_gold(30)
    for annotator in people(10):
        first = take(annotator, project)
        return_lease(assignment=first, annotator=annotator, lease=first.lease)
        assert take(annotator, project).pk == first.pk


def test_nothing_that_an_annotator_is_shown_tells_gold_from_other_tasks(
    project: Project, people: People, compose: Compose, compose_gold: Compose, always_gold: None
) -> None:
    compose(1, responses_per_task=3), compose_gold(1)
    (annotator,) = people(1)
    gold = take(annotator, project)
    assert gold.task.gold_tiers is not None
    seen = blind_view(gold)
    answer_rightly(gold)
    ordinary = blind_view(take(annotator, project))
    assert seen.keys() == ordinary.keys()
    assert seen["qualification"] is ordinary["qualification"] is False
    assert "gold" not in str(seen) and str(gold.batch_id) not in str(seen["project"])


def ranks(annotator: User, project: Project, answers: str) -> None:
    """Rank a gold task for each letter: ``r``ightly or ``w``rongly."""
    for letter in answers:
        place = take(annotator, project)
        assert place.task.gold_tiers is not None
        (answer_rightly if letter == "r" else answer_wrongly)(place)


def paused(annotator: User) -> bool:
    return Membership.objects.get(user=annotator).paused_at is not None


def test_below_the_bar_after_five_gold_tasks_an_annotator_is_paused_and_told_why(
    project: Project, people: People, compose: Compose, compose_gold: Compose, always_gold: None
) -> None:
    compose(1, overlap=4), compose_gold(10)
    bad, good, unlucky = people(3)
    ranks(bad, project, "wwww")
    assert not paused(bad), "four say too little"
    ranks(bad, project, "w")
    ranks(good, project, "rrrww")
    ranks(unlucky, project, "wrwrw")

    assert paused(bad) and not paused(good), "the bar itself is enough"
    assert not paused(unlucky), "somebody at the bar has two of five right often enough"
    with pytest.raises(Refusal, match="latest 5 tasks whose answer is known, 0 % were ordered"):
        next_assignment(annotator=bad, project=project)
    assert bad.rankings.count() == 5
    assert FEWEST == 5


def test_a_good_start_neither_hides_for_long_what_comes_after_nor_counts_for_the_accuracy(
    project: Project, people: People, compose: Compose, compose_gold: Compose, always_gold: None
) -> None:
    compose(1, overlap=3), compose_gold(WINDOW + 20)
    (annotator,) = people(1)
    ranks(annotator, project, "r" * 20 + "w" * 5)
    assert not paused(annotator), "five in a row come to everybody at the bar one day"
    while not paused(annotator):
        ranks(annotator, project, "w")
    wrong = annotator.rankings.count() - 20
    assert wrong <= 12
    tasks, result = gold_result(Membership.objects.get(user=annotator))
    assert (tasks, result.share) == (WINDOW, (WINDOW - wrong) / WINDOW)
    with pytest.raises(Refusal, match=f"latest {wrong} tasks whose answer is known, 0 % were ordered"):
        next_assignment(annotator=annotator, project=project)


def test_a_paused_annotators_places_are_open_for_others_at_once(
    project: Project, people: People, compose: Compose, compose_gold: Compose, always_gold: None
) -> None:
    compose(2), compose_gold(FEWEST)
    (bad,) = people(1)
    ranks(bad, project, "w" * (FEWEST - 1))
    last = take(bad, project)
    # A second lease, as a page holds that fetches a task ahead.
    ahead = Assignment.objects.filter(task__gold_tiers__isnull=True, state="open").earliest("pk")
    ahead.state, ahead.annotator, ahead.lease = "leased", bad, uuid.uuid4()
    ahead.leased_at = ahead.leased_until = last.leased_until
    ahead.save()

    answer_wrongly(last)

    ahead.refresh_from_db()
    assert (ahead.state, ahead.annotator_id, ahead.lease) == ("open", None, None)
    assert bad.rankings.count() == FEWEST


def change(place: Assignment, *, rightly: bool) -> None:
    """Amend the answer to a gold task to what is known, or to the other way round."""
    known = place.task.gold_tiers
    tiers = known if rightly else known[::-1]
    amend(annotator=place.annotator, assignment_id=place.pk, key=uuid.uuid4(), tiers=tiers)


def test_an_answer_that_is_mended_at_once_counts_as_mended(
    project: Project, people: People, compose: Compose, compose_gold: Compose, always_gold: None
) -> None:
    compose(1), compose_gold(FEWEST)
    (annotator,) = people(1)
    for _ in range(FEWEST):
        place = take(annotator, project)
        answer_wrongly(place)
        change(place, rightly=False)
        change(place, rightly=True)

    assert gold_result(Membership.objects.get(user=annotator)) == (FEWEST, AsKnown(3 * FEWEST, 3 * FEWEST))


def test_an_answer_that_is_amended_after_the_next_one_counts_as_it_was(
    project: Project, people: People, compose: Compose, compose_gold: Compose, always_gold: None
) -> None:
    compose(1, overlap=2), compose_gold(4)
    learnt, spoilt = people(2)
    ranks(learnt, project, "wwww")
    ranks(spoilt, project, "rrrr")
    for annotator in (learnt, spoilt):
        answer(take(annotator, project))  # of a task whose answer nobody knows
        for place in Assignment.objects.filter(annotator=annotator, task__gold_tiers__isnull=False):
            change(place, rightly=annotator == learnt)

    results = {who: gold_result(Membership.objects.get(user=who)) for who in (learnt, spoilt)}
    assert results == {learnt: (4, AsKnown(0, 12)), spoilt: (4, AsKnown(12, 12))}


@pytest.mark.django_db(transaction=True)
def test_what_is_amended_after_a_pause_told_how_one_does_does_not_count(
    project: Project, people: People, compose: Compose, compose_gold: Compose, always_gold: None
) -> None:
    compose(1), compose_gold(FEWEST)
    (annotator,) = people(1)
    ranks(annotator, project, "wwwww")
    assert paused(annotator)
    told = gold_result(Membership.objects.get(user=annotator))

    for place in Assignment.objects.filter(annotator=annotator, state="submitted"):
        change(place, rightly=True)

    assert gold_result(Membership.objects.get(user=annotator)) == told == (FEWEST, AsKnown(0, 15))


@pytest.mark.django_db(transaction=True)
def test_an_old_gold_answer_that_is_amended_does_not_count_anew(
    project: Project, people: People, compose: Compose, compose_gold: Compose, always_gold: None
) -> None:
    compose(1), compose_gold(FEWEST)
    (annotator,) = people(1)
    ranks(annotator, project, "wwwww")
    lift_pause(project=project, user=annotator)

    for place in Assignment.objects.filter(annotator=annotator, state="submitted"):
        change(place, rightly=True)

    assert gold_result(Membership.objects.get(user=annotator)) == (0, AsKnown())


@pytest.mark.django_db(transaction=True)
def test_with_the_pause_lifted_an_annotator_is_measured_anew(
    project: Project, people: People, compose: Compose, compose_gold: Compose, always_gold: None
) -> None:
    compose(1), compose_gold(20)
    (annotator,) = people(1)
    ranks(annotator, project, "wwwww")

    lift_pause(project=project, user=annotator)

    assert gold_result(Membership.objects.get(user=annotator)) == (0, AsKnown())
    ranks(annotator, project, "wwww")
    assert not paused(annotator)
    ranks(annotator, project, "w")
    assert paused(annotator)


def test_managers_get_no_gold_tasks(
    project: Project, manager: User, compose: Compose, compose_gold: Compose, always_gold: None
) -> None:
    ordinary = compose(1, overlap=2)
    compose_gold(1)
    admin = create_user(username="admin", superuser=True)
    assert {take(user, project).batch_id for user in (manager, admin)} == {ordinary.pk}


def test_a_task_of_another_batch_whose_answer_became_known_pauses_nobody(
    project: Project, people: People, compose: Compose
) -> None:
    batch = compose(FEWEST)
    (annotator,) = people(1)
    places = []
    while (place := next_assignment(annotator=annotator, project=project)) is not None:
        answer(place)
        places.append(place)
    batch.tasks.update(gold_tiers=[[3], [1], [0], [2]])
    amend(annotator=annotator, assignment_id=places[0].pk, key=uuid.uuid4(), tiers=[[2], [0], [1], [3]])
    assert not paused(annotator)
    assert Batch.objects.get(pk=batch.pk).kind == "annotation"
