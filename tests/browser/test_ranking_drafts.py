"""What a reload keeps, what a browser cannot keep, and how long a task stays the annotator's."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from annotation.models import Assignment, Project, Ranking
from tests.browser.conftest import Visit
from tests.browser.ranking import (
    Begin,
    Rank,
    gone,
    press,
    shown,
    submitted,
    tiers_on_board,
    wait_for,
)

pytestmark = pytest.mark.browser


def test_a_reload_keeps_what_was_done(begin: Begin) -> None:
    page = begin()
    page.keyboard.press("2")
    page.keyboard.press("1")
    page.locator(".why summary").click()
    page.get_by_label("Why you ranked them so").fill("B says how long.")

    page.reload()

    assert tiers_on_board(page) == [["B"], ["A"]]
    expect(page.get_by_label("Why you ranked them so")).to_have_value("B says how long.")
    expect(page.locator("[data-letter=C]")).to_be_focused()
    page.keyboard.press("=")
    assert tiers_on_board(page) == [["B", "C"], ["A"]], "tied with the one before it"


def test_a_browser_that_keeps_nothing_is_told_of_and_can_be_worked_in(begin: Begin) -> None:
    page = begin()
    page.add_init_script(
        "Storage.prototype.setItem = () => { throw new DOMException('', 'QuotaExceededError'); }"
    )
    page.reload()
    expect(page.get_by_text("This browser keeps nothing for this page")).to_be_visible()
    first = shown(page)

    press(page, "1234")
    page.keyboard.press("Enter")

    gone(page, first)
    wait_for(lambda: Ranking.objects.count() == 1 or bool(page.wait_for_timeout(20)))


def test_a_lease_is_renewed_while_somebody_works(rank: Rank, project: Project) -> None:
    rank().context.close()
    place = Assignment.objects.order_by("leased_at").filter(state="leased").first()
    nearly_over = timezone.now() + timedelta(minutes=project.lease_minutes / 3)
    Assignment.objects.filter(pk=place.pk).update(leased_until=nearly_over)
    page = rank()
    expect(page.locator("[data-clock]")).to_have_text("10 min left")

    with page.expect_response("**/renew/"):
        page.keyboard.press("ArrowDown")

    expect(page.locator("[data-clock]")).to_have_text("30 min left")
    place.refresh_from_db()
    assert place.leased_until > nearly_over


def test_what_is_changed_from_the_history_without_a_network_is_sent_once_it_is_back(
    begin: Begin, visit: Visit, project: Project
) -> None:
    page = begin()
    press(page, "1234")
    submitted(page)
    page.goto(f"/projects/{project.slug}/history/")
    page.get_by_role("link", name="Change").click()
    page.context.set_offline(True)
    page.locator("[data-response]").first.focus()
    page.keyboard.press("4")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("No connection to the server.")

    page.context.set_offline(False)

    expect(page.get_by_text("Your ranking is changed.")).to_be_visible()
    assert Ranking.objects.count() == 2
