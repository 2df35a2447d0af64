"""A reviewer's session and a returned ranking, in a real browser."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from annotation.assigning import next_assignment
from annotation.models import Batch, Demonstration, Flag, Project, Ranking, Review, Task, User
from annotation.projects import add_member, create_user, update_project
from annotation.reviewing import review_task
from annotation.showing_reviews import version_of
from annotation.submitting import submit
from tests.browser.conftest import Visit
from tests.frontend.content import fill

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
Picture = Callable[[Page, str], None]

ORDERS = (
    ([[0], [2], [1], [3]], "The first one says what to do, and why."),
    ([[2], [0], [1], [3]], ""),
    ([[3], [1], [0, 2]], "I liked the friendly tone of the last one."),
)


@pytest.fixture
def batch(project: Project, people: dict[str, User]) -> Batch:
    """Two tasks on which three annotators differ, with flags, reasons and a response rewritten."""
    batch = fill(update_project(project=project, review_share=0), overlap=3)
    others = [create_user(username=name) for name in ("wilhelmina", "bartholomew")]
    for user in others:
        add_member(project=project, user=user, role="annotator")
    for user, (tiers, why) in zip((people["annotator"], *others), ORDERS, strict=True):
        while place := next_assignment(annotator=user, project=project):
            submit(
                annotator=user,
                assignment_id=place.pk,
                lease=place.lease,
                key=uuid.uuid4(),
                tiers=tiers,
                rationale=why,
                seconds=40,
            )
    first = batch.tasks.earliest("pk").rankings.earliest("pk")
    Flag.objects.create(ranking=first, position=3, kind="unsafe")
    Flag.objects.create(ranking=first, position=1, kind="other", note="It does not say how much less.")
    Demonstration.objects.create(ranking=first, position=1, text="Use **less** water, and do not stir.")
    return batch


@pytest.fixture
def reviewing(visit: Visit, project: Project, people: dict[str, User], batch: Batch) -> Callable[..., Page]:
    """Opens the reviewer's first task."""

    def go(**options: object) -> Page:
        page = visit(f"/projects/{project.slug}/review/next/", people["reviewer"], **options)
        expect(page.locator("[data-review]")).to_be_visible()
        return page

    return go


def tasks(batch: Batch) -> list[Task]:
    return list(batch.tasks.order_by("pk"))


def number_of(page: Page, letter: str) -> int:
    return int(page.locator(f"[data-letter={letter}]").get_attribute("data-response"))


def shows(page: Page, task: Task) -> None:
    expect(page.locator(f"[data-task='{task.pk}']")).to_be_visible()


def test_a_session_by_keys_alone(reviewing: Callable[..., Page], batch: Batch) -> None:
    first, second = tasks(batch)
    page = reviewing()
    shows(page, first)  # the one with the unsafe response
    page.keyboard.press("n")
    shows(page, second)

    page.keyboard.press("j")
    expect(page.locator("[data-yours]")).to_be_visible()
    page.keyboard.press("2")  # A
    page.keyboard.press("=")  # B, tied with A
    page.keyboard.press("1")  # C
    page.keyboard.press("Enter")
    expect(page.locator("[data-announcer]")).to_have_text("Response D has no tier yet.")
    page.keyboard.press("Escape")
    expect(page.locator("[data-yours]")).to_be_hidden()
    page.keyboard.press("j")
    page.keyboard.press("4")  # D, whose turn it still is
    page.keyboard.press("a")  # accepts nothing here
    page.keyboard.press("Shift+A")
    page.keyboard.press("3")
    page.keyboard.press("z")
    assert page.locator("[data-line] .line__tier").all_inner_texts() == ["C", "A\nB", "D"]
    page.keyboard.press("Enter")

    shows(page, first)
    letters = {letter: number_of(page, letter) for letter in "ABCD"}
    second.refresh_from_db()
    assert second.gold_tiers == [[letters["C"]], [letters["A"], letters["B"]], [letters["D"]]]

    page.keyboard.press("r")
    expect(page.locator("#return")).to_be_visible()
    page.keyboard.press("Space")  # the first annotator
    page.keyboard.press("Tab")
    page.keyboard.type("Is the last one safe?")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Nothing awaits your review")).to_be_visible()
    expect(page.get_by_text("Returned: its annotator is told")).to_be_visible()
    verdicts = list(Review.objects.order_by("pk").values_list("task", "verdict"))
    assert verdicts == [(second.pk, "adjudicated"), (first.pk, "returned")]
    assert Ranking.objects.count() == 6


def test_accepting_brings_the_next_task_and_a_held_key_counts_once(
    reviewing: Callable[..., Page], batch: Batch
) -> None:
    first, second = tasks(batch)
    page = reviewing()
    shows(page, first)

    page.keyboard.down("a")
    page.keyboard.down("a")  # repeats
    shows(page, second)
    page.keyboard.up("a")

    assert list(Review.objects.values_list("task", "verdict")) == [(first.pk, "accepted")]


def test_by_touch_on_a_phone(reviewing: Callable[..., Page], batch: Batch) -> None:
    first, second = tasks(batch)
    page = reviewing(touch=True)
    page.get_by_role("button", name="Adjudicate").tap()
    for letter, tier in zip("ABCD", (3, 1, 2, 4), strict=True):
        page.locator(f"[data-letter={letter}]").get_by_role("button", name=f"Tier {tier}").tap()
    page.get_by_role("button", name="Save the right order").tap()
    shows(page, second)

    letters = {letter: number_of(page, letter) for letter in "ABCD"}
    first.refresh_from_db()
    assert first.gold_tiers == [[letters[letter]] for letter in "BCAD"]


def test_what_was_begun_survives_a_reload(reviewing: Callable[..., Page]) -> None:
    page = reviewing()
    page.keyboard.press("r")
    page.locator("#return-note").fill("Read it again.")
    page.keyboard.press("Escape")
    expect(page.locator("#return")).to_be_hidden()
    page.keyboard.press("j")
    page.keyboard.press("2")
    expect(page.locator("[data-letter=A] [data-standing]")).to_have_text("tier 2")
    page.reload()
    expect(page.locator("[data-letter=A] [data-standing]")).to_have_text("tier 2")
    page.keyboard.press("Escape")
    page.keyboard.press("r")
    expect(page.locator("#return-note")).to_have_value("Read it again.")


def test_who_judges_second_is_told_and_goes_on(
    reviewing: Callable[..., Page], batch: Batch, people: dict[str, User]
) -> None:
    first, second = tasks(batch)
    page = reviewing()
    review_task(reviewer=people["manager"], task_id=first.pk, version=version_of(first), verdict="accepted")
    page.keyboard.press("a")
    expect(page.get_by_text("This task was reviewed while you had it open")).to_be_visible()
    page.get_by_role("button", name="Next task").click()
    shows(page, second)
    assert Review.objects.count() == 1


def test_a_verdict_whose_receipt_was_lost_is_given_again_and_counts_once(
    reviewing: Callable[..., Page], batch: Batch
) -> None:
    first, second = tasks(batch)
    page = reviewing()
    shows(page, first)
    lost: list[bool] = []

    def swallow(route: Route) -> None:
        if lost:
            route.continue_()
        else:
            lost.append(route.fetch().ok)  # the server has it; the page never hears so
            route.abort()

    page.route("**/verdict/", swallow)
    page.keyboard.press("a")
    expect(page.get_by_role("alert")).to_contain_text("The server was not reached")
    page.keyboard.press("a")

    shows(page, second)
    assert lost == [True]
    assert list(Review.objects.values_list("task", "verdict")) == [(first.pk, "accepted")]


def test_an_annotator_amends_what_was_returned(
    visit: Visit, project: Project, people: dict[str, User], batch: Batch, picture: Picture
) -> None:
    first, _ = tasks(batch)
    ranking = first.rankings.get(annotator=people["annotator"])
    review_task(
        reviewer=people["reviewer"],
        task_id=first.pk,
        version=version_of(first),
        verdict="returned",
        ranking_id=ranking.pk,
        note="You flagged the last one as unsafe and still ranked it. Is that what you meant?",
    )
    page = visit(f"/projects/{project.slug}/rank/", people["annotator"])
    page.get_by_role("link", name="Look at it").click()
    picture(page, "history-returned")
    page.get_by_role("link", name="Change").first.click()
    expect(page.locator("[data-returned]")).to_contain_text("Is that what you meant?")
    picture(page, "change-returned")

    page.keyboard.press("Shift+A")
    page.keyboard.press("4")
    page.keyboard.press("Enter")

    expect(page.get_by_text("Your ranking is changed.")).to_be_visible()
    expect(page.locator("[data-returned]")).to_have_count(0)
    assert first.rankings.filter(annotator=people["annotator"]).count() == 2


def test_pages_of_reviewers_in_pictures(
    visit: Visit, reviewing: Callable[..., Page], project: Project, people: dict[str, User], picture: Picture
) -> None:
    queue = visit(f"/projects/{project.slug}/review/", people["reviewer"])
    picture(queue, "review-queue")
    page = reviewing()
    picture(page, "review-task")
    page.keyboard.press("r")
    picture(page, "review-return")
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("1")
    page.keyboard.press("=")
    page.keyboard.press("2")
    picture(page, "review-adjudicate")
    batch = visit(f"/projects/{project.slug}/batches/", people["manager"])
    batch.get_by_role("link", name="First tasks").click()
    picture(batch, "batch-review")
