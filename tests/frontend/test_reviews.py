"""The reviewers' pages and what annotators see of a return, below the browser."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable

import pytest
from django.test import Client

from annotation.assigning import next_assignment
from annotation.batching import close_batch
from annotation.models import Batch, Flag, Project, Ranking, Review, Task, User
from annotation.projects import add_member, create_user, update_project
from annotation.review_queue import claim
from annotation.reviewing import review_task
from annotation.showing_reviews import version_of
from annotation.submitting import amend, submit
from frontend.reviews import line_of
from tests.frontend.ranking import post

pytestmark = pytest.mark.django_db(transaction=True)

AsRole = Callable[[str], Client]
Compose = Callable[..., Batch]
ORDERS = ([[0], [1], [2], [3]], [[3], [2], [1], [0]])


@pytest.fixture
def task(project: Project, people: dict[str, User], compose: Compose) -> Task:
    """One that the annotator and somebody else ordered the other way round."""
    update_project(project=project, review_share=0)
    other = create_user(username="wilhelmina")
    add_member(project=project, user=other, role="annotator")
    batch = compose(1, overlap=2)
    for user, tiers in zip((people["annotator"], other), ORDERS, strict=True):
        place = next_assignment(annotator=user, project=project)
        assert place is not None
        submit(annotator=user, assignment_id=place.pk, lease=place.lease, key=uuid.uuid4(), tiers=tiers)
    return batch.tasks.get()


def judge(task: Task, people: dict[str, User], verdict: str, **fields: object) -> Review:
    return review_task(
        reviewer=people["reviewer"], task_id=task.pk, version=version_of(task), verdict=verdict, **fields
    )


def send_back(task: Task, people: dict[str, User]) -> Ranking:
    ranking = task.rankings.get(annotator=people["annotator"])
    judge(task, people, "returned", ranking_id=ranking.pk, note="Is <b>six</b> minutes right?")
    return ranking


def test_the_queue_says_why_each_task_waits_and_the_navigation_how_many(
    project: Project, as_role: AsRole, task: Task
) -> None:
    Flag.objects.create(ranking=task.rankings.first(), position=1, kind="wrong_language")

    page = as_role("reviewer").get(f"/projects/{project.slug}/review/").content.decode()

    assert "agreement 0 %" in page and "wrong language" in page
    assert f"/projects/{project.slug}/review/{task.pk}/" in page
    assert re.search(r'nav__count">1<span', page)
    narrowed = as_role("reviewer").get(f"/projects/{project.slug}/review/", {"reason": "sample"})
    assert "None for that reason" in narrowed.content.decode()
    assert "nav__count" not in as_role("annotator").get(f"/projects/{project.slug}/").content.decode()


def test_an_empty_queue_says_what_would_come(project: Project, as_role: AsRole) -> None:
    address = f"/projects/{project.slug}/review/"
    assert "Nothing awaits your review" in as_role("reviewer").get(address).content.decode()
    assert as_role("reviewer").get(f"{address}next/", follow=True).redirect_chain == [(address, 302)]


def test_the_page_of_a_task_is_blind(project: Project, as_role: AsRole, task: Task) -> None:
    address = f"/projects/{project.slug}/review/{task.pk}/"
    assert as_role("reviewer").get(f"/projects/{project.slug}/review/next/")["Location"] == address

    page = as_role("reviewer").get(address).content.decode()

    assert page.count('data-response="') == 4 and page.count("<h3>Annotator ") == 2
    assert "zebrafinch" not in page and "wilhelmina" not in page
    assert "1 put <strong>A</strong> over B, 1 put <strong>B</strong> over A" in page
    assert "A, then B, then C, then D" in page and "D, then C, then B, then A" in page
    assert " style=" not in page


def test_how_much_better_the_annotators_found_a_tier_is_told(
    project: Project, people: dict[str, User], as_role: AsRole, task: Task
) -> None:
    update_project(project=project, ask_strength=True)
    amend(
        annotator=people["annotator"],
        assignment_id=task.rankings.get(annotator=people["annotator"]).assignment_id,
        key=uuid.uuid4(),
        tiers=[[0, 2], [1], [3]],
        strengths=[4, None],
    )
    page = as_role("reviewer").get(f"/projects/{project.slug}/review/{task.pk}/").content.decode()
    assert "A = C much better than B</p>" in page and page.count(" better than ") == 1


def test_who_comes_second_is_told_that_the_task_is_open(
    project: Project, people: dict[str, User], as_role: AsRole, task: Task
) -> None:
    claim(project, task.pk, people["manager"])
    page = as_role("reviewer").get(f"/projects/{project.slug}/review/{task.pk}/").content.decode()
    assert "Another reviewer has this task open" in page


def test_a_verdict_is_taken_once_and_the_next_task_comes_though_its_receipt_was_lost(
    project: Project, as_role: AsRole, task: Task
) -> None:
    client, address = as_role("reviewer"), f"/projects/{project.slug}/review/{task.pk}/"
    verdict = {
        "version": version_of(task),
        "verdict": "adjudicated",
        "tiers": [[2], [0, 1, 3]],
        "note": "So.",
    }

    answer = post(client, f"{address}verdict/", verdict)
    again = post(client, f"{address}verdict/", verdict)

    assert answer.json() == again.json() == {"url": f"/projects/{project.slug}/review/"}
    others = post(as_role("manager"), f"{address}verdict/", verdict)
    assert (others.status_code, others.json()["code"]) == (409, "conflict")
    task.refresh_from_db()
    assert (task.gold_tiers, Review.objects.get().note) == ([[2], [0, 1, 3]], "So.")
    assert (
        "reviewer adjudicated C, then A tied with B tied with D: So." in client.get(address).content.decode()
    )


def test_what_is_no_verdict_gets_a_sentence(project: Project, as_role: AsRole, task: Task) -> None:
    address = f"/projects/{project.slug}/review/{task.pk}/verdict/"
    version = version_of(task)
    for given in (
        {},
        {"verdict": "accepted"},
        {"version": version, "verdict": ["accepted"]},
        {"version": version, "verdict": "returned", "ranking": "1", "note": "Look."},
        {"version": version, "verdict": "returned", "ranking": task.rankings.first().pk},
        {"version": version, "verdict": "adjudicated", "tiers": {"0": 1}},
        {"version": version, "verdict": "accepted", "note": 5},
    ):
        answer = post(as_role("reviewer"), address, given)
        assert answer.status_code in (409, 422) and answer.json()["sentence"], given
    assert not Review.objects.exists()


def test_only_reviewers_judge_and_nobody_what_they_ranked(
    project: Project, people: dict[str, User], as_role: AsRole, task: Task
) -> None:
    address = f"/projects/{project.slug}/review/{task.pk}/"
    for name in ("", "verdict/", "pass/"):
        send = as_role("annotator").get if not name else as_role("annotator").post
        assert send(f"{address}{name}").status_code == 403
        assert getattr(as_role("outsider"), "post" if name else "get")(f"{address}{name}").status_code == 404
    add_member(project=project, user=people["annotator"], role="reviewer")
    told = as_role("annotator").get(address, follow=True).content.decode()
    assert "You ranked this task" in told
    refused = post(
        as_role("annotator"), f"{address}verdict/", {"version": version_of(task), "verdict": "accepted"}
    )
    assert refused.status_code == 403


def test_next_leaves_a_task_for_later(project: Project, as_role: AsRole, task: Task) -> None:
    client, address = as_role("reviewer"), f"/projects/{project.slug}/review/{task.pk}/"
    assert post(client, f"{address}pass/", {}).json() == {"url": address}
    assert "No other task awaits your review now." in client.get(address).content.decode()


def test_an_annotator_is_told_of_a_return_and_reads_the_note_beside_their_ranking(
    project: Project, people: dict[str, User], as_role: AsRole, task: Task
) -> None:
    ranking = send_back(task, people)
    client = as_role("annotator")

    ranking_page = client.get(f"/projects/{project.slug}/rank/").content.decode()
    history = client.get(f"/projects/{project.slug}/history/").content.decode()
    change = client.get(f"/projects/{project.slug}/history/{ranking.assignment.public_id}/").content.decode()

    assert "1 ranking was returned to you." in ranking_page and "data-returned" in ranking_page
    assert "It stands first." in history and "returned</span>" in history
    for page in (history, change):
        assert "Is &lt;b&gt;six&lt;/b&gt; minutes right?" in page
    assert "A reviewer returned this ranking to you" in change and ">reviewer<" not in change

    answer = {"key": str(uuid.uuid4()), "tiers": ranking.tiers}
    assert (
        "url"
        in post(
            client, f"/projects/{project.slug}/history/{ranking.assignment.public_id}/amend/", answer
        ).json()
    )
    assert "data-returned" not in client.get(f"/projects/{project.slug}/rank/").content.decode()
    assert "Is &lt;b&gt;six" not in client.get(f"/projects/{project.slug}/history/").content.decode()


def test_a_batchs_page_tells_what_came_of_its_review(
    project: Project, people: dict[str, User], as_role: AsRole, task: Task
) -> None:
    address = f"/projects/{project.slug}/batches/{task.batch_id}/"
    assert "0 of 1 tasks" in (page := as_role("manager").get(address).content.decode())
    assert "1 await it" in page
    send_back(task, people)

    page = as_role("manager").get(address).content.decode()

    assert "1 of 1 tasks that are ranked to the end were reviewed" in page
    assert "1 not amended yet" in page


def test_a_closed_batch_returns_nothing(project: Project, as_role: AsRole, task: Task) -> None:
    close_batch(task.batch)
    page = as_role("reviewer").get(f"/projects/{project.slug}/review/{task.pk}/").content.decode()
    assert "its rankings can no longer be amended" in page and 'name="ranking"' not in page


def test_an_order_is_told_in_letters() -> None:
    letters = dict(enumerate("ABCD"))
    assert line_of([[2], [1, 0]], letters) == {
        "tiers": [["C"], ["A", "B"]],
        "left_out": ["D"],
        "told": "C, then A tied with B; D not ranked",
    }
