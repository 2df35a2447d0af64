"""A run goes only where the transition table lets it."""

from __future__ import annotations

from itertools import product

import pytest
from django.db import transaction
from django.utils import timezone

from tests.training.conftest import MakeRun
from training.models import Run
from training.refusals import Refusal
from training.signals import run_ended
from training.states import ENDED, TRANSITIONS, State, move

pytestmark = pytest.mark.django_db

LEGAL = {
    ("queued", "running"),
    ("queued", "cancelled"),
    ("running", "queued"),
    ("running", "succeeded"),
    ("running", "failed"),
    ("running", "cancelled"),
}


def in_state(make_run: MakeRun, state: str) -> Run:
    run = make_run()
    lease = timezone.now() if state == "running" else None
    Run.objects.filter(pk=run.pk).update(state=state, lease_until=lease)
    run.refresh_from_db()
    return run


@pytest.mark.parametrize(("before", "after"), list(product(State.values, State.values)))
def test_every_transition_is_made_or_refused_as_the_table_says(
    make_run: MakeRun, before: str, after: str
) -> None:
    run = in_state(make_run, before)
    changes = {"lease_until": timezone.now()} if after == "running" else {}
    if (before, after) in LEGAL:
        with transaction.atomic():
            move(run=run, to=State(after), reason="So be it.", **changes)
        run.refresh_from_db()
        assert (run.state, run.reason) == (after, "So be it.")
        assert (run.ended_at is not None) == (after in ENDED)
        assert (run.lease_until is not None) == (after == "running")
    else:
        unchanged = Run.objects.values().get(pk=run.pk)
        with pytest.raises(Refusal) as refused, transaction.atomic():
            move(run=run, to=State(after), reason="So be it.", **changes)
        assert refused.value.code == "conflict"
        assert Run.objects.values().get(pk=run.pk) == unchanged


def test_the_table_knows_every_state() -> None:
    assert set(TRANSITIONS) == set(State)
    assert {State.SUCCEEDED, State.FAILED, State.CANCELLED} == ENDED


def test_a_stale_row_cannot_move_a_run_that_has_moved(make_run: MakeRun) -> None:
    run = in_state(make_run, "running")
    Run.objects.filter(pk=run.pk).update(state="cancelled", lease_until=None)
    with pytest.raises(Refusal), transaction.atomic():
        move(run=run, to=State.SUCCEEDED, reason="")
    assert Run.objects.get(pk=run.pk).state == "cancelled"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("state", sorted(ENDED))
def test_the_end_is_announced_once_and_only_after_the_commit(make_run: MakeRun, state: State) -> None:
    run = in_state(make_run, "running")
    heard = []

    def listen(run: Run, **kwargs: object) -> None:
        heard.append((run.pk, run.state))

    run_ended.connect(listen)
    try:
        with transaction.atomic():
            move(run=run, to=state, reason="")
            assert heard == []
    finally:
        run_ended.disconnect(listen)
    assert heard == [(run.pk, state)]
