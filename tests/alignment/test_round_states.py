"""Every way from one state of a round to another, allowed or not."""

from __future__ import annotations

from itertools import product

import pytest

from alignment.models import ModelVersion, Round
from alignment.round_states import TRANSITIONS, move
from annotation.models import Project
from annotation.refusals import Refusal

State = Round.State
pytestmark = pytest.mark.django_db


@pytest.fixture
def round(project: Project, base: ModelVersion) -> Round:
    return Round.objects.create(project=project, number=1, start_from=base)


def test_the_table_knows_every_state_and_lets_none_out_of_an_end() -> None:
    assert set(TRANSITIONS) == set(State)
    assert all(not TRANSITIONS[state] for state in Round.ENDED)
    assert all(TRANSITIONS[state] for state in State if state not in Round.ENDED)


@pytest.mark.parametrize(("before", "after"), list(product(State, State)), ids=lambda state: str(state))
def test_a_round_moves_along_the_table_and_no_other_way(round: Round, before: str, after: str) -> None:
    Round.objects.filter(pk=round.pk).update(state=before)
    round.refresh_from_db()
    if after in TRANSITIONS[before]:
        move(round, after, reason="So it is.")
    else:
        with pytest.raises(Refusal, match=f"it cannot become {after}"):
            move(round, after)
    round.refresh_from_db()
    moved = after in TRANSITIONS[before]
    assert round.state == (after if moved else before)
    assert round.failed_in == (before if moved and after == State.FAILED else "")
    assert (round.ended_at is not None) == (moved and after in Round.ENDED)
    assert round.reason == ("So it is." if moved else "")
