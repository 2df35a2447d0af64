"""Where a run may go from where it is: the one place that writes ``Run.state``."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from training.models import Run
from training.refusals import Refusal
from training.signals import run_ended, run_ending

State = Run.State

TRANSITIONS: dict[Run.State, frozenset[Run.State]] = {
    State.QUEUED: frozenset({State.RUNNING, State.CANCELLED}),
    State.RUNNING: frozenset({State.QUEUED, State.SUCCEEDED, State.FAILED, State.CANCELLED}),
    State.SUCCEEDED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
}
ENDED = frozenset(state for state, successors in TRANSITIONS.items() if not successors)


def move(*, run: Run, to: Run.State, reason: str, **changes: Any) -> None:
    """Move a run on and write ``changes`` with it; `run_ending`, and on commit `run_ended`, follow if it has ended.

    Args:
        run: its row, locked by the caller's transaction; it is updated in place.
        to: the new state.
        reason: why, in a sentence; may be empty where the state says it all.
        changes: further fields.

    Raises:
        Refusal: ``conflict``; nothing is changed.
    """
    changes |= {"state": to, "reason": reason}
    if to != State.RUNNING:
        changes["lease_until"] = None
    if to in ENDED:
        changes["ended_at"] = Now()
    legal = to in TRANSITIONS[State(run.state)]
    # The condition holds the table even for a caller whose row is stale.
    if not legal or not Run.objects.filter(pk=run.pk, state=run.state, token=run.token).update(**changes):
        raise Refusal("conflict", f"Run {run.pk} is {run.state} and cannot become {to}.", field="state")
    run.refresh_from_db()
    if to in ENDED:
        run_ending.send(sender=Run, run=run)
        transaction.on_commit(partial(run_ended.send_robust, sender=Run, run=run))
