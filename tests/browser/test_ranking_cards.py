"""How responses are read: layouts, cut texts, scrolling together, tiers, passages, conversations, maths."""

from __future__ import annotations

import itertools
import math

import pytest
from playwright.sync_api import expect

from annotation.models import Aspect, Project
from tests.browser.conftest import DESK, PHONE
from tests.browser.ranking import Picture, Rank, order_of_cards, submitted
from tests.frontend import content
from tests.frontend.content import fill, many

pytestmark = pytest.mark.browser
STACKED = {"name": "Stacked", "exact": True}
LEFTS = "[...document.querySelectorAll('[data-response]')].map((card) => card.getBoundingClientRect().left)"


@pytest.fixture
def long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts that need more than a window, each with an end of its own."""
    monkeypatch.setattr(
        content,
        "RESPONSES",
        {
            key: [
                f"{text}\n\n"
                + "\n\n".join(f"Paragraph {line} of a long story. " * 6 for line in range(20 + 10 * at))
                + f"\n\nThe end of {at}, [its end](https://example.org)."
                for at, text in enumerate(texts)
            ]
            for key, texts in content.RESPONSES.items()
        },
    )


def test_short_responses_stand_close_together(rank: Rank) -> None:
    page = rank(viewport={"width": 1440, "height": 1600})  # higher than they are
    page.get_by_role("button", **STACKED).click()
    boxes = [card.bounding_box() for card in page.locator("[data-response]").all()]
    gaps = [below["y"] - above["y"] - above["height"] for above, below in itertools.pairwise(boxes)]
    assert max(gaps) <= 16, gaps


def test_a_citation_leads_to_its_passage_and_back(rank: Rank) -> None:
    page = rank()
    for tier in "1111":
        page.keyboard.press(tier)
    submitted(page)
    citation = page.locator("a.citation", has_text="[1]").first

    citation.click()
    expect(page.locator("#passage-1")).to_be_focused()
    page.keyboard.press("Escape")
    expect(citation).to_be_focused()


def test_side_by_side_or_stacked_is_the_readers_choice_and_is_remembered(rank: Rank) -> None:
    page = rank()
    assert len(set(page.evaluate(LEFTS))) > 1

    page.get_by_role("button", **STACKED).click()
    assert len(set(page.evaluate(LEFTS))) == 1
    page.reload()
    assert len(set(page.evaluate(LEFTS))) == 1
    expect(page.get_by_role("button", **STACKED)).to_have_attribute("aria-pressed", "true")
    for tier in "1234":
        page.keyboard.press(tier)
    submitted(page)
    assert len(set(page.evaluate(LEFTS))) == 1


@pytest.mark.usefixtures("long")
def test_side_by_side_every_card_stands_whole_in_the_window_and_its_text_scrolls_by_keys(rank: Rank) -> None:
    page = rank()
    text = page.locator("[data-letter=A] .response__text")
    assert text.evaluate("text => text.scrollHeight > text.clientHeight + 100")
    assert page.locator("[data-letter=A]").bounding_box()["height"] < DESK["height"]

    text.focus()
    page.keyboard.press("ArrowDown")
    page.wait_for_function("() => document.querySelector('[data-letter=A] .response__text').scrollTop > 0")
    page.keyboard.press("ArrowRight")
    expect(page.locator("[data-letter=B]")).to_be_focused()


@pytest.mark.usefixtures("long")
def test_texts_scroll_together_only_if_asked(rank: Rank) -> None:
    page = rank()
    parts = (
        "[...document.querySelectorAll('.response__text')]"
        ".map((text) => text.scrollTop / (text.scrollHeight - text.clientHeight))"
    )
    page.locator("[data-letter=A] .response__text").hover()
    page.mouse.wheel(0, 400)
    page.wait_for_function("() => document.querySelector('[data-letter=A] .response__text').scrollTop > 100")
    assert page.evaluate(parts)[1:] == [0, 0, 0]

    page.get_by_role("button", name="Scroll together").click()
    page.locator("[data-letter=B] .response__text").evaluate(
        "text => (text.scrollTop = (text.scrollHeight - text.clientHeight) / 2)"
    )
    page.wait_for_function(f"() => {parts}.every((part) => Math.abs(part - 0.5) < 0.02)")
    page.wait_for_timeout(200)
    assert all(abs(part - 0.5) < 0.02 for part in page.evaluate(parts)), "they drove each other on"


@pytest.mark.usefixtures("long")
def test_a_long_text_is_cut_says_so_and_stays_open_once_opened(rank: Rank) -> None:
    page = rank()
    page.get_by_role("button", **STACKED).click()
    text = page.locator("[data-letter=B] .response__text")
    more = page.get_by_role("button", name="Show more of response B")
    end = text.get_by_text("The end of")
    assert text.bounding_box()["height"] < 400
    expect(more).to_have_attribute("aria-expanded", "false")

    more.click()
    assert text.bounding_box()["height"] > 800
    expect(page.get_by_role("button", name="Show less of response B")).to_have_attribute(
        "aria-expanded", "true"
    )
    page.reload()
    assert page.locator("[data-letter=B] .response__text").bounding_box()["height"] > 800
    assert page.locator("[data-letter=A] .response__text").bounding_box()["height"] < 400
    end.scroll_into_view_if_needed()
    expect(end).to_be_in_viewport()

    page.get_by_role("button", name="Show all").click()
    expect(page.get_by_role("button", name="Show more")).to_have_count(0)
    page.get_by_role("button", name="Show all").click()
    expect(page.get_by_role("button", name="Show more")).to_have_count(4)


def test_a_text_hardly_longer_than_the_cut_is_not_cut(rank: Rank) -> None:
    page = rank(touch=True)
    expect(page.get_by_role("button", name="Show more")).to_have_count(0)
    expect(page.get_by_role("button", name="Show all")).to_have_count(0)


@pytest.mark.usefixtures("long")
@pytest.mark.parametrize("gone_to", ["element => element.scrollIntoView()", "element => element.focus()"])
def test_what_find_in_page_or_tab_goes_to_is_shown_though_it_was_cut_off(rank: Rank, gone_to: str) -> None:
    page = rank()
    page.get_by_role("button", **STACKED).click()
    end = page.locator("[data-letter=C] .response__text").get_by_role("link", name="its end")
    expect(end).not_to_be_in_viewport()

    end.evaluate(gone_to)

    expect(page.get_by_role("button", name="Show less of response C")).to_have_count(1)
    expect(end).to_be_in_viewport()


def test_where_they_were_dealt_cards_do_not_move_and_in_their_tiers_they_do(rank: Rank) -> None:
    page = rank()
    for tier in "42":
        page.keyboard.press(tier)
    assert order_of_cards(page) == "ABCD"
    expect(page.locator("[data-letter=C]")).to_be_focused()

    page.get_by_role("button", name="In tiers").click()
    assert order_of_cards(page) == "CDBA"
    expect(page.locator("[data-stand='0']")).to_have_text("Not ranked")
    expect(page.locator("[data-stand='2']")).to_be_visible()
    expect(page.locator("[data-stand='3']")).to_be_hidden()
    page.reload()
    assert order_of_cards(page) == "CDBA"
    page.get_by_role("button", name="In tiers").click()
    assert order_of_cards(page) == "ABCD"


@pytest.mark.usefixtures("long")
def test_in_their_tiers_the_next_card_stands_where_the_one_before_was_read(rank: Rank) -> None:
    page = rank()
    for name in ("Stacked", "In tiers", "Show all"):
        page.get_by_role("button", name=name, exact=True).click()
    page.locator("[data-letter=A]").focus()
    page.evaluate("scrollBy(0, 100)")
    before = page.locator("[data-letter=A]").bounding_box()["y"]

    page.keyboard.press("3")

    expect(page.locator("[data-letter=B]")).to_be_focused()
    assert page.locator("[data-letter=B]").bounding_box()["y"] == pytest.approx(before, abs=2)


def test_a_long_conversation_begins_at_its_question_with_what_was_said_before_in_reach(
    rank: Rank, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = [
        {"role": "system", "content": "Answer in English."},
        {"role": "user", "content": "Tell me about tides. " + "I know little of them. " * 60},
        {"role": "assistant", "content": "\n\n".join(["Tides follow the Moon, and less the Sun. " * 8] * 8)},
        {"role": "user", "content": "And why two a day?"},
    ]
    monkeypatch.setattr(content, "PROMPTS", [{"key": "tides", "messages": turns}])
    page = rank()

    asked = page.get_by_role("region", name="Prompt and passages")
    expect(asked.get_by_text("And why two a day?")).to_be_in_viewport()
    expect(page.get_by_role("button", name="Show more of what the")).to_have_count(2)
    picture(page, "rank-conversation")
    page.get_by_role("button", name="Show more of what the assistant said").click()
    assert page.locator("#turn-3").bounding_box()["height"] > 200


def test_a_citation_that_names_no_passage_is_marked_in_words_too(
    rank: Rank, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"{text} As shown [7], [sic], and [1, 9]." for text in content.RESPONSES["tides"]]
    monkeypatch.setattr(content, "PROMPTS", content.PROMPTS[1:])
    monkeypatch.setattr(content, "RESPONSES", {"tides": texts})
    page = rank()
    card = page.locator("[data-letter=A] .response__text")

    expect(card.locator(".citation-astray")).to_have_text(
        ["[7] (no passage has this name)", "9 (no passage has this name)"]
    )
    expect(card.locator("a.citation").last).to_have_attribute("href", "#passage-1")
    expect(page.locator(".asked .citation-astray")).to_have_count(0)
    picture(page, "rank-citation-astray")


def test_formulas_are_drawn_and_prices_are_left_alone(
    rank: Rank, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [
        "The pull is $F = G\\frac{m_1 m_2}{r^2}$, so"
        "\n\n$$\n\\Delta F \\approx \\frac{2GMmr}{d^3}\n- \\epsilon\n$$\n\nand it costs $5 and $10.",
        "By \\(d^{-3}\\), not \\[d^{-2}\\]",
        "This one is broken: $\\frac{1$ and \\(\\href{javascript:alert(1)}{x}\\)",
        "Nothing to draw.",
    ]
    monkeypatch.setattr(content, "PROMPTS", content.PROMPTS[1:])
    monkeypatch.setattr(content, "RESPONSES", {"tides": texts})
    page = rank()

    drawn = page.locator("[data-response]", has_text="it costs $5 and $10.")
    expect(drawn.locator(".katex")).to_have_count(2)
    expect(drawn.locator(".math-display .katex-display")).to_be_visible()
    expect(drawn.locator("math")).to_have_count(2)
    expect(page.locator("[data-response]", has_text="By ").locator(".katex")).to_have_count(2)
    expect(page.locator(".response__text").get_by_text("\\frac{1")).to_be_visible()
    expect(page.locator(".response__text a")).to_have_count(0)
    picture(page, "rank-formulas")
    page.keyboard.press("d")
    picture(page, "rank-formulas-differences")


@pytest.mark.usefixtures("long")
def test_reading_is_accessible_in_every_layout(rank: Rank, project: Project, picture: Picture) -> None:
    Aspect.objects.create(project=project, name="citations", question="Are its claims cited?", steps=5)
    page = rank()
    for tier in "13":
        page.keyboard.press(tier)
    picture(page, "rank-beside-long")
    page.get_by_role("button", **STACKED).click()
    picture(page, "rank-stacked-long")
    page.get_by_role("button", name="In tiers").click()
    picture(page, "rank-in-tiers")


def test_cards_side_by_side_stand_in_rows_as_even_as_the_width_allows(
    rank: Rank, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    many(monkeypatch, 9)
    fill(project, responses_per_task=9)
    page = rank()
    fewer_cards = """(number) => {
        const cards = document.querySelector("[data-cards]");
        cards.dataset.cards = number;
        [...cards.querySelectorAll("[data-response]")].forEach((card, at) => at >= number && card.remove());
        return [cards.clientWidth, parseFloat(getComputedStyle(document.documentElement).fontSize)];
    }"""
    rows = """() => Object.values(Object.groupBy(document.querySelectorAll("[data-response]"),
        (card) => Math.round(card.getBoundingClientRect().top + scrollY))).map((row) => row.length)"""
    for number in range(9, 1, -1):
        for width in (800, 1024, 1280, 1440, 1920, 2560):
            page.set_viewport_size({"width": width, "height": 900})
            room, rem = page.evaluate(fewer_cards, number)
            fit = max(1, int((room + rem) / (20 * rem)))
            even = math.ceil(number / math.ceil(number / min(fit, number)))
            full, rest = divmod(number, even)
            assert page.evaluate(rows) == [even] * full + [rest] * bool(rest), (number, width)
            expect(page.locator("[data-zone='1']")).to_be_in_viewport()


def test_four_cards_stand_two_by_two_at_a_desk_and_one_below_the_other_on_a_phone(rank: Rank) -> None:
    page = rank()
    assert len(set(page.evaluate(LEFTS))) == 2
    page.set_viewport_size(PHONE)
    assert len(set(page.evaluate(LEFTS))) == 1
    expect(page.locator("[data-zone='1']")).to_be_in_viewport()


def test_nine_responses_fit(
    rank: Rank, project: Project, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    many(monkeypatch, 9)
    fill(project, responses_per_task=9)
    page = rank()
    for tier in "31229":
        page.keyboard.press(tier)
    picture(page, "rank-nine")
