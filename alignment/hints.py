"""Messages that say "look at this now". They may be lost: the scheduler's tick looks at everything anyway."""

from __future__ import annotations

from functools import partial

from django.db import transaction

from config.hints import send_hint


def advance_soon(round_id: int) -> None:
    """Ask a worker, once this transaction is committed, to advance the round."""
    transaction.on_commit(
        partial(send_hint, "alignment.tasks.advance_round", round_id, queue="default"), robust=True
    )


def take_in_soon(judging_id: int) -> None:
    """Ask a worker, once this transaction is committed, to store what a judge's run answered."""
    transaction.on_commit(
        partial(send_hint, "alignment.tasks.take_in_judging", judging_id, queue="default"), robust=True
    )
