"""The annotators' page from task to task, and when things go wrong."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from annotation.assigning import next_assignment
from annotation.batching import close_batch
from annotation.models import Aspect, Assignment, Project, Ranking, Skip, User
from tests.browser.ranking import Picture, number_of, submitted, tiers_on_board

pytestmark = pytest.mark.browser


def test_a_reload_keeps_what_was_done(rank: Callable[..., Page]) -> None:
    page = rank()
    page.keyboard.press("2")
    page.keyboard.press("1")
    page.locator(".why summary").click()
    page.get_by_label("Why you ranked them so").fill("B says how long.")

    page.reload()

    assert tiers_on_board(page) == [["B"], ["A"]]
    expect(page.get_by_label("Why you ranked them so")).to_have_value("B says how long.")
    expect(page.locator("[data-letter=C]")).to_be_focused()


def test_a_double_enter_is_one_ranking(rank: Callable[..., Page]) -> None:
    page = rank()
    first = page.locator("[data-workbench]").get_attribute("data-assignment")
    page.route("**/submit/", lambda route: (page.wait_for_timeout(300), route.continue_()))
    for tier in "1234":
        page.keyboard.press(tier)

    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(page.locator(f"[data-assignment='{first}']")).to_have_count(0)
    page.keyboard.press("Enter")

    assert Ranking.objects.count() == 1


def test_without_a_network_the_ranking_waits_and_is_sent_once(rank: Callable[..., Page]) -> None:
    page = rank()
    first = page.locator("[data-workbench]").get_attribute("data-assignment")
    for tier in "1123":
        page.keyboard.press(tier)

    page.context.set_offline(True)
    page.keyboard.press("Enter")
    expect(page.get_by_text("No connection to the server.")).to_be_visible()
    assert not Ranking.objects.exists()
    page.context.set_offline(False)

    expect(page.locator(f"[data-assignment='{first}']")).to_have_count(0)
    assert Ranking.objects.count() == 1


def test_a_server_that_fails_each_time_is_told_from_no_connection_and_asked_again_by_hand(
    rank: Callable[..., Page], picture: Picture
) -> None:
    page = rank()
    first = page.locator("[data-workbench]").get_attribute("data-assignment")
    asked = []
    page.route("**/submit/", lambda route: (asked.append(route), route.fulfill(status=500, body="fault")))
    for tier in "1123":
        page.keyboard.press(tier)

    page.keyboard.press("Enter")
    for _ in range(3):
        page.get_by_role("button", name="Send now").click()
    told = page.get_by_role("alert")
    expect(told).to_contain_text("kept in this browser. Try again in a few minutes")
    expect(told).not_to_contain_text("No connection")
    assert tiers_on_board(page) == [["A", "B"], ["C"], ["D"]]
    picture(page, "rank-failing")
    assert len(asked) == 4, "it goes on asking by itself"

    page.unroute("**/submit/")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(f"[data-assignment='{first}']")).to_have_count(0)
    assert Ranking.objects.count() == 1


def test_an_answer_whose_receipt_was_lost_is_not_taken_twice(rank: Callable[..., Page]) -> None:
    page = rank()
    first = page.locator("[data-workbench]").get_attribute("data-assignment")
    lost = []

    def swallow(route: object) -> None:
        if lost:
            route.continue_()
        else:
            lost.append(route.fetch())  # the server has it; the page never hears so
            route.abort()

    page.route("**/submit/", swallow)
    for tier in "1234":
        page.keyboard.press(tier)
    page.keyboard.press("Enter")

    expect(page.locator(f"[data-assignment='{first}']")).to_have_count(0)
    assert lost[0].ok
    assert Ranking.objects.count() == 1


def test_a_place_that_went_to_somebody_else_is_told_and_the_next_one_offered(
    rank: Callable[..., Page], project: Project, people: dict[str, User]
) -> None:
    page = rank()
    for tier in "1234":
        page.keyboard.press(tier)
    Assignment.objects.filter(state="leased").update(leased_until=timezone.now() - timedelta(minutes=1))
    for _ in range(2):
        place = next_assignment(annotator=people["reviewer"], project=project)
        Assignment.objects.filter(pk=place.pk).update(state="submitted", lease=None, leased_until=None)

    page.keyboard.press("Enter")

    expect(page.get_by_role("alert")).to_contain_text("still in this browser")
    assert tiers_on_board(page) == [["A"], ["B"], ["C"], ["D"]]
    page.get_by_role("button", name="Take the next task").click()
    expect(page.get_by_role("heading", name="Nothing is left for you right now")).to_be_visible()


def test_when_the_batch_was_closed_the_next_task_comes_by_itself(
    rank: Callable[..., Page], project: Project
) -> None:
    page = rank()
    for tier in "1234":
        page.keyboard.press(tier)
    close_batch(project.batches.get())

    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", name="Nothing to rank yet")).to_be_visible()
    expect(page.get_by_text("This batch was closed")).to_be_visible()


def test_a_task_is_given_back_and_what_was_done_of_it_stays_in_the_browser(
    rank: Callable[..., Page], project: Project
) -> None:
    page = rank()
    page.keyboard.press("2")

    page.get_by_role("button", name="Give back").click()

    expect(page.get_by_text("Given back")).to_be_visible()
    assert not Assignment.objects.filter(state="leased").exists()
    page.goto(f"/projects/{project.slug}/rank/")
    assert tiers_on_board(page) == [["A"]]


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


def test_a_lease_is_renewed_while_somebody_works(rank: Callable[..., Page], project: Project) -> None:
    rank().context.close()
    place = Assignment.objects.get(state="leased")
    nearly_over = timezone.now() + timedelta(minutes=project.lease_minutes / 3)
    Assignment.objects.filter(pk=place.pk).update(leased_until=nearly_over)
    page = rank()
    expect(page.locator("[data-clock]")).to_have_text("10 min left")

    with page.expect_response("**/renew/"):
        page.keyboard.press("ArrowDown")

    expect(page.locator("[data-clock]")).to_have_text("30 min left")
    place.refresh_from_db()
    assert place.leased_until > nearly_over


def test_a_task_is_skipped_by_keys(rank: Callable[..., Page]) -> None:
    page = rank()
    first = page.locator("[data-workbench]").get_attribute("data-assignment")

    page.keyboard.press("s")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")

    expect(page.locator(f"[data-assignment='{first}']")).to_have_count(0)
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
