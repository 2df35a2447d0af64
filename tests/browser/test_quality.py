"""The pages of quality, with twelve annotators and two hundred tasks: drawn, by keyboard, live, in both themes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.core.cache import cache
from playwright.sync_api import Page, expect

from annotation import remembering
from annotation.models import Assignment, Batch, Project, User
from tests.annotation.answered import give
from tests.browser.conftest import Visit
from tests.frontend.quality import fill

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
Picture = Callable[[Page, str], None]

# What comes every twenty seconds, at once.
SOONER = "live => htmx.ajax('GET', live.getAttribute('hx-get'), {target: live, swap: 'outerHTML'})"


@pytest.fixture
def batch(project: Project) -> Batch:
    cache.clear()
    return fill(project)


def test_the_quality_of_a_batch_in_pictures(
    visit: Visit, project: Project, batch: Batch, people: dict[str, User], picture: Picture
) -> None:
    base = f"/projects/{project.slug}/batches/{batch.pk}/"
    page = visit(base, people["manager"])
    expect(page.get_by_role("heading", name="Quality")).to_be_visible()
    picture(page, "batch-with-quality")
    page.get_by_role("link", name="Look at the quality").click()
    expect(page.get_by_role("img", name="The end is likely by")).to_be_visible()
    expect(page.get_by_role("img", name="stretches of tasks")).to_be_visible()
    expect(page.get_by_text("is too fast to have read")).to_be_visible()
    expect(page.get_by_text("ranks responses as they were shown")).to_be_visible()
    picture(page, "quality")
    page.goto(f"/projects/{project.slug}/quality/")
    expect(page.get_by_text("Of all annotation batches together")).to_be_visible()
    picture(page, "quality-project")


def test_every_figure_is_a_click_or_a_key_away_from_its_tasks_and_a_task_from_its_answers(
    visit: Visit, project: Project, batch: Batch, people: dict[str, User], picture: Picture
) -> None:
    page = visit(f"/projects/{project.slug}/batches/{batch.pk}/quality/", people["manager"])
    link = page.get_by_role("link", name="The tasks of jonas")
    link.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Ranked by")).to_have_value("jonas")
    expect(page.get_by_label("ranked too fast to have read")).to_be_checked()
    picture(page, "quality-tasks")
    page.get_by_label("ranked too fast to have read").uncheck()
    page.get_by_label("And by").select_option("kofi")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_label("And by")).to_have_value("kofi")
    page.locator("tbody th a").first.click()
    expect(page.get_by_role("heading", name="Rankings")).to_be_visible()
    expect(page.get_by_role("article").filter(has_text="jonas")).to_be_visible()
    picture(page, "quality-task")
    page.goto(
        f"/projects/{project.slug}/batches/{batch.pk}/tasks/?flag=unsafe&skipped=true&gold=true&aspect=style"
    )
    picture(page, "quality-tasks-filtered")


def test_a_wide_table_of_annotators_scrolls_by_itself_and_keeps_the_names_in_sight(
    visit: Visit, project: Project, batch: Batch, people: dict[str, User]
) -> None:
    page = visit(f"/projects/{project.slug}/batches/{batch.pk}/quality/", people["manager"], touch=True)
    table = page.locator(".heat")
    table.scroll_into_view_if_needed()
    name = table.locator("tbody th").first
    before = name.bounding_box()
    table.evaluate("region => region.scrollTo(200, 0)")
    assert table.evaluate("region => region.scrollLeft") == 200, "it is wider than a phone"
    assert name.bounding_box()["x"] == before["x"]


def test_a_page_moves_with_its_batch_and_offers_the_newest_tables(
    visit: Visit, project: Project, batch: Batch, people: dict[str, User], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembering, "QUICK_SECONDS", 60)  # however slow the machine
    page = visit(f"/projects/{project.slug}/batches/{batch.pk}/quality/", people["manager"])
    expect(page.locator("#live .figures").first).to_contain_text("420 of 600")
    place = batch.assignments.filter(state=Assignment.State.OPEN).first()
    give(place.task, User.objects.get(username="ada"), [[0], [1], [2], [3]])
    page.get_by_text("As a table").first.click()
    page.locator("#live").evaluate(SOONER)
    expect(page.locator("#live .figures").first).to_contain_text("421 of 600")
    page.get_by_role("link", name="Show the newest").click()
    expect(page.get_by_text("Rankings came since")).to_have_count(0)


def test_figures_of_very_many_rankings_come_by_themselves(
    visit: Visit, project: Project, batch: Batch, people: dict[str, User], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembering, "QUICK_RANKINGS", 10)
    page = visit(f"/projects/{project.slug}/batches/{batch.pk}/quality/", people["manager"])
    expect(page.get_by_role("heading", name="Annotators against each other")).to_be_visible()
    expect(page.get_by_text("Working out")).to_have_count(0)
