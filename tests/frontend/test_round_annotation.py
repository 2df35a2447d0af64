"""What a round is told of its order of work and its review, and how its page shows what it waits for."""

from __future__ import annotations

import html
import json
from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from alignment.models import Round
from annotation.models import Flag, Project, Source, User
from annotation.projects import update_project
from frontend.templatetags.figures import points
from tests.alignment.conftest import advanced
from tests.frontend.rounds import begin, open_kitchen, rank_all, work
from tests.frontend.test_round_pages import form

pytestmark = pytest.mark.django_db

AsRole = Callable[[str], Client]
State = Round.State


@pytest.fixture
def source(project: Project) -> Source:
    return open_kitchen(project)


@pytest.fixture
def reviewed(project: Project, source: Source, people: dict[str, User]) -> Round:
    """A round whose tasks are ranked, of which one with a flagged response awaits a review."""
    update_project(project=project, review_share=0.0)
    settings = {"annotation": {"review": "flagged"}}
    round = work(begin(project, people["manager"], settings=settings))
    rank_all(round.batch)
    ranking = round.batch.tasks.earliest("pk").rankings.earliest("pk")
    Flag.objects.create(ranking=ranking, position=0, kind="unsafe")
    return advanced(round)


def test_the_form_says_how_tasks_are_handed_out_and_reviewed(
    project: Project, source: Source, as_role: AsRole
) -> None:
    client = as_role("manager")
    page = client.get(reverse("new_round", args=[project.slug])).content.decode()
    assert "Order of work and review" in page and "Wait for the review" in page
    said = {
        "order": "uncertainty",
        "control_share": 0.3,
        "reward_models": 2,
        "max_per_annotator": 5,
        "priority": 9,
        "review": "all",
    }
    client.post(reverse("new_round", args=[project.slug]), form(source, **said))
    assert project.rounds.get().settings["annotation"] == said
    page = client.get(reverse("round", args=[project.slug, 1])).content.decode()
    assert "Most uncertain first, 30 % by chance; at most 5 tasks a person; priority 9" in page
    assert "Waits for the whole queue" in page


def test_what_is_wrong_is_said_where_it_stands(project: Project, source: Source, as_role: AsRole) -> None:
    client = as_role("manager")
    for field, value, sentence in (
        ("control_share", 0.9, "This must be at most 0.5."),
        ("priority", 99_999, "This must be at most 1000."),
        ("order", "newest", "This is none of the choices."),
        ("max_per_annotator", 0, "This must be at least 1."),
    ):
        answer = client.post(reverse("new_round", args=[project.slug]), form(source, **{field: value}))
        page = html.unescape(answer.content.decode())
        assert answer.status_code == 422 and sentence in page, field
        assert '<details class="folded" open>' in page
    assert not project.rounds.exists()


def test_the_page_says_what_review_the_round_waits_for_and_a_manager_goes_on_without(
    project: Project, reviewed: Round, people: dict[str, User], as_role: AsRole
) -> None:
    assert reviewed.state == State.ANNOTATING
    client = as_role("manager")
    address = reverse("round", args=[project.slug, reviewed.number])
    page = html.unescape(client.get(address).content.decode())
    assert "1 task awaits a reviewer: 1 flagged." in page
    assert f'href="{reverse("review", args=[project.slug])}"' in page and "Open the review queue" in page
    assert "Go on without the review</button>" in page and "Go on without the rest" not in page
    home = client.get(reverse("project_home", args=[project.slug])).content.decode()
    assert "Review what round 1 ranked" in home
    assert "Go on without the review" not in as_role("reviewer").get(address).content.decode()

    action = reverse("change_round", args=[project.slug, reviewed.number, "waive-review"])
    answer = client.post(action, follow=True).content.decode()

    assert "The round goes on without the review." in answer
    assert f"{people['manager'].username} went on without on" in answer and "1 left" in answer
    assert advanced(reviewed).state != State.ANNOTATING
    assert "waits for no review" in client.post(action, follow=True).content.decode()


def test_the_page_is_drawn_anew_when_the_round_begins_to_wait_for_reviews(
    project: Project, reviewed: Round, as_role: AsRole
) -> None:
    client, address = as_role("manager"), reverse("round_live", args=[project.slug, reviewed.number])
    assert client.get(address, {"state": "annotating"}).headers["HX-Refresh"] == "true"
    live = client.get(address, {"state": "reviewing"})
    assert "HX-Refresh" not in live.headers and "?state=reviewing" in live.content.decode()


def test_programs_read_what_a_round_waits_for_and_go_on_without(
    project: Project, reviewed: Round, people: dict[str, User], as_role: AsRole
) -> None:
    client, address = as_role("manager"), f"/api/v1/rounds/{reviewed.pk}"
    told = json.loads(client.get(address).content)
    assert told["review_awaited"] == {"tasks": 1, "reasons": {"flagged": 1}, "returned": 0}
    assert (told["review_waived_by"], told["review_left"]) == (None, None)
    assert as_role("reviewer").post(f"{address}/waive-review").status_code == 403
    waived = client.post(f"{address}/waive-review")
    assert waived.status_code == 200, waived.content
    told = json.loads(waived.content)
    assert (told["review_waived_by"], told["review_left"]) == (people["manager"].username, 1)
    assert told["review_awaited"] is None and told["review_waived_at"]
    assert client.post(f"{address}/waive-review").status_code == 409


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        (0.034, "+3.4 points"),
        (-0.02, "\N{MINUS SIGN}2.0 points"),
        (0.0, "0.0 points"),
        (-0.0001, "0.0 points"),
    ],
)
def test_a_difference_of_shares_is_in_points_with_its_sign(difference: float, words: str) -> None:
    assert points(difference) == words
