"""Answers and skips that the ranking page sends: taken once, or refused with a sentence."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from annotation.batching import close_batch
from annotation.models import Assignment, Project, Ranking, Skip, User
from annotation.projects import update_project
from annotation.standing import pause_member
from tests.frontend.ranking import AsRole, Compose, answer_to, held, post


def test_an_answer_is_stored_and_brings_the_next_task(
    project: Project, people: dict[str, User], as_role: AsRole, compose: Compose
) -> None:
    compose(2)
    place = held(project, people)

    response = post(
        as_role("annotator"),
        f"/projects/{project.slug}/rank/{place.public_id}/submit/",
        answer_to(place, rationale="The first is right."),
    )

    assert response.status_code == 200
    ranking = Ranking.objects.get()
    assert (ranking.assignment_id, ranking.rationale, ranking.seconds) == (
        place.pk,
        "The first is right.",
        12,
    )
    assert ranking.tiers == [[place.shown_order[0]], place.shown_order[1:]]
    assert "data-workbench" in response.json()["html"]
    assert f'data-assignment="{place.public_id}"' not in response.json()["html"]


def test_what_is_said_besides_the_ranking_comes_with_it(
    project: Project, people: dict[str, User], as_role: AsRole, compose: Compose
) -> None:
    update_project(project=project, ask_strength=True)
    compose()
    place = held(project, people)
    said = {
        "strengths": [3],
        "flags": [{"number": 0, "kind": "unsafe", "note": ""}],
        "demonstrations": [{"number": 1, "text": "Eight."}],
    }

    response = post(
        as_role("annotator"),
        f"/projects/{project.slug}/rank/{place.public_id}/submit/",
        answer_to(place, **said),
    )

    assert response.status_code == 200
    ranking = Ranking.objects.get()
    assert ranking.strengths == [3]
    assert (ranking.flags.get().kind, ranking.demonstrations.get().text) == ("unsafe", "Eight.")


def test_an_answer_sent_twice_is_one_ranking(
    project: Project, people: dict[str, User], as_role: AsRole, compose: Compose
) -> None:
    compose(2)
    place = held(project, people)
    client, url, answer = (
        as_role("annotator"),
        f"/projects/{project.slug}/rank/{place.public_id}/submit/",
        answer_to(place),
    )

    answers = [post(client, url, answer) for _ in range(2)]

    assert [response.status_code for response in answers] == [200, 200]
    assert answers[0].json()["html"].count("data-workbench") == 1
    assert Ranking.objects.count() == 1


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"tiers": [[99]]}, 422, "invalid"),
        ({"tiers": []}, 422, "invalid"),
        ({"tiers": "best first"}, 422, "invalid"),
        ({"key": "mine"}, 422, "invalid"),
        ({"lease": str(uuid.uuid4())}, 409, "lease_lost"),
        ({"ratings": {"charm": {"0": 1}}}, 422, "invalid"),
        ({"strengths": [2]}, 422, "invalid"),
        ({"flags": [{"number": 0, "kind": "other"}]}, 422, "invalid"),
        ({"flags": "unsafe"}, 422, "invalid"),
        ({"demonstrations": [{"number": 0, "text": "  "}]}, 422, "invalid"),
    ],
)
def test_an_answer_that_cannot_be_taken_gets_a_sentence_and_changes_nothing(
    changes: dict[str, Any],
    status: int,
    code: str,
    project: Project,
    people: dict[str, User],
    as_role: AsRole,
    compose: Compose,
) -> None:
    compose()
    place = held(project, people)

    response = post(
        as_role("annotator"),
        f"/projects/{project.slug}/rank/{place.public_id}/submit/",
        answer_to(place, **changes),
    )

    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.json()["sentence"].endswith(".")
    assert not Ranking.objects.exists()


@pytest.mark.parametrize("body", ["", "[1]", "{", "null"])
def test_a_body_that_is_no_object_is_refused(
    body: str, project: Project, people: dict[str, User], as_role: AsRole, compose: Compose
) -> None:
    compose()
    place = held(project, people)

    for what in ("submit", "skip", "renew", "give-back"):
        url = f"/projects/{project.slug}/rank/{place.public_id}/{what}/"
        response = as_role("annotator").post(url, body, content_type="application/json")
        assert response.status_code == 422, what


def test_a_skipped_task_does_not_come_back(
    project: Project, people: dict[str, User], as_role: AsRole, compose: Compose
) -> None:
    compose()
    place = held(project, people)

    response = post(
        as_role("annotator"),
        f"/projects/{project.slug}/rank/{place.public_id}/skip/",
        {"lease": str(place.lease), "reason": "I cannot judge this"},
    )

    assert "Nothing is left for you right now" in response.json()["html"]
    assert Skip.objects.get().reason == "I cannot judge this"
    of_batch = f"/projects/{project.slug}/batches/{place.task.batch_id}"
    quality_page = as_role("reviewer").get(f"{of_batch}/quality/")
    assert "I cannot judge this" in quality_page.text, (
        "who looks after the batch sees what is passed by, and why"
    )


def test_somebody_elses_place_cannot_be_answered_renewed_skipped_or_given_back(
    project: Project, people: dict[str, User], as_role: AsRole, compose: Compose
) -> None:
    compose()
    place = held(project, people)

    for what in ("submit", "skip", "renew", "give-back"):
        response = post(
            as_role("reviewer"), f"/projects/{project.slug}/rank/{place.public_id}/{what}/", answer_to(place)
        )
        assert (response.status_code, response.json()["code"]) == (409, "lease_lost"), what

    place.refresh_from_db()
    assert place.state == Assignment.State.LEASED
    assert not Ranking.objects.exists()


@pytest.mark.parametrize("what", ["submit", "skip", "renew", "give-back"])
def test_a_closed_batch_is_told_apart_from_a_lost_lease(
    what: str, project: Project, people: dict[str, User], as_role: AsRole, compose: Compose
) -> None:
    batch = compose()
    place = held(project, people)
    close_batch(batch)

    response = post(
        as_role("annotator"), f"/projects/{project.slug}/rank/{place.public_id}/{what}/", answer_to(place)
    )

    assert (response.status_code, response.json()["code"]) == (409, "closed")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"besides": "all"}, "besides must be a list"),
        ({"besides": [True]}, "besides must be a list"),
        ({"besides": [12]}, "besides must be a list"),
        ({"besides": ["12"]}, "besides must be a list"),
        ({"besides": [str(uuid.UUID(int=1))] * 101}, "besides must be a list"),
        ({"since": "yesterday"}, "since must be a time"),
        ({"since": "2026-13-45T00:00:00Z"}, "since must be a time"),
        ({"since": "2026-01-31T00:00:00"}, "since must be a time"),
        ({"since": 7}, "since must be a time"),
    ],
)
def test_what_the_page_asks_beside_an_answer_is_checked_before_the_answer_is_taken(
    asked: dict[str, Any],
    told: str,
    project: Project,
    people: dict[str, User],
    as_role: AsRole,
    compose: Compose,
) -> None:
    compose()
    place, client = held(project, people), as_role("annotator")

    answers = [
        post(client, f"/projects/{project.slug}/rank/{place.public_id}/submit/", answer_to(place, **asked)),
        post(
            client,
            f"/projects/{project.slug}/rank/{place.public_id}/skip/",
            {"lease": str(place.lease), **asked},
        ),
        post(client, f"/projects/{project.slug}/rank/next/", asked),
    ]

    for answer in answers:
        assert answer.status_code == 422
        assert told in answer.json()["sentence"]
    assert not Ranking.objects.exists() and not Skip.objects.exists()


def test_what_one_person_left_to_be_sent_is_not_taken_as_another_ones(
    project: Project, people: dict[str, User], as_role: AsRole, compose: Compose
) -> None:
    compose()
    place = held(project, people)
    address = f"/projects/{project.slug}/rank/{place.public_id}/submit/"
    answer = answer_to(place, annotator=people["annotator"].pk)

    refused = post(as_role("reviewer"), address, answer)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert "logged in as reviewer now" in refused.json()["sentence"]
    assert not Ranking.objects.exists()

    assert post(as_role("annotator"), address, answer).status_code == 200


def test_a_skip_sent_twice_is_one_skip(
    project: Project, people: dict[str, User], as_role: AsRole, compose: Compose
) -> None:
    batch = compose(2)
    place, client = held(project, people), as_role("annotator")
    body = {"lease": str(place.lease), "reason": "I cannot judge this", "besides": None}
    address = f"/projects/{project.slug}/rank/{place.public_id}/skip/"

    assert post(client, address, body).status_code == 200
    close_batch(batch)

    assert post(client, address, body).status_code == 200
    assert Skip.objects.get().reason == "I cannot judge this"


def test_an_answer_is_acknowledged_however_late_its_receipt_is_asked_for_again(
    project: Project, people: dict[str, User], as_role: AsRole, compose: Compose
) -> None:
    batch = compose(3)
    place, client = held(project, people), as_role("annotator")
    address, answer = (
        f"/projects/{project.slug}/rank/{place.public_id}/submit/",
        answer_to(place, besides=None),
    )
    change = {"key": str(uuid.uuid4()), "tiers": answer["tiers"][::-1], "besides": None}
    amended = f"/projects/{project.slug}/history/{place.public_id}/amend/"
    skipped = held(project, people) if post(client, address, answer).status_code == 200 else None
    assert skipped is not None and post(client, amended, change).status_code == 200
    passed_by = f"/projects/{project.slug}/rank/{skipped.public_id}/skip/"
    skip = {"lease": str(skipped.lease), "besides": None}
    receipts = [
        post(client, *sent).json() for sent in ((address, answer), (amended, change), (passed_by, skip))
    ]

    close_batch(batch)
    pause_member(project=project, user=people["annotator"])

    again = [post(client, *sent) for sent in ((address, answer), (amended, change), (passed_by, skip))]
    assert [response.status_code for response in again] == [200] * 3
    assert [response.json() for response in again] == receipts
    assert (Ranking.objects.count(), Skip.objects.count()) == (2, 1)
