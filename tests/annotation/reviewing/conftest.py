"""Tasks to review, and what a reviewer and an annotator do about them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from annotation.models import Flag, Project, Ranking, Review, Task, User
from annotation.projects import add_member, create_user, update_project
from annotation.refusals import Refusal
from annotation.reviewing import review_task
from annotation.showing_reviews import version_of
from annotation.submitting import amend
from tests.annotation.conftest import ORDER, Compose, People, answer, take

BACKWARDS = ORDER[::-1]
Ranked = Callable[..., Task]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is, no search counts as slow."""
    monkeypatch.setattr("annotation.review_queue.SLOW_SEARCH", 1000)


@pytest.fixture
def project(project: Project) -> Project:
    return update_project(project=project, review_share=0.0)


@pytest.fixture
def reviewer(project: Project) -> User:
    return new_reviewer(project)


@pytest.fixture
def ranked(project: Project, people: People, compose: Compose) -> Ranked:
    """Makes a task that was ranked so, by one new annotator each."""

    def make(*orders: list[list[int]]) -> Task:
        batch = compose(1, overlap=len(orders))
        for annotator, tiers in zip(people(len(orders)), orders, strict=True):
            answer(take(annotator, project), tiers)
        return batch.tasks.get()

    return make


def new_reviewer(project: Project) -> User:
    user = create_user(username=f"reviewer-{uuid.uuid4().hex[:8]}")
    add_member(project=project, user=user, role="reviewer")
    return user


def flag(task: Task, kind: str) -> None:
    Flag.objects.create(ranking=task.rankings.earliest("pk"), position=0, kind=kind)


def judge(reviewer: User, task: Task, verdict: str = "accepted", **fields: Any) -> Review:
    """Give a verdict on the task as it is now."""
    version = fields.pop("version", None) or version_of(task)
    return review_task(reviewer=reviewer, task_id=task.pk, version=version, verdict=verdict, **fields)


def send_back(reviewer: User, ranking: Ranking, note: str = "Read the second response again.") -> Review:
    return judge(reviewer, ranking.task, "returned", ranking_id=ranking.pk, note=note)


def change(ranking: Ranking, tiers: list[list[int]] = BACKWARDS) -> Ranking:
    return amend(
        annotator=ranking.annotator, assignment_id=ranking.assignment_id, key=uuid.uuid4(), tiers=tiers
    )


def refusal_of(call: Callable[[], object]) -> Refusal:
    with pytest.raises(Refusal) as refused:
        call()
    return refused.value
