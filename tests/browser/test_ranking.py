"""The annotators' page from task to task, and when things go wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from annotation.models import Aspect, Project, Ranking, Skip
from tests.browser.ranking import Picture, number_of, sent, submitted, tiers_on_board

pytestmark = pytest.mark.browser


def test_a_ranking_is_changed_by_keys_from_the_history(
    rank: Callable[..., Page], project: Project, picture: Picture
) -> None:
    page = rank()
    for tier in "1233":
        page.keyboard.press(tier)
    a, b, c, d = (number_of(page, letter) for letter in "ABCD")
    submitted(page)

    page.goto(f"/projects/{project.slug}/")
    page.get_by_role("navigation").get_by_role("link", name="History").click()
    picture(page, "history")
    page.get_by_role("link", name="Change").click()
    assert tiers_on_board(page) == [["A"], ["B"], ["C", "D"]]
    picture(page, "rank-change")
    page.keyboard.press("s")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("Shift+A")
    page.keyboard.press("4")
    page.keyboard.press("Enter")

    expect(page.get_by_text("Your ranking is changed.")).to_be_visible()
    assert [r.tiers for r in Ranking.objects.order_by("revision")] == [
        [[a], [b], sorted([c, d], key=Ranking.objects.first().shown_order.index)],
        [[b], sorted([c, d], key=Ranking.objects.first().shown_order.index), [a]],
    ]


def test_a_task_is_skipped_by_keys(rank: Callable[..., Page]) -> None:
    page = rank()
    first = page.locator("[data-workbench]").get_attribute("data-assignment")

    page.keyboard.press("s")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")

    expect(page.locator(f"[data-assignment='{first}']")).to_have_count(0)
    sent(page)
    assert Skip.objects.get().reason == "The prompt is unclear or broken"


def test_a_skip_has_no_reason_that_nobody_chose(rank: Callable[..., Page]) -> None:
    page = rank()
    for reason in ("I do not read this language", ""):
        task = page.locator("[data-workbench]").get_attribute("data-assignment")
        page.keyboard.press("s")
        if reason:
            page.get_by_label(reason).check()
        page.keyboard.press("Enter")
        expect(page.locator(f"[data-assignment='{task}']")).to_have_count(0)
        sent(page)

    assert list(Skip.objects.order_by("pk").values_list("reason", flat=True)) == [
        "I do not read this language",
        "",
    ]


def test_after_the_last_task_the_page_says_so(rank: Callable[..., Page], picture: Picture) -> None:
    page = rank()
    for _ in range(2):
        for tier in "1234":
            page.keyboard.press(tier)
        submitted(page)

    expect(page.get_by_role("heading", name="Nothing is left for you right now")).to_be_visible()
    expect(page.get_by_text("You have ranked 2 tasks")).to_be_visible()
    picture(page, "rank-nothing-left")


def test_the_page_is_accessible_and_fits_in_every_state(
    rank: Callable[..., Page], project: Project, picture: Picture
) -> None:
    Aspect.objects.create(project=project, name="citations", question="Are its claims cited?", steps=5)
    page = rank()

    picture(page, "rank-start")
    for tier in "122":
        page.keyboard.press(tier)
    picture(page, "rank-halfway")
    page.keyboard.press("?")
    picture(page, "rank-keys")
    page.keyboard.press("Escape")
    page.keyboard.press("l")
    picture(page, "rank-guidelines")
    page.keyboard.press("Escape")
    page.keyboard.press("4")
    submitted(page)
    page.locator("a.citation").first.click()
    picture(page, "rank-citations")
