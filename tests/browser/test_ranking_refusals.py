"""Answers that the server refuses for good: told, kept, and gone back to."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from annotation.assigning import next_assignment
from annotation.batching import close_batch
from annotation.models import Assignment, Project, Ranking, Skip
from tests.browser.ranking import (
    Begin,
    People,
    Picture,
    gone,
    press,
    sent,
    shown,
    tiers_on_board,
)

pytestmark = pytest.mark.browser


def test_an_answer_to_a_place_that_went_to_somebody_else_is_told_and_can_be_looked_at(
    begin: Begin, project: Project, people: People, picture: Picture
) -> None:
    page = begin()
    first = shown(page)
    press(page, "1223")
    page.locator(".why summary").click()
    page.get_by_label("Why you ranked them so").fill("C repeats B.")
    Assignment.objects.filter(state="leased").update(leased_until=timezone.now() - timedelta(minutes=1))
    for _ in range(2):
        place = next_assignment(annotator=people["reviewer"], project=project)
        Assignment.objects.filter(pk=place.pk).update(state="submitted", lease=None, leased_until=None)

    page.keyboard.press("Control+Enter")

    told = page.get_by_role("alert")
    expect(told).to_contain_text("was not taken. Your time for this task ran out")
    expect(told).to_contain_text("still in this browser")
    gone(page, first)
    picture(page, "rank-refused")
    told.get_by_role("button", name="Look at it").click()
    given = page.get_by_role("dialog", name="Your answer")
    expect(given).to_contain_text("C repeats B.")
    expect(given.locator("dd").nth(2)).to_contain_text(re.compile(r"B: .*C: ", re.DOTALL))
    picture(page, "rank-refused-answer")
    page.keyboard.press("Escape")
    told.get_by_role("button", name="Dismiss").click()
    expect(told).to_have_count(0)
    page.reload()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_refused_answer_stays_a_draft_should_its_task_come_back(
    begin: Begin, project: Project, people: People
) -> None:
    page = begin()
    first = Assignment.objects.get(public_id=shown(page))
    Assignment.objects.filter(pk=first.pk).update(leased_until=timezone.now() - timedelta(minutes=1))
    other = next_assignment(annotator=people["reviewer"], project=project)
    assert other == first
    press(page, "2134")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("was not taken")
    Assignment.objects.filter(pk=first.pk).update(
        state="open", annotator=None, lease=None, leased_until=None, shown_order=None
    )

    press(page, "1234")
    page.keyboard.press("Enter")
    expect(page.locator(f"[data-assignment='{first.public_id}']")).to_be_visible()
    assert tiers_on_board(page) == [["B"], ["A"], ["C"], ["D"]]


def test_when_the_batch_was_closed_the_next_task_comes_by_itself(begin: Begin, project: Project) -> None:
    page = begin()
    press(page, "1234")
    close_batch(project.batches.get())

    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", name="Nothing to rank yet")).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("This batch was closed")


def test_an_answer_that_breaks_a_new_rule_is_gone_back_to(begin: Begin, project: Project) -> None:
    page = begin()
    first = shown(page)
    project.allow_ties = False
    project.save()
    press(page, "1123")
    page.keyboard.press("Enter")
    gone(page, first)
    told = page.get_by_role("alert")
    expect(told).to_contain_text("this project asks for an order without ties")
    page.keyboard.press("2")
    second = shown(page)

    told.get_by_role("button", name="Go back to it").click()
    expect(page.locator(f"[data-assignment='{first}']")).to_be_visible()
    expect(told).to_have_count(0)
    page.locator("[data-response]").first.focus()
    page.keyboard.press("4")
    page.keyboard.press("Enter")

    expect(page.locator(f"[data-assignment='{second}']")).to_be_visible()
    assert tiers_on_board(page) == [["A"]], "what was done of it meanwhile is there"
    sent(page)
    assert str(Ranking.objects.get().assignment.public_id) == first


def skipped_too_late(page: Page, people: People, project: Project) -> Page:
    """Another page of the project, after the ranking page was closed with a skip in it that the server will refuse."""
    page.route("**/skip/", lambda route: route.abort())
    page.keyboard.press("s")
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 answer waits to be sent")).to_be_visible()
    Assignment.objects.filter(state="leased").update(leased_until=timezone.now() - timedelta(minutes=1))
    other = page.context.new_page()
    page.close()
    for _ in range(2):
        place = next_assignment(annotator=people["reviewer"], project=project)
        Assignment.objects.filter(pk=place.pk).update(state="submitted", lease=None, leased_until=None)
    return other


def test_a_skip_that_was_left_behind_and_came_too_late_is_told_calmly(
    begin: Begin, project: Project, people: People
) -> None:
    other = skipped_too_late(begin(), people, project)

    other.goto(f"/projects/{project.slug}/")

    told = other.locator(
        ".toast", has_text="came too late: its time had run out, so it may come to you again."
    )
    expect(told).to_contain_text("Nothing is lost by that.")
    expect(told).to_have_class(re.compile("toast--info"))
    other.goto(f"/projects/{project.slug}/rank/")
    expect(other.locator("[data-refused] .notice")).to_have_count(0)
    assert not Skip.objects.exists()


def test_on_the_ranking_page_too_a_skip_that_came_too_late_is_told_calmly(
    begin: Begin, project: Project, people: People
) -> None:
    other = skipped_too_late(begin(), people, project)

    other.goto(f"/projects/{project.slug}/rank/")

    expect(other.locator(".toast--info", has_text="came too late")).to_be_visible()
    expect(other.get_by_role("alert")).to_have_count(0)
    expect(other.locator("[data-refused] .notice")).to_have_count(0)


def test_a_refused_skip_that_nobody_was_told_of_yet_stands_there_without_alarm(
    begin: Begin, people: People, picture: Picture
) -> None:
    page = begin()
    entry = {
        "key": "left", "at": 1, "kind": "skip", "title": "Why is the sky blue?", "project": "", "assignment": "gone",
        "tiers": [], "letters": {}, "body": {}, "refusal": {"code": "closed", "sentence": "This batch was closed."},
    }  # fmt: skip
    name = f"rankloop:outbox:{people['annotator'].pk}:left"
    page.evaluate("([name, entry]) => localStorage.setItem(name, JSON.stringify(entry))", [name, entry])

    page.reload()

    told = page.locator("[data-refused] .notice")
    expect(told).to_contain_text("Your skip of “Why is the sky blue?” came too late: its batch was closed.")
    expect(told).to_have_class(re.compile("notice--info"))
    expect(page.get_by_role("alert")).to_have_count(0)
    picture(page, "rank-skip-too-late")
    told.get_by_role("button", name="Dismiss").click()
    expect(told).to_have_count(0)
