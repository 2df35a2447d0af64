"""An answer is taken once, kept for ever, and refused in a sentence that says why."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.db import connection

from annotation.batching import close_batch, pause_batch
from annotation.models import AspectRating, Assignment, Project, Ranking
from annotation.projects import remove_member, set_aspects, update_project
from annotation.refusals import Refusal
from annotation.signals import batch_completed
from annotation.submitting import amend, current_rankings, submit
from tests.annotation.conftest import ORDER, Compose, People, answer, run_out, take

pytestmark = pytest.mark.django_db


@pytest.fixture
def place(project: Project, people: People, compose: Compose) -> Assignment:
    """A place of a task with four responses, leased."""
    compose(1, overlap=2)
    return take(people(1)[0], project)


def send(place: Assignment, **changes: Any) -> Ranking:
    given = {
        "annotator": place.annotator,
        "assignment_id": place.pk,
        "lease": place.lease,
        "key": uuid.uuid4(),
        "tiers": ORDER,
    }
    return submit(**{**given, **changes})


def test_a_ranking_is_kept_as_given_with_what_was_shown(place: Assignment) -> None:
    ranking = send(place, tiers=[[2], [0, 3], [1]], rationale="2 is right.", seconds=31.5)

    kept = Ranking.objects.get(pk=ranking.pk)
    assert (kept.tiers, kept.rationale, kept.seconds) == ([[2], [0, 3], [1]], "2 is right.", 31.5)
    assert kept.shown_order == place.shown_order
    assert (kept.task_id, kept.annotator_id, kept.revision) == (place.task_id, place.annotator_id, 1)


def test_submitting_twice_with_one_key_is_submitting_once(place: Assignment) -> None:
    key = uuid.uuid4()
    first = send(place, key=key)
    assert send(place, key=str(key), tiers=[[0], [1], [2], [3]]).pk == first.pk
    assert Ranking.objects.get().tiers == ORDER


def test_an_expired_lease_that_another_took_cannot_be_answered(place: Assignment, people: People) -> None:
    run_out(place)
    (other,) = people(1)
    project = place.batch.project
    taken = take(other, project)
    while taken.pk != place.pk:
        answer(taken)
        (other,) = people(1)
        taken = take(other, project)

    with pytest.raises(Refusal, match="ran out and its place was given back") as refused:
        send(place)

    assert refused.value.code == "lease_lost"
    assert answer(taken).annotator == other


def test_a_lease_that_ended_is_not_revived_by_a_new_one_of_the_same_annotator(place: Assignment) -> None:
    run_out(place)
    again = take(place.annotator, place.batch.project)
    assert again.pk == place.pk
    with pytest.raises(Refusal) as refused:
        send(place)
    assert refused.value.code == "lease_lost"
    assert send(again).revision == 1


def test_a_late_answer_is_kept_while_the_place_is_still_theirs(place: Assignment) -> None:
    run_out(place)
    assert send(place).revision == 1


def test_an_amendment_is_a_new_revision_and_the_first_stays(place: Assignment) -> None:
    send(place)
    amended = amend(
        annotator=place.annotator, assignment_id=place.pk, key=uuid.uuid4(), tiers=[[0], [1], [2], [3]]
    )
    assert amended.revision == 2
    assert [r.tiers for r in place.rankings.order_by("revision")] == [ORDER, [[0], [1], [2], [3]]]
    assert list(current_rankings(place.batch)) == [amended]


def test_amending_twice_with_one_key_is_amending_once(place: Assignment) -> None:
    send(place)
    key = uuid.uuid4()
    again = [amend(annotator=place.annotator, assignment_id=place.pk, key=key, tiers=ORDER) for _ in range(2)]
    assert [ranking.revision for ranking in again] == [2, 2]


def test_nobody_amends_what_they_did_not_submit(place: Assignment, people: People) -> None:
    send(place)
    with pytest.raises(Refusal, match="none to amend"):
        amend(annotator=people(1)[0], assignment_id=place.pk, key=uuid.uuid4(), tiers=ORDER)


def test_a_closed_batch_takes_neither_rankings_nor_amendments(place: Assignment, people: People) -> None:
    second = take(people(1)[0], place.batch.project)
    send(place)
    close_batch(place.batch)
    with pytest.raises(Refusal, match="closed") as refused:
        amend(annotator=place.annotator, assignment_id=place.pk, key=uuid.uuid4(), tiers=ORDER)
    assert refused.value.code == "closed"
    with pytest.raises(Refusal, match="closed"):
        send(second)
    assert Ranking.objects.count() == 1


def test_a_paused_batch_still_takes_the_answers_of_leased_places(place: Assignment) -> None:
    pause_batch(place.batch)
    assert send(place).revision == 1


def test_a_second_submission_is_told_to_amend(place: Assignment) -> None:
    send(place)
    with pytest.raises(Refusal, match="already submitted"):
        send(place)


def test_a_removed_member_cannot_submit(place: Assignment) -> None:
    remove_member(project=place.batch.project, user=place.annotator)
    with pytest.raises(Refusal) as refused:
        send(place)
    assert refused.value.code == "forbidden"


def test_the_database_itself_refuses_to_change_or_delete_a_ranking(place: Assignment) -> None:
    ranking = send(place)
    for change in (
        "UPDATE annotation_ranking SET tiers = '[]' WHERE id = %s",
        "DELETE FROM annotation_ranking WHERE id = %s",
    ):
        with pytest.raises(Exception, match="never change"), connection.cursor() as cursor:
            cursor.execute("SAVEPOINT here")
            try:
                cursor.execute(change, [ranking.pk])
            finally:
                cursor.execute("ROLLBACK TO SAVEPOINT here")
    assert Ranking.objects.get().tiers == ORDER


@pytest.mark.parametrize(
    ("tiers", "sentence"),
    [
        ("2013", "must be a list of lists"),
        (None, "must be a list of lists"),
        ([2, 0, 1, 3], "Tier 1 must be a list"),
        ([[2], [], [0, 1, 3]], "Tier 2 is empty"),
        ([[2], [0], [1], [4]], r"Tier 4 holds 4; the task's response numbers are 0, 1, 2, 3"),
        ([[2], [0], [1], ["3"]], "Tier 4 holds '3'"),
        ([[True], [0], [2], [3]], "Tier 1 holds True"),
        ([[2.0], [0], [1], [3]], "Tier 1 holds 2.0"),
        ([[2], [0], [1], [-1]], "Tier 4 holds -1"),
        ([[2], [0], [1, 3], [2]], r"Response 2 \(C\) is ranked twice"),
        ([[2], [0]], r"Responses 1 \(B\), 3 \(D\) are not ranked"),
        ([[2], [0], [1]], r"Response 3 \(D\) is not ranked"),
    ],
)
def test_what_is_no_ranking_is_refused_in_a_sentence_and_the_place_stays_leased(
    place: Assignment, tiers: Any, sentence: str
) -> None:
    with pytest.raises(Refusal, match=sentence) as refused:
        send(place, tiers=tiers)
    assert refused.value.field == "tiers"
    assert Assignment.objects.get(pk=place.pk).lease == place.lease
    assert Ranking.objects.count() == 0


def test_ties_are_refused_where_the_project_wants_none(place: Assignment) -> None:
    update_project(project=place.batch.project, allow_ties=False)
    with pytest.raises(
        Refusal, match=r"Responses 0 \(A\), 3 \(D\) are tied; this project asks for an order without ties"
    ):
        send(place, tiers=[[2], [0, 3], [1]])


def test_responses_may_stay_unranked_where_the_project_allows_it(place: Assignment) -> None:
    update_project(project=place.batch.project, allow_partial=True)
    with pytest.raises(Refusal, match="compares at least two"):
        send(place, tiers=[[2]])
    assert send(place, tiers=[[2], [1]]).tiers == [[2], [1]]


def test_aspects_are_rated_apart_from_the_ranking(place: Assignment) -> None:
    set_aspects(
        project=place.batch.project,
        aspects=[
            {"name": "safety", "question": "Is it safe?", "steps": 3},
            {"name": "style", "question": "Does it read well?"},
        ],
    )
    ranking = send(place, ratings={"safety": {"0": 3, "1": 1}, "style": {2: 5}})
    rated = AspectRating.objects.filter(ranking=ranking).values_list("aspect__name", "position", "rating")
    assert set(rated) == {("safety", 0, 3), ("safety", 1, 1), ("style", 2, 5)}


@pytest.mark.parametrize(
    ("ratings", "sentence"),
    [
        ([], "must be an object"),
        ({"speed": {"0": 1}}, "no aspect 'speed'; it has safety"),
        ({"safety": 3}, "must be an object"),
        ({"safety": {"7": 1}}, "name the response '7', which the task does not have"),
        ({"safety": {"0": 4}}, "safety of response 0 \\(A\\) must be a whole number from 1 to 3, not 4"),
        ({"safety": {"0": "2"}}, "not '2'"),
        ({"safety": {"0": True}}, "not True"),
        ({"safety": {"0": 1, 0: 2}}, "rates response 0 \\(A\\) twice"),
    ],
)
def test_wrong_ratings_are_refused_and_nothing_is_kept(
    place: Assignment, ratings: Any, sentence: str
) -> None:
    set_aspects(
        project=place.batch.project,
        aspects=[{"name": "safety", "question": "Is it safe?", "steps": 3}],
    )
    with pytest.raises(Refusal, match=sentence):
        send(place, ratings=ratings)
    assert Ranking.objects.count() == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("key", "no-uuid"),
        ("rationale", "x" * 20_001),
        ("rationale", "a\x00b"),
        ("rationale", "\ud800"),
        ("seconds", -1),
        ("seconds", 10**400),
        ("seconds", 1e300),
        ("seconds", float("nan")),
        ("seconds", "12"),
    ],
)
def test_a_wrong_field_is_named(place: Assignment, field: str, value: Any) -> None:
    with pytest.raises(Refusal) as refused:
        send(place, **{field: value})
    assert refused.value.field == field


def test_the_last_answer_of_a_batch_is_told_to_other_rooms_once_committed(
    project: Project,
    people: People,
    compose: Compose,
    django_capture_on_commit_callbacks: Any,
) -> None:
    batch = compose(1, overlap=2)
    heard: list[int] = []

    def hear(batch_id: int, **kwargs: Any) -> None:
        heard.append(batch_id)

    batch_completed.connect(hear)
    for annotator, then in zip(people(2), ([], [batch.pk]), strict=True):
        with django_capture_on_commit_callbacks(execute=True):
            answer(take(annotator, project))
        assert heard == then
    batch_completed.disconnect(hear)
