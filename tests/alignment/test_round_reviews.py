"""A round waits for the review that its settings ask for, and for no more; a manager may go on without."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from alignment.models import Round
from alignment.recipes import check_recipe
from alignment.round_reviews import ASKED, review_awaited
from alignment.rounds import advance_round, close_annotation, start_round, waive_review
from alignment.simulated_annotators import Habits, hire, work_off
from annotation.models import Flag, Project, Ranking, Review, Source, Task, User
from annotation.projects import add_member, create_user, update_project
from annotation.refusals import Refusal
from annotation.review_queue import Reason
from annotation.reviewing import review_task
from annotation.showing_reviews import version_of
from annotation.submitting import amend, current_rankings
from tests.alignment.conftest import advanced, bring_to, length
from tests.annotation.parallel import all_at_once
from training.models import Run

State = Round.State
# Reviews are told apart from later rankings by their time, which stands still within a transaction.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def reviewer(project: Project) -> User:
    update_project(project=project, review_share=0.0)
    user = create_user(username="rita")
    add_member(project=project, user=user, role="reviewer")
    return user


@pytest.fixture
def ranked(project: Project, source: Source, reviewer: User) -> Any:
    """Brings a round to where all is ranked: by all alike, but for the first task if it is to be divided."""

    def make(review: str, *, divided: bool = False, annotators: int = 2, overlap: int = 2) -> Round:
        settings = {"annotation": {"review": review}}
        round = bring_to(
            start_round(project=project, tasks=8, overlap=overlap, settings=settings), State.ANNOTATING
        )
        rank(round, annotators)
        if divided:
            task = round.batch.tasks.order_by("pk")[0]
            ranking = current_rankings(Ranking.objects.filter(task=task)).order_by("pk")[0]
            change(ranking, ranking.tiers[::-1])
        return round

    return make


def rank(round: Round, annotators: int) -> None:
    hired = hire(round.project, annotators, seed=0)
    for annotator in hired:
        annotator.habits = Habits(noise=0, primacy=0, tie_width=0, slips=0)
    list(work_off(round.batch, hired, length))


def change(ranking: Ranking, tiers: list[list[int]]) -> Ranking:
    return amend(
        annotator=ranking.annotator, assignment_id=ranking.assignment_id, key=uuid.uuid4(), tiers=tiers
    )


def flagged(round: Round) -> Task:
    task = round.batch.tasks.order_by("pk")[2]
    Flag.objects.create(ranking=task.rankings.earliest("pk"), position=0, kind="unsafe")
    return task


def judge(reviewer: User, task: Task, verdict: str = "accepted", **fields: Any) -> Review:
    return review_task(
        reviewer=reviewer, task_id=task.pk, version=version_of(task), verdict=verdict, **fields
    )


def test_unless_asked_a_round_waits_for_no_review(ranked: Any) -> None:
    round = ranked("none", divided=True)
    flagged(round)
    assert review_awaited(round) is None
    assert advanced(round).state == State.TRAINING


def test_a_round_waits_for_the_reasons_that_it_was_told(ranked: Any, reviewer: User) -> None:
    round = ranked("flagged", divided=True)
    task = flagged(round)
    for _ in range(2):
        assert advanced(round).state == State.ANNOTATING
    awaited = review_awaited(round)
    assert awaited is not None and (awaited.tasks, awaited.returned) == (1, 0)
    assert awaited.reasons == {Reason.FLAGGED: 1}
    assert round.batch.state == "open", "what is returned can be amended"

    judge(reviewer, task)

    assert advanced(round).state == State.TRAINING, "a divided task does not keep it"
    round.batch.refresh_from_db()
    assert round.batch.state == "closed" and round.review_waived_at is None


def test_a_round_may_wait_for_all_that_the_queue_holds(ranked: Any, reviewer: User) -> None:
    round = ranked("all", divided=True)
    first, divided = flagged(round), round.batch.tasks.order_by("pk")[0]
    awaited = review_awaited(round)
    assert awaited is not None and awaited.tasks == 2
    assert awaited.reasons == {Reason.FLAGGED: 1, Reason.LOW_AGREEMENT: 1}
    judge(reviewer, first)
    assert advanced(round).state == State.ANNOTATING
    judge(reviewer, divided, "adjudicated", tiers=divided.rankings.latest("pk").tiers)
    assert advanced(round).state == State.TRAINING


def test_a_returned_ranking_is_waited_for_and_looked_at_again(ranked: Any, reviewer: User) -> None:
    round = ranked("flagged")
    task = flagged(round)
    ranking = current_rankings(Ranking.objects.filter(task=task)).order_by("pk")[0]
    judge(reviewer, task, "returned", ranking_id=ranking.pk, note="Read the first one again.")
    assert advanced(round).state == State.ANNOTATING
    awaited = review_awaited(round)
    assert awaited is not None and (awaited.tasks, awaited.returned, awaited.left) == (0, 1, 1)

    change(ranking, ranking.tiers[::-1])

    assert advanced(round).state == State.ANNOTATING
    awaited = review_awaited(round)
    assert awaited is not None and (awaited.reasons, awaited.returned) == ({Reason.AMENDED: 1}, 0)
    judge(reviewer, task)
    assert advanced(round).state == State.TRAINING


def test_while_places_are_open_a_round_waits_for_people_and_then_for_the_review(
    ranked: Any, reviewer: User, manager: User
) -> None:
    round = ranked("flagged", annotators=2, overlap=3)
    task = flagged(round)
    assert review_awaited(round) is None and advanced(round).state == State.ANNOTATING
    with pytest.raises(Refusal, match="waits for no review"):
        waive_review(round=round, by=manager)
    close_annotation(round=round, by=manager)
    assert advanced(round).state == State.ANNOTATING
    judge(reviewer, task)
    assert advanced(round).state == State.TRAINING


def test_a_manager_goes_on_without_the_review_and_it_is_recorded(
    ranked: Any, reviewer: User, manager: User
) -> None:
    round = ranked("all", divided=True)
    flagged(round)
    with pytest.raises(Refusal) as refused:
        waive_review(round=round, by=reviewer)
    assert refused.value.code == "forbidden"

    waive_review(round=round, by=manager)

    assert advanced(round).state == State.TRAINING
    assert (round.review_waived_by, round.review_left) == (manager, 2)
    assert round.review_waived_at is not None
    with pytest.raises(Refusal, match="waits for no review"):
        waive_review(round=round, by=manager)


def test_the_round_is_looked_at_as_soon_as_a_verdict_came(
    ranked: Any, reviewer: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    round = ranked("flagged")
    task = flagged(round)
    asked: list[int] = []
    monkeypatch.setattr("alignment.receivers.advance_soon", asked.append)
    judge(reviewer, task)
    assert asked == [round.pk]


def test_of_a_return_and_the_rounds_next_step_at_once_one_comes_first(
    ranked: Any, project: Project, reviewer: User
) -> None:
    """Either the ranking is returned, and the round waits for it; or the batch is closed, and it is not returned."""
    round = ranked("all")
    task = round.batch.tasks.order_by("pk")[0]
    ranking = current_rankings(Ranking.objects.filter(task=task)).order_by("pk")[0]
    version = version_of(task)

    _, verdict = all_at_once(
        [
            lambda: advance_round(round.pk),
            lambda: review_task(
                reviewer=reviewer,
                task_id=task.pk,
                version=version,
                verdict="returned",
                ranking_id=ranking.pk,
                note="Read it again.",
            ),
        ]
    )

    advanced(round)
    round.batch.refresh_from_db()
    if isinstance(verdict, Refusal):
        assert (verdict.code, round.state, round.batch.state) == ("closed", State.TRAINING, "closed")
    else:
        assert (round.state, round.batch.state) == (State.ANNOTATING, "open")
        assert not Run.objects.exclude(kind=Run.Kind.SAMPLE).exists()


def test_every_reason_of_the_queue_can_be_waited_for() -> None:
    assert ASKED["all"] == set(Reason) and ASKED["none"] == set()
    for review in ASKED:
        assert check_recipe("dpo", {"annotation": {"review": review}})["annotation"]["review"] == review
    with pytest.raises(Refusal, match="must be one of none, flagged, all"):
        check_recipe("dpo", {"annotation": {"review": "some"}})
