"""Waiting, in a rehearsal, for what workers do: with ticks of its own, and while the database is away for a moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from django.db import InterfaceError, OperationalError, connection

from training.models import Run
from training.sweeping import sweep

LOOK_SECONDS = 0.5
SWEEP_SECONDS = 5.0
AWAY_SECONDS = 120.0


class RehearsalFailed(Exception):
    """A round or a run failed, or a setting cannot work; the message is the sentence that says why."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What is happening: for a live display."""

    round: int
    phase: str
    done: int = 0
    total: int = 0
    loss: float | None = None


def wait_until(look: Callable[[], bool], number: int, tell: Callable[[Moment], None]) -> None:
    """Call ``look`` about twice a second until it returns true.

    Args:
        look: reads the database, and may write to it.
        number: the round's.
        tell: called where the database is waited for.

    Raises:
        RehearsalFailed: the database does not answer for `AWAY_SECONDS`.
    """
    swept, heard = 0.0, time.monotonic()
    while True:
        try:
            if time.monotonic() - swept > SWEEP_SECONDS:
                sweep()
                swept = time.monotonic()
            if look():
                return
            heard = time.monotonic()
        except (OperationalError, InterfaceError) as error:
            if time.monotonic() - heard > AWAY_SECONDS:
                raise RehearsalFailed(f"The database does not answer: {str(error).strip()}") from error
            connection.close()
            tell(Moment(number, "waiting for the database"))
        time.sleep(LOOK_SECONDS)


def moment_of(run: Run, number: int, doing: str) -> Moment:
    """Return what a running run is at.

    Args:
        run: its row.
        number: the round's.
        doing: said while the run says nothing itself.
    """
    if not run.phase:
        return Moment(number, f"{doing}: loading the model")
    loss = run.metrics.filter(name="loss").order_by("step").last()
    return Moment(number, run.phase, run.done, run.total, loss.value if loss else None)
