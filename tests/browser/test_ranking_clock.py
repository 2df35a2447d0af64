"""The time for a task is counted rightly whatever the computer's clock says."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from annotation.models import Assignment, Ranking
from tests.browser.ranking import Rank, submitted

pytestmark = pytest.mark.browser
WRONG_CLOCK = """
  globalThis.wrongBy = %d;
  const now = Date.now.bind(Date);
  globalThis.Date = class extends Date {
    constructor(...given) {
      if (given.length) super(...given);
      else super(now() + globalThis.wrongBy);
    }

    static now() {
      return now() + globalThis.wrongBy;
    }
  };
"""
HOUR = 3_600_000
NEARLY_ALL = re.compile("(29|30) min left")


def with_wrong_clock(page: Page, milliseconds: int) -> Page:
    page.add_init_script(WRONG_CLOCK % milliseconds)
    page.reload()
    expect(page.locator("[data-workbench]")).to_be_visible()
    return page


@pytest.mark.parametrize("wrong_by", [-5 * HOUR, 5 * HOUR])
def test_a_clock_that_is_wrong_by_hours_says_the_same_of_the_time_that_is_left(
    rank: Rank, wrong_by: int
) -> None:
    page = with_wrong_clock(rank(), wrong_by)

    expect(page.locator("[data-clock]")).to_have_text(NEARLY_ALL)
    expect(page.get_by_role("alert")).to_have_count(0)
    for tier in "1234":
        page.keyboard.press(tier)
    submitted(page)

    expect(page.locator("[data-clock]")).to_have_text(NEARLY_ALL)
    expect(page.get_by_role("alert")).to_have_count(0)
    assert Ranking.objects.count() == 1


def test_after_the_computer_slept_the_server_is_asked_what_is_left(rank: Rank) -> None:
    page = with_wrong_clock(rank(), 0)
    shown = page.locator("[data-workbench]").get_attribute("data-assignment")

    # While it sleeps the computer's clock goes on, and the page's own may not.
    with page.expect_response("**/renew/") as renewed:
        page.evaluate("wrongBy += 20 * 60_000")

    assert renewed.value.ok and shown in renewed.value.url
    assert renewed.value.json().keys() == {"seconds_left"}
    expect(page.locator("[data-clock]")).to_have_text("30 min left")


def test_a_place_that_was_lost_while_the_computer_slept_gives_way(rank: Rank) -> None:
    page = with_wrong_clock(rank(), 0)
    page.wait_for_load_state("networkidle")
    shown = page.locator("[data-workbench]").get_attribute("data-assignment")
    Assignment.objects.filter(public_id=shown).update(
        state="open", annotator=None, lease=None, leased_until=None, shown_order=None
    )

    page.evaluate("wrongBy += 60 * 60_000")

    expect(page.get_by_text("The next task went to somebody else meanwhile.")).to_be_visible()
