"""Batches of tasks with four responses from two sources, people who rank them, and a judge."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alignment.judges.judging import take_in
from alignment.judges.making import create_endpoint_judge
from alignment.judges.models import Judge, Judging
from annotation.assigning import next_assignment
from annotation.batching import compose_batch
from annotation.importing import import_prompts
from annotation.models import Batch, Project, Response, Source, User
from annotation.projects import add_member, create_user
from annotation.submitting import submit
from tests.alignment.conftest import finish

LETTERS = "ABCDEFGHI"


@pytest.fixture
def judge(project: Project, manager: User) -> Judge:
    return create_endpoint_judge(
        project=project,
        name="big model",
        url="http://localhost:8000/v1",
        model="big",
        created_by=manager,
    )


@pytest.fixture
def compose(project: Project) -> Callable[..., Batch]:
    """Makes a batch of new prompts with four responses each, named by their quality: 3 is the best."""

    def make(tasks: int = 2, *, overlap: int = 1, **settings: Any) -> Batch:
        sources = [
            Source.objects.get_or_create(project=project, name=name, kind=Source.Kind.IMPORT)[0]
            for name in ("zebrafinch-old", "zebrafinch-new")
        ]
        name = uuid.uuid4().hex[:8]
        rows = [{"prompt": f"How do I boil egg {n} of {name}?", "key": name} for n in range(tasks)]
        import_prompts(project=project, rows=enumerate(rows, start=1))
        prompts = project.prompts.filter(key=name)
        drawn_by = uuid.uuid4()
        Response.objects.bulk_create(
            Response(
                prompt=prompt,
                source=sources[quality % 2],
                drawn_by=drawn_by,
                index=quality,
                text=f"Answer of quality {quality}{'!' * quality}",
            )
            for prompt in prompts
            for quality in range(4)
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


def quality(text: str) -> int:
    return int(text.rstrip("!")[-1])


def by_quality(replies: dict[int, tuple[str, bool]], *, best_first: bool = True) -> list[list[int]]:
    order = sorted(replies, key=lambda number: quality(replies[number][0]), reverse=best_first)
    return [[number] for number in order]


def rank(batch: Batch, person: User, *, best_first: bool = True) -> None:
    """Rank all that the person is given."""
    if not batch.project.memberships.filter(user=person).exists():
        add_member(project=batch.project, user=person, role="annotator")
    while (place := next_assignment(annotator=person, project=batch.project)) is not None:
        tiers = by_quality(place.task.replies, best_first=best_first)
        submit(annotator=person, assignment_id=place.pk, lease=place.lease, key=uuid.uuid4(), tiers=tiers)


def person(name: str) -> User:
    return create_user(username=name)


def asked(judging: Judging) -> list[dict[str, Any]]:
    """What the judging's run was given to ask."""
    return [json.loads(line) for line in Path(judging.run.spec["data"]["prompts"]).read_text().splitlines()]


def honest(message: str, *, best_first: bool = True) -> str:
    """What a judge that knows the quality says to a question."""
    of = {}
    for part in message.split("<response ")[1:]:
        of[part[0]] = quality(part.split(">\n", 1)[1].split("\n</response", 1)[0])
    order = sorted(of, key=lambda letter: of[letter], reverse=best_first)
    return "I looked at each.\nRANKING: " + " > ".join(order)


def answer(judging: Judging, say: Callable[[str], str] = honest) -> Judging:
    """Let the judging's run succeed, with what ``say`` says to each message, and take it in."""
    draws = [
        {
            "id": each["id"],
            "index": 0,
            "text": say(each["prompt"][-1]["content"]),
            "tokens": 7,
            "finish": "stop",
            "prompt_tokens": 100,
        }
        for each in asked(judging)
    ]
    finish(judging.run, {"responses.jsonl": draws})
    take_in(judging.pk)
    judging.refresh_from_db()
    return judging
