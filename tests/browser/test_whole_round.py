"""A whole round by hand, in the browser: from logging in to the next round, with an engine that takes seconds.

With RANKLOOP_DOC_IMAGES=1 it leaves the pictures of the documentation in ``docs/images``.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from alignment.models import Round
from annotation.models import Assignment, Project, Ranking, TaskResponse, User
from tests.browser.conftest import Visit
from tests.frontend.conftest import PASSWORD
from tests.frontend.kitchen import quality
from tests.frontend.rounds import open_kitchen, work

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
IMAGES = Path(__file__).resolve().parents[2] / "docs/images"


@pytest.mark.timeout(600)
def test_a_manager_takes_a_round_from_log_in_to_the_next_round(
    visit: Visit, project: Project, people: dict[str, User]
) -> None:
    open_kitchen(project)
    page = visit("/")
    page.get_by_label("User name or e-mail").fill("manager")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("link", name=project.name).click()

    page.get_by_role("link", name="Start a round").click()
    expect(page.get_by_label("SmolLM2 warm")).to_be_checked()
    page.get_by_label("Overlap").fill("1")
    expect(page.get_by_text("10 tasks × 1 person: 10 rankings of 4 responses each.")).to_be_visible()
    page.get_by_role("button", name="Start the round").click()
    expect(page.get_by_text("Round 1 is under way.")).to_be_visible()
    round = project.rounds.get()

    work(round)  # the page notices by itself
    page.get_by_role("link", name="Rank tasks").click()
    assert rank_everything(page) == 10
    assert round.batch is not None and Ranking.objects.filter(task__batch=round.batch).count() == 10

    work(round)
    open_round(page, round)
    page.get_by_role("link", name=re.compile("DPO training")).first.click()
    expect(page.locator("figure.chart canvas")).to_have_count(13)
    keep(page, "run")

    open_round(page, round)
    expect(page.get_by_text("People are comparing the two models' answers")).to_be_visible()
    page.get_by_role("link", name="Rank tasks").click()
    expect(page.locator("[data-workbench]")).to_be_visible()
    for trace in ("SmolLM2", "dpo-round-1", "new", "old"):
        assert trace not in page.locator("[data-workbench]").inner_text().split(), "the comparison is blind"
    assert rank_everything(page) == round.evaluation_batch.tasks.count()

    work(round)
    open_round(page, round)
    expect(page.get_by_role("img", name=re.compile("Win rate 100 %"))).to_be_visible()
    keep(page, "round")
    page.get_by_role("button", name="Promote").click()
    dialog = page.get_by_role("dialog", name="Promote the new model?")
    dialog.get_by_role("button", name="Promote").click()
    expect(page.get_by_text("Promoted: the next round starts from it.")).to_be_visible()

    page.get_by_role("link", name="Rounds").first.click()
    page.get_by_role("link", name="Start a round").click()
    expect(page.get_by_label("Model to improve")).to_have_value(str(round.candidate_id))
    for source in ("SmolLM2 warm", "dpo-round-1"):
        expect(page.get_by_label(source)).to_be_checked()
    page.get_by_role("button", name="Start the round").click()
    second = work(project.rounds.get(number=2))
    expect(page.get_by_role("link", name="Rank tasks")).to_be_visible()
    shown = TaskResponse.objects.filter(task__batch=second.batch).values_list(
        "response__source__name", flat=True
    )
    assert set(shown) == {"SmolLM2 warm", "dpo-round-1"}
    if os.environ.get("RANKLOOP_DOC_IMAGES"):
        keep_picture_of_ranking(page, project)


def open_round(page: Page, round: Round) -> None:
    round.refresh_from_db()
    page.goto(f"/projects/{round.project.slug}/rounds/{round.number}/")


def rank_everything(page: Page) -> int:
    """Rank by keys until nothing is left, the better answers first; return how many tasks it was."""
    ranked = 0
    expect(page.locator("[data-workbench], [data-nothing]")).to_be_visible()
    while page.locator("[data-workbench]").count():
        expect(page.locator("[data-workbench] [data-response][data-current]")).to_be_visible()  # it listens
        place = page.locator("[data-workbench]").get_attribute("data-assignment")
        for tier in tiers_of(page, place):
            page.keyboard.press(str(tier))
        page.keyboard.press("Enter")
        expect(page.locator(f"[data-assignment='{place}']")).to_have_count(0)
        expect(page.locator("[data-workbench], [data-nothing]")).to_be_visible()
        ranked += 1
    return ranked


def tiers_of(page: Page, place: str) -> list[int]:
    """For each response, in the order on the page, its tier in the opinion of somebody who knows."""
    task = Assignment.objects.get(public_id=place).task
    texts = dict(task.task_responses.values_list("position", "response__text"))
    shown = [int(card.get_attribute("data-response")) for card in page.locator("[data-letter]").all()]
    best_first = sorted(shown, key=lambda number: -quality(task.prompt.messages, texts[number]))
    return [best_first.index(number) + 1 for number in shown]


def keep(page: Page, name: str) -> None:
    if os.environ.get("RANKLOOP_DOC_IMAGES"):
        page.emulate_media(color_scheme="light", reduced_motion="reduce")
        IMAGES.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=IMAGES / f"{name}.png")


def keep_picture_of_ranking(page: Page, project: Project) -> None:
    page.set_viewport_size({"width": 1440, "height": 940})
    page.goto(f"/projects/{project.slug}/rank/")
    while "sticky" not in page.locator("[data-workbench]").inner_text():
        place = page.locator("[data-workbench]").get_attribute("data-assignment")
        for tier in tiers_of(page, place):
            page.keyboard.press(str(tier))
        page.keyboard.press("Enter")
        expect(page.locator(f"[data-assignment='{place}']")).to_have_count(0)
        expect(page.locator("[data-workbench]")).to_be_visible()
    for tier in tiers_of(page, page.locator("[data-workbench]").get_attribute("data-assignment"))[:3]:
        page.keyboard.press(str(tier))
    keep(page, "ranking")
