"""The ranking page's promises to annotators, below the browser."""

from __future__ import annotations

import json
import re

import pytest

from annotation.assigning import next_assignment
from annotation.models import Flag, Project, Response, Skip, User
from annotation.projects import update_project
from frontend.templatetags.markdown import outward
from tests.frontend.content import fill
from tests.frontend.ranking import AsRole, Compose, held, post


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
