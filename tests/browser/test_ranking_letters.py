"""A response has one letter for everybody, in whichever order its card stands: what people write of it reads alike."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from annotation import assigning
from annotation.models import Project, Ranking, Task, User
from annotation.projects import add_member, create_user, update_project
from tests.browser.conftest import Visit
from tests.browser.ranking import Picture, Rank, number_of, order_of_cards, sent, submitted, tiers_on_board
from tests.frontend.content import fill

pytestmark = pytest.mark.browser
FIRST, SECOND = (2, 0, 3, 1), (1, 3, 0, 2)


@pytest.fixture(autouse=True)
def cards_by_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cards stand in two orders, neither of which is that of their letters."""

    def shown_order(task: Task, annotator: User) -> list[int]:
        return list(FIRST if annotator.username == "annotator" else SECOND)

    monkeypatch.setattr(assigning, "shown_order", shown_order)


def texts(page: Page, cards: str = "[data-letter]") -> dict[str, str]:
    """By letter, how each response begins."""
    return {
        card.get_attribute("data-letter"): " ".join(card.locator(".prose").first.inner_text().split())[:60]
        for card in page.locator(cards).all()
    }


def test_annotators_reviewers_and_managers_call_a_response_by_the_same_letter(
    rank: Rank, visit: Visit, project: Project, people: dict[str, User], picture: Picture
) -> None:
    update_project(project=project, review_share=1)
    batch = fill(project, overlap=2)
    other = create_user(username="other")
    add_member(project=project, user=other, role="annotator")
    pages = [rank(), visit(f"/projects/{project.slug}/rank/", other)]
    assert [order_of_cards(page) for page in pages] == ["CADB", "BDAC"]
    seen = [texts(page) for page in pages]
    assert seen[0] == seen[1] and len(set(seen[0].values())) == 4
    picture(pages[0], "rank-letters")
    for page in pages:
        for letter, tier in zip("BADC", "1234", strict=True):
            page.keyboard.press(f"Shift+{letter}")
            page.keyboard.press(tier)
        page.locator(".why summary").click()
        page.get_by_label("Why you ranked them so").fill("B is better because it is short.")
        page.keyboard.press("Control+Enter")
        sent(page)

    assert {str(ranking.tiers) for ranking in Ranking.objects.all()} == {"[[1], [0], [3], [2]]"}
    task = Ranking.objects.first().task
    reviewer = visit(f"/projects/{project.slug}/review/{task.pk}/", people["reviewer"])
    assert order_of_reviewed(reviewer) == "ABCD"
    assert texts(reviewer, "[data-response]") == seen[0]
    expect(reviewer.get_by_text("B is better because it is short.").first).to_be_visible()
    manager = visit(f"/projects/{project.slug}/batches/{batch.pk}/tasks/{task.pk}/", people["manager"])
    for letter, text in seen[0].items():
        card = manager.get_by_role("article", name=f"Response {letter}")
        assert text[:30] in " ".join(card.inner_text().split())
    remarks = visit(f"/projects/{project.slug}/batches/{batch.pk}/remarks/", people["manager"])
    assert remarks.locator(".tiers").first.locator(".letter").all_inner_texts() == list("BADC")
    picture(remarks, "remarks-letters")


def order_of_reviewed(page: Page) -> str:
    return "".join(card.get_attribute("data-letter") for card in page.locator("[data-response]").all())


def test_keys_marks_and_what_is_said_aloud_name_the_letter_and_not_the_place(rank: Rank) -> None:
    page = rank()
    said = page.locator("[data-announcer]")
    assert order_of_cards(page) == "CADB"

    page.keyboard.press("1")
    expect(said).to_have_text("Response C: tier 1.")
    page.keyboard.press("=")
    expect(said).to_have_text("Response A: tier 1, tied with C.")
    expect(page.locator("[data-letter=D]")).to_be_focused()
    page.keyboard.press("Shift+B")
    expect(page.locator("[data-letter=B]")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("[data-letter=D]")).to_be_focused()
    page.keyboard.press("Enter")
    expect(said).to_have_text("Response D is not ranked yet.")
    page.keyboard.press("f")
    expect(page.get_by_role("dialog", name="Flag response D")).to_be_visible()
    page.keyboard.press("u")
    page.keyboard.press("Enter")
    expect(said).to_have_text("Response D: flagged unsafe.")
    page.keyboard.press("e")
    editor = page.get_by_role("dialog", name="A better response D")
    editor.get_by_role("textbox").fill("It is mended.")
    editor.get_by_role("button", name="Done").click()
    expect(said).to_have_text("Response D: edited.")
    page.keyboard.press("Shift+D")
    page.keyboard.press("2")
    page.keyboard.press("2")
    numbers = {letter: number_of(page, letter) for letter in "ABCD"}
    assert numbers == {"A": 0, "B": 1, "C": 2, "D": 3}
    submitted(page)

    ranking = Ranking.objects.get()
    assert [sorted(tier) for tier in ranking.tiers] == [[0, 2], [1, 3]]
    assert ranking.shown_order == list(FIRST)
    assert (ranking.flags.get().position, ranking.demonstrations.get().position) == (3, 3)


def test_an_answer_comes_back_under_its_letters(rank: Rank, project: Project) -> None:
    page = rank()
    before = texts(page)
    for letter, tier in zip("DBCA", "1234", strict=True):
        page.keyboard.press(f"Shift+{letter}")
        page.keyboard.press(tier)
    submitted(page)

    page.keyboard.press("u")
    expect(page.get_by_text("You ranked it")).to_be_visible()
    assert tiers_on_board(page) == [["D"], ["B"], ["C"], ["A"]]
    assert (texts(page), order_of_cards(page)) == (before, "CADB")
    page.goto(f"/projects/{project.slug}/history/")
    page.get_by_role("link", name="Change").click()
    assert tiers_on_board(page) == [["D"], ["B"], ["C"], ["A"]]
    assert (texts(page), order_of_cards(page)) == (before, "CADB")
