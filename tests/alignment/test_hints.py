"""What brings a round on at once: the end of a run, and a batch's last ranking."""

from __future__ import annotations

from typing import Any

import pytest

from alignment import hints
from alignment.models import Round
from alignment.rounds import start_round
from annotation.models import Project, Source
from tests.alignment.conftest import bring_to, finish_sampling, rank_all, waiting

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    messages: list[tuple[Any, ...]] = []
    monkeypatch.setattr(hints, "send_hint", lambda *arguments, queue: messages.append((*arguments, queue)))
    return messages


def test_a_start_the_end_of_a_run_and_a_full_batch_each_send_for_their_round(
    project: Project, source: Source, sent: list[tuple[Any, ...]]
) -> None:
    round = start_round(project=project, tasks=4, overlap=1)
    message = ("alignment.tasks.advance_round", round.pk, "default")
    assert sent == [message]
    bring_to(round, Round.State.SAMPLING)
    assert waiting(round)
    sent.clear()
    finish_sampling(round)
    assert sent == [message]
    bring_to(round, Round.State.ANNOTATING)
    sent.clear()
    rank_all(round.batch, annotators=1)
    assert sent == [message]
