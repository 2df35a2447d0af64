"""Who calls, and how they prove it."""

from __future__ import annotations

from datetime import timedelta

from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from annotation.models import ApiToken
from tests.api.world import World


def test_a_tokens_key_is_shown_once_and_works_until_it_is_revoked(world: World) -> None:
    client = Client()
    client.force_login(world.users["annotator"])

    issued = client.post("/api/v1/tokens", {"name": "laptop", "days": 30}, content_type="application/json")

    assert issued.status_code == 201
    key = issued.json()["token"]
    assert key.startswith("rl_") and key not in client.get("/api/v1/tokens").content.decode()
    other = APIClient()
    other.credentials(HTTP_AUTHORIZATION=f"Bearer {key}")
    assert other.get("/api/v1/me").json()["username"] == "annotator"
    assert client.delete(f"/api/v1/tokens/{issued.json()['id']}").status_code == 204
    assert other.get("/api/v1/me").status_code == 401


def test_a_token_makes_no_other_that_would_outlive_it(world: World) -> None:
    refused = world.client("annotator").post("/api/v1/tokens", {"name": "for ever"})

    assert refused.status_code == 403 and "Log in to issue API tokens" in refused.json()["detail"]
    assert not ApiToken.objects.filter(name="for ever").exists()


def test_an_expired_or_invented_token_is_refused_even_where_nobody_must_log_in(world: World) -> None:
    client = world.client("annotator")
    ApiToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert client.get("/api/v1/me").status_code == 401
    for header in ("Bearer", "Bearer ", "Bearer rl_nonsense", "Bearer \xff", "bearer  rl_x y"):
        client.credentials(HTTP_AUTHORIZATION=header)
        refused = client.get("/api/v1/")
        assert refused.status_code == 401
        assert refused["Content-Type"] == "application/problem+json"


def test_a_session_writes_only_with_its_csrf_token(world: World) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(world.users["manager"])
    assert browser.get("/api/v1/me").json()["username"] == "manager"

    refused = browser.post("/api/v1/projects", {"name": "New"}, content_type="application/json")

    assert refused.status_code == 403
    assert refused["Content-Type"] == "application/problem+json"
    assert "CSRF" in refused.json()["detail"]


def test_me_says_which_roles_the_caller_has(world: World) -> None:
    me = world.client("reviewer").get("/api/v1/me").json()
    assert me["memberships"] == [{"project": world.project.slug, "role": "reviewer"}]
