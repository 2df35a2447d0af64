"""What happens is written once, with what it tells or not at all."""

from __future__ import annotations

import pytest
from django.db import transaction

from alignment import events
from alignment.datasets import build_dataset
from alignment.models import Event, Project, Round, Webhook
from alignment.rounds import advance_round, promote, start_round
from alignment.webhooks import create_webhook, pause_webhook
from annotation.batching import close_batch
from annotation.models import Batch, Source, User
from tests.alignment.conftest import bring_to, finish, waiting
from training.models import Run
from training.states import State

pytestmark = pytest.mark.django_db
ALL = ["batch.finished", "dataset.frozen", "run.ended", "round.decided"]


@pytest.fixture
def webhook(project: Project) -> Webhook:
    return create_webhook(project=project, name="builds", url="https://hooks.invalid/", events=ALL)


def told(type: str) -> list[Event]:
    return list(Event.objects.filter(type=type).order_by("created_at"))


def test_a_whole_round_is_told_once_each(
    project: Project, source: Source, manager: User, webhook: Webhook
) -> None:
    round = bring_to(start_round(project=project, tasks=12, overlap=1), Round.State.DECIDING)
    promote(round=round, by=manager)
    advance_round(round.pk)
    events.record_finished_batches()

    round.refresh_from_db()
    finished = told("batch.finished")
    assert {event.data["batch"] for event in finished} == {
        each for each in (round.batch_id, round.evaluation_batch_id) if each
    }
    assert len(finished) == len({event.subject for event in finished})
    (frozen,) = told("dataset.frozen")
    assert frozen.data["sha256"] == round.dataset.sha256
    ended = told("run.ended")
    assert {event.subject for event in ended} == {str(link.run_id) for link in round.round_runs.all()}
    assert all(event.data["state"] == "succeeded" and event.data["round"] == 1 for event in ended)
    (decided,) = told("round.decided")
    assert decided.data["state"] == "promoted" and decided.data["model_version"] == round.candidate_id
    assert webhook.deliveries.count() == Event.objects.count()


def test_what_is_undone_is_not_told(project: Project, source: Source, webhook: Webhook) -> None:
    round = bring_to(start_round(project=project, tasks=6, overlap=1), Round.State.ANNOTATING)
    before = Event.objects.count()
    with pytest.raises(RuntimeError), transaction.atomic():
        close_batch(round.batch)
        assert Event.objects.count() == before + 1
        raise RuntimeError("the power is cut")
    assert Event.objects.count() == before and webhook.deliveries.count() == before
    assert Batch.objects.get(pk=round.batch_id).state == Batch.State.OPEN


def test_an_end_that_cannot_be_told_is_none(
    project: Project, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run stays as it was: whoever ends it tries again."""
    round = start_round(project=project, tasks=6, overlap=1)
    advance_round(round.pk)
    (run, *_) = waiting(round)

    def broken(*args: object, **kwargs: object) -> None:
        raise OSError("no")

    monkeypatch.setattr("alignment.events._record", broken)
    with pytest.raises(OSError, match="no"), transaction.atomic():
        finish(run, state=State.FAILED, reason="It broke.")
    assert Run.objects.get(pk=run.pk).state == State.QUEUED and not told("run.ended")


def test_a_batch_whose_end_was_lost_is_found_by_the_scheduler_and_told_once(
    project: Project, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process died between the last answer and what it meant."""
    with monkeypatch.context() as patched:
        patched.setattr("alignment.events.batch_finished", lambda batch: None)
        round = bring_to(start_round(project=project, tasks=6, overlap=1), Round.State.TRAINING)
    assert told("batch.finished") == []
    assert events.record_finished_batches() == 1
    assert events.record_finished_batches() == 0
    assert [event.data["batch"] for event in told("batch.finished")] == [round.batch_id]


def test_freezing_the_same_again_tells_nothing_new(project: Project, source: Source) -> None:
    round = bring_to(start_round(project=project, tasks=12, overlap=1), Round.State.TRAINING)
    build_dataset(project=project, batches=[round.batch])
    assert len(told("dataset.frozen")) == 1


def test_a_run_of_no_project_is_nobodys_news(db: None) -> None:
    run = Run.objects.create(kind=Run.Kind.DPO, spec={}, project_id=987_654)
    finish(run)
    assert told("run.ended") == []


def test_a_webhook_gets_what_it_asked_for_and_a_paused_one_later(project: Project, source: Source) -> None:
    datasets = create_webhook(
        project=project, name="datasets", url="https://a.invalid", events=["dataset.frozen"]
    )
    paused = pause_webhook(
        create_webhook(project=project, name="paused", url="https://b.invalid", events=["batch.finished"])
    )
    bring_to(start_round(project=project, tasks=12, overlap=1), Round.State.TRAINING)
    assert [each.event.type for each in datasets.deliveries.all()] == ["dataset.frozen"]
    assert [each.event.type for each in paused.deliveries.all()] == ["batch.finished"]
