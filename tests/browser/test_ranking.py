"""The annotators' page, as annotators use it: by keys, by mouse, by touch, and when things go wrong."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from annotation.models import Aspect, Project, Ranking, Skip, User
from tests.browser.conftest import PHONE, Visit, assert_fits, sent
from tests.frontend.content import PROMPTS, RESPONSES, fill

pytestmark = pytest.mark.browser
Picture = Callable[[Page, str], None]


@pytest.fixture
def rank(visit: Visit, project: Project, people: dict[str, User]) -> Callable[..., Page]:
    """Opens the ranking page as the annotator, with two tasks to do."""

    def go(**options: object) -> Page:
        if not project.batches.exists():
            fill(project)
        page = visit(f"/projects/{project.slug}/rank/", people["annotator"], **options)
        expect(page.locator("[data-workbench], [data-nothing]")).to_be_visible()
        return page

    return go


def number_of(page: Page, letter: str) -> int:
    return int(page.locator(f"[data-letter={letter}]").get_attribute("data-response"))


def tiers_on_board(page: Page) -> list[list[str]]:
    """The letters in each tier of the board, empty tiers left out."""
    return [
        letters
        for zone in page.locator("[data-zone]:not([data-zone='0'])").all()
        if (letters := [chip.inner_text().strip() for chip in zone.locator(".chip > .letter").all()])
    ]


def submitted(page: Page) -> None:
    """Submits, and waits until the page shows something other than the task it showed and the server has the answer."""
    shown = page.locator("[data-workbench]").get_attribute("data-assignment")
    page.keyboard.press("Enter")
    expect(page.locator(f"[data-assignment='{shown}']")).to_have_count(0)
    sent(page)


def test_by_keys_alone(rank: Callable[..., Page]) -> None:
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


def test_short_responses_stand_close_together(rank: Callable[..., Page]) -> None:
    page = rank(viewport={"width": 1440, "height": 1600})  # higher than they are
    boxes = [card.bounding_box() for card in page.locator("[data-response]").all()]
    gaps = [below["y"] - above["y"] - above["height"] for above, below in itertools.pairwise(boxes)]
    assert max(gaps) <= 16, gaps


def test_what_a_key_did_is_said_aloud(rank: Callable[..., Page]) -> None:
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


def test_by_mouse_alone(rank: Callable[..., Page]) -> None:
    page = rank()
    a, b, c, d = (number_of(page, letter) for letter in "ABCD")

    drag(page, "B", 1)
    drag(page, "A", 2)
    drag(page, "C", 2)
    page.locator("[data-letter=D]").get_by_role("button", name="Tier 4").click()
    assert tiers_on_board(page) == [["B"], ["A", "C"], ["D"]]
    page.get_by_role("button", name="Submit").click()
    expect(page.locator("[data-count]")).to_have_text("0 of 4 ranked")
    sent(page)

    ranking = Ranking.objects.get()
    assert ranking.tiers == [[b], sorted([a, c], key=ranking.shown_order.index), [d]]


def drag(page: Page, letter: str, tier: int) -> None:
    chip = page.locator(f"[data-chip='{number_of(page, letter)}']")
    zone = page.locator(f"[data-zone='{tier}'] .zone__chips")
    for part in (chip, zone):
        part.hover(trial=True)  # waits until it stands still: chips glide to their places after a drop
    start, end = chip.bounding_box(), zone.bounding_box()
    page.mouse.move(start["x"] + 20, start["y"] + start["height"] / 2)
    page.mouse.down()
    page.mouse.move(start["x"] + 30, start["y"] + start["height"] / 2 + 8, steps=3)
    page.mouse.move(end["x"] + 40, end["y"] + end["height"] / 2, steps=12)
    page.mouse.up()
    expect(zone.locator(chip)).to_be_visible()
    expect(page.locator("[data-dragging], .sortable-fallback")).to_have_count(0)


def test_by_touch_on_a_phone(rank: Callable[..., Page]) -> None:
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


def test_a_word_without_an_end_keeps_the_buttons_in_reach_on_a_phone(
    rank: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = f"https://example.org/{'very-long_' * 40} and {'w' * 400}"
    prompts = [prompt | {"prompt": f"{prompt['prompt']} {endless}"} for prompt in PROMPTS]
    texts = {key: [f"{text} {endless}" for text in of_prompt] for key, of_prompt in RESPONSES.items()}
    monkeypatch.setattr("tests.frontend.content.PROMPTS", prompts)
    monkeypatch.setattr("tests.frontend.content.RESPONSES", texts)
    page = rank(touch=True)
    assert_fits(page)
    submit = page.get_by_role("button", name="Submit").bounding_box()
    assert submit["x"] + submit["width"] <= PHONE["width"]


def test_on_a_phone_each_task_begins_with_its_prompt(
    rank: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    long = {key: [f"{text} {'A long story. ' * 200}" for text in texts] for key, texts in RESPONSES.items()}
    monkeypatch.setattr("tests.frontend.content.RESPONSES", long)
    page = rank(viewport={"width": 390, "height": 844})
    for _ in range(2):
        assert page.evaluate("scrollY") == 0
        page.locator("[data-response]").first.focus()
        for _ in range(4):
            page.keyboard.press("1")
        assert page.evaluate("scrollY") > 0, "a card that is moved to is shown"
        submitted(page)


def test_nothing_that_is_tabbed_to_stands_below_the_bar(rank: Callable[..., Page]) -> None:
    page = rank(viewport={"width": 390, "height": 844})
    low = page.locator(".actions").bounding_box()["y"]
    page.locator(".why summary").click()
    page.locator("[data-response]").first.focus()

    seen = []
    while not page.evaluate("document.activeElement.matches('.actions *')"):
        seen.append(page.evaluate("document.activeElement.getBoundingClientRect().bottom"))
        page.keyboard.press("Tab")
    assert len(seen) > 16, "cards, tiers' buttons, and the reason's field"
    assert max(seen[1:]) <= low  # the first is a card, which may be higher than the window


def test_no_control_is_cut_by_the_bar_wherever_the_page_is_scrolled(rank: Callable[..., Page]) -> None:
    page = rank(viewport={"width": 390, "height": 844})
    rows = page.locator(".tier-buttons").all()
    assert len(rows) == 4
    for row in rows[1:]:  # the first stands too high to come near the bar
        for shown in (6, 12, 18):  # pixels of the row above the bar's buttons
            edge = page.locator(".actions__tools").bounding_box()["y"]
            page.evaluate("by => scrollBy(0, by)", row.bounding_box()["y"] + shown - edge)
            found = Axe().run(page, options={"runOnly": {"type": "rule", "values": ["target-size"]}})
            assert found.violations_count == 0, found.generate_report()


def test_in_a_low_window_the_bar_gives_its_room_to_the_responses(rank: Callable[..., Page]) -> None:
    page = rank(viewport={"width": 640, "height": 360})
    assert page.locator(".actions").bounding_box()["y"] > 360
    page.get_by_role("button", name="Submit").scroll_into_view_if_needed()
    box = page.locator(".actions").bounding_box()
    assert box["y"] + box["height"] <= 360.5
    assert_fits(page)


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


def test_keys_can_be_switched_off(rank: Callable[..., Page]) -> None:
    page = rank()

    page.keyboard.press("?")
    page.get_by_label("Use these keys").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    page.keyboard.press("Enter")

    assert tiers_on_board(page) == []
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_project_without_ties_keeps_an_order(rank: Callable[..., Page], project: Project) -> None:
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


def test_aspects_are_rated_apart_from_the_ranking(rank: Callable[..., Page], project: Project) -> None:
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


def test_a_citation_leads_to_its_passage_and_back(rank: Callable[..., Page]) -> None:
    page = rank()
    for tier in "1111":
        page.keyboard.press(tier)
    submitted(page)
    citation = page.locator("a.citation", has_text="[1]").first

    citation.click()
    expect(page.locator("#passage-1")).to_be_focused()
    page.keyboard.press("Escape")
    expect(citation).to_be_focused()


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
