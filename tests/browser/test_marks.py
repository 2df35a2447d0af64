"""What an annotator says besides the ranking, in the browser: flags, better responses, how much better a tier is."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, expect

from annotation.models import Demonstration, Project, Ranking, User
from annotation.projects import set_aspects
from tests.browser.conftest import Visit
from tests.browser.ranking import Picture, Rank, number_of, sent, submitted

pytestmark = pytest.mark.browser


@pytest.fixture
def asked(project: Project) -> Project:
    """The project asks how much better each tier is than the next."""
    project.ask_strength = True
    project.save()
    return project


def card(page: Page, letter: str) -> Locator:
    return page.locator(f"[data-letter={letter}]")


def said(page: Page) -> Locator:
    return page.locator("[data-announcer]")


def order(page: Page, tiers: str = "1234") -> None:
    for tier in tiers:
        page.keyboard.press(tier)


def test_flags_by_keys_alone(rank: Rank) -> None:
    page = rank()
    a, b = (number_of(page, letter) for letter in "AB")

    page.keyboard.press("f")
    expect(page.get_by_role("dialog", name="Flag response A")).to_be_visible()
    page.keyboard.press("u")
    page.keyboard.press("w")
    page.keyboard.press("w")
    page.keyboard.press("t")
    page.keyboard.press("Enter")
    expect(said(page)).to_have_text("Response A: flagged unsafe, truncated.")
    expect(card(page, "A")).to_be_focused()
    expect(card(page, "A").get_by_text("flagged: unsafe, truncated")).to_be_visible()

    page.keyboard.press("ArrowDown")
    page.keyboard.press("f")
    page.keyboard.press("o")
    page.keyboard.type("Flatters the fool.")  # letters in the note are text
    page.keyboard.press("Escape")
    expect(card(page, "B").get_by_text("flagged: other")).to_be_visible()
    page.keyboard.press("Shift+A")
    order(page)
    submitted(page)

    flags = set(Ranking.objects.get().flags.values_list("position", "kind", "note"))
    assert flags == {(a, "unsafe", ""), (a, "truncated", ""), (b, "other", "Flatters the fool.")}
    expect(page.locator("[data-flagged]:visible")).to_have_count(0)


def test_other_without_a_note_is_not_submitted_and_says_so(rank: Rank) -> None:
    page = rank()
    order(page)
    page.keyboard.press("f")
    page.keyboard.press("o")
    page.keyboard.press("Escape")
    mark = page.locator("[data-flagged]:visible")
    expect(mark).to_have_text("flagged: other, but not what")
    expect(page.get_by_role("button", name="Submit")).to_have_attribute("aria-disabled", "true")

    page.keyboard.press("Enter")
    expect(said(page)).to_contain_text("is flagged as other: say what is wrong, or take the flag off.")
    assert not Ranking.objects.exists()

    page.keyboard.press("f")
    page.keyboard.press("o")
    page.keyboard.press("Escape")
    expect(mark).to_have_count(0)
    submitted(page)
    assert not Ranking.objects.get().flags.exists()


def test_letters_set_no_flag_where_single_keys_are_off(rank: Rank) -> None:
    page = rank()
    page.keyboard.press("?")
    page.get_by_label("Use these keys").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("f")
    expect(page.get_by_role("dialog")).to_have_count(0)

    page.get_by_role("button", name="Flag response C").click()
    page.keyboard.press("u")
    expect(page.get_by_role("checkbox", name="Unsafe")).not_to_be_checked()
    page.get_by_role("checkbox", name="Unsafe").check()
    page.get_by_role("button", name="Done").click()
    expect(card(page, "C").get_by_text("flagged: unsafe")).to_be_visible()


def test_an_edited_response_is_kept_as_one_types_and_becomes_a_demonstration(rank: Rank) -> None:
    page = rank()
    b = number_of(page, "B")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("e")
    editor = page.get_by_role("dialog", name="A better response B")
    field = editor.get_by_label("Text")
    expect(field).to_be_focused()
    original = field.input_value()
    assert len(original) > 10, "the response's text is there to edit"
    assert field.bounding_box()["height"] >= 450, "half the window"
    expect(editor.get_by_text("Still as it was.")).to_be_visible()
    expect(editor.get_by_role("button", name="Reset to original")).to_have_count(0)

    page.keyboard.type("Sure: ")
    expect(card(page, "B").locator("[data-edited]")).to_have_text("edited")
    page.reload()
    expect(card(page, "B").get_by_text("edited")).to_be_visible()
    page.get_by_role("button", name="Edit response B").click()
    expect(field).to_have_value(f"Sure: {original}")

    editor.get_by_role("button", name="Reset to original").click()
    expect(field).to_have_value(original)
    expect(card(page, "B").locator("[data-edited]")).to_be_hidden()
    editor.get_by_role("button", name="Bring my text back").click()
    expect(field).to_have_value(f"Sure: {original}")
    page.keyboard.press("Control+Enter")
    expect(editor).to_be_hidden()
    expect(said(page)).to_have_text("Response B: edited.")
    card(page, "A").focus()
    order(page)
    submitted(page)

    kept = Demonstration.objects.get()
    assert (kept.position, kept.text) == (b, f"Sure: {original}")


def test_opening_the_editor_changes_nothing(rank: Rank) -> None:
    page = rank()
    page.keyboard.press("e")
    page.keyboard.press("Escape")
    expect(said(page)).to_have_text("Response A: nothing new, so nothing is kept.")
    page.keyboard.press("w")
    page.keyboard.press("Escape")
    order(page)
    submitted(page)
    assert not Demonstration.objects.exists()


def test_a_better_response_is_written_anew_beside_the_prompt(rank: Rank) -> None:
    page = rank()
    page.get_by_role("button", name="Write a better response").click()
    editor = page.get_by_role("dialog", name="A better response")
    editor.get_by_text("Prompt", exact=True).click()
    expect(editor.get_by_text("My rice always comes out sticky")).to_be_visible()
    editor.get_by_label("Text").fill("Rinse it.\n\nUse **less** heat.")
    editor.get_by_role("button", name="Done").click()
    expect(page.locator("[data-written]")).to_have_text("written")
    expect(said(page)).to_have_text("A better response: written.")

    card(page, "A").focus()
    order(page)
    submitted(page)
    kept = Demonstration.objects.get()
    assert (kept.position, kept.text) == (None, "Rinse it.\n\nUse **less** heat.")
    page.keyboard.press("w")
    expect(page.get_by_label("Text")).to_have_value("")


def test_a_hostile_response_is_edited_as_text(
    rank: Rank,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hostile = "</script></textarea><img src=x onerror=alert(1)>\r\n\n  &lt;b&gt; ok"
    texts = {key: [hostile + "!" * number for number in range(4)] for key in ("rice", "tides")}
    monkeypatch.setattr("tests.frontend.content.RESPONSES", texts)
    page = rank()
    page.keyboard.press("e")
    shown = page.get_by_label("Text").input_value()
    assert shown.rstrip("!") == hostile.replace("\r\n", "\n")
    page.keyboard.press("Escape")
    expect(page.locator("[data-edited]:visible")).to_have_count(0)


def strengths(page: Page) -> list[tuple[str, str | None]]:
    """Which tiers the controls are of, from the best, and what is chosen."""
    return [
        (
            control.get_attribute("aria-label"),
            pressed[0].inner_text()
            if (pressed := control.locator("button[aria-pressed=true]").all())
            else None,
        )
        for control in page.locator("[data-strength]").all()
    ]


@pytest.mark.usefixtures("asked")
def test_how_much_better_is_said_between_neighbouring_tiers(rank: Rank) -> None:
    page = rank()
    a, b, c, d = (number_of(page, letter) for letter in "ABCD")
    assert strengths(page) == []
    order(page, "1224")  # A, then B and C, then D; tier 3 is empty
    assert strengths(page) == [
        ("How much better A is than B, C", None),
        ("How much better B, C is than D", None),
    ]

    control = page.get_by_role("group", name="How much better A is than B, C")
    control.get_by_role("button", name="clearly").click()
    expect(said(page)).to_have_text("A clearly better than B, C.")
    control.get_by_role("button", name="clearly").click()
    expect(said(page)).to_have_text("A over B, C: left open.")
    control.get_by_role("button", name="much").click()
    page.keyboard.press("Shift+B")
    for _ in range(2):
        page.keyboard.press("b")
    expect(said(page)).to_have_text("B, C slightly better than D.")
    page.reload()
    assert [chosen for _, chosen in strengths(page)] == ["much", "slightly"]
    page.keyboard.press("Shift+A")  # an Enter at once would be taken for the second half of one before
    submitted(page)

    ranking = Ranking.objects.get()
    assert [sorted(tier) for tier in ranking.tiers] == [[a], sorted([b, c]), [d]]
    assert ranking.strengths == [4, 2]


@pytest.mark.usefixtures("asked")
def test_a_strength_goes_with_its_neighbourhood_is_told_and_comes_back_with_it(rank: Rank) -> None:
    page = rank()
    order(page, "1234")
    page.keyboard.press("Shift+A")
    page.keyboard.press("b")
    expect(said(page)).to_have_text("A negligibly better than B.")
    page.keyboard.press("Shift+C")
    page.keyboard.press("2")  # B is no longer alone

    expect(said(page)).to_have_text(
        "Response C: tier 2, tied with B. “A negligibly better than B” no longer counts."
    )
    assert strengths(page)[0] == ("How much better A is than B, C", None)
    page.keyboard.press("z")
    expect(said(page)).to_have_text("Undone. “A negligibly better than B” counts again.")
    page.keyboard.press("Shift+D")
    page.keyboard.press("Shift+ArrowUp")  # D joins C: of A and B nothing changed
    expect(said(page)).to_have_text("Response D: tier 3, tied with C.")
    page.keyboard.press("Shift+C")
    page.keyboard.press("2")
    submitted(page)
    assert Ranking.objects.get().strengths is None


@pytest.mark.usefixtures("asked")
def test_how_much_better_by_keys_alone(rank: Rank) -> None:
    page = rank()
    page.keyboard.press("b")
    expect(said(page)).to_have_text("Rank responses into two tiers first, then say how much better one is.")
    order(page, "1112")
    page.keyboard.press("b")  # D, in the last tier: how much it is below
    expect(said(page)).to_contain_text("A, B, C negligibly better than D.")
    for _ in range(4):
        page.keyboard.press("b")
    expect(said(page)).to_have_text("A, B, C over D: left open.")
    button = page.locator("[data-strength] button").first
    button.focus()
    page.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(button).to_be_focused()
    assert not Ranking.objects.exists(), "Enter on a button is the button's"


def test_where_the_project_does_not_ask_nothing_is_shown_and_sent(rank: Rank) -> None:
    page = rank()
    order(page)
    page.keyboard.press("b")
    assert strengths(page) == []
    submitted(page)
    assert Ranking.objects.get().strengths is None


@pytest.mark.usefixtures("asked")
def test_by_touch_on_a_phone(rank: Rank) -> None:
    page = rank(touch=True)
    a, b = (number_of(page, letter) for letter in "AB")
    for letter, tier in zip("ABCD", "1234", strict=True):
        card(page, letter).get_by_role("button", name=f"Tier {tier}").tap()
    page.get_by_role("button", name="Flag response A").tap()
    page.get_by_role("checkbox", name="Hallucinated").tap()
    page.get_by_role("button", name="Done").tap()
    page.get_by_role("button", name="Edit response B").tap()
    page.get_by_label("Text").fill("Better.")
    page.get_by_role("button", name="Done").tap()
    step = page.locator("[data-strength]").first.get_by_role("button", name="much")
    assert step.bounding_box()["height"] >= 44
    step.tap()
    page.get_by_role("button", name="Submit").tap()
    expect(page.locator("[data-count]")).to_have_text("0 of 4 ranked")
    sent(page)

    ranking = Ranking.objects.get()
    assert (ranking.flags.get().position, ranking.flags.get().kind) == (a, "hallucinated")
    assert (ranking.demonstrations.get().position, ranking.strengths) == (b, [4, None, None])


@pytest.mark.usefixtures("asked")
def test_changing_a_ranking_brings_back_all_that_was_said(
    rank: Rank,
    project: Project,
) -> None:
    page = rank()
    order(page, "1233")
    page.keyboard.press("Shift+A")
    page.keyboard.press("b")
    page.keyboard.press("f")
    page.keyboard.press("o")
    page.keyboard.type("Flatters.")
    page.keyboard.press("Escape")
    page.keyboard.press("e")
    page.keyboard.type("Sure: ")
    page.keyboard.press("Escape")
    page.keyboard.press("w")
    page.keyboard.type("Mine.")
    page.keyboard.press("Escape")
    submitted(page)
    first = Ranking.objects.get()

    page.goto(f"/projects/{project.slug}/history/{first.assignment.public_id}/")
    expect(card(page, "A").get_by_text("flagged: other")).to_be_visible()
    expect(card(page, "A").locator("[data-edited]")).to_have_text("edited")
    expect(page.locator("[data-written]")).to_have_text("written")
    assert [chosen for _, chosen in strengths(page)] == ["negligibly", None]
    page.keyboard.press("Shift+A")
    page.keyboard.press("b")
    page.get_by_role("button", name="Save").click()
    page.wait_for_url("**/history/")

    second = Ranking.objects.get(revision=2)
    assert (second.strengths, second.tiers) == ([2, None], first.tiers)
    assert second.flags.get().note == "Flatters."
    assert sorted(second.demonstrations.values_list("text")) == sorted(
        first.demonstrations.values_list("text")
    )


def test_nothing_is_said_while_the_answer_is_on_its_way(rank: Rank) -> None:
    page = rank()
    order(page)
    submitted(page)
    order(page)  # the last task: no other one stands in for it
    page.context.set_offline(True)
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("No connection to the server.")
    for key in "few":
        page.keyboard.press(key)
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("button", name="Flag response A")).to_be_disabled()
    expect(page.get_by_role("button", name="Write a better response")).to_be_disabled()
    page.context.set_offline(False)
    expect(page.get_by_text("You have ranked 2 tasks")).to_be_visible()


@pytest.mark.usefixtures("asked")
def test_the_marks_are_accessible_and_fit_in_every_state(
    rank: Rank,
    project: Project,
    picture: Picture,
) -> None:
    set_aspects(project=project, aspects=[{"name": "citations", "question": "Are its claims cited?"}])
    page = rank()
    order(page, "1223")
    page.keyboard.press("Shift+A")
    page.keyboard.press("b")
    page.keyboard.press("f")
    page.keyboard.press("u")
    page.keyboard.press("o")
    page.keyboard.type("It flatters.")
    picture(page, "marks-flags")
    page.keyboard.press("Escape")
    page.keyboard.press("e")
    page.keyboard.type("Sure: ")
    picture(page, "marks-editor")
    page.keyboard.press("Escape")
    page.keyboard.press("w")
    page.get_by_role("dialog").get_by_text("Prompt", exact=True).click()
    page.get_by_label("Text").fill("Rinse it.")
    picture(page, "marks-anew")
    page.keyboard.press("Escape")
    picture(page, "marks-workbench")
    page.keyboard.press("?")
    picture(page, "marks-keys")


def test_managers_read_what_was_said_and_add_a_rubric(
    rank: Rank,
    visit: Visit,
    project: Project,
    people: dict[str, User],
    picture: Picture,
) -> None:
    page = rank()
    page.keyboard.press("f")
    page.keyboard.press("h")
    page.keyboard.press("o")
    page.keyboard.type("It flatters, at length and to no end that I could find.")
    page.keyboard.press("Escape")
    page.keyboard.press("e")
    page.keyboard.type("Sure: ")
    page.keyboard.press("Escape")
    page.keyboard.press("w")
    page.keyboard.type("Rinse it, and lower the heat.")
    page.keyboard.press("Escape")
    page.locator(".why summary").click()
    page.get_by_label("Why you ranked them so").fill("A is right but flatters.")
    card(page, "A").focus()
    order(page)
    submitted(page)

    page = visit(f"/projects/{project.slug}/batches/{project.batches.get().pk}/", people["manager"])
    picture(page, "batch-with-remarks")
    page.get_by_role("link", name="1 flagged other").click()
    expect(page.get_by_text("It flatters, at length")).to_be_visible()
    page.get_by_role("link", name="all", exact=True).click()
    page.get_by_text("Before it was edited").click()
    picture(page, "remarks")

    page.goto(f"/projects/{project.slug}/settings/")
    page.get_by_role("button", name="Add the aspects of Answer engine").click()
    expect(page.get_by_text("Added: relevance, citations, formatting, safety, accuracy.")).to_be_visible()
    picture(page, "settings-rubrics")
    assert project.aspects.count() == 5
