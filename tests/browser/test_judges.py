"""The leaderboard and the pages of judges: by eye, by keyboard, in both themes, at a desk and on a phone."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from django.core.cache import cache
from playwright.sync_api import Page, expect

from alignment.judges.asking import LAYOUT
from alignment.judges.making import create_endpoint_judge
from alignment.judges.models import Judge, Judgement, Judging
from alignment.judges.orders import orders_of
from annotation.batching import close_batch
from annotation.models import Batch, Project, Ranking, Source, User
from tests.browser.conftest import Visit
from tests.frontend.quality import fill
from training.models import Run

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
Picture = Callable[[Page, str], None]


@pytest.fixture
def batch(project: Project) -> Batch:
    cache.clear()
    batch = fill(project)
    return close_batch(batch)


@pytest.fixture
def judge(project: Project, batch: Batch, people: dict[str, User]) -> Judge:
    """One that says what the first person said of each task, but for one answer that it spoilt."""
    User.objects.filter(pk=people["manager"].pk).update(is_superuser=True)
    people["manager"].refresh_from_db()
    judge = create_endpoint_judge(
        project=project,
        name="Big model",
        url="http://localhost:8000/v1",
        model="big",
        created_by=people["manager"],
    )
    run = Run.objects.create(pk=uuid.uuid4(), kind=Run.Kind.SAMPLE, spec={}, project_id=project.pk)
    judging = Judging.objects.create(judge=judge, batch=batch, run=run, share=1, asked=80, layout=LAYOUT)
    first = {
        ranking.task_id: ranking for ranking in Ranking.objects.filter(task__batch=batch).order_by("-pk")
    }
    for ranking in list(first.values())[:40]:
        numbers = sorted(ranking.shown_order)
        for number, order in enumerate(orders_of("both", ranking.task_id, numbers)):
            Judgement.objects.create(
                judging=judging,
                judge=judge,
                task_id=ranking.task_id,
                order=number,
                shown_order=order,
                raw="B answers what was asked.\nRANKING: B > A",
                tiers=ranking.tiers,
                prompt_tokens=900,
                tokens=40,
            )
    return judge


def test_the_leaderboard_in_pictures_and_by_its_filters(
    visit: Visit, project: Project, batch: Batch, judge: Judge, people: dict[str, User], picture: Picture
) -> None:
    page = visit(f"/projects/{project.slug}/", people["reviewer"])
    page.get_by_role("link", name="Leaderboard").click()
    sources = Source.objects.filter(responses__tasks__batch=batch).distinct().count()
    expect(page.get_by_role("img", name="Score ")).to_have_count(sources)
    picture(page, "leaderboard")
    page.get_by_label("Take out what length and formatting do").check()
    page.get_by_label("Let AI judges count beside people").check()
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_text("by AI judges, as of")).to_be_visible()
    page.get_by_text("What length and formatting do", exact=True).click()
    picture(page, "leaderboard-style")
    page.get_by_label("Ranked since").fill("2999-01-01")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Nothing to compare yet")).to_be_visible()


def test_a_judge_in_pictures(
    visit: Visit, project: Project, judge: Judge, people: dict[str, User], picture: Picture
) -> None:
    page = visit(f"/projects/{project.slug}/judges/", people["manager"])
    picture(page, "judges")
    page.get_by_role("link", name="Big model").click()
    expect(page.get_by_role("img", name="Agreement with people")).to_be_visible()
    expect(page.get_by_role("img", name="Shown first wins")).to_be_visible()
    picture(page, "judge")
    page.get_by_role("link", name="Read the answers").click()
    picture(page, "judge-answers")
    page.goto(f"/projects/{project.slug}/judges/new/")
    expect(page.get_by_label("Instructions")).not_to_be_empty()
    picture(page, "judge-new")
