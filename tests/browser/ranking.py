"""What tests of the annotators' page do on it, and see."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from django.conf import settings
from django.test import Client
from playwright.sync_api import Page, expect

from annotation.models import User

Rank = Callable[..., Page]
Begin = Callable[..., Page]
Picture = Callable[[Page, str], None]
People = dict[str, User]


def number_of(page: Page, letter: str) -> int:
    return int(page.locator(f"[data-letter={letter}]").get_attribute("data-response"))


def tiers_on_board(page: Page) -> list[list[str]]:
    """The letters in each tier of the board, empty tiers left out."""
    # A page that was just loaded draws them last, and then goes to a response.
    expect(page.locator("[data-response][data-current]")).to_have_count(1)
    return [
        letters
        for zone in page.locator("[data-zone]:not([data-zone='0'])").all()
        if (letters := [chip.inner_text().strip() for chip in zone.locator(".chip > .letter").all()])
    ]


def order_of_cards(page: Page) -> str:
    """The letters of the cards, in the order in which they stand."""
    return page.evaluate(
        "[...document.querySelectorAll('[data-cards] > [data-response]')].map((card) => card.dataset.letter).join('')"
    )


def submitted(page: Page) -> None:
    """Submits, and waits until the page shows something other than the task it showed and the server has the answer."""
    shown = page.locator("[data-workbench]").get_attribute("data-assignment")
    page.keyboard.press("Enter")
    expect(page.locator(f"[data-assignment='{shown}']")).to_have_count(0)
    sent(page)


def sent(page: Page) -> None:
    """Waits until no answer waits in the browser to be sent."""
    page.wait_for_function(
        """() => !Object.entries(localStorage).some(
            ([name, kept]) => name.startsWith("rankloop:outbox:") && !JSON.parse(kept).refusal
        )"""
    )


def drag(page: Page, letter: str, tier: int) -> None:
    """Takes the card by its handle and lets it go over the tier."""
    handle = page.locator(f"[data-letter={letter}] [data-handle]")
    handle.scroll_into_view_if_needed()
    start = handle.bounding_box()
    end = page.locator(f"[data-zone='{tier}']").bounding_box()
    page.mouse.move(start["x"] + 10, start["y"] + start["height"] / 2)
    page.mouse.down()
    page.mouse.move(start["x"] + 20, start["y"] + start["height"] / 2 + 8, steps=3)
    page.mouse.move(end["x"] + end["width"] / 2, end["y"] + end["height"] / 2, steps=6)
    expect(page.locator(f"[data-zone='{tier}'][data-aimed]")).to_be_visible()
    page.mouse.up()
    expect(page.locator("[data-dragging], .sortable-fallback")).to_have_count(0)


class Finger:
    """One finger on the page's glass, which the browser takes for scrolling or not as it does of a real one."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._devtools = page.context.new_cdp_session(page)

    def down(self, x: float, y: float) -> None:
        self._send("touchStart", x, y)

    def move(self, start: tuple[float, float], end: tuple[float, float], *, steps: int = 10) -> None:
        for step in range(1, steps + 1):
            x, y = (a + (b - a) * step / steps for a, b in zip(start, end, strict=True))
            self._send("touchMove", x, y)
            self._page.wait_for_timeout(16)

    def up(self) -> None:
        self._devtools.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    def _send(self, kind: str, x: float, y: float) -> None:
        self._devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})


def middle_of(page: Page, selector: str) -> tuple[float, float]:
    box = page.locator(selector).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def wait_for(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 15
    while not holds():
        assert time.monotonic() < end, "it does not come to that"
        time.sleep(0.05)


def shown(page: Page) -> str:
    return page.locator("[data-workbench]").get_attribute("data-assignment")


def gone(page: Page, assignment: str) -> None:
    expect(page.locator(f"[data-assignment='{assignment}']")).to_have_count(0)


def press(page: Page, keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def log_in(page: Page, user: User) -> None:
    client = Client()
    client.force_login(user)
    name = settings.SESSION_COOKIE_NAME
    url = re.match("https?://[^/]+", page.url).group()
    page.context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": url}])
