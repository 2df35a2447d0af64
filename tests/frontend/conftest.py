"""A project with a person of each role, an outsider, and a batch to rank."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from annotation.batching import compose_batch
from annotation.importing import import_prompts
from annotation.models import Batch, Project, Response, Source, User
from annotation.projects import add_member, create_project, create_user

PASSWORD = "quiet-harbour-lantern-7"
ROLES = ("annotator", "reviewer", "manager", "outsider")


@pytest.fixture
def people(db: None) -> dict[str, User]:
    return {
        role: create_user(username=role, password=PASSWORD, email=f"{role}@example.org") for role in ROLES
    }


@pytest.fixture
def project(people: dict[str, User]) -> Project:
    project = create_project(
        name="Kitchen answers",
        description="Short, sound answers to cooking questions.",
        guidelines="Prefer answers that are **right** first, and short second.",
        created_by=people["manager"],
    )
    for role in ("annotator", "reviewer"):
        add_member(project=project, user=people[role], role=role)
    return project


@pytest.fixture
def as_role(people: dict[str, User]) -> Callable[[str], Client]:
    """A client that is logged in as the person of that role; "" is nobody."""

    def log_in(role: str) -> Client:
        client = Client()
        if role:
            client.force_login(people[role])
        return client

    return log_in


@pytest.fixture
def compose(project: Project) -> Callable[..., Batch]:
    """Makes a batch of ``tasks`` new prompts with four responses each, from two sources with telling names."""

    def make(tasks: int = 1, *, overlap: int = 1, **settings: Any) -> Batch:
        sources = [
            Source.objects.get_or_create(project=project, name=name, kind=Source.Kind.IMPORT)[0]
            for name in ("zebrafinch-old", "zebrafinch-new")
        ]
        name = uuid.uuid4().hex[:8]
        rows = [{"prompt": f"How long do I boil egg {n} of {name}?", "key": name} for n in range(tasks)]
        import_prompts(project=project, rows=enumerate(rows, start=1))
        prompts = project.prompts.filter(key=name)
        drawn_by = uuid.uuid4()
        Response.objects.bulk_create(
            Response(
                prompt=prompt,
                source=source,
                drawn_by=drawn_by,
                index=index,
                text=f"{minutes} minutes, *exactly*.",
            )
            for prompt in prompts
            for source, index, minutes in zip(sources * 2, (0, 0, 1, 1), (6, 7, 9, 12), strict=True)
        )
        return compose_batch(
            project=project,
            name=f"batch {name}",
            prompts=prompts,
            sources=sources,
            responses_per_task=4,
            overlap=overlap,
            **settings,
        ).batch

    return make
