"""The task ahead: there at once, timed from when it is shown, and given up when it is somebody else's."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Route, expect

from annotation.assigning import next_assignment
from annotation.models import Assignment, Project, Ranking
from tests.browser.ranking import (
    Begin,
    People,
    gone,
    press,
    sent,
    shown,
    submitted,
    tiers_on_board,
    wait_for,
)

pytestmark = pytest.mark.browser


def test_the_next_task_is_there_at_once_while_the_answer_is_on_its_way(begin: Begin) -> None:
    page = begin()
    first = shown(page)
    held_up: list[Route] = []
    page.route("**/submit/", lambda route: held_up.append(route))
    press(page, "1234")

    page.keyboard.press("Enter")
    gone(page, first)
    expect(page.locator("[data-count]")).to_have_text("0 of 4 ranked")
    expect(page.locator("[data-progress]")).to_contain_text("1 done by you")
    assert not Ranking.objects.exists()

    wait_for(lambda: bool(held_up) or not page.wait_for_timeout(20))
    held_up[0].continue_()
    sent(page)
    assert str(Ranking.objects.get().assignment.public_id) == first
    expect(page.locator("[data-progress]")).to_have_text("1 done by you, 1 today")


def test_a_task_ahead_is_not_timed_before_it_is_shown(begin: Begin) -> None:
    page = begin()
    page.clock.install()
    page.reload()
    expect(page.locator("[data-workbench]")).to_be_visible()
    page.clock.run_for(40_000)
    press(page, "1234")
    submitted(page)
    page.clock.run_for(5_000)
    press(page, "1234")
    submitted(page)

    first, second = Ranking.objects.order_by("pk")
    assert 40 <= first.seconds < 50
    assert 5 <= second.seconds < 15


def test_time_in_a_hidden_tab_or_away_from_it_is_not_counted(begin: Begin) -> None:
    page = begin()
    page.clock.install()
    page.reload()
    expect(page.locator("[data-workbench]")).to_be_visible()
    page.clock.run_for(10_000)
    see = (
        "(state) => Object.defineProperty(document, 'visibilityState', { value: state, configurable: true })"
    )
    page.evaluate(see, "hidden")
    page.clock.run_for(600_000)
    page.evaluate(see, "visible")
    page.keyboard.press("ArrowDown")
    page.clock.run_for(600_000)  # nobody presses anything: a minute of it may have been reading
    press(page, "1")
    press(page, "1234")
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    sent(page)

    assert 70 <= Ranking.objects.get().seconds < 85


def test_who_follows_the_text_with_the_mouse_is_reading_whatever_the_computers_clock_does(
    begin: Begin,
) -> None:
    page = begin()
    page.clock.install()
    page.reload()
    expect(page.locator("[data-workbench]")).to_be_visible()
    for minute in range(4):
        page.mouse.move(300, 300 + 10 * minute)
        page.clock.run_for(50_000)
    page.evaluate("Date.now = ((now) => () => now() - 3_600_000)(Date.now)")
    page.clock.run_for(3_600_000)  # an hour that nobody is there for
    press(page, "1234")
    page.keyboard.press("Enter")
    sent(page)

    assert 200 <= Ranking.objects.get().seconds < 275


def test_a_task_ahead_that_went_to_somebody_else_gives_way_before_anything_is_done_of_it(
    begin: Begin, project: Project, people: People
) -> None:
    page = begin()
    first = shown(page)
    ahead = Assignment.objects.filter(state="leased").exclude(public_id=first).get()
    Assignment.objects.filter(pk=ahead.pk).update(leased_until=timezone.now() - timedelta(minutes=1))
    taken = next_assignment(annotator=people["reviewer"], project=project)
    assert taken == ahead

    page.clock.install()
    page.clock.fast_forward(60_000)  # long enough ago that the page asks whether it is still theirs
    press(page, "1234")
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", name="Nothing is left for you right now")).to_be_visible()
    sent(page)
    assert str(Ranking.objects.get().assignment.public_id) == first


def test_a_task_ahead_whose_time_ran_out_is_asked_for_before_it_is_shown(begin: Begin) -> None:
    page = begin()
    first = shown(page)
    page.clock.install()
    page.clock.fast_forward(45 * 60_000)
    with page.expect_response("**/renew/") as renewed:
        press(page, "1234")
        page.keyboard.press("Enter")
    gone(page, first)

    assert f"/{shown(page)}/renew/" in renewed.value.url or f"/{first}/renew/" in renewed.value.url
    sent(page)
    assert Assignment.objects.get(public_id=shown(page)).leased_until > timezone.now()


def test_who_leaves_gives_the_task_ahead_back_and_keeps_the_present_one(
    begin: Begin, project: Project
) -> None:
    page = begin()
    first = shown(page)

    page.goto(f"/projects/{project.slug}/")

    wait_for(lambda: Assignment.objects.filter(state="leased").count() == 1)
    assert str(Assignment.objects.get(state="leased").public_id) == first


def test_a_task_is_given_back_and_what_was_done_of_it_stays_in_the_browser(
    begin: Begin, project: Project
) -> None:
    page = begin()
    page.keyboard.press("2")

    page.get_by_role("button", name="Give back").click()

    expect(page.get_by_text("Given back")).to_be_visible()
    assert not Assignment.objects.filter(state="leased").exists(), "the one ahead neither"
    page.goto(f"/projects/{project.slug}/rank/")
    assert tiers_on_board(page) == [["A"]]
