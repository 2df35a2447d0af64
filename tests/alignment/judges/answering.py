"""People who rank the tasks of the fixture ``compose``, and what a judge answers to them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alignment.judges.judging import take_in
from alignment.judges.models import Judging
from annotation.assigning import next_assignment
from annotation.models import Batch, User
from annotation.projects import add_member, create_user
from annotation.submitting import submit
from tests.alignment.conftest import finish

LETTERS = "ABCDEFGHI"


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
