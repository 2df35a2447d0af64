"""The pages of judges and of the leaderboard."""

from __future__ import annotations

import csv
import io
import uuid
from collections.abc import Callable

import pytest
from django.test import Client

from alignment.judges.judging import start_judging
from alignment.judges.making import create_endpoint_judge
from alignment.judges.models import Judge, Judgement
from annotation.assigning import next_assignment
from annotation.models import Batch, Project, User
from annotation.submitting import submit

pytestmark = pytest.mark.django_db
AsRole = Callable[[str], Client]
Compose = Callable[..., Batch]


@pytest.fixture
def judge(project: Project, people: dict[str, User]) -> Judge:
    User.objects.filter(pk=people["manager"].pk).update(is_superuser=True)
    people["manager"].refresh_from_db()
    return create_endpoint_judge(
        project=project,
        name="Big model",
        url="http://localhost:8000/v1",
        model="big",
        created_by=people["manager"],
    )


def rank(batch: Batch, who: User) -> None:
    while (place := next_assignment(annotator=who, project=batch.project)) is not None:
        replies = place.task.replies
        tiers = [
            [number] for number in sorted(replies, key=lambda number: int(replies[number][0].split()[0]))
        ]
        submit(annotator=who, assignment_id=place.pk, lease=place.lease, key=uuid.uuid4(), tiers=tiers)


def test_the_leaderboard_draws_each_source_with_its_interval_and_says_it_in_words(
    project: Project, as_role: AsRole, compose: Compose, people: dict[str, User]
) -> None:
    address = f"/projects/{project.slug}/leaderboard/"
    empty = as_role("reviewer").get(address).content.decode()
    assert "Nothing to compare yet" in empty
    rank(compose(5), people["annotator"])
    page = as_role("reviewer").get(address).content.decode()
    assert page.count('class="board__line') == 2 and page.count('role="img" aria-label="Score ') == 2
    assert page.index("zebrafinch-old") < page.index("zebrafinch-new")
    assert "From 5 rankings of 5 tasks" in page
    assert "AI judges count" not in page  # there is none
    sheet = as_role("reviewer").get(f"/projects/{project.slug}/leaderboard.csv")
    rows = list(csv.DictReader(io.StringIO(sheet.content.decode())))
    assert [row["name"] for row in rows] == ["zebrafinch-old", "zebrafinch-new"]


def test_a_batch_that_is_being_ranked_shows_no_standings(
    project: Project, as_role: AsRole, compose: Compose, people: dict[str, User]
) -> None:
    rank(compose(3, overlap=2), people["annotator"])
    page = as_role("manager").get(f"/projects/{project.slug}/leaderboard/").content.decode()
    assert "zebrafinch" not in page and "Nothing to compare yet" in page


def test_filters_that_are_wrong_are_told_at_their_field(project: Project, as_role: AsRole) -> None:
    address = f"/projects/{project.slug}/leaderboard/"
    wrong = as_role("reviewer").get(f"{address}?since=2026-02-01&until=2026-01-01")
    assert wrong.status_code == 422 and "the wrong way round" in wrong.content.decode()
    assert as_role("reviewer").get(f"{address}?since=soon").status_code == 422
    assert as_role("annotator").get(address).status_code == 403


def test_a_manager_makes_a_judge_and_puts_it_to_work(
    project: Project, as_role: AsRole, judge: Judge, compose: Compose
) -> None:
    batch = compose(2)
    manager = as_role("manager")
    new = f"/projects/{project.slug}/judges/new/"
    form = manager.get(new).content.decode()
    assert "Prefer answers that are **right** first" in form
    sound = {
        "name": "Another",
        "url": "http://localhost:9000/v1",
        "model": "other",
        "instructions": "Be strict.",
        "orders": "each",
        "temperature": "0",
        "max_tokens": "64",
    }
    assert manager.post(new, {**sound, "url": "http://user:pass@x/v1"}).status_code == 422
    made = manager.post(new, sound, follow=True).content.decode()
    assert (
        "Another is there." in made
        and "Be strict." in made
        and "People have ranked none of its tasks" in made
    )
    page = f"/projects/{project.slug}/judges/{judge.pk}/"
    started = manager.post(page, {"batch": batch.pk, "share": "1"}, follow=True).content.decode()
    assert "Big model is asked 4 times." in started and "queued" in started
    run = manager.get(f"/projects/{project.slug}/runs/{judge.judgings.get().run_id}/").content.decode()
    assert "For the judge" in run and f'href="{page}"' in run
    busy = manager.post(page, {"batch": batch.pk, "share": "1"})
    assert busy.status_code == 422 and "at work already" in busy.content.decode()
    assert "Have it judge" not in as_role("reviewer").get(page).content.decode()
    assert as_role("annotator").get(page).status_code == 403
    assert as_role("reviewer").post(f"{page}archive/").status_code == 403
    assert "is at work" in manager.post(f"{page}archive/", follow=True).content.decode()


def test_answers_are_shown_as_plain_text_with_what_is_wrong(
    project: Project, as_role: AsRole, judge: Judge, compose: Compose
) -> None:
    batch = compose(1)
    judging = start_judging(judge=judge, batch=batch)
    Judgement.objects.create(
        judging=judging,
        judge=judge,
        task=batch.tasks.get(),
        order=0,
        shown_order=[0, 1, 2, 3],
        raw="<script>alert(1)</script>",
        fault="It is no ranking.",
    )
    page = as_role("reviewer").get(f"/projects/{project.slug}/judges/{judge.pk}/answers/").content.decode()
    assert "&lt;script&gt;alert(1)" in page and "It is no ranking." in page
    shown = as_role("reviewer").get(f"/projects/{project.slug}/judges/{judge.pk}/").content.decode()
    assert "1 could not be read as a ranking" in shown
    listed = as_role("reviewer").get(f"/projects/{project.slug}/judges/").content.decode()
    assert "Big model" in listed and "big at http://localhost:8000/v1" in listed
