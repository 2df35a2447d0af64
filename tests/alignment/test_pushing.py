"""Uploads that people ask for are carried out once, by whichever worker lives, and keep no token."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest
from django.db import DatabaseError
from django.utils import timezone

from alignment import pushing
from alignment.models import Dataset, HubPush, Round
from alignment.pushing import ask_push, carry_out, resend_lost
from alignment.rounds import start_round
from annotation.models import Project, Source
from annotation.refusals import Refusal
from tests.alignment.conftest import bring_to
from tests.alignment.hub_server import TOKEN, Hub, hub_server

pytestmark = pytest.mark.django_db


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub_server(monkeypatch) as hub:
        yield hub


@pytest.fixture
def dataset(project: Project, source: Source) -> Dataset:
    round = start_round(project=project, tasks=12, overlap=1, responses_per_task=3)
    return bring_to(round, Round.State.TRAINING).dataset


@pytest.fixture
def push(dataset: Dataset) -> HubPush:
    return ask_push(dataset, repository="acme/pairs", token=TOKEN, shapes=["pairs"])


def carried(push: HubPush) -> HubPush:
    done = carry_out(push.pk)
    assert done is not None
    return done


def test_the_token_is_sealed_while_it_waits_and_gone_afterwards(push: HubPush, hub: Hub) -> None:
    assert push.sealed_token and TOKEN not in push.sealed_token
    done = carried(push)
    assert (
        done.state == HubPush.State.SUCCEEDED and done.address == f"{hub.url}/datasets/acme/pairs/commit/abc"
    )
    assert done.sealed_token == "" and done.ended_at is not None
    assert set(hub.commits[0]) == {"README.md", "pairs/train.parquet", "pairs/held_out.parquet"}
    assert carry_out(push.pk) is None and len(hub.commits) == 1, "a second message does nothing"


def test_what_the_hub_refuses_is_the_uploads_reason(dataset: Dataset, hub: Hub) -> None:
    done = carried(ask_push(dataset, repository="acme/pairs", token="hf_wrong"))
    assert done.state == HubPush.State.FAILED and "does not know the token" in done.reason
    assert done.sealed_token == ""


def test_an_unexpected_failure_ends_it_without_the_token(
    push: HubPush, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **kwargs: object) -> str:
        raise KeyError("surprise")

    monkeypatch.setattr(pushing, "push_to_hub", broken)
    done = carried(push)
    assert done.state == HubPush.State.FAILED and "KeyError" in done.reason and not done.sealed_token


def test_another_secret_key_is_told(push: HubPush, hub: Hub, settings: object) -> None:
    settings.SECRET_KEY = "another"  # type: ignore[attr-defined]
    assert "RANKLOOP_SECRET_KEY has changed" in carried(push).reason


def test_the_same_upload_is_not_asked_for_twice_at_a_time(push: HubPush, dataset: Dataset, hub: Hub) -> None:
    with pytest.raises(Refusal, match="on its way to acme/pairs already"):
        ask_push(dataset, repository="acme/pairs", token=TOKEN)


def test_a_later_one_may_be_asked_for(push: HubPush, dataset: Dataset, hub: Hub) -> None:
    carried(push)
    assert ask_push(dataset, repository="acme/pairs", token=TOKEN).state == HubPush.State.QUEUED


def test_a_lost_worker_is_followed_by_another_but_not_for_ever(
    push: HubPush, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(*args: object, **kwargs: object) -> str:
        raise Killed

    asked: list[int] = []
    monkeypatch.setattr(pushing, "_send", lambda pk: asked.append(pk) or True)
    monkeypatch.setattr(pushing, "push_to_hub", die)
    for _ in range(pushing.MOST_ATTEMPTS):
        with pytest.raises(Killed):
            carry_out(push.pk)
        assert resend_lost() == 0 and carry_out(push.pk) is None, "its lease runs"
        HubPush.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
        assert resend_lost() == 1
    assert asked == [push.pk] * pushing.MOST_ATTEMPTS
    done = carried(push)
    assert done.state == HubPush.State.FAILED and "lost 3 times" in done.reason and not done.sealed_token


@pytest.mark.django_db(transaction=True)
def test_a_worker_renews_its_own_lease_alone_and_goes_on_after_an_error(
    push: HubPush, monkeypatch: pytest.MonkeyPatch
) -> None:
    over, asked = timezone.now() - timedelta(minutes=1), iter([DatabaseError("The server went away.")])

    def now() -> datetime:
        for error in asked:
            raise error
        return timezone.now()

    def lease() -> datetime:
        return HubPush.objects.get().lease_until

    monkeypatch.setattr(pushing, "RENEWED_EVERY", 0.01)
    monkeypatch.setattr(pushing, "timezone", SimpleNamespace(now=now))
    HubPush.objects.update(state=HubPush.State.RUNNING, attempts=1, lease_until=over)
    push.refresh_from_db()
    with pushing._renewed(push):
        deadline = time.monotonic() + 20
        while lease() == over and time.monotonic() < deadline:
            time.sleep(0.01)
    assert lease() > timezone.now()

    HubPush.objects.update(attempts=2, lease_until=over)
    with pushing._renewed(push):
        time.sleep(0.2)
    assert lease() == over, "another worker's"


def test_a_lost_message_is_sent_again(push: HubPush, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(pushing, "_send", lambda pk: asked.append(pk) or True)
    assert resend_lost() == 0
    HubPush.objects.update(created_at=timezone.now() - timedelta(minutes=2))
    assert resend_lost() == 1 and asked == [push.pk]
