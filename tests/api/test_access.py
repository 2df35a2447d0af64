"""The table of endpoints is what is enforced: every endpoint, for everyone."""

from __future__ import annotations

from django.db import transaction
from rest_framework.response import Response

from annotation.api_access import Access
from config.api import ENDPOINTS, Endpoint, urlpatterns
from tests.api.world import World

CALLERS = {
    None: Access.ANYONE,
    "outsider": Access.SIGNED_IN,
    "annotator": Access.ANNOTATOR,
    "reviewer": Access.REVIEWER,
    "manager": Access.MANAGER,
    "admin": Access.CREATOR,
}


class _Undone(Exception):
    pass


def address(endpoint: Endpoint, world: World) -> str:
    token = world.users["annotator"].api_tokens.first()
    ids = {
        "tokens": token.pk if token else 1,
        "prompts": world.project.prompts.first().pk,
        "responses": world.new.responses.first().pk,
        "sources": world.old.pk,
        "batches": world.open.pk,
        "tasks": world.held.task_id,
        "assignments": world.held.public_id,
        "rankings": world.ranking.pk,
        "datasets": world.dataset.pk,
        "withdrawals": world.withdrawal.pk,
        "model-versions": world.base.pk,
        "rounds": world.round.pk,
        "scorecards": world.scorecard.pk,
        "runs": world.run.pk,
        "imports": world.imported.pk,
        "webhooks": world.webhook.pk,
        "deliveries": world.delivery.pk,
        "judges": world.judge.pk,
    }
    route = endpoint.route.replace("<slug:project>", world.project.slug)
    route = route.replace("<name:username>", "colleague").replace("<name:name>", "adapter")
    pk = str(ids.get(route.split("/")[0], ""))
    return f"/api/v1/{route}".replace("<int:pk>", pk).replace("<uuid:pk>", pk)


def called(world: World, who: str | None, endpoint: Endpoint) -> Response:
    client = world.client(who)
    try:
        with transaction.atomic():
            response = client.generic(
                endpoint.method, address(endpoint, world), content_type="application/json"
            )
            raise _Undone
    except _Undone:
        return response


def test_each_endpoint_is_open_to_its_role_and_those_above_and_to_nobody_else(world: World) -> None:
    wrong = [
        f"{endpoint.method} {endpoint.route} for {who}: {status}, not {expected}"
        for endpoint in ENDPOINTS
        for who, standing in CALLERS.items()
        for status, expected in [
            (called(world, who, endpoint).status_code, expected_of(endpoint, who, standing))
        ]
        if status not in expected
    ]
    assert wrong == []


def expected_of(endpoint: Endpoint, who: str | None, standing: Access) -> set[int]:
    if standing < endpoint.access:
        # To who is no member, the project does not exist.
        hidden = who == "outsider" and endpoint.access < Access.CREATOR
        return {401} if who is None else {404} if hidden else {403}
    if (endpoint.method, endpoint.route) == ("POST", "tokens"):
        return {403}  # callers come with tokens here, and those make no others
    own = ("tokens/<int:pk>", "assignments/<uuid:pk>", "assignments/<uuid:pk>/feedback")
    if endpoint.route in own and who != "annotator":
        return {404}
    # Without a body many requests are malformed, and some clash with the state that things are in.
    return {200, 201, 204, 400, 409, 415, 422}


def test_no_endpoint_is_served_that_the_table_does_not_hold() -> None:
    served = {
        (method.upper(), str(pattern.pattern).rstrip("/"))
        for pattern in urlpatterns
        for method in getattr(pattern.callback, "actions", None) or {}
    }
    assert {each for each in served if each[0] != "HEAD"} == {(e.method, e.route) for e in ENDPOINTS}


def test_an_annotator_finds_nothing_of_sources_anywhere(world: World) -> None:
    """Every address that answers an annotator is read, with everything that a list there leads to."""
    client = world.client("annotator")
    for endpoint in ENDPOINTS:
        if endpoint.access > Access.ANNOTATOR or endpoint.method != "GET":
            continue
        text = client.get(address(endpoint, world)).content.decode()
        for secret in ("zebrafinch", '"source"', "drawn_by", "model_version", "score", "win_rate", "gold"):
            assert secret not in text, (endpoint.route, secret)
    task = client.post(f"/api/v1/projects/{world.project.slug}/next-task").content.decode()
    assert "zebrafinch" not in task and "source" not in task and "score" not in task


def test_an_annotator_sees_only_their_own_rankings_and_tasks(world: World) -> None:
    colleague = world.client("colleague")
    project = f"/api/v1/projects/{world.project.slug}"

    assert world.client("annotator").get(f"{project}/rankings").json()["count"] == 4
    assert world.client("reviewer").get(f"{project}/rankings").json()["count"] == 4
    assert colleague.get(f"{project}/rankings").json()["count"] == 0
    assert colleague.get(f"/api/v1/rankings/{world.ranking.pk}").status_code == 404
    assert colleague.get(f"/api/v1/assignments/{world.held.public_id}").status_code == 404


def test_a_former_member_is_nobody_and_an_inactive_user_too(world: World) -> None:
    client = world.client("reviewer")
    world.client("manager").delete(f"/api/v1/projects/{world.project.slug}/members/reviewer")
    assert client.get(f"/api/v1/projects/{world.project.slug}/prompts").status_code == 404

    world.users["reviewer"].is_active = False
    world.users["reviewer"].save()
    assert client.get("/api/v1/me").status_code == 401
