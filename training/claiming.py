"""Who holds a run: a lease that is renewed, and a token that every write of the holder checks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce, Now

from training.models import Run
from training.states import State, move

LEASE_SECONDS = 30.0
"""A worker that was silent for so long is lost. Long enough for a database to be restarted under a run."""
BACKOFF_SECONDS = 2.0
"""Wait before the first retry of a run that got no further; it doubles with each."""
BACKOFF_SECONDS_AT_MOST = 300.0
LOSSES_AT_MOST = 10
"""A machine may be switched off, or lose its network, more often than an engine may crash; but a run that takes its
machine down each time must not go on for ever."""


class ClaimLost(Exception):
    """The run is no longer the caller's: it has ended, or another worker has claimed it. Nothing was written."""


def claim(*, run_id: UUID | str, worker: str) -> Run | None:
    """Take a run that is queued and due, for `LEASE_SECONDS`; None if it is not there to be taken.

    Args:
        run_id: the run's id.
        worker: who takes it, for people.
    """
    with transaction.atomic():
        # Of several callers one gets the row; the others find, once it has committed, that the run is not queued.
        due = Run.objects.filter(pk=run_id, state=State.QUEUED, not_before__lte=Now())
        run = due.select_for_update().first()
        if run is not None:
            move(
                run=run,
                to=State.RUNNING,
                reason="",
                token=run.token + 1,
                lease_until=_lease_from_now(),
                worker=worker,
                started_at=Coalesce("started_at", Now()),
                advanced=False,
            )
    return run


@contextmanager
def held(*, run_id: UUID, token: int) -> Iterator[Run]:
    """A transaction with the run's row locked, for its holder alone.

    Raises:
        ClaimLost: ``token`` is not the newest, or the run is not running any more.
    """
    with transaction.atomic():
        run = Run.objects.select_for_update().filter(pk=run_id, token=token, state=State.RUNNING).first()
        if run is None:
            raise ClaimLost(f"Run {run_id} is no longer held with token {token}.")
        yield run


def renew(run: Run) -> None:
    """Hold a run that is `held` for another `LEASE_SECONDS`."""
    Run.objects.filter(pk=run.pk).update(lease_until=_lease_from_now())


def hand_back(run: Run, *, reason: str, counts: bool = True, lost: bool = False) -> None:
    """End the claim of a running, locked run before the run's end: it is queued again, or has failed too often.

    Args:
        run: its row, locked.
        reason: what happened, in a sentence.
        counts: whether a claim without progress counts as an attempt; False where the run is not to blame.
        lost: whether nobody knows what happened, since the worker is gone: counted apart, up to `LOSSES_AT_MOST`.
    """
    attempts = 0 if run.advanced else run.attempts + (counts and not lost)
    losses = 0 if run.advanced else run.losses + lost
    fruitless = attempts + losses
    if run.cancel_requested:
        move(run=run, to=State.CANCELLED, reason=run.reason)
    elif attempts >= run.max_attempts:
        sentence = f"It ended {attempts} times in a row without getting further. The last time: {reason}"
        move(run=run, to=State.FAILED, reason=sentence, attempts=attempts, losses=losses)
    elif losses >= LOSSES_AT_MOST:
        sentence = (
            f"Its worker was lost {losses} times in a row before it got further. The last time: {reason}"
        )
        move(run=run, to=State.FAILED, reason=sentence, attempts=attempts, losses=losses)
    else:
        wait = min(BACKOFF_SECONDS * 2 ** (fruitless - 1), BACKOFF_SECONDS_AT_MOST) if fruitless else 0.0
        move(
            run=run,
            to=State.QUEUED,
            reason=reason,
            attempts=attempts,
            losses=losses,
            not_before=Now() + timedelta(seconds=wait),
            sent_at=None,
        )


def _lease_from_now() -> Combinable:
    return Now() + timedelta(seconds=LEASE_SECONDS)
