"""Hints may be lost: a sweep finds every run that needs attention."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from tests.training.conftest import MakeRun
from training import claiming, sweeping
from training.models import Run

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs that messages were sent for, in order; the real sender would need a broker to look into."""
    messages: list[str] = []

    def send(task: str, run_id: str, *, queue: str) -> bool:
        messages.append(run_id)
        return True

    monkeypatch.setattr("training.launching.send_hint", send)
    return messages


def held(run: Run, seconds: float) -> Run:
    """Claim the run; its lease has so many seconds to go."""
    claimed = claiming.claim(run_id=run.pk, worker="lost:1")
    assert claimed is not None
    Run.objects.filter(pk=run.pk).update(lease_until=timezone.now() + timedelta(seconds=seconds))
    return claimed


def test_a_run_whose_worker_is_lost_is_queued_again_and_gets_a_message(
    make_run: MakeRun, sent: list[str]
) -> None:
    run = make_run()
    Run.objects.filter(pk=run.pk).update(max_attempts=5)
    held(run, -1)
    Run.objects.filter(pk=run.pk).update(advanced=True)
    sent.clear()
    sweeping.sweep()
    run.refresh_from_db()
    assert (run.state, run.lease_until) == ("queued", None)
    assert "lost:1 was lost" in run.reason
    assert sent == [str(run.pk)]


def test_a_run_whose_lease_lasts_is_left_alone(make_run: MakeRun) -> None:
    run = make_run()
    held(run, 60)
    before = Run.objects.values().get(pk=run.pk)
    sweeping.sweep()
    assert Run.objects.values().get(pk=run.pk) == before


def test_a_lost_run_that_was_to_be_cancelled_is_cancelled(make_run: MakeRun) -> None:
    run = make_run()
    held(run, -1)
    Run.objects.filter(pk=run.pk).update(cancel_requested=True, reason="Nobody needs it.")
    sweeping.sweep()
    run.refresh_from_db()
    assert (run.state, run.reason) == ("cancelled", "Nobody needs it.")


def test_a_run_that_takes_its_worker_down_each_time_fails(make_run: MakeRun) -> None:
    run = make_run()
    for losses in range(claiming.LOSSES_AT_MOST):
        run.refresh_from_db()
        assert (run.state, run.losses, run.attempts) == ("queued", losses, 0), "not counted as crashes are"
        Run.objects.filter(pk=run.pk).update(not_before=timezone.now())
        held(run, -1)
        sweeping.sweep()
    run.refresh_from_db()
    assert run.state == "failed"
    assert "lost 10 times in a row" in run.reason and "lost:1 was lost" in run.reason


def test_losses_wait_longer_each_time_and_progress_starts_their_count_again(make_run: MakeRun) -> None:
    run = make_run()
    waits = []
    for advanced in (False, False, False, True):
        Run.objects.filter(pk=run.pk).update(not_before=timezone.now())
        held(run, -1)
        Run.objects.filter(pk=run.pk).update(advanced=advanced)
        before = timezone.now()
        sweeping.queue_lost()
        run.refresh_from_db()
        waits.append((run.not_before - before).total_seconds())
    assert waits[2] > 1.5 * waits[1] > 2 * waits[0] > 0
    assert run.losses == 0 and waits[3] < waits[0]


def test_a_message_is_sent_again_when_it_may_be_lost_and_not_before(
    make_run: MakeRun, sent: list[str]
) -> None:
    fresh, stale, never, later = (make_run() for _ in range(4))
    now = timezone.now()
    Run.objects.filter(pk=fresh.pk).update(sent_at=now)
    Run.objects.filter(pk=stale.pk).update(sent_at=now - timedelta(seconds=2 * sweeping.RESEND_SECONDS))
    Run.objects.filter(pk=never.pk).update(sent_at=None)
    Run.objects.filter(pk=later.pk).update(sent_at=None, not_before=now + timedelta(minutes=5))
    sent.clear()
    sweeping.sweep()
    assert sent == [str(stale.pk), str(never.pk)]
    sent.clear()
    sweeping.sweep()
    assert sent == []


def test_only_the_oldest_runs_of_each_queue_get_messages_again(make_run: MakeRun, sent: list[str]) -> None:
    many = [make_run(queue="busy") for _ in range(sweeping.HINTS_A_QUEUE + 2)]
    other = make_run(queue="idle")
    sent.clear()
    sweeping.sweep(older_than_seconds=0)
    assert sent == [str(run.pk) for run in [*many[: sweeping.HINTS_A_QUEUE], other]]
