"""Whatever annotators do, in whatever order: the invariants hold, and each act succeeds exactly when it should."""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotation.assigning import MOST_AHEAD, expire_leases, next_assignment, return_lease, skip
from annotation.models import Assignment, Batch, Project, Ranking, User
from annotation.refusals import Refusal
from annotation.submitting import amend, current_rankings, submit
from tests.annotation.conftest import Compose, People, run_out

pytestmark = pytest.mark.django_db

ANNOTATORS, TASKS, OVERLAP = 4, 2, 2
ACTS = ["next", "ahead", "go on", "submit", "submit again", "skip", "return", "run out", "expire", "amend"]
TIERS = [[[0], [1], [2], [3]], [[3], [2], [1], [0]], [[0, 1], [2, 3]], [[0, 1, 2, 3]]]

steps = st.lists(
    st.tuples(st.sampled_from(ACTS), st.integers(0, 2 * ANNOTATORS - 1), st.sampled_from(TIERS)),
    min_size=10,
    max_size=30,
)


@dataclass
class Tab:
    """What one of an annotator's two pages last got: perhaps long out of date."""

    place: Assignment | None = None
    ahead: Assignment | None = None
    key: uuid.UUID | None = None
    submitted: Ranking | None = None


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=steps)
def test_any_interleaving_keeps_the_invariants(
    steps: list[tuple[str, int, list[list[int]]]], project: Project, people: People, compose: Compose
) -> None:
    Batch.objects.filter(state="open").update(state="paused")
    batch = compose(TASKS, overlap=OVERLAP)
    annotators = people(ANNOTATORS)
    tabs = [Tab() for _ in range(2 * ANNOTATORS)]
    told: dict[int, tuple[Any, ...]] = {}
    for act, who, tiers in steps:
        do(act, annotators[who % ANNOTATORS], tabs[who], tiers, project)
        check(batch, told)


def do(act: str, annotator: User, tab: Tab, tiers: list[list[int]], project: Project) -> None:
    if act == "next":
        tab.place = next_assignment(annotator=annotator, project=project)
        tab.key = uuid.uuid4()
        return
    if act == "ahead":
        besides = [tab.place.public_id] if tab.place is not None else []
        tab.ahead = next_assignment(annotator=annotator, project=project, besides=besides)
        assert tab.ahead is None or tab.ahead.public_id not in besides
        return
    if act == "go on":
        if tab.ahead is not None:
            tab.place, tab.key, tab.ahead = tab.ahead, uuid.uuid4(), None
        return
    if act == "expire":
        expire_leases()
        return
    if tab.place is None:
        return
    row = Assignment.objects.get(pk=tab.place.pk)
    holds = row.state == "leased" and row.lease == tab.place.lease
    if act == "run out":
        if holds:
            run_out(row)
    elif act == "submit" and (tab.submitted is None or tab.submitted.key != tab.key):
        tab.submitted = succeeds_if(holds, lambda: send(annotator, tab, tiers)) or tab.submitted
    elif act in ("submit", "submit again"):
        if (
            tab.submitted is not None
            and tab.submitted.assignment_id == row.pk
            and tab.submitted.key == tab.key
        ):
            assert send(annotator, tab, tiers).pk == tab.submitted.pk
    elif act == "amend":
        own = row.state == "submitted" and row.annotator_id == annotator.pk
        succeeds_if(
            own,
            lambda: amend(annotator=annotator, assignment_id=row.pk, key=uuid.uuid4(), tiers=tiers),
        )
    elif act == "skip":
        again = row.task.skips.filter(annotator=annotator).exists()
        succeeds_if(holds or again, lambda: skip(assignment=row, annotator=annotator, lease=tab.place.lease))
    else:
        succeeds_if(holds, lambda: return_lease(assignment=row, annotator=annotator, lease=tab.place.lease))


def send(annotator: User, tab: Tab, tiers: list[list[int]]) -> Ranking:
    assert tab.place is not None and tab.place.lease is not None and tab.key is not None
    return submit(
        annotator=annotator, assignment_id=tab.place.pk, lease=tab.place.lease, key=tab.key, tiers=tiers
    )


def succeeds_if(expected: bool, act: Any) -> Any:
    try:
        result = act()
    except Refusal as refusal:
        assert not expected, refusal.sentence
        return None
    assert expected
    return result


def check(batch: Batch, told: dict[int, tuple[Any, ...]]) -> None:
    now = {
        row[0]: row
        for row in Ranking.objects.filter(task__batch=batch).values_list(
            "pk", "assignment", "annotator", "revision", "key", "tiers", "shown_order"
        )
    }
    assert {pk: row for pk, row in now.items() if pk in told} == told, "a ranking was lost or changed"
    told.update((pk, tuple(row)) for pk, row in now.items())
    for task in batch.tasks.all():
        places = list(task.assignments.order_by("place"))
        assert [place.place for place in places] == list(range(OVERLAP))
        holders = [place.annotator_id for place in places if place.annotator_id]
        assert len(set(holders)) == len(holders), "an annotator has two places of a task"
        assert not task.skips.filter(annotator__in=holders).exists(), "a passed task was offered again"
        current = {r.assignment_id: r for r in current_rankings(Ranking.objects.filter(task=task))}
        assert set(current) == {place.pk for place in places if place.state == "submitted"}
        for place in places:
            revisions = list(place.rankings.values_list("revision", flat=True).order_by("revision"))
            assert revisions == list(range(1, len(revisions) + 1))
            if place.pk in current:
                assert current[place.pk].annotator_id == place.annotator_id
                assert current[place.pk].shown_order == place.shown_order
    leases = Counter(batch.assignments.filter(state="leased").values_list("annotator", flat=True))
    assert all(held <= 1 + MOST_AHEAD for held in leases.values()), "an annotator holds more than one ahead"
