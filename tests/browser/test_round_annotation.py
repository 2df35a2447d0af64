"""The order of work and the review of a round, from the form to the page that waits, as managers see them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from annotation.models import Flag, Project, User
from annotation.projects import update_project
from tests.browser.conftest import Visit
from tests.frontend.rounds import begin, open_kitchen, rank_all, work

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
Picture = Callable[[Page, str], None]


@pytest.fixture
def kitchen(project: Project) -> Project:
    open_kitchen(project)
    return update_project(project=project, review_share=0.0)


def test_the_form_shows_what_the_chosen_order_takes(
    visit: Visit, kitchen: Project, people: dict[str, User], picture: Picture
) -> None:
    page = visit(f"/projects/{kitchen.slug}/rounds/new/", people["manager"])
    page.get_by_text("Order of work and review").click()
    expect(page.get_by_label("Share by chance")).to_be_hidden()
    page.get_by_label("Order of work").select_option("uncertainty")
    expect(page.get_by_label("Share by chance")).to_be_visible()
    expect(page.get_by_label("Reward models that score")).to_be_visible()
    picture(page, "round-new-order")


def test_a_round_says_what_review_it_waits_for_until_a_manager_goes_on(
    visit: Visit, kitchen: Project, people: dict[str, User], picture: Picture
) -> None:
    settings = {"annotation": {"order": "uncertainty", "review": "flagged"}}
    round = work(begin(kitchen, people["manager"], settings=settings))
    page = visit(f"/projects/{kitchen.slug}/rounds/{round.number}/", people["manager"])
    expect(page.get_by_role("link", name="Rank tasks")).to_be_visible()
    rank_all(round.batch)
    ranking = round.batch.tasks.earliest("pk").rankings.earliest("pk")
    Flag.objects.create(ranking=ranking, position=0, kind="unsafe")

    expect(page.get_by_role("link", name="Open the review queue")).to_be_visible()  # by itself
    expect(page.get_by_text("1 task awaits a reviewer: 1 flagged.")).to_be_visible()
    picture(page, "round-reviewing")
    page.get_by_role("button", name="Go on without the review").click()
    dialog = page.get_by_role("dialog", name="Go on without the review?")
    dialog.get_by_role("button", name="Go on without the review").click()
    expect(page.get_by_text("The round goes on without the review.")).to_be_visible()
    expect(page.get_by_text("went on without on")).to_be_visible()

    page.goto(f"/projects/{kitchen.slug}/batches/{round.batch_id}/")
    expect(page.get_by_role("heading", name="What the order is worth")).to_be_visible()
    picture(page, "batch-order-worth")
