"""Qualifying, failing at it, and being let on again, as annotator and manager see it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from annotation import assigning, measuring
from annotation.gold import set_known_answer
from annotation.models import Assignment, Membership, Project, Prompt, Ranking, User
from annotation.standing import pause_member, set_limits
from tests.browser.conftest import Visit
from tests.browser.ranking import Rank, sent
from tests.frontend.content import fill, fill_known

pytestmark = pytest.mark.browser
Picture = Callable[[Page, str], None]


def place_known(page: Page, *, rightly: bool) -> None:
    """Order the task on the page by keys: as is known, or the other way round."""
    place = Assignment.objects.select_related("task").get(
        public_id=page.locator("[data-workbench]").get_attribute("data-assignment")
    )
    assert place.task.gold_tiers is not None
    tier_of = {number: tier for tier, (number,) in enumerate(place.task.gold_tiers, start=1)}
    for number in place.shown_order:
        page.keyboard.press(str(tier_of[number] if rightly else 4 - tier_of[number]))


def answer_known(page: Page, *, rightly: bool) -> None:
    """Rank the qualification task on the page."""
    place_known(page, rightly=rightly)
    page.keyboard.press("Enter")
    expect(page.locator(".feedback")).to_be_visible()


def test_who_qualifies_is_told_after_each_task_and_goes_on_by_keys_alone(
    visit: Visit, project: Project, people: dict[str, User], picture: Picture
) -> None:
    fill(project)
    fill_known(project, people["manager"])
    page = visit(f"/projects/{project.slug}/", people["annotator"])
    picture(page, "home-to-qualify")
    page.get_by_role("link", name="Start").click()
    expect(page.get_by_text("part of your qualification")).to_be_visible()
    picture(page, "rank-qualification")

    answer_known(page, rightly=True)

    expect(page.get_by_role("heading", name="All as is known")).to_be_visible()
    expect(page.get_by_text("two minutes leave them raw")).to_be_visible()
    expect(page.locator("[data-announcer]")).to_have_text("Submitted. All as is known.")
    expect(page.get_by_role("button", name="Next task")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("[data-workbench]")).to_be_visible()
    answer_known(page, rightly=True)
    expect(page.get_by_text("You are qualified: you ordered 100 %")).to_be_visible()
    picture(page, "rank-qualified")
    page.keyboard.press("Enter")
    expect(page.locator("[data-workbench]:not([data-qualification])")).to_be_visible()
    assert Membership.objects.get(user=people["annotator"]).qualified_at is not None


def test_who_fails_is_paused_and_a_manager_lifts_it(
    visit: Visit, project: Project, people: dict[str, User], picture: Picture
) -> None:
    fill(project)
    fill_known(project, people["manager"])
    page = visit(f"/projects/{project.slug}/rank/", people["annotator"])
    answer_known(page, rightly=False)
    expect(page.get_by_role("heading", name="0 of 3 pairs as is known")).to_be_visible()
    picture(page, "rank-feedback")
    page.get_by_role("button", name="Next task").click()
    expect(page.locator("[data-workbench]")).to_be_visible()
    answer_known(page, rightly=False)
    expect(page.get_by_text("So you are paused for now.")).to_be_visible()
    picture(page, "rank-failed")
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("heading", name="You are paused")).to_be_visible()
    expect(page.get_by_text("0 % of the pairs were ordered as is known; 60 % are asked for")).to_be_visible()
    picture(page, "rank-paused")
    page.get_by_role("button", name="Guidelines").click()
    expect(page.get_by_role("dialog", name="Guidelines")).to_be_visible()
    page.keyboard.press("Escape")

    manager = visit(f"/projects/{project.slug}/", people["manager"])
    expect(manager.get_by_text("annotator is paused and gets no tasks.")).to_be_visible()
    picture(manager, "home-paused")
    manager.locator(".notice").get_by_role("link", name="Members").click()
    expect(manager.get_by_text("In the qualification, 0 % of the pairs")).to_be_visible()
    picture(manager, "members-paused")
    manager.get_by_role("link", name="Tasks and standing of annotator").click()
    picture(manager, "member-paused")
    manager.get_by_role("button", name="Lift the pause").click()
    expect(manager.get_by_text("annotator gets tasks again.")).to_be_visible()
    picture(manager, "member")

    page.get_by_role("button", name="Look again").click()
    expect(page.locator("[data-workbench]:not([data-qualification])")).to_be_visible()
    assert Ranking.objects.count() == 2, "what was ranked stays"


def test_a_manager_pauses_by_hand_and_says_which_prompts_a_member_is_given(
    visit: Visit, project: Project, people: dict[str, User]
) -> None:
    fill(project)
    annotator = people["annotator"]
    page = visit(f"/projects/{project.slug}/members/{annotator.pk}/", people["manager"])
    page.get_by_label("Languages").fill("en, fr")
    page.get_by_label("Tags").fill("food")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_label("Languages")).to_have_value("en, fr")
    page.get_by_label("Reason").fill("On holiday.")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("On holiday.")).to_be_visible()
    member = Membership.objects.get(user=annotator)
    assert (member.languages, member.tags, member.pause_reason) == (["en", "fr"], ["food"], "On holiday.")


def test_a_manager_releases_gold_tasks_and_reads_how_annotators_do(
    visit: Visit, project: Project, people: dict[str, User], picture: Picture
) -> None:
    page = visit(f"/projects/{project.slug}/batches/new/gold/", people["manager"])
    expect(page.get_by_text("No task has a known answer yet")).to_be_visible()
    picture(page, "batch-new-gold-empty")
    for task in fill(project).tasks.all():
        set_known_answer(task=task, tiers=[[0], [1], [2], [3]], by=people["reviewer"])
    page.reload()
    picture(page, "batch-new-gold")
    page.get_by_label("Name").fill("Measure")
    for box in page.get_by_role("group", name="Tasks").get_by_role("checkbox").all():
        box.check()
    page.get_by_role("button", name="Release").click()
    expect(page.get_by_text("2 tasks with known answers released.")).to_be_visible()
    expect(page.get_by_text("Mixed among annotators’ other tasks")).to_be_visible()
    picture(page, "batch-gold")
    page.goto(f"/projects/{project.slug}/settings/")
    expect(page.get_by_label("Bar for annotators")).to_have_value("0.6")
    picture(page, "settings-gold")


def leased() -> list[str]:
    """The kinds of the batches whose places are leased, in the order in which they were."""
    held = Assignment.objects.filter(state="leased").order_by("leased_at", "pk")
    return list(held.values_list("batch__kind", flat=True))


def has_one_ahead(page: Page) -> None:
    """Waits until the page has the task after the shown one."""
    for _ in range(200):
        if len(leased()) == 2:
            break
        page.wait_for_timeout(50)
    assert len(leased()) == 2
    # The place is taken; the page has it once its answer was read.
    page.wait_for_load_state("networkidle")


def test_how_one_did_is_told_before_the_next_task_is_leased_or_shown(
    rank: Rank, project: Project, people: dict[str, User]
) -> None:
    fill(project)
    page = rank()
    has_one_ahead(page)
    fill_known(project, people["manager"])
    for _ in range(
        2
    ):  # what they had comes first, and a qualification task may be leased ahead of an ordinary one
        expect(page.locator("[data-workbench]:not([data-qualification])")).to_be_visible()
        shown = page.locator("[data-workbench]").get_attribute("data-assignment")
        for tier in "1234":
            page.keyboard.press(tier)
        page.keyboard.press("Enter")
        expect(page.locator(f"[data-assignment='{shown}']")).to_have_count(0)
    expect(page.locator("[data-workbench][data-qualification]")).to_be_visible()
    sent(page)
    page.wait_for_load_state("networkidle")
    assert leased() == ["qualification"], "nothing ahead of what follows"

    answer_known(page, rightly=True)

    assert leased() == []
    page.keyboard.press("Enter")
    expect(page.locator("[data-workbench][data-qualification]")).to_be_visible()
    page.wait_for_load_state("networkidle")
    assert leased() == ["qualification"]
    page.reload()
    expect(page.locator("[data-workbench][data-qualification]")).to_be_visible()
    answer_known(page, rightly=True)
    expect(page.get_by_text("You are qualified")).to_be_visible()


def test_a_pause_that_an_answer_brings_takes_the_task_away_that_was_shown_meanwhile(
    rank: Rank, project: Project, people: dict[str, User], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "FEWEST", 1)
    monkeypatch.setattr(measuring, "BAD_LUCK", 0.5)
    project.gold_bar = 0.9  # which one task that is all wrong is then far enough below
    project.save()
    monkeypatch.setattr(assigning, "gold_is_due", lambda *, gold, **_: bool(gold))
    fill(project)
    fill_known(project, people["manager"], kind="gold")
    page = rank()
    has_one_ahead(page)
    shown = page.locator("[data-workbench]").get_attribute("data-assignment")
    place_known(page, rightly=False)

    page.keyboard.press("Enter")

    expect(page.locator(f"[data-assignment='{shown}']")).to_have_count(0)
    expect(page.get_by_role("heading", name="You are paused")).to_be_visible()
    expect(page.locator("[data-workbench]")).to_have_count(0)
    assert (leased(), Ranking.objects.count()) == ([], 1)
    expect(page.get_by_role("button", name="Look again")).to_be_focused()


def test_a_manager_who_pauses_stops_a_page_that_has_a_task_ahead_and_what_was_ranked_stays_in_it(
    rank: Rank, project: Project, people: dict[str, User]
) -> None:
    page = rank()
    has_one_ahead(page)
    for tier in "1234":
        page.keyboard.press(tier)

    pause_member(project=project, user=people["annotator"], reason="On holiday.")

    assert leased() == []
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="You are paused")).to_be_visible()
    expect(page.get_by_text("On holiday.")).to_be_visible()
    expect(page.locator("[data-workbench]")).to_have_count(0)
    expect(page.locator("[data-refused]")).to_contain_text("You are paused in this project")
    assert not Ranking.objects.exists()


def test_who_cannot_qualify_reads_so_and_the_manager_finds_what_to_do(
    visit: Visit, project: Project, people: dict[str, User], picture: Picture
) -> None:
    fill(project)
    exam = fill_known(project, people["manager"])
    Prompt.objects.filter(tasks__batch=exam).update(language="en")
    set_limits(project=project, user=people["annotator"], languages=["fr"])
    page = visit(f"/projects/{project.slug}/rank/", people["annotator"])
    expect(page.get_by_role("heading", name="You cannot qualify yet")).to_be_visible()
    picture(page, "rank-stranded")

    manager = visit(f"/projects/{project.slug}/", people["manager"])
    expect(manager.get_by_text("must qualify and has no task to qualify by")).to_be_visible()
    manager.locator(".notice").get_by_role("link", name="Members").click()
    expect(manager.get_by_text("cannot qualify", exact=True)).to_be_visible()
    picture(manager, "members-stranded")
    manager.get_by_role("link", name="Tasks and standing of annotator").click()
    picture(manager, "member-stranded")
    manager.goto(f"/projects/{project.slug}/batches/{exam.pk}/")
    picture(manager, "batch-stranded")
    manager.get_by_role("link", name="annotator", exact=True).click()
    manager.get_by_role("button", name="Qualify by hand").click()
    expect(manager.get_by_text("annotator is qualified.")).to_be_visible()

    page.get_by_role("button", name="Look again").click()
    expect(page.locator("[data-workbench]:not([data-qualification])")).to_be_visible()
