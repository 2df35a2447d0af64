"""Managers make webhooks by programs, see what came of each delivery, and have it sent again."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from alignment.models import Webhook
from tests.alignment.receiver import receiver
from tests.api.world import World


def test_a_webhooks_secret_is_in_the_answers_that_make_it_and_in_no_other(world: World) -> None:
    client = world.client("manager")
    given = {"name": "builds", "url": "https://hooks.example.org/", "events": ["run.ended"]}
    made = client.post(f"/api/v1/projects/{world.project.slug}/webhooks", given)
    assert made.status_code == 201
    secret = made.json()["secret"]
    address = f"/api/v1/webhooks/{made.json()['id']}"

    assert "secret" not in client.get(address).json()
    listed = client.get(f"/api/v1/projects/{world.project.slug}/webhooks")
    assert secret not in listed.content.decode() and listed.json()["count"] == 2
    rotated = client.post(f"{address}/rotate-secret").json()
    assert rotated["secret"] != secret and rotated["old_secret_until"]
    for other in (secret, rotated["secret"]):
        assert other not in client.get(address).content.decode()
        assert other not in client.get(f"{address}/deliveries").content.decode()


def test_a_webhook_is_changed_paused_resumed_and_deleted(world: World) -> None:
    client = world.client("manager")
    address = f"/api/v1/webhooks/{world.webhook.pk}"
    assert client.patch(address, {"name": "renamed"}).json()["name"] == "renamed"
    assert client.patch(address, {"paused": True}).json()["paused_at"]
    assert client.post(f"{address}/test").status_code == 409
    resumed = client.patch(address, {"paused": False}).json()
    assert resumed["paused_at"] is None and resumed["events"] == ["dataset.frozen"]
    assert client.delete(address).status_code == 204
    assert client.get(address).status_code == 404 and not Webhook.objects.exists()


@pytest.mark.parametrize(
    ("wrong", "field", "status"),
    [
        ({"url": "http://127.0.0.1/"}, "url", 422),
        ({"url": 7}, "url", 400),
        ({"events": ["batch.begun"]}, "events.0", 400),
        ({"events": []}, "events", 400),
        ({"secret": "mine"}, "secret", 400),
    ],
)
def test_a_wrong_webhook_is_refused_by_field(
    world: World, wrong: dict[str, Any], field: str, status: int
) -> None:
    given = {"name": "builds", "url": "https://hooks.example.org/", "events": ["run.ended"]} | wrong
    refused = world.client("manager").post(f"/api/v1/projects/{world.project.slug}/webhooks", given)
    assert refused.status_code == status
    assert refused.json()["errors"][0]["field"] == field
    assert Webhook.objects.count() == 1


def test_a_test_is_sent_at_once_and_what_came_of_it_is_told(world: World, settings: Any) -> None:
    settings.RANKLOOP_WEBHOOK_NETWORKS = [ipaddress.ip_network("127.0.0.1")]
    client = world.client("manager")
    with receiver() as other_side:
        client.patch(f"/api/v1/webhooks/{world.webhook.pk}", {"url": other_side.url})
        told = client.post(f"/api/v1/webhooks/{world.webhook.pk}/test").json()
        assert told["type"] == "webhook.test" and told["state"] == "delivered"
        assert other_side.taken[0][0]["webhook-id"] == told["event"]
        other_side.status = 500
        failed = client.post(f"/api/v1/webhooks/{world.webhook.pk}/test").json()
    assert failed["state"] == "pending" and failed["log"][0]["status"] == 500
    rows = client.get(f"/api/v1/webhooks/{world.webhook.pk}/deliveries?state=pending&type=webhook.test")
    assert [row["id"] for row in rows.json()["results"]] == [failed["id"]]


def test_a_private_address_is_told_by_the_test(world: World, settings: Any) -> None:
    settings.RANKLOOP_WEBHOOK_NETWORKS = []
    Webhook.objects.filter(pk=world.webhook.pk).update(url="http://127.0.0.1:9/")
    told = world.client("manager").post(f"/api/v1/webhooks/{world.webhook.pk}/test").json()
    assert told["state"] == "pending" and "RANKLOOP_WEBHOOK_NETWORKS" in told["log"][0]["error"]


def test_a_delivery_is_sent_again_under_its_id(world: World) -> None:
    again = world.client("manager").post(f"/api/v1/deliveries/{world.delivery.pk}/resend")
    assert again.status_code == 200
    assert again.json()["event"] == str(world.delivery.event_id) and again.json()["state"] == "pending"
