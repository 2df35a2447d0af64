"""Webhooks are made, changed and ended by managers, with a sentence for each wrong address."""

from __future__ import annotations

from typing import Any

import pytest

from alignment import webhooks
from alignment.models import Delivery, Project, Webhook
from alignment.webhooks import MOST_WEBHOOKS, change_webhook, create_webhook
from annotation.refusals import Refusal

pytestmark = pytest.mark.django_db
URL = "https://hooks.example.org/rankloop?team=7"


@pytest.fixture(autouse=True)
def public_only(settings: Any) -> None:
    settings.RANKLOOP_WEBHOOK_NETWORKS = []


@pytest.fixture
def webhook(project: Project) -> Webhook:
    return create_webhook(project=project, name=" builds ", url=f" {URL}\n", events=["run.ended"])


def test_a_webhook_has_a_secret_of_its_own(webhook: Webhook, project: Project) -> None:
    other = create_webhook(project=project, name="other", url=URL, events=["run.ended", "batch.finished"])
    assert webhook.name == "builds" and webhook.url == URL
    assert other.events == ["batch.finished", "run.ended"]
    assert webhook.secret.startswith("whsec_") and webhook.secret != other.secret


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example.org",
        "ftp://example.org",
        "file:///etc/passwd",
        "https://",
        "https://anna:hidden@example.org",
        "https://example.org/#part",
        "https://example.org/a b",
        "https://example.org:0/",
        "https://example.org:99999/",
        "https://exämple.org/",
        "https://example.org\\@127.0.0.1/",
        "https://[::1",
        "https://example.org/" + "x" * 500,
        "http://localhost:8000/",
        "http://127.0.0.1/",
        "http://[::1]/",
        "http://169.254.169.254/latest/meta-data/",
    ],
)
def test_an_address_that_is_none_to_send_to_is_refused(project: Project, url: str) -> None:
    with pytest.raises(Refusal) as refused:
        create_webhook(project=project, name="builds", url=url, events=["run.ended"])
    assert refused.value.field == "url" and refused.value.code == "invalid"
    assert not project.webhooks.exists()


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "builds"}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"events": []}, "events"),
        ({"events": ["batch.begun"]}, "events"),
        ({"events": ["webhook.test"]}, "events"),
    ],
)
def test_wrong_names_and_events_are_refused(
    project: Project, webhook: Webhook, wrong: dict[str, Any], field: str
) -> None:
    with pytest.raises(Refusal) as refused:
        create_webhook(project=project, **{"name": "new", "url": URL, "events": ["run.ended"]} | wrong)
    assert refused.value.field == field
    assert project.webhooks.count() == 1


def test_there_is_an_end_to_webhooks(project: Project) -> None:
    for number in range(MOST_WEBHOOKS):
        create_webhook(project=project, name=f"w{number}", url=URL, events=["run.ended"])
    with pytest.raises(Refusal, match="at most 20"):
        create_webhook(project=project, name="one more", url=URL, events=["run.ended"])


def test_a_change_changes_what_is_given_alone(webhook: Webhook) -> None:
    changed = change_webhook(webhook, url="https://new.example.org")
    assert (changed.name, changed.url, changed.events) == ("builds", "https://new.example.org", ["run.ended"])
    with pytest.raises(Refusal):
        change_webhook(webhook, name="better", url="http://10.0.0.1")
    webhook.refresh_from_db()
    assert webhook.name == "builds"


def test_a_paused_webhook_is_not_tested(webhook: Webhook) -> None:
    webhooks.pause_webhook(webhook)
    with pytest.raises(Refusal, match="paused"):
        webhooks.make_test(webhook)
    assert not Delivery.objects.exists()
    assert webhooks.resume_webhook(webhook).paused_at is None
