"""Answers on their way: without a network, with a server that fails, after a lost receipt, from two tabs."""

from __future__ import annotations

import pytest
from django.conf import settings
from playwright.sync_api import Route, expect

from annotation.models import Project, Ranking, Skip
from annotation.projects import add_member, create_project
from tests.browser.ranking import (
    Begin,
    People,
    Picture,
    gone,
    log_in,
    press,
    sent,
    shown,
    submitted,
    tiers_on_board,
    wait_for,
)

pytestmark = pytest.mark.browser


def test_a_double_enter_is_one_ranking(begin: Begin) -> None:
    page = begin()
    first = shown(page)
    page.route("**/submit/", lambda route: (page.wait_for_timeout(300), route.continue_()))
    press(page, "1234")

    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    gone(page, first)
    page.keyboard.press("Enter")

    sent(page)
    assert Ranking.objects.count() == 1


def test_without_a_network_one_goes_on_and_each_answer_is_sent_once(begin: Begin, picture: Picture) -> None:
    page = begin()
    first = shown(page)
    page.context.set_offline(True)
    press(page, "1123")
    page.keyboard.press("Enter")
    gone(page, first)
    expect(page.get_by_text("1 answer waits to be sent")).to_be_visible()
    picture(page, "rank-offline")
    expect(page.get_by_role("alert")).to_have_count(0)

    press(page, "1234")
    page.keyboard.press("Enter")
    told = page.get_by_role("alert")
    expect(told).to_contain_text("No connection to the server. Your answers are kept in this browser")
    expect(told).to_contain_text("No other task is here until then.")
    expect(page.get_by_text("2 answers wait to be sent")).to_be_visible()
    picture(page, "rank-offline-nothing-left")
    assert not Ranking.objects.exists()
    page.context.set_offline(False)

    expect(page.get_by_text("You have ranked 2 tasks")).to_be_visible()
    assert Ranking.objects.count() == 2
    assert str(Ranking.objects.first().assignment.public_id) == first


def test_who_waits_for_an_answer_to_be_sent_is_told_at_once_however_long_the_network_has_been_away(
    begin: Begin,
) -> None:
    page = begin()
    first = shown(page)
    page.clock.install()
    tries = []
    page.on("requestfailed", lambda request: tries.append(request.url))
    page.context.set_offline(True)
    press(page, "1123")
    page.keyboard.press("Enter")
    gone(page, first)
    for pause in (2, 4, 8, 16):  # seconds; the next one is longer than any
        before = len(tries)
        wait_for(lambda before=before: len(tries) > before or not page.wait_for_timeout(20))
        page.clock.run_for(pause * 1000)

    press(page, "1234")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("No connection to the server")


def test_a_server_that_fails_each_time_is_told_from_no_connection_and_asked_again_by_hand(
    begin: Begin, picture: Picture
) -> None:
    page = begin()
    press(page, "1234")
    submitted(page)
    asked = []
    page.route("**/submit/", lambda route: (asked.append(route), route.fulfill(status=500, body="fault")))
    press(page, "1123")

    page.keyboard.press("Enter")
    for _ in range(3):
        page.get_by_role("alert").get_by_role("button", name="Send now").click()
    told = page.get_by_role("alert")
    expect(told).to_contain_text("kept in this browser. Try again in a few minutes")
    expect(told).not_to_contain_text("No connection")
    assert tiers_on_board(page) == [["A", "B"], ["C"], ["D"]]
    picture(page, "rank-failing")
    assert len(asked) == 4, "it goes on asking by itself"

    page.unroute("**/submit/")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("heading", name="Nothing is left for you right now")).to_be_visible()
    assert Ranking.objects.count() == 2


def test_a_server_that_fails_is_told_too_where_one_can_go_on(begin: Begin) -> None:
    page = begin()
    first = shown(page)
    asked = []
    page.route("**/submit/", lambda route: (asked.append(route), route.fulfill(status=500, body="fault")))
    press(page, "1234")
    page.keyboard.press("Enter")
    gone(page, first)
    for times in range(1, 4):
        wait_for(lambda times=times: len(asked) == times or not page.wait_for_timeout(20))
        page.get_by_role("button", name="Send now").click()

    expect(page.get_by_role("alert")).to_contain_text("The server fails at this each time (error 500)")
    press(page, "12")
    assert tiers_on_board(page) == [["A"], ["B"]]
    page.unroute("**/submit/")
    page.get_by_role("button", name="Try again").click()
    sent(page)
    assert str(Ranking.objects.get().assignment.public_id) == first


def test_an_answer_whose_receipt_was_lost_is_not_taken_twice(begin: Begin) -> None:
    page = begin()
    lost = []

    def swallow(route: Route) -> None:
        if lost:
            route.continue_()
        else:
            lost.append(route.fetch())  # the server has it; the page never hears so
            route.abort()

    page.route("**/submit/", swallow)
    press(page, "1234")
    page.keyboard.press("Enter")

    page.get_by_role("button", name="Send now").click()
    sent(page)
    assert lost[0].ok
    assert Ranking.objects.count() == 1


def test_a_skip_whose_receipt_was_lost_is_not_refused(begin: Begin) -> None:
    page = begin()
    lost = []

    def swallow(route: Route) -> None:
        if lost:
            route.continue_()
        else:
            lost.append(route.fetch())
            route.abort()

    page.route("**/skip/", swallow)
    page.keyboard.press("s")
    page.keyboard.press("Enter")

    page.get_by_role("button", name="Send now").click()
    sent(page)
    expect(page.get_by_role("alert")).to_have_count(0)
    assert Skip.objects.count() == 1


def test_an_answer_left_behind_by_a_closed_tab_is_sent_by_any_page_of_the_project(
    begin: Begin, project: Project
) -> None:
    page = begin()
    page.route("**/submit/", lambda route: route.abort())
    press(page, "1234")
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 answer waits to be sent")).to_be_visible()
    other = page.context.new_page()
    page.close()
    assert not Ranking.objects.exists()

    other.goto(f"/projects/{project.slug}/")

    expect(other.get_by_text("An answer that waited here was sent.")).to_be_visible()
    assert Ranking.objects.count() == 1


def test_an_answer_to_another_project_is_sent_and_brings_none_of_its_tasks(
    begin: Begin, project: Project, people: People
) -> None:
    page = begin()
    page.route("**/submit/", lambda route: route.abort())
    press(page, "1234")
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 answer waits to be sent")).to_be_visible()
    page.unroute("**/submit/")
    other = create_project(name="Other answers", created_by=people["manager"])
    add_member(project=other, user=people["annotator"], role="annotator")

    page.goto(f"/projects/{other.slug}/rank/")

    sent(page)
    expect(page.get_by_role("heading", name="Nothing to rank yet")).to_be_visible()
    assert Ranking.objects.get().task.batch.project == project


def test_after_a_reload_an_answer_that_waits_is_sent_and_its_task_not_asked_again(begin: Begin) -> None:
    page = begin()
    first = shown(page)
    page.route("**/submit/", lambda route: route.abort())
    press(page, "1234")
    page.keyboard.press("Enter")
    gone(page, first)
    expect(page.get_by_text("1 answer waits to be sent")).to_be_visible()
    page.unroute("**/submit/")

    page.reload()

    gone(page, first)
    expect(page.locator("[data-count]")).to_have_text("0 of 4 ranked")
    assert str(Ranking.objects.get().assignment.public_id) == first


def test_of_two_tabs_one_sends(begin: Begin) -> None:
    page = begin()
    page.route("**/submit/", lambda route: route.abort())
    press(page, "1234")
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 answer waits to be sent")).to_be_visible()
    other = page.context.new_page()
    other.route("**/submit/", lambda route: route.abort())
    other.goto(page.url)
    expect(other.get_by_text("1 answer waits to be sent")).to_be_visible()
    reached = []
    for tab in (page, other):
        # First, since a tab may try again by itself at any moment.
        tab.on("requestfinished", lambda one: reached.append(one.url) if "/submit/" in one.url else None)
        tab.unroute("**/submit/")

    for tab in (page, other):
        tab.evaluate("setTimeout(() => dispatchEvent(new Event('online')), 200)")

    sent(page)
    other.wait_for_timeout(500)
    assert len(reached) == 1
    assert Ranking.objects.count() == 1
    assert shown(other) == shown(page), "both go on with the same task"


def test_an_answer_survives_a_log_out_and_is_sent_after_the_next_log_in(begin: Begin, people: People) -> None:
    page = begin()
    page.context.clear_cookies(name=settings.SESSION_COOKIE_NAME)
    press(page, "1234")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("You were logged out.")

    log_in(page, people["reviewer"])
    page.get_by_role("alert").get_by_role("button", name="Send now").click()
    expect(page.get_by_role("alert")).to_contain_text("logged in as reviewer now")
    assert not Ranking.objects.exists()

    log_in(page, people["annotator"])
    page.get_by_role("alert").get_by_role("button", name="Send now").click()
    sent(page)
    assert Ranking.objects.get().annotator == people["annotator"]
