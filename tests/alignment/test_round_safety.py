"""A round under crashes and crowds: whatever happens, each step is done once and nothing is half done."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction

from alignment import round_batches, round_runs, round_steps, rounds
from alignment.models import Dataset, ModelVersion, Round, RoundRun, Scorecard
from alignment.rounds import advance_round, start_round
from alignment.tasks import advance_rounds
from annotation.models import Batch, Project, Source, User
from annotation.refusals import Refusal
from tests.alignment.conftest import advanced, finish, finish_evaluation, finish_sampling, rank_all, waiting
from training.models import Run

State = Round.State
pytestmark = pytest.mark.django_db(transaction=True)
VADER = "training.engine.oracles:vader"


class Crash(BaseException):
    """The process dies here."""


# Everything that a step calls and that could be the last thing a process did.
POINTS = [
    (round_runs, "create_run"),
    (round_steps, "store_draws"),
    (round_batches, "store_draws"),
    (round_batches, "compose_batch"),
    (round_steps, "build_dataset"),
    (round_steps, "register_artifact"),
    (round_steps, "record_scorecard"),
    (round_steps, "source_for"),
    (round_steps, "close_batch"),
    (round_steps, "move"),
]


STEPS = {
    "dpo": [("sampling", 1), ("training", 1), ("evaluating", 1)],
    "ppo": [("sampling", 1), ("rewarding", 1), ("training", 1), ("evaluating", 1)],
}


@pytest.fixture
def start(project: Project, source: Source) -> Any:
    def start(recipe: str) -> Round:
        by_oracle = {"judge": "oracle", "oracle": VADER, "decision": "interval"}
        return start_round(project=project, recipe=recipe, tasks=6, overlap=1, **by_oracle)

    return start


@pytest.fixture
def round(start: Any) -> Round:
    return start("dpo")


def help_along(round: Round) -> None:
    """Do what others would: end the runs that wait, rank what is there to rank."""
    for run in waiting(round):
        if run.kind == Run.Kind.SAMPLE:
            finish_sampling(round)
        elif run.kind in (Run.Kind.REWARD, Run.Kind.DPO, Run.Kind.PPO):
            finish(run, {"adapter": {}})
        else:
            finish_evaluation(round, win_rate=0.7, win_rate_low=0.6, win_rate_high=0.8)
    if round.state == State.ANNOTATING:
        rank_all(round.batch, annotators=1)


def assert_done_once(round: Round) -> None:
    assert round.state == State.PROMOTED
    steps = STEPS[round.recipe]
    assert list(RoundRun.objects.order_by("pk").values_list("step", "attempt")) == steps
    assert Run.objects.count() == len(steps) and Batch.objects.count() == 1 and round.batch.tasks.count() == 6
    assert Dataset.objects.count() == 1 and Scorecard.objects.count() == 1
    assert ModelVersion.objects.count() == 2 and Source.objects.count() == 2


@pytest.mark.parametrize("recipe", STEPS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_process_that_dies_anywhere_leaves_a_round_that_goes_on(
    start: Any, monkeypatch: pytest.MonkeyPatch, when: str, recipe: str
) -> None:
    round = start(recipe)
    died: set[tuple[str, str]] = set()

    def deadly(name: str, real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            place = name, Round.objects.get().state
            if place not in died:
                died.add(place)
                if when == "after":
                    real(*args, **kwargs)
                raise Crash
            return real(*args, **kwargs)

        return call

    for module, name in POINTS:
        monkeypatch.setattr(module, name, deadly(name, getattr(module, name)))
    crashes = 0
    while round.state not in Round.ENDED:
        try:
            advanced(round)
        except Crash:
            crashes += 1
            round.refresh_from_db()
        assert round.state != State.FAILED, round.reason
        help_along(round)
    assert crashes == len(died) and {name for name, _ in died} == {name for _, name in POINTS}
    asked_in = {state for name, state in died if name == "create_run"}
    assert asked_in == {step for step, _ in STEPS[recipe]}, "it died in every state that asks for a run"
    assert_done_once(round)


def test_many_who_advance_at_once_do_each_step_once(round: Round) -> None:
    failures: list[BaseException] = []

    def push() -> None:
        try:
            advance_round(round.pk)
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    while round.state not in Round.ENDED:
        crowd = [threading.Thread(target=push) for _ in range(6)]
        for one in crowd:
            one.start()
        for one in crowd:
            one.join()
        round.refresh_from_db()
        assert round.state != State.FAILED, round.reason
        help_along(round)
    assert not failures
    assert_done_once(round)


def test_who_acts_on_a_round_that_is_being_moved_on_is_told_so_and_does_not_wait(
    round: Round, manager: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "LOCK_WAIT", "50ms")
    held, done = threading.Event(), threading.Event()

    def step() -> None:
        with transaction.atomic():
            Round.objects.select_for_update().get(pk=round.pk)
            held.set()
            done.wait(60)
        connection.close()

    other = threading.Thread(target=step)
    other.start()
    assert held.wait(60)
    try:
        with pytest.raises(Refusal, match="being moved on at this moment") as refused:
            rounds.cancel_round(round=round, by=manager)
    finally:
        done.set()
        other.join()
    assert refused.value.code == "conflict"
    assert rounds.cancel_round(round=round, by=manager).state == State.CANCELLED


def test_waiting_for_a_rounds_lock_leaves_no_limit_on_other_locks(round: Round, manager: User) -> None:
    with connection.cursor() as cursor, transaction.atomic():
        cursor.execute("SHOW lock_timeout")
        before = cursor.fetchone()
        rounds.cancel_round(round=round, by=manager)
        cursor.execute("SHOW lock_timeout")
        assert cursor.fetchone() == before


def test_a_database_that_goes_away_is_no_failure_of_the_round(
    round: Round, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(**kwargs: Any) -> None:
        raise OperationalError("the connection is closed")

    with monkeypatch.context() as patch:
        patch.setattr(round_runs, "create_run", gone)
        with pytest.raises(OperationalError):
            advance_round(round.pk)
    assert advanced(round).state == State.SAMPLING and len(waiting(round)) == 1


def test_an_unexpected_failure_is_an_honest_one_that_can_be_retried(
    round: Round, monkeypatch: pytest.MonkeyPatch, manager: Any
) -> None:
    def full(**kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    finish_sampling(advanced(round))
    rank_all(advanced(round).batch, annotators=1)
    with monkeypatch.context() as patch:
        patch.setattr(round_steps, "build_dataset", full)
        assert advanced(round).state == State.FAILED
    assert "No space left on device" in round.reason and round.failed_in == State.BUILDING
    rounds.retry_round(round=round, by=manager)
    assert advanced(round).state == State.TRAINING


def test_one_round_that_cannot_be_advanced_does_not_hold_up_the_others(
    round: Round, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Project.objects.create(name="sick", slug="sick")
    Round.objects.create(pk=0, project=other, number=1, start_from=round.start_from)  # comes first
    real = rounds.advance_round

    def advance(round_id: int) -> Any:
        if round_id == 0:
            raise OperationalError("deadlock detected")
        return real(round_id)

    monkeypatch.setattr(rounds, "advance_round", advance)
    assert advance_rounds() == 2
    assert len(waiting(round)) == 1
