"""The two pages about the API, in a browser without a network and under the strict content security policy."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from annotation.models import User

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def opened(page: Page, address: str) -> list[str]:
    """Open an address, and collect what the console holds against it and what it asks of other hosts."""
    page.wait_for_load_state("networkidle")
    complaints: list[str] = []
    host = re.match(r"https?://[^/]+", page.url)[0]
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("requestfailed", lambda request: complaints.append(f"{request.url}: {request.failure}"))
    page.on(
        "request",
        lambda r: complaints.append(r.url) if r.url.startswith("http") and host not in r.url else None,
    )
    page.set_default_timeout(60_000)
    page.goto(address)
    return complaints


def test_swagger_shows_the_operations_and_calls_one_with_the_session(
    visit: Any, people: dict[str, User]
) -> None:
    page = visit("/accounts/login/", people["manager"])
    complaints = opened(page, "/api/v1/docs/")

    operation = page.locator("#operations-me-me_retrieve")
    expect(page.locator(".opblock").first).to_be_visible()
    # Of so many operations, Swagger draws those near what is in sight alone.
    for _ in range(100):
        if operation.count():
            break
        page.mouse.wheel(0, 800)
        page.wait_for_timeout(100)
    operation.locator(".opblock-summary").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()

    expect(operation.locator(".live-responses-table td.response-col_description").last).to_contain_text(
        people["manager"].username, timeout=60_000
    )
    keep(page, "swagger")
    assert complaints == []


def test_redoc_shows_the_operations(visit: Any) -> None:
    page = visit("/accounts/login/")
    complaints = opened(page, "/api/v1/redoc/")
    expect(page.get_by_role("heading", name="A split as one file").first).to_be_attached(timeout=30_000)
    keep(page, "redoc")
    assert complaints == []


def keep(page: Page, name: str) -> None:
    if folder := os.environ.get("RANKLOOP_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"api-{name}.png")
