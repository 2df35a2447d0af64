"""A reviewer's way through the API, and what an annotator learns of it."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from rest_framework.test import APIClient

from annotation.assigning import next_assignment
from annotation.batching import close_batch
from annotation.models import Flag, Ranking, Review
from annotation.projects import add_member, update_project
from annotation.submitting import submit
from tests.api.world import World

# What came first is told by time, which stands still within a transaction.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def divided(world: World) -> int:
    """A task that the annotator and their colleague ordered the other way round, in a batch that is open."""
    update_project(project=world.project, review_share=0)
    for name, tiers in (("annotator", [[0], [1], [2]]), ("colleague", [[2], [1], [0]])):
        place = next_assignment(annotator=world.users[name], project=world.project)
        submit(
            annotator=world.users[name],
            assignment_id=place.pk,
            lease=place.lease,
            key=uuid.uuid4(),
            tiers=tiers,
        )
    return place.task_id


def waiting(client: APIClient, world: World, query: str = "") -> list[dict[str, Any]]:
    answer = client.get(f"/api/v1/projects/{world.project.slug}/review{query}")
    assert answer.status_code == 200, answer.content
    return answer.json()["results"]


def test_the_queue_tells_what_awaits_and_why(world: World, divided: int) -> None:
    client = world.client("reviewer")
    Flag.objects.create(ranking=world.ranking, position=0, kind="unsafe")

    found = waiting(client, world)

    assert [(each["task"], each["reasons"]) for each in found] == [
        (world.ranking.task_id, ["flagged"]),
        (divided, ["low_agreement"]),
    ]
    assert (found[0]["flags"], found[1]["agreement"]) == (["unsafe"], 0.0)
    assert [each["task"] for each in waiting(client, world, "?reason=low_agreement")] == [divided]
    assert [each["task"] for each in waiting(client, world, f"?batch={world.ranked.pk}")] == [
        world.ranking.task_id
    ]
    assert waiting(client, world, "?reason=sample") == []
    for wrong in ("?reason=boredom", "?reasons=flagged", "?batch="):
        address = f"/api/v1/projects/{world.project.slug}/review{wrong}"
        assert client.get(address).status_code == 400, wrong


def test_a_reviewer_returns_the_annotator_amends_and_the_task_comes_back(world: World, divided: int) -> None:
    reviewer, annotator = world.client("reviewer"), world.client("annotator")
    project = f"/api/v1/projects/{world.project.slug}"
    seen = reviewer.get(f"/api/v1/tasks/{divided}/review").json()
    text = str(seen)
    assert "zebrafinch" not in text and "annotator'," not in text and "colleague" not in text
    mine = Ranking.objects.get(task=divided, annotator=world.users["annotator"])

    returned = reviewer.post(
        f"/api/v1/tasks/{divided}/reviews",
        {"version": seen["version"], "verdict": "returned", "ranking": mine.pk, "note": "Which one is true?"},
    )

    assert returned.status_code == 201, returned.content
    assert returned.json()["note"] == "Which one is true?" and returned.json()["annotator"] in (1, 2)
    assert waiting(reviewer, world) == []
    (told,) = annotator.get(f"{project}/rankings?returned=true").json()["results"]
    assert (told["id"], told["returned_note"]) == (mine.pk, "Which one is true?")
    assert annotator.get(f"/api/v1/rankings/{mine.pk}").json()["returned_note"] == "Which one is true?"
    assert world.client("colleague").get(f"{project}/rankings?returned=true").json()["count"] == 0
    amended = annotator.post(
        f"/api/v1/assignments/{mine.assignment.public_id}/amend",
        {"key": str(uuid.uuid4()), "tiers": [[2], [1], [0]]},
    )
    assert amended.status_code == 201
    assert annotator.get(f"{project}/rankings?returned=true").json()["count"] == 0
    assert [each["reasons"] for each in waiting(reviewer, world)] == [["amended"]]


def test_an_adjudication_by_the_api_is_gold(world: World, divided: int) -> None:
    reviewer = world.client("reviewer")
    reviews = f"/api/v1/tasks/{divided}/reviews"
    version = reviewer.get(f"/api/v1/tasks/{divided}/review").json()["version"]

    made = reviewer.post(reviews, {"version": version, "verdict": "adjudicated", "tiers": [[1], [0, 2]]})
    again = reviewer.post(reviews, {"version": version, "verdict": "adjudicated", "tiers": [[1], [0, 2]]})

    assert (made.status_code, again.status_code) == (201, 201), again.content
    assert again.json() == made.json(), "sent again, it is the same verdict"
    other = reviewer.post(reviews, {"version": version, "verdict": "accepted"})
    assert other.status_code == 409, other.content
    seen = reviewer.get(f"/api/v1/tasks/{divided}/review").json()
    assert seen["gold_tiers"] == [[1], [0, 2]]
    assert [(one["verdict"], one["tiers"], one["reviewer"]) for one in seen["reviews"]] == [
        ("adjudicated", [[1], [0, 2]], "reviewer")
    ]


def test_what_is_no_verdict_is_refused_with_the_field(world: World, divided: int) -> None:
    reviewer = world.client("reviewer")
    version = reviewer.get(f"/api/v1/tasks/{divided}/review").json()["version"]
    for body, status, field in (
        ({}, 400, "verdict"),
        ({"verdict": "postponed"}, 400, "verdict"),
        ({"verdict": "accepted", "opinion": 1}, 400, "opinion"),
        ({"verdict": "accepted", "tiers": [[0]]}, 422, "tiers"),
        ({"verdict": "returned", "note": "Look."}, 422, "ranking"),
        ({"verdict": "returned", "ranking": world.ranking.pk, "note": "Look."}, 422, "ranking"),
        ({"verdict": "adjudicated"}, 422, "tiers"),
        ({"verdict": "adjudicated", "tiers": [[0], [1]]}, 422, "tiers"),
    ):
        answer = reviewer.post(f"/api/v1/tasks/{divided}/reviews", {"version": version, **body})
        assert answer.status_code == status, (body, answer.content)
        assert field in {error["field"] for error in answer.json()["errors"]}, body
    close_batch(world.open)
    mine = Ranking.objects.filter(task=divided).first()
    version = reviewer.get(f"/api/v1/tasks/{divided}/review").json()["version"]
    closed = reviewer.post(
        f"/api/v1/tasks/{divided}/reviews",
        {"version": version, "verdict": "returned", "ranking": mine.pk, "note": "Look."},
    )
    assert closed.status_code == 409 and closed.json()["type"].endswith("closed")
    assert not Review.objects.exists()


def test_a_task_is_no_business_of_annotators_or_of_who_ranked_it(world: World, divided: int) -> None:
    for method, address in (
        ("get", f"projects/{world.project.slug}/review"),
        ("get", f"tasks/{divided}/review"),
        ("post", f"tasks/{divided}/reviews"),
    ):
        assert getattr(world.client("annotator"), method)(f"/api/v1/{address}").status_code == 403
        assert getattr(world.client("outsider"), method)(f"/api/v1/{address}").status_code == 404
    add_member(project=world.project, user=world.users["colleague"], role="reviewer")
    ranker = world.client("colleague")
    assert waiting(ranker, world) == []
    refused = ranker.get(f"/api/v1/tasks/{divided}/review")
    assert refused.status_code == 403 and "somebody else reviews it" in refused.json()["detail"]


def test_the_share_that_reviewers_look_at_is_a_setting(world: World) -> None:
    manager, address = world.client("manager"), f"/api/v1/projects/{world.project.slug}"
    assert manager.patch(address, {"review_share": 0.25}).json()["review_share"] == 0.25
    assert manager.patch(address, {"review_share": 1.5}).status_code == 400
    assert manager.get(address).json()["review_share"] == 0.25
