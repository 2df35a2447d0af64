"""The ranking page's promises to annotators, below the browser."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from annotation.assigning import next_assignment
from annotation.batching import close_batch
from annotation.models import Assignment, Batch, Flag, Project, Ranking, Response, Skip, User
from annotation.projects import update_project
from annotation.standing import pause_member
from frontend.templatetags.markdown import outward
from tests.frontend.content import fill

AsRole = Callable[[str], Client]
Compose = Callable[..., Batch]


def held(project: Project, people: dict[str, User]) -> Assignment:
    place = next_assignment(annotator=people["annotator"], project=project)
    assert place is not None
    return place


def answer_to(place: Assignment, **changes: Any) -> dict[str, Any]:
    return {
        "lease": str(place.lease),
        "key": str(uuid.uuid4()),
        "tiers": [[place.shown_order[0]], place.shown_order[1:]],
        "seconds": 12,
        **changes,
    }


def post(client: Client, url: str, body: Any) -> Any:
    return client.post(url, json.dumps(body), content_type="application/json")


def test_the_page_holds_the_next_task_and_nothing_of_where_responses_came_from(
    project: Project, as_role: AsRole, compose: Compose
) -> None:
    compose()

    page = as_role("annotator").get(f"/projects/{project.slug}/rank/").content.decode()

    assert page.count('data-response="') == 4
    assert "minutes, <em>exactly</em>." in page
    assert "zebrafinch" not in page
    assert re.search(r'data-tier="\d" aria-pressed="true"', page) is None


def test_a_response_that_was_cut_off_says_so(project: Project, as_role: AsRole, compose: Compose) -> None:
    batch = compose()
    cut = batch.tasks.get().task_responses.get(position=1).response
    Response.objects.filter(pk=cut.pk).update(ended=False)

    page = as_role("annotator").get(f"/projects/{project.slug}/rank/").content.decode()

    cards = page.split('data-response="')[1:]
    assert [card[0] for card in cards if "Cut off at its maximum length." in card] == ["1"]


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


def test_the_page_offers_every_kind_of_flag_and_asks_for_strengths_only_where_the_project_does(
    project: Project, as_role: AsRole, compose: Compose
) -> None:
    compose()
    client, address = as_role("annotator"), f"/projects/{project.slug}/rank/"

    page = client.get(address).content.decode()
    assert re.findall(r'value="(\w+)" data-key="(\w)"', page) == [
        (kind, kind[0].upper()) for kind in Flag.Kind.values
    ]
    assert len({kind[0] for kind in Flag.Kind.values}) == len(Flag.Kind.values), "each has a key of its own"
    assert "data-strengths" not in page

    update_project(project=project, ask_strength=True)
    page = client.get(address).content.decode()
    assert re.findall(r'data-step="(\d)" aria-pressed="false">([a-z]+)<', page) == [
        ("1", "negligibly"),
        ("2", "slightly"),
        ("3", "clearly"),
        ("4", "much"),
    ]


def test_a_hostile_response_stays_text_where_it_can_be_edited(
    project: Project, as_role: AsRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = [f"</script><script>alert({number})</script>" for number in range(4)]
    monkeypatch.setattr("tests.frontend.content.RESPONSES", {"rice": hostile, "tides": hostile})
    fill(project)

    page = as_role("annotator").get(f"/projects/{project.slug}/rank/").content.decode()

    assert not any(text in page for text in hostile)
    sources = re.findall(r'data-source><script type="application/json">(.*?)</script>', page)
    assert sorted(json.loads(source) for source in sources) == hostile


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


def test_a_renewed_lease_lasts_longer(
    project: Project, people: dict[str, User], as_role: AsRole, compose: Compose
) -> None:
    compose()
    place = held(project, people)

    response = post(
        as_role("annotator"),
        f"/projects/{project.slug}/rank/{place.public_id}/renew/",
        {"lease": str(place.lease)},
    )

    before = place.leased_until
    place.refresh_from_db()
    assert place.leased_until > before
    assert response.json().keys() == {"seconds_left"}, "a time would be held against the browser's own clock"
    assert 60 * project.lease_minutes - 60 < response.json()["seconds_left"] <= 60 * project.lease_minutes


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


def test_a_task_given_back_is_open_for_anybody(
    project: Project, people: dict[str, User], as_role: AsRole, compose: Compose
) -> None:
    compose()
    place = held(project, people)

    response = post(
        as_role("annotator"),
        f"/projects/{project.slug}/rank/{place.public_id}/give-back/",
        {"lease": str(place.lease)},
    )

    assert response.json() == {"url": f"/projects/{project.slug}/"}
    assert next_assignment(annotator=people["reviewer"], project=project) == place
    assert not Skip.objects.exists()


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


def test_without_an_open_batch_the_page_says_what_to_do(project: Project, as_role: AsRole) -> None:
    page = as_role("annotator").get(f"/projects/{project.slug}/rank/").content.decode()

    assert "Nothing to rank yet" in page
    assert "Look again" in page


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (
            'https://example.org/tea?a=1&b="<i>',
            '<a href="https://example.org/tea?a=1&amp;b=&quot;&lt;i&gt;" target="_blank" '
            'rel="noopener noreferrer nofollow">',
        ),
        ("http://example.org/tea", "http://example.org/tea"),
        ("javascript:alert(1)", "javascript:alert(1)"),
    ],
)
def test_only_an_https_address_becomes_a_link(url: str, shown: str) -> None:
    assert outward(url).startswith(shown)


def test_a_passage_says_where_it_is_from(project: Project, people: dict[str, User], as_role: AsRole) -> None:
    fill(project)
    first = held(project, people)
    address = f"/projects/{project.slug}/rank/{first.public_id}/skip/"

    page = post(as_role("annotator"), address, {"lease": str(first.lease)}).json()["html"]

    assert 'href="https://example.org/tides/force" target="_blank" rel="noopener noreferrer nofollow"' in page


def ahead_of(client: Client, project: Project, **asked: Any) -> Any:
    return post(client, f"/projects/{project.slug}/rank/next/", asked).json()


def assignment_in(html: str) -> str | None:
    found = re.search(r'data-assignment="([0-9a-f-]{36})"', html)
    return found.group(1) if found else None


def test_the_task_after_the_present_one_can_be_had_ahead_and_no_further_one(
    project: Project, people: dict[str, User], as_role: AsRole, compose: Compose
) -> None:
    compose(3)
    place, client = held(project, people), as_role("annotator")

    ahead = assignment_in(ahead_of(client, project, besides=[str(place.public_id)])["html"])
    assert ahead not in (None, str(place.public_id))
    assert assignment_in(ahead_of(client, project, besides=[str(place.public_id)])["html"]) == ahead, (
        "it stays theirs"
    )
    further = ahead_of(client, project, besides=[str(place.public_id), ahead])["html"]

    assert "data-nothing" in further
    assert Assignment.objects.filter(state="leased").count() == 2


def test_an_answer_brings_the_task_ahead_of_those_that_the_page_has(
    project: Project, people: dict[str, User], as_role: AsRole, compose: Compose
) -> None:
    compose(3)
    place, client = held(project, people), as_role("annotator")
    ahead = assignment_in(ahead_of(client, project, besides=[str(place.public_id)])["html"])

    address = f"/projects/{project.slug}/rank/{place.public_id}/submit/"
    answer = post(client, address, answer_to(place, besides=[ahead])).json()

    assert assignment_in(answer["html"]) not in (None, str(place.public_id), ahead)
    assert answer["progress"] == {"done": 1, "lately": None}


def test_an_answer_of_many_that_waited_brings_no_task_and_leases_none(
    project: Project, people: dict[str, User], as_role: AsRole, compose: Compose
) -> None:
    compose(2)
    place = held(project, people)
    midnight = timezone.now().replace(hour=0, minute=0).isoformat()

    answer = post(
        as_role("annotator"),
        f"/projects/{project.slug}/rank/{place.public_id}/submit/",
        answer_to(place, besides=None, since=midnight),
    ).json()

    assert answer == {"progress": {"done": 1, "lately": 1}}
    assert not Assignment.objects.filter(state="leased").exists()


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


def test_a_task_ahead_is_given_back_without_a_word(
    project: Project, people: dict[str, User], as_role: AsRole, compose: Compose
) -> None:
    compose()
    place, client = held(project, people), as_role("annotator")

    response = post(
        client,
        f"/projects/{project.slug}/rank/{place.public_id}/give-back/",
        {"lease": str(place.lease), "ahead": True},
    )

    assert response.json() == {}
    assert not Assignment.objects.filter(state="leased").exists()
    assert "Given back" not in client.get(f"/projects/{project.slug}/").text
