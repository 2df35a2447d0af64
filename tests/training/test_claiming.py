"""A run is one worker's at a time, and only its holder writes."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from tests.training.conftest import MakeRun
from training import claiming
from training.models import Run

pytestmark = pytest.mark.django_db


def claim(run: Run) -> Run:
    claimed = claiming.claim(run_id=run.pk, worker="test:1")
    assert claimed is not None
    return claimed


@pytest.mark.django_db(transaction=True)
def test_of_eight_workers_that_claim_at_once_one_gets_the_run(make_run: MakeRun) -> None:
    run = make_run()
    together = threading.Barrier(8)

    def race(number: int) -> Run | None:
        try:
            connection.ensure_connection()
            together.wait()
            return claiming.claim(run_id=run.pk, worker=f"host:{number}")
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        claims = [won for won in pool.map(race, range(8)) if won is not None]
    run.refresh_from_db()
    assert [won.worker for won in claims] == [run.worker]
    assert (run.state, run.token) == ("running", 1)


def test_a_claim_leases_the_run_and_raises_the_token(make_run: MakeRun) -> None:
    run = make_run()
    before = timezone.now()
    claimed = claim(run)
    assert claimed.token == run.token + 1
    assert claimed.lease_until is not None and claimed.lease_until > before
    assert claimed.started_at is not None


def test_a_retry_that_is_not_due_is_not_claimed(make_run: MakeRun) -> None:
    run = make_run()
    Run.objects.filter(pk=run.pk).update(not_before=timezone.now() + timedelta(minutes=1))
    assert claiming.claim(run_id=run.pk, worker="test:1") is None
    assert Run.objects.get(pk=run.pk).state == "queued"


def test_a_stale_token_writes_nothing(make_run: MakeRun) -> None:
    run = make_run()
    stale = claim(run).token
    with claiming.held(run_id=run.pk, token=stale) as row:
        claiming.hand_back(row, reason="Lost.", counts=False)
    fresh = claim(run)
    before = Run.objects.values().get(pk=run.pk)
    with pytest.raises(claiming.ClaimLost), claiming.held(run_id=run.pk, token=stale) as row:
        claiming.renew(row)
        claiming.hand_back(row, reason="Written by the past.")
    assert Run.objects.values().get(pk=run.pk) == before
    assert fresh.token == stale + 1


def test_claims_without_progress_are_counted_and_progress_starts_the_count_again(make_run: MakeRun) -> None:
    run = make_run()
    Run.objects.filter(pk=run.pk).update(max_attempts=2)

    def end_claim(*, advanced: bool) -> Run:
        Run.objects.filter(pk=run.pk).update(not_before=timezone.now())
        token = claim(run).token
        Run.objects.filter(pk=run.pk).update(advanced=advanced)
        with claiming.held(run_id=run.pk, token=token) as row:
            claiming.hand_back(row, reason="It broke.")
        return Run.objects.get(pk=run.pk)

    assert [end_claim(advanced=a).attempts for a in (False, True, True, True, False)] == [1, 0, 0, 0, 1]
    failed = end_claim(advanced=False)
    assert failed.state == "failed"
    assert failed.reason == "It ended 2 times in a row without getting further. The last time: It broke."


def test_each_fruitless_attempt_waits_longer(make_run: MakeRun) -> None:
    run = make_run()
    Run.objects.filter(pk=run.pk).update(max_attempts=4)
    waits = []
    for _ in range(3):
        Run.objects.filter(pk=run.pk).update(not_before=timezone.now())
        token = claim(run).token
        before = timezone.now()
        with claiming.held(run_id=run.pk, token=token) as row:
            claiming.hand_back(row, reason="It broke.")
        waits.append((Run.objects.get(pk=run.pk).not_before - before).total_seconds())
    assert waits[0] >= claiming.BACKOFF_SECONDS
    assert waits[1] > 1.5 * waits[0] and waits[2] > 1.5 * waits[1]


def test_a_shutdown_of_the_worker_is_not_held_against_the_run(make_run: MakeRun) -> None:
    run = make_run()
    token = claim(run).token
    with claiming.held(run_id=run.pk, token=token) as row:
        claiming.hand_back(row, reason="Shut down.", counts=False)
    run.refresh_from_db()
    assert (run.state, run.attempts) == ("queued", 0)
    assert claiming.claim(run_id=run.pk, worker="test:2") is not None


def test_a_run_asked_to_be_cancelled_is_cancelled_when_it_is_handed_back(make_run: MakeRun) -> None:
    run = make_run()
    token = claim(run).token
    Run.objects.filter(pk=run.pk).update(cancel_requested=True, reason="Nobody needs it.")
    with claiming.held(run_id=run.pk, token=token) as row:
        claiming.hand_back(row, reason="Worker lost.")
    run.refresh_from_db()
    assert (run.state, run.reason) == ("cancelled", "Nobody needs it.")


def test_a_rolled_back_write_of_the_holder_leaves_the_claim_as_it_was(make_run: MakeRun) -> None:
    run = make_run()
    token = claim(run).token
    before = Run.objects.values().get(pk=run.pk)
    with pytest.raises(ZeroDivisionError), claiming.held(run_id=run.pk, token=token) as row:
        claiming.hand_back(row, reason="It broke.")
        raise ZeroDivisionError
    assert Run.objects.values().get(pk=run.pk) == before
    with transaction.atomic(), claiming.held(run_id=run.pk, token=token) as row:
        assert row.state == "running"
