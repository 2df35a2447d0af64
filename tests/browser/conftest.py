"""A browser in front of a running Rankloop, and pictures of what it shows.

With RANKLOOP_SCREENSHOTS, a folder, ``picture`` keeps every page in both themes at the width of a desk and a phone.
With RANKLOOP_DOC_IMAGES=1 it leaves those that ``docs/pages.md`` shows in ``docs/images/pages``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.db import connection
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from annotation import assigning
from annotation.models import Assignment, Project, User
from tests.browser import chromium
from tests.browser.ranking import wait_for
from tests.frontend.conftest import people, project  # noqa: F401 (fixtures)
from tests.frontend.content import fill

# Playwright's own loop runs in this thread; Django would take its queries for ones in a coroutine.
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")

DESK = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
DOC_PAGES = Path(__file__).resolve().parents[2] / "docs/images/pages"
IN_THE_DOCS = {
    "rank-halfway": "ranking",
    "marks-workbench": "marks",
    "rank-feedback": "qualification",
    "review-task": "review",
    "quality": "quality",
}
MOST_OF_A_PAGE = 1800
"""Pixels from the top that the documentation shows."""
COLOUR_RULES = ["color-contrast", "link-in-text-block"]

Visit = Callable[..., Page]


# Ends with the last browser test, and Playwright's loop with it: other tests run loops of their own in this thread.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = chromium.launch(playwright)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser, live_server: object) -> Iterator[Visit]:
    """Opens an address as a person: ``visit("/", user, touch=True)``. Whatever a page's script throws, or the content
    security policy blocks, fails the test."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def go(address: str, user: User | None = None, *, touch: bool = False, **options: object) -> Page:
        device = {"viewport": PHONE, "has_touch": True, "is_mobile": True} if touch else {"viewport": DESK}
        context = browser.new_context(base_url=live_server.url, **{**device, **options})
        contexts.append(context)
        if user is not None:
            client = Client()
            client.force_login(user)
            cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
            context.add_cookies(
                [{"name": settings.SESSION_COOKIE_NAME, "value": cookie, "url": live_server.url}]
            )
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda message: (
                complaints.append(message.text) if "Content Security Policy" in message.text else None
            ),
        )
        page.goto(address)
        return page

    yield go
    for context in contexts:
        context.close()
    let_requests_end()
    assert not complaints, complaints


def let_requests_end() -> None:
    """What pages asked for by themselves is answered, or the database would be emptied from under it."""
    still = 0
    for _ in range(200):
        time.sleep(0.025)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid() AND state <> 'idle'"
            )
            still = 0 if cursor.fetchone()[0] else still + 1
        if still == 3:
            return


@pytest.fixture(autouse=True)
def cards_by_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cards stand in the order of their letters, so that a test can tell them by either."""
    monkeypatch.setattr(assigning, "shown_order", lambda task, annotator: sorted(task.replies))


@pytest.fixture
def rank(visit: Visit, project: Project, people: dict[str, User]) -> Callable[..., Page]:  # noqa: F811
    """Opens the ranking page as the annotator, with two tasks to do if no batch is there yet."""

    def go(**options: object) -> Page:
        if not project.batches.exists():
            fill(project)
        page = visit(f"/projects/{project.slug}/rank/", people["annotator"], **options)
        expect(page.locator("[data-workbench], [data-nothing]")).to_be_visible()
        return page

    return go


@pytest.fixture
def begin(rank: Callable[..., Page]) -> Callable[..., Page]:
    """Opens the ranking page and waits until it has the task after the shown one, of two."""

    def go(**options: object) -> Page:
        page = rank(**options)
        wait_for(lambda: Assignment.objects.filter(state="leased").count() == 2)
        # The place is taken; the page has it once the answer was read to its end, and a turn later has parsed it.
        page.wait_for_function(
            "() => performance.getEntriesByType('resource').some(({ name }) => name.endsWith('/rank/next/'))"
        )
        page.evaluate("new Promise((parsed) => setTimeout(parsed, 50))")
        return page

    return go


@pytest.fixture
def picture() -> Callable[[Page, str], None]:
    """Keeps pictures of a page, and checks it with axe: all at each width, and in the dark what colours decide."""
    folder = os.environ.get("RANKLOOP_SCREENSHOTS")

    def take(page: Page, name: str) -> None:
        before = page.viewport_size
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme, reduced_motion="reduce")
            for width, size in (("desk", DESK), ("phone", PHONE)):
                page.set_viewport_size(size)
                page.evaluate(
                    "new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))"
                )
                assert_accessible(page, only_colours=theme == "dark")
                if theme == "light":
                    assert_fits(page)
                # A window as high as the page: what sticks to its edges stays there in the picture.
                height = max(page.evaluate("document.documentElement.scrollHeight"), size["height"])
                if folder:
                    page.set_viewport_size({**size, "height": height})
                    page.screenshot(path=Path(folder) / f"{name}-{width}-{theme}.png")
                if os.environ.get("RANKLOOP_DOC_IMAGES") and name in IN_THE_DOCS:
                    page.set_viewport_size({**size, "height": min(height, MOST_OF_A_PAGE)})
                    page.screenshot(path=DOC_PAGES / f"{IN_THE_DOCS[name]}-{width}-{theme}.png")
        page.set_viewport_size(before)
        page.emulate_media(color_scheme=None, reduced_motion=None)

    return take


def assert_accessible(page: Page, *, only_colours: bool = False) -> None:
    """No violation of WCAG 2.2 AA that axe can find. ``only_colours``: of those that another theme alone can bring."""
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
    only = {"type": "rule", "values": COLOUR_RULES} if only_colours else {"type": "tag", "values": tags}
    # What is right is not told: telling it takes as long as looking.
    options = {"runOnly": only, "resultTypes": ["violations"]}
    # A page that stays keeps its axe.
    axe = Axe("0") if page.evaluate("'axe' in window") else Axe()
    found = axe.run(page, options=options)
    assert found.violations_count == 0, found.generate_report()


def assert_fits(page: Page) -> None:
    """Nothing makes the page scroll sideways."""
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, f"{page.url} is {wide} px wider than the window."
