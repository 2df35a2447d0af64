"""The annotators' page where there is little room: phones, low windows, endless words."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.browser.conftest import PHONE, assert_fits
from tests.browser.ranking import Rank, submitted
from tests.frontend.content import PROMPTS, RESPONSES

pytestmark = pytest.mark.browser


def test_a_word_without_an_end_keeps_the_buttons_in_reach_on_a_phone(
    rank: Rank, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = f"https://example.org/{'very-long_' * 40} and {'w' * 400}"
    prompts = [prompt | {"prompt": f"{prompt['prompt']} {endless}"} for prompt in PROMPTS]
    texts = {key: [f"{text} {endless}" for text in of_prompt] for key, of_prompt in RESPONSES.items()}
    monkeypatch.setattr("tests.frontend.content.PROMPTS", prompts)
    monkeypatch.setattr("tests.frontend.content.RESPONSES", texts)
    page = rank(touch=True)
    assert_fits(page)
    submit = page.get_by_role("button", name="Submit").bounding_box()
    assert submit["x"] + submit["width"] <= PHONE["width"]


def test_on_a_phone_each_task_begins_with_its_prompt(rank: Rank, monkeypatch: pytest.MonkeyPatch) -> None:
    long = {key: [f"{text} {'A long story. ' * 200}" for text in texts] for key, texts in RESPONSES.items()}
    monkeypatch.setattr("tests.frontend.content.RESPONSES", long)
    page = rank(viewport={"width": 390, "height": 844})
    for _ in range(2):
        assert page.evaluate("scrollY") == 0
        page.locator("[data-response]").first.focus()
        for _ in range(4):
            page.keyboard.press("1")
        assert page.evaluate("scrollY") > 0, "a card that is moved to is shown"
        submitted(page)


def test_nothing_that_is_tabbed_to_stands_below_the_bar(rank: Rank) -> None:
    page = rank(viewport={"width": 390, "height": 844})
    low = page.locator(".board").bounding_box()["y"]
    page.locator(".why summary").click()
    page.locator("[data-response]").first.focus()

    seen = []
    while not page.evaluate("document.activeElement.matches('.actions *')"):
        seen.append(page.evaluate("document.activeElement.getBoundingClientRect().bottom"))
        page.keyboard.press("Tab")
    assert len(seen) > 16, "cards, tiers' buttons, and the reason's field"
    assert max(seen[1:]) <= low  # the first is a card, which may be higher than the window


def test_no_control_is_cut_by_the_bar_wherever_the_page_is_scrolled(rank: Rank) -> None:
    page = rank(viewport={"width": 390, "height": 844})
    rows = page.locator(".tier-buttons").all()
    assert len(rows) == 4
    for row in rows[1:]:  # the first stands too high to come near the bar
        for shown in (6, 12, 18):  # pixels of the row above the bar's buttons
            edge = page.locator(".board").bounding_box()["y"]
            page.evaluate("by => scrollBy(0, by)", row.bounding_box()["y"] + shown - edge)
            found = Axe().run(page, options={"runOnly": {"type": "rule", "values": ["target-size"]}})
            assert found.violations_count == 0, found.generate_report()


def test_in_a_low_window_the_bar_gives_its_room_to_the_responses(rank: Rank) -> None:
    page = rank(viewport={"width": 640, "height": 360})
    assert page.locator(".actions").bounding_box()["y"] > 360
    page.get_by_role("button", name="Submit").scroll_into_view_if_needed()
    box = page.locator(".actions").bounding_box()
    assert box["y"] + box["height"] <= 360.5
    assert_fits(page)
