"""What tests of the ranking page's addresses ask and answer."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from typing import Any

from django.test import Client

from annotation.assigning import next_assignment
from annotation.models import Assignment, Batch, Project, User

AsRole = Callable[[str], Client]
Compose = Callable[..., Batch]


def held(project: Project, people: dict[str, User]) -> Assignment:
    place = next_assignment(annotator=people["annotator"], project=project)
    assert place is not None
    return place


def answer_to(place: Assignment, **changes: Any) -> dict[str, Any]:
    return {
        "lease": str(place.lease),
        "key": str(uuid.uuid4()),
        "tiers": [[place.shown_order[0]], place.shown_order[1:]],
        "seconds": 12,
        **changes,
    }


def post(client: Client, url: str, body: Any) -> Any:
    return client.post(url, json.dumps(body), content_type="application/json")


def ahead_of(client: Client, project: Project, **asked: Any) -> Any:
    return post(client, f"/projects/{project.slug}/rank/next/", asked).json()


def assignment_in(html: str) -> str | None:
    found = re.search(r'data-assignment="([0-9a-f-]{36})"', html)
    return found.group(1) if found else None
