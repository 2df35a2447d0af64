"""Ranking by keys alone, by mouse alone, by touch; what is allowed, and what is heard of it."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from annotation.models import Aspect, Project, Ranking
from tests.browser.ranking import (
    Finger,
    Rank,
    drag,
    middle_of,
    number_of,
    order_of_cards,
    sent,
    submitted,
    tiers_on_board,
)
from tests.frontend.content import fill, many

pytestmark = pytest.mark.browser


def test_by_keys_alone(rank: Rank) -> None:
    page = rank()
    assert tiers_on_board(page) == []
    a, b, c, d = (number_of(page, letter) for letter in "ABCD")

    page.keyboard.press("2")  # A
    page.keyboard.press("=")  # B, tied with A
    page.keyboard.press("1")  # C
    page.keyboard.press("1")  # D
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Shift+ArrowDown")
    assert tiers_on_board(page) == [["C"], ["A", "B"], ["D"]]
    page.keyboard.press("Shift+A")
    page.keyboard.press("0")
    assert tiers_on_board(page) == [["C"], ["B"], ["D"]]
    page.keyboard.press("z")
    expect(page.locator("[data-announcer]")).to_have_text("Undone.")
    submitted(page)

    ranking = Ranking.objects.get()
    assert ranking.tiers == [[c], sorted([a, b], key=ranking.shown_order.index), [d]]
    expect(page.locator("[data-count]")).to_have_text("0 of 4 ranked")
    assert tiers_on_board(page) == []


def test_a_response_more_keys_than_there_are_responses_rank_them_and_bring_the_next_task(rank: Rank) -> None:
    page = rank()
    first = page.locator("[data-workbench]").get_attribute("data-assignment")

    for key in ("2", "1", "4", "3", "Enter"):
        page.keyboard.press(key)

    expect(page.locator(f"[data-assignment='{first}']")).to_have_count(0)
    sent(page)
    ranking = Ranking.objects.get()
    assert ranking.tiers == [[ranking.shown_order[index]] for index in (1, 0, 3, 2)]


def test_small_letters_are_commands_and_capital_letters_are_responses(rank: Rank) -> None:
    page = rank()

    page.keyboard.press("Shift+C")
    expect(page.locator("[data-letter=C]")).to_be_focused()
    page.keyboard.press("a")
    expect(page.locator("[data-letter=C]")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("[data-letter=B]")).to_be_focused()


def test_a_partial_ranking_is_taken_where_the_project_allows_it(rank: Rank, project: Project) -> None:
    project.allow_partial = True
    project.save()
    page = rank()
    a, b = (number_of(page, letter) for letter in "AB")

    page.keyboard.press("2")
    page.keyboard.press("Enter")
    expect(page.locator("[data-announcer]")).to_have_text("Rank at least two responses.")
    page.keyboard.press("1")
    submitted(page)

    assert Ranking.objects.get().tiers == [[b], [a]]


def test_what_a_key_did_is_said_aloud(rank: Rank) -> None:
    page = rank()
    said = page.locator("[data-announcer]")

    page.keyboard.press("2")
    expect(said).to_have_text("Response A: tier 2.")
    page.keyboard.press("=")
    expect(said).to_have_text("Response B: tier 2, tied with A.")
    page.keyboard.press("Enter")
    expect(said).to_have_text("Response C is not ranked yet.")
    expect(page.locator("[data-letter=C]")).to_be_focused()
    assert not Ranking.objects.exists()


def test_by_mouse_alone(rank: Rank) -> None:
    page = rank()
    a, b, c, d = (number_of(page, letter) for letter in "ABCD")

    drag(page, "B", 1)
    expect(page.locator("[data-announcer]")).to_have_text("Response B: tier 1.")
    drag(page, "A", 2)
    drag(page, "C", 2)
    page.locator("[data-letter=D]").get_by_role("button", name="Tier 4").click()
    assert tiers_on_board(page) == [["B"], ["A", "C"], ["D"]]
    drag(page, "B", 0)
    assert tiers_on_board(page) == [["A", "C"], ["D"]]
    page.get_by_role("button", name="Undo", exact=True).click()
    page.get_by_role("button", name="Submit").click()
    expect(page.locator("[data-count]")).to_have_text("0 of 4 ranked")
    sent(page)

    ranking = Ranking.objects.get()
    assert ranking.tiers == [[b], sorted([a, c], key=ranking.shown_order.index), [d]]


def test_a_card_is_not_dragged_by_its_text_and_stays_where_it_was_if_let_go_beside_the_tiers(
    rank: Rank,
) -> None:
    page = rank()
    for grip in (".response__text", "[data-handle]"):
        box = page.locator(f"[data-letter=A] {grip}").bounding_box()
        zone = middle_of(page, "[data-zone='1']")
        page.mouse.move(box["x"] + 12, box["y"] + 12)
        page.mouse.down()
        page.mouse.move(*zone, steps=6)
        if grip == "[data-handle]":
            expect(page.locator("[data-zone='1'][data-aimed]")).to_be_visible()
            page.mouse.move(box["x"] + 200, box["y"] + 100, steps=6)
        page.mouse.up()

        expect(page.locator("[data-dragging], .sortable-fallback, [data-aimed]")).to_have_count(0)
        assert tiers_on_board(page) == []


def test_a_letter_on_the_board_is_dragged_as_its_card_is(rank: Rank) -> None:
    page = rank()
    page.keyboard.press("1")
    chip = page.locator(f"[data-chip='{number_of(page, 'A')}']").bounding_box()

    page.mouse.move(chip["x"] + 12, chip["y"] + 12)
    page.mouse.down()
    page.mouse.move(*middle_of(page, "[data-zone='3']"), steps=6)
    page.mouse.up()

    expect(page.locator("[data-zone='3'] [data-chip]")).to_have_count(1)
    assert tiers_on_board(page) == [["A"]]


def test_in_their_tiers_cards_are_dropped_on_each_other_and_arrows_follow_what_is_seen(rank: Rank) -> None:
    page = rank()
    page.get_by_role("button", name="In tiers").click()
    page.keyboard.press("Shift+A")
    for key in "31":
        page.keyboard.press(key)
    assert order_of_cards(page) == "CDBA"

    handle = page.locator("[data-letter=C] [data-handle]").bounding_box()
    page.mouse.move(handle["x"] + 10, handle["y"] + 10)
    page.mouse.down()
    page.mouse.move(*middle_of(page, "[data-letter=B] .response__head .response__told"), steps=6)
    page.mouse.up()

    assert tiers_on_board(page) == [["B", "C"], ["A"]]
    assert order_of_cards(page) == "DBCA"
    page.keyboard.press("Shift+D")
    page.keyboard.press("ArrowRight")
    expect(page.locator("[data-letter=B]")).to_be_focused()


def test_a_handle_that_is_held_carries_the_card_and_the_page_stands_still(rank: Rank) -> None:
    page = rank(touch=True)
    page.locator("[data-letter=B] [data-handle]").scroll_into_view_if_needed()
    handle, zone = middle_of(page, "[data-letter=B] [data-handle]"), middle_of(page, "[data-zone='2']")
    before = page.evaluate("scrollY")
    finger = Finger(page)

    finger.down(*handle)
    page.wait_for_timeout(300)
    finger.move(handle, zone)
    expect(page.locator("[data-zone='2'][data-aimed]")).to_be_visible()
    assert page.locator("[data-zone='2']").bounding_box()["height"] >= 44
    finger.up()

    expect(page.locator("[data-zone='2'] [data-chip]")).to_have_count(1)
    assert tiers_on_board(page) == [["B"]]
    assert page.evaluate("scrollY") == before


def test_a_swipe_over_a_handle_scrolls_and_carries_nothing(rank: Rank) -> None:
    page = rank(touch=True)
    page.locator("[data-letter=A]").evaluate("card => card.scrollIntoView()")
    start = middle_of(page, "[data-letter=A] [data-handle]")
    before = page.evaluate("scrollY")
    finger = Finger(page)

    finger.down(*start)
    finger.move(start, (start[0], max(1, start[1] + 150)))
    finger.up()

    page.wait_for_function("before => scrollY < before - 50", arg=before)
    expect(page.locator("[data-dragging], .sortable-fallback")).to_have_count(0)
    assert tiers_on_board(page) == []


@pytest.mark.parametrize("responses", [2, 9])
def test_every_tier_is_in_sight_wherever_a_card_is_taken(
    rank: Rank, project: Project, monkeypatch: pytest.MonkeyPatch, responses: int
) -> None:
    many(monkeypatch, responses)
    fill(project, responses_per_task=responses)
    for options in ({}, {"viewport": {"width": 1024, "height": 600}}, {"touch": True}):
        page = rank(**options)
        size = page.viewport_size
        page.locator("[data-response]").last.evaluate("card => card.scrollIntoView()")
        zones = [zone.bounding_box() for zone in page.locator("[data-zone]").all()]
        assert len(zones) == responses + 1
        for zone in zones:
            assert zone["x"] >= 0 and zone["x"] + zone["width"] <= size["width"]
            assert zone["y"] >= 0 and zone["y"] + zone["height"] <= size["height"]
            assert min(zone["width"], zone["height"]) >= 24
        page.context.close()


def test_by_touch_on_a_phone(rank: Rank) -> None:
    page = rank(touch=True)
    a, b, c, d = (number_of(page, letter) for letter in "ABCD")

    for letter, tier in (("A", 3), ("B", 1), ("C", 2), ("D", 2)):
        button = page.locator(f"[data-letter={letter}]").get_by_role("button", name=f"Tier {tier}")
        box = button.bounding_box()
        assert min(box["width"], box["height"]) >= 44
        button.tap()
    page.get_by_role("button", name="Submit").tap()
    expect(page.locator("[data-count]")).to_have_text("0 of 4 ranked")
    sent(page)

    ranking = Ranking.objects.get()
    assert ranking.tiers == [[b], sorted([c, d], key=ranking.shown_order.index), [a]]


def test_keys_can_be_switched_off(rank: Rank) -> None:
    page = rank()

    page.keyboard.press("?")
    page.get_by_label("Use these keys").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    page.keyboard.press("Enter")

    assert tiers_on_board(page) == []
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_project_without_ties_keeps_an_order(rank: Rank, project: Project) -> None:
    project.allow_ties = False
    project.save()
    page = rank()

    page.keyboard.press("1")  # A
    page.keyboard.press("1")  # B goes first and pushes A down
    page.keyboard.press("=")
    expect(page.locator("[data-announcer]")).to_have_text("This project asks for an order without ties.")
    page.keyboard.press("1")
    page.keyboard.press("2")

    assert tiers_on_board(page) == [["C"], ["D"], ["B"], ["A"]]


def test_aspects_are_rated_apart_from_the_ranking(rank: Rank, project: Project) -> None:
    Aspect.objects.create(project=project, name="citations", question="Are its claims cited?", steps=5)
    page = rank()

    page.locator("[data-letter=B]").get_by_role("radio", name="4").check()
    page.keyboard.press("Shift+A")
    for tier in "1234":
        page.keyboard.press(tier)
    b = number_of(page, "B")
    submitted(page)

    rating = Ranking.objects.get().aspect_ratings.get()
    assert (rating.aspect.name, rating.position, rating.rating) == ("citations", b, 4)


def test_without_ties_a_card_dropped_on_another_pushes_it_aside(rank: Rank, project: Project) -> None:
    project.allow_ties = False
    project.save()
    page = rank()

    drag(page, "A", 1)
    drag(page, "B", 1)

    assert tiers_on_board(page) == [["B"], ["A"]]
