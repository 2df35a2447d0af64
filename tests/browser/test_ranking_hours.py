"""A session of hours: nothing that a task made outlives it."""

from __future__ import annotations

import pytest
from playwright.sync_api import CDPSession, expect

from annotation.models import Project, Ranking
from tests.browser.ranking import Rank, drag, submitted
from tests.frontend.content import fill, many

pytestmark = pytest.mark.browser
TASKS = 36
WARM_UP = 6


def test_a_session_of_many_tasks_does_not_grow(
    rank: Rank, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    many(monkeypatch, 4, tasks=TASKS)
    fill(project)
    page = rank()
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable")

    for task in range(TASKS - 2):
        if task == WARM_UP:
            before = measured(devtools)
        # What leaves the most behind: marks, layouts, a drag, an undone move.
        page.keyboard.press("d")
        for name in ("Stacked", "Side by side", "In tiers", "In tiers"):
            page.get_by_role("button", name=name, exact=True).click()
        if task % 8 == WARM_UP % 8 - 1:
            drag(page, "B", 3)
            page.keyboard.press("z")
        page.keyboard.press("Shift+A")
        for tier in "1234":
            page.keyboard.press(tier)
        submitted(page)
    after = measured(devtools)

    expect(page.locator("[data-workbench]")).to_be_visible()
    assert Ranking.objects.count() >= TASKS - 4
    assert after["JSEventListeners"] <= before["JSEventListeners"] + 10, (before, after)
    assert after["Nodes"] <= before["Nodes"] * 1.15 + 100, (before, after)
    assert after["JSHeapUsedSize"] <= before["JSHeapUsedSize"] * 1.15 + 500_000, (before, after)


def measured(devtools: CDPSession) -> dict[str, float]:
    for _ in range(3):
        devtools.send("HeapProfiler.collectGarbage")
    metrics = devtools.send("Performance.getMetrics")["metrics"]
    return {each["name"]: each["value"] for each in metrics}
