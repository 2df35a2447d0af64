"""The way back to the answer before, sent or not."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from annotation.batching import close_batch
from annotation.models import Assignment, Project, Ranking
from tests.browser.ranking import (
    Begin,
    Picture,
    gone,
    number_of,
    press,
    sent,
    shown,
    submitted,
    tiers_on_board,
)

pytestmark = pytest.mark.browser


def test_the_last_answer_is_undone_changed_in_place_and_the_present_task_kept(
    begin: Begin, picture: Picture
) -> None:
    page = begin()
    first = shown(page)
    a, b, c, d = (number_of(page, letter) for letter in "ABCD")
    press(page, "1234")
    submitted(page)
    second = shown(page)
    page.keyboard.press("2")
    picture(page, "rank-may-undo")

    page.keyboard.press("u")
    expect(page.locator(f"[data-assignment='{first}']")).to_be_visible()
    assert tiers_on_board(page) == [["A"], ["B"], ["C"], ["D"]]
    picture(page, "rank-undone")
    page.locator("[data-response]").first.focus()
    page.keyboard.press("4")
    page.keyboard.press("Enter")

    expect(page.locator(f"[data-assignment='{second}']")).to_be_visible()
    assert tiers_on_board(page) == [["A"]]
    sent(page)
    assert [ranking.tiers for ranking in Ranking.objects.order_by("revision")] == [
        [[a], [b], [c], [d]],
        [[b], [c], [order for order in Ranking.objects.first().shown_order if order in (a, d)]],
    ]
    assert Assignment.objects.get(public_id=second).state == "leased"


def test_an_undone_answer_is_left_as_it_is(begin: Begin) -> None:
    page = begin()
    press(page, "1234")
    submitted(page)
    second = shown(page)
    page.get_by_role("button", name="Undo answer").click()
    expect(page.get_by_text("You ranked it")).to_be_visible()
    page.locator("[data-response]").first.focus()
    page.keyboard.press("4")

    page.get_by_role("link", name="Leave it as it is").click()
    expect(page.locator(f"[data-assignment='{second}']")).to_be_visible()

    assert Ranking.objects.count() == 1
    assert page.url.endswith("/rank/")


def test_an_answer_that_was_not_sent_yet_is_taken_out_again_and_is_one_ranking_in_the_end(
    begin: Begin,
) -> None:
    page = begin()
    first = shown(page)
    a, b, c, d = (number_of(page, letter) for letter in "ABCD")
    page.context.set_offline(True)
    press(page, "1234")
    page.keyboard.press("Enter")
    gone(page, first)

    page.keyboard.press("u")
    expect(page.locator(f"[data-assignment='{first}']")).to_be_visible()
    expect(page.get_by_text("waits to be sent")).to_have_count(0)
    assert tiers_on_board(page) == [["A"], ["B"], ["C"], ["D"]]
    page.locator("[data-response]").first.focus()
    page.keyboard.press("4")
    page.keyboard.press("Enter")
    gone(page, first)
    page.context.set_offline(False)

    sent(page)
    ranking = Ranking.objects.get()
    assert (ranking.tiers, ranking.revision) == ([[b], [c], sorted([a, d], key=ranking.shown_order.index)], 1)


def test_an_undone_answer_that_had_arrived_all_the_same_is_amended(begin: Begin) -> None:
    page = begin()
    first = shown(page)
    lost = []
    page.route("**/submit/", lambda route: (lost.append(route.fetch()), route.abort()))
    press(page, "1234")
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 answer waits to be sent")).to_be_visible()
    page.unroute("**/submit/")
    page.context.set_offline(True)

    page.keyboard.press("u")
    expect(page.locator(f"[data-assignment='{first}']")).to_be_visible()
    page.context.set_offline(False)
    page.locator("[data-response]").first.focus()
    page.keyboard.press("4")
    page.keyboard.press("Enter")

    sent(page)
    assert lost[0].ok
    before, after = Ranking.objects.order_by("revision")
    (a,), b, c, (d,) = before.tiers
    assert after.tiers == [b, c, sorted([a, d], key=before.shown_order.index)]
    expect(page.get_by_role("alert")).to_have_count(0)


def test_time_adds_up_over_an_undone_answer(begin: Begin) -> None:
    page = begin()
    page.clock.install()
    page.reload()
    expect(page.locator("[data-workbench]")).to_be_visible()
    page.clock.run_for(20_000)
    press(page, "1234")
    submitted(page)
    page.keyboard.press("u")
    expect(page.get_by_text("You ranked it")).to_be_visible()
    page.clock.run_for(10_000)
    page.keyboard.press("Enter")
    expect(page.get_by_text("You ranked it")).to_have_count(0)
    sent(page)

    before, after = Ranking.objects.order_by("revision")
    assert 20 <= before.seconds < 30
    assert 10 <= after.seconds - before.seconds < 20


def test_an_answer_whose_batch_was_closed_cannot_be_undone_and_the_page_says_so(
    begin: Begin, project: Project
) -> None:
    page = begin()
    press(page, "1234")
    submitted(page)
    second = shown(page)
    close_batch(project.batches.get())

    page.keyboard.press("u")

    expect(page.get_by_text("its rankings stay as they are")).to_be_visible()
    assert shown(page) == second
