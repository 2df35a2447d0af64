"""Managers make webhooks, try them, and see what was delivered."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from alignment import webhooks
from alignment.models import Delivery, Webhook
from alignment.webhooks import create_webhook, delete_webhook, make_test
from annotation.models import Project
from tests.alignment.receiver import receiver

pytestmark = pytest.mark.django_db

AsRole = Callable[[str], Client]
EVENTS = ["batch.finished", "round.decided"]


@pytest.fixture
def webhook(project: Project, settings: Any) -> Webhook:
    settings.RANKLOOP_WEBHOOK_NETWORKS = [ipaddress.ip_network("127.0.0.1")]
    return create_webhook(project=project, name="Builds", url="https://hooks.invalid/", events=EVENTS)


def address(project: Project, rest: str = "") -> str:
    return f"/projects/{project.slug}/webhooks/{rest}"


def test_a_manager_makes_a_webhook_and_sees_its_secret_once(project: Project, as_role: AsRole) -> None:
    manager = as_role("manager")
    empty = manager.get(address(project)).content.decode()
    assert "No webhooks yet" in empty
    made = manager.post(
        address(project), {"name": "Builds", "url": "https://hooks.example.org/", "events": EVENTS}
    )
    webhook = project.webhooks.get()
    assert webhook.secret in made.content.decode() and "no-store" in made["Cache-Control"]
    assert webhook.events == EVENTS and webhook.created_by.username == "manager"
    for page in (address(project), address(project, f"{webhook.pk}/")):
        assert webhook.secret not in manager.get(page).content.decode()
    rotated = manager.post(address(project, f"{webhook.pk}/secret/")).content.decode()
    assert webhook.secret not in rotated
    webhook.refresh_from_db()
    assert webhook.secret in rotated


def test_a_private_address_is_refused_at_its_field(project: Project, as_role: AsRole) -> None:
    refused = as_role("manager").post(
        address(project), {"name": "Builds", "url": "http://10.0.0.1/", "events": EVENTS}
    )
    assert refused.status_code == 422 and "RANKLOOP_WEBHOOK_NETWORKS" in refused.content.decode()
    assert not project.webhooks.exists()


@pytest.mark.parametrize("role", ["annotator", "reviewer"])
def test_webhooks_are_the_managers_own(
    project: Project, webhook: Webhook, as_role: AsRole, role: str
) -> None:
    for page in ("", f"{webhook.pk}/"):
        assert as_role(role).get(address(project, page)).status_code == 403
    assert as_role(role).post(address(project, f"{webhook.pk}/delete/")).status_code == 403
    assert Webhook.objects.filter(pk=webhook.pk).exists()


def test_a_test_tells_what_came_of_it_and_the_log_keeps_it(
    project: Project, webhook: Webhook, as_role: AsRole
) -> None:
    manager = as_role("manager")
    page = address(project, f"{webhook.pk}/")
    with receiver() as other_side:
        other_side.status, other_side.body = 500, b"<b>broken</b>"
        manager.post(page, {"name": "Builds", "url": other_side.url, "events": EVENTS})
        told = manager.post(f"{page}test/", follow=True).content.decode()
        assert "The test failed. It answered 500" in told
        other_side.status = 200
        assert "It answered 200" in manager.post(f"{page}test/", follow=True).content.decode()
    shown = manager.get(page).content.decode()
    assert "&lt;b&gt;broken&lt;/b&gt;" in shown and "<b>broken" not in shown
    failed = webhook.deliveries.get(state=Delivery.State.PENDING)
    assert str(failed.event_id) in manager.get(f"{page}?state=pending").content.decode()
    assert str(failed.event_id) not in manager.get(f"{page}?state=delivered").content.decode()
    again = manager.post(f"{page}{failed.pk}/resend/", follow=True).content.decode()
    assert "sent once more" in again


def test_a_webhook_is_paused_resumed_and_deleted(project: Project, webhook: Webhook, as_role: AsRole) -> None:
    manager = as_role("manager")
    page = address(project, f"{webhook.pk}/")
    paused = manager.post(f"{page}pause/", follow=True).content.decode()
    assert "Paused since" in paused and "Send a test" not in paused
    refused = manager.post(f"{page}test/", follow=True).content.decode()
    assert "is paused, so nothing is sent" in refused
    assert "Paused since" not in manager.post(f"{page}resume/", follow=True).content.decode()
    assert "is deleted" in manager.post(f"{page}delete/", follow=True).content.decode()
    assert not Webhook.objects.exists() and manager.get(page).status_code == 404


@pytest.mark.parametrize("act", ["secret", "resend"])
def test_a_webhook_that_is_deleted_at_that_moment_is_told_as_gone(
    project: Project, webhook: Webhook, as_role: AsRole, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    delivery = make_test(webhook)
    name = {"secret": "rotate_secret", "resend": "send_again"}[act]
    does = getattr(webhooks, name)

    def deleted_first(given: Any) -> Any:
        delete_webhook(webhook)
        return does(given)

    monkeypatch.setattr(webhooks, name, deleted_first)
    rest = {"secret": "secret/", "resend": f"{delivery.pk}/resend/"}[act]
    answer = as_role("manager").post(address(project, f"{webhook.pk}/{rest}"), follow=True)
    assert answer.redirect_chain == [(address(project), 302)]
    assert "The webhook was deleted at this moment." in answer.content.decode()


def test_another_projects_webhook_does_not_exist(webhook: Webhook, as_role: AsRole) -> None:
    outsider = as_role("outsider")
    assert outsider.get(f"/projects/{webhook.project.slug}/webhooks/{webhook.pk}/").status_code == 404
