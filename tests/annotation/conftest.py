"""A project with people, prompts and responses from two sources."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from annotation import assigning
from annotation.assigning import next_assignment
from annotation.batching import compose_batch
from annotation.gold import KnownAnswer, compose_known
from annotation.importing import import_prompts
from annotation.models import Assignment, Batch, Project, Ranking, Response, Source, User
from annotation.projects import add_member, create_project, create_user
from annotation.submitting import submit

People = Callable[[int], list[User]]
Compose = Callable[..., Batch]

ORDER = [[2], [0], [1], [3]]


@pytest.fixture
def manager(db: None) -> User:
    return create_user(username="manager")


@pytest.fixture
def project(manager: User) -> Project:
    return create_project(name="Answers", created_by=manager)


@pytest.fixture
def people(project: Project) -> People:
    """Makes annotators of the project."""

    def make(count: int) -> list[User]:
        users = [create_user(username=f"annotator-{uuid.uuid4().hex[:8]}") for _ in range(count)]
        for user in users:
            add_member(project=project, user=user, role="annotator")
        return users

    return make


@pytest.fixture
def sources(project: Project) -> list[Source]:
    return [
        Source.objects.create(project=project, name=name, kind=Source.Kind.IMPORT)
        for name in ("zebrafinch-old", "zebrafinch-new")
    ]


@pytest.fixture
def compose(project: Project, sources: list[Source]) -> Compose:
    """Makes a batch of new prompts, each with two different responses from each of two sources."""

    def make(
        tasks: int = 1,
        *,
        overlap: int = 1,
        responses_per_task: int = 4,
        priority: int = 0,
        text: Callable[[], str] = str,
        of_prompts: Callable[[int], dict[str, Any]] = lambda number: {},
        **settings: Any,
    ) -> Batch:
        name = uuid.uuid4().hex
        import_prompts(
            project=project,
            rows=[
                (n, {"prompt": f"{name}, question {n}?", "key": name, **of_prompts(n)}) for n in range(tasks)
            ],
        )
        prompts = project.prompts.filter(key=name)
        Response.objects.bulk_create(
            Response(
                prompt=prompt,
                source=source,
                drawn_by=uuid.uuid4(),
                index=index,
                text=f"{letter}{index}{text()}",
            )
            for prompt in prompts
            for source, letter in zip(sources, "pq", strict=True)
            for index in range(2)
        )
        return compose_batch(
            project=project,
            name=name,
            prompts=prompts,
            sources=sources,
            responses_per_task=responses_per_task,
            overlap=overlap,
            priority=priority,
            **settings,
        ).batch

    return make


@pytest.fixture
def compose_gold(project: Project, sources: list[Source], manager: User) -> Compose:
    """Makes a batch of new prompts with three responses each, whose right order is known."""

    def make(
        tasks: int = 1,
        *,
        kind: str = "gold",
        overlap: int = 20,
        note: str = "",
        of_prompts: Callable[[int], dict[str, Any]] = lambda number: {},
        **settings: Any,
    ) -> Batch:
        name = uuid.uuid4().hex
        import_prompts(
            project=project,
            rows=[(n, {"prompt": f"{name}, known {n}?", "key": name, **of_prompts(n)}) for n in range(tasks)],
        )
        answers = []
        for prompt in project.prompts.filter(key=name):
            responses = [
                Response.objects.create(
                    prompt=prompt, source=sources[0], drawn_by=uuid.uuid4(), index=index, text=text
                )
                for index, text in enumerate(("right", "half right", "wrong"))
            ]
            answers.append(KnownAnswer(prompt=prompt, responses=responses, tiers=[[0], [1], [2]], note=note))
        return compose_known(
            project=project, name=name, kind=kind, overlap=overlap, by=manager, answers=answers, **settings
        ).batch

    return make


@pytest.fixture
def always_gold(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """An annotator's next task is a gold one wherever there is one."""
    monkeypatch.setattr(assigning, "gold_is_due", lambda *, gold, **_: bool(gold))


def answer_rightly(place: Assignment) -> Ranking:
    """Submit the known answer of a leased place."""
    return answer(place, place.task.gold_tiers)


def answer_wrongly(place: Assignment) -> Ranking:
    """Submit the known answer of a leased place the other way round."""
    return answer(place, place.task.gold_tiers[::-1])


def take(annotator: User, project: Project, besides: Collection[uuid.UUID] = ()) -> Assignment:
    """The annotator's next place, which there must be."""
    place = next_assignment(annotator=annotator, project=project, besides=besides)
    assert place is not None
    return place


def answer(place: Assignment, tiers: list[list[int]] | None = None) -> Ranking:
    """Submit a ranking of a leased place."""
    assert place.annotator is not None and place.lease is not None
    return submit(
        annotator=place.annotator,
        assignment_id=place.pk,
        lease=place.lease,
        key=uuid.uuid4(),
        tiers=tiers or ORDER,
    )


def run_out(place: Assignment) -> None:
    """Let the time of a lease pass."""
    Assignment.objects.filter(pk=place.pk).update(leased_until=timezone.now() - timedelta(seconds=1))
