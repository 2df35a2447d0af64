"""What showing one task after the other costs: as few statements as its promises need."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from annotation.assigning import next_assignment
from annotation.models import Assignment, Batch, Project, User

pytestmark = pytest.mark.django_db(transaction=True)

MOST = 27
"""Two transactions, each begun and ended (4); who asks: session, user, project with role (3). Submitting: the batch
shared, the place locked, project with role, the place and the ranking written (5); whether the batch is complete (1).
The next task: the annotator locked, then their standing, which a pause may have changed during the wait; their lease
looked for, the open batches with kind and order, the search between its settings, the place with its prompt, the
responses, the lease written (10); the count of their own, the aspects (2). Two are for what a project may ask."""


def test_an_answer_and_its_next_task_take_few_statements_however_much_was_done(
    project: Project,
    people: dict[str, User],
    as_role: Callable[[str], Client],
    compose: Callable[..., Batch],
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    compose(8)
    compose(8)
    client = as_role("annotator")
    client.get(f"/projects/{project.slug}/rank/")

    for _ in range(6):
        place = next_assignment(annotator=people["annotator"], project=project)
        assert place is not None
        with django_assert_max_num_queries(MOST):
            answer = client.post(
                f"/projects/{project.slug}/rank/{place.public_id}/submit/",
                json.dumps(
                    {
                        "lease": str(place.lease),
                        "key": str(uuid.uuid4()),
                        "tiers": [[number] for number in place.shown_order],
                        "seconds": 12,
                    }
                ),
                content_type="application/json",
            )
        assert "data-workbench" in answer.json()["html"]

    assert Assignment.objects.filter(state="submitted").count() == 6
