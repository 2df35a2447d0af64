"""Managers have datasets uploaded to the Hub by programs; nobody sees the token again."""

from __future__ import annotations

from alignment.models import HubPush
from tests.api.world import World


def test_an_upload_is_asked_for_and_followed(world: World) -> None:
    client = world.client("manager")
    address = f"/api/v1/datasets/{world.dataset.pk}/hub-pushes"
    made = client.post(address, {"repository": "acme/answers", "token": "hf_secret", "shapes": ["pairs"]})
    assert made.status_code == 201 and made.json()["state"] == "queued" and made.json()["private"] is True
    listed = world.client("reviewer").get(address)
    assert listed.json()["results"] == [made.json()]
    assert "hf_secret" not in listed.content.decode() + made.content.decode()
    again = client.post(address, {"repository": "acme/answers", "token": "hf_secret"})
    assert again.status_code == 409 and HubPush.objects.count() == 1


def test_a_wrong_repository_is_refused_by_its_name(world: World) -> None:
    address = f"/api/v1/datasets/{world.dataset.pk}/hub-pushes"
    refused = world.client("manager").post(address, {"repository": "answers", "token": "hf_secret"})
    assert refused.status_code == 422 and refused.json()["errors"][0]["field"] == "repository"
    assert "hf_secret" not in refused.content.decode() and not HubPush.objects.exists()
