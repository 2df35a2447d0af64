"""What an annotator ranked, and changing it, below the browser."""

from __future__ import annotations

import html
import json
import re
import uuid
from collections.abc import Callable

import pytest
from django.test import Client

from annotation.batching import close_batch
from annotation.models import Aspect, Batch, Project, Ranking, User
from annotation.projects import update_project
from annotation.submitting import amend, submit
from tests.frontend.ranking import answer_to, held, post

AsRole = Callable[[str], Client]
Compose = Callable[..., Batch]


@pytest.fixture
def ranking(project: Project, people: dict[str, User], compose: Compose) -> Ranking:
    """The annotator's, of the only task, with all that can be said besides."""
    Aspect.objects.create(project=project, name="safety")
    update_project(project=project, ask_strength=True)
    compose()
    place = held(project, people)
    first = place.shown_order[0]
    said = {
        "strengths": [3],
        "ratings": {"safety": {str(first): 4}},
        "flags": [{"number": first, "kind": "unsafe"}, {"number": first, "kind": "other", "note": "Flat."}],
        "demonstrations": [{"number": first, "text": "Eight."}, {"number": None, "text": "Nine."}],
        "rationale": "Short.",
    }
    return submit(annotator=people["annotator"], assignment_id=place.pk, **answer_to(place, **said))


def test_the_history_lists_ones_own_rankings_once_each_newest_first(
    project: Project, people: dict[str, User], as_role: AsRole, compose: Compose
) -> None:
    compose(2)
    prompts = []
    for _ in range(2):
        place = held(project, people)
        prompts.append(str(place.task.prompt))
        last = submit(annotator=people["annotator"], assignment_id=place.pk, **answer_to(place))
    amend(
        annotator=people["annotator"],
        assignment_id=last.assignment_id,
        key=uuid.uuid4(),
        tiers=last.tiers[::-1],
    )
    address = f"/projects/{project.slug}/history/"

    page = as_role("annotator").get(address).content.decode()

    assert page.count(">Change</a>") == 2
    assert page.index(prompts[1]) < page.index(prompts[0])
    assert "zebrafinch" not in page
    assert "You have ranked nothing yet" in as_role("manager").get(address).content.decode()


def test_the_history_has_pages(
    project: Project,
    people: dict[str, User],
    as_role: AsRole,
    compose: Compose,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("frontend.views.history.A_PAGE", 2)
    compose(3)
    for _ in range(3):
        place = held(project, people)
        submit(annotator=people["annotator"], assignment_id=place.pk, **answer_to(place))
    client, address = as_role("annotator"), f"/projects/{project.slug}/history/"

    pages = [client.get(address, {"page": number}).content.decode() for number in (1, 2)]

    assert [page.count(">Change</a>") for page in pages] == [2, 1]


def test_change_shows_the_answer_as_it_was_given_and_nothing_of_where_responses_came_from(
    project: Project, as_role: AsRole, ranking: Ranking
) -> None:
    page = as_role("annotator").get(f"/projects/{project.slug}/history/{ranking.assignment.public_id}/")

    text = page.content.decode()
    shown = [int(number) for number in re.findall(r'data-response="(\d+)"', text)]
    draft = json.loads(html.unescape(re.search(r'data-draft="([^"]+)"', text)[1]))
    first, *others = ranking.shown_order
    assert shown == ranking.shown_order
    assert draft == {
        "tiers": {str(first): 1, **{str(other): 2 for other in others}},
        "strengths": {f"{first}>{','.join(map(str, sorted(others)))}": 3},
        "ratings": {"safety": {str(first): 4}},
        "flags": {str(first): {"unsafe": "", "other": "Flat."}},
        "demonstrations": {str(first): "Eight.", "anew": "Nine."},
        "rationale": "Short.",
        "seconds": 12,
    }
    assert "data-lease" not in text
    assert "zebrafinch" not in text


def test_a_change_is_a_new_revision(project: Project, as_role: AsRole, ranking: Ranking) -> None:
    answer = {
        "key": str(uuid.uuid4()),
        "tiers": ranking.tiers[::-1],
        "strengths": [1],
        "flags": [{"number": 0, "kind": "truncated"}],
        "demonstrations": [{"number": None, "text": "Ten."}],
        "seconds": 20,
    }

    response = post(
        as_role("annotator"),
        f"/projects/{project.slug}/history/{ranking.assignment.public_id}/amend/",
        answer,
    )

    assert response.json() == {"url": f"/projects/{project.slug}/history/"}
    assert [(r.revision, r.tiers) for r in Ranking.objects.order_by("revision")] == [
        (1, ranking.tiers),
        (2, ranking.tiers[::-1]),
    ]
    second = Ranking.objects.get(revision=2)
    assert (second.strengths, second.flags.get().kind, second.demonstrations.get().text) == (
        [1],
        "truncated",
        "Ten.",
    )


def test_a_change_that_cannot_be_taken_gets_a_sentence(
    project: Project, as_role: AsRole, ranking: Ranking
) -> None:
    response = post(
        as_role("annotator"),
        f"/projects/{project.slug}/history/{ranking.assignment.public_id}/amend/",
        {"key": str(uuid.uuid4()), "tiers": [[99]]},
    )

    assert (response.status_code, response.json()["code"]) == (422, "invalid")
    assert Ranking.objects.count() == 1


def test_nobody_else_opens_or_changes_a_ranking(project: Project, as_role: AsRole, ranking: Ranking) -> None:
    address = f"/projects/{project.slug}/history/{ranking.assignment.public_id}/"

    for role in ("reviewer", "manager", "outsider"):
        client = as_role(role)
        answer = {"key": str(uuid.uuid4()), "tiers": ranking.tiers[::-1]}
        assert client.get(address).status_code == 404, role
        assert post(client, f"{address}amend/", answer).status_code == 404, role
    assert Ranking.objects.count() == 1


def test_a_closed_batch_offers_no_change(
    project: Project, people: dict[str, User], as_role: AsRole, ranking: Ranking
) -> None:
    close_batch(ranking.task.batch)
    client, address = as_role("annotator"), f"/projects/{project.slug}/history/"

    assert ">Change</a>" not in client.get(address).content.decode()
    opened = client.get(f"{address}{ranking.assignment.public_id}/", follow=True)
    assert "The batch of this task was closed" in opened.content.decode()
    answer = {"key": str(uuid.uuid4()), "tiers": ranking.tiers[::-1]}
    response = post(client, f"{address}{ranking.assignment.public_id}/amend/", answer)
    assert (response.status_code, response.json()["code"]) == (409, "closed")


def test_an_answer_comes_in_place_as_it_was_given_and_its_change_brings_the_next_task(
    ranking: Ranking, project: Project, as_role: AsRole, compose: Compose
) -> None:
    compose()
    client = as_role("annotator")

    shown = client.get(f"/projects/{project.slug}/history/{ranking.assignment.public_id}/in-place/").json()[
        "html"
    ]
    draft = json.loads(html.unescape(re.search('data-draft="([^"]*)"', shown).group(1)))
    changed = post(
        client,
        f"/projects/{project.slug}/history/{ranking.assignment.public_id}/amend/",
        {"key": str(uuid.uuid4()), "tiers": ranking.tiers[::-1], "besides": []},
    ).json()

    assert draft["tiers"] == {
        str(number): tier for tier, numbers in enumerate(ranking.tiers, 1) for number in numbers
    }
    assert (draft["rationale"], draft["seconds"]) == ("Short.", 12)
    assert "zebrafinch" not in shown
    assert changed["progress"]["done"] == 1, "a change is not another task"
    assert "data-workbench" in changed["html"]
    assert [each.revision for each in Ranking.objects.order_by("pk")] == [1, 2]
    assert "is changed" not in client.get(f"/projects/{project.slug}/").text, "the page says so itself"


def test_an_answer_of_a_closed_batch_does_not_come_in_place(
    ranking: Ranking, project: Project, as_role: AsRole
) -> None:
    close_batch(ranking.task.batch)

    answer = as_role("annotator").get(
        f"/projects/{project.slug}/history/{ranking.assignment.public_id}/in-place/"
    )

    assert (answer.status_code, answer.json()["code"]) == (409, "closed")


def test_nobody_gets_anothers_answer_in_place(ranking: Ranking, project: Project, as_role: AsRole) -> None:
    address = f"/projects/{project.slug}/history/{ranking.assignment.public_id}/in-place/"
    assert as_role("reviewer").get(address).status_code == 404
