"""What was said of a batch besides the ranking: of the revisions that count, and of no other batch."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from annotation.models import Batch, Project, Ranking, Task
from annotation.refusals import Refusal
from annotation.remarks import remark_counts, remarked, tasks_with_flag, with_flag
from annotation.submitting import amend, submit
from tests.annotation.conftest import ORDER, Compose, People, take

pytestmark = pytest.mark.django_db

UNSAFE = {"number": 0, "kind": "unsafe"}
OTHER = {"number": 1, "kind": "other", "note": "It flatters."}
WRITTEN = {"number": None, "text": "Seven."}


@pytest.fixture
def said(project: Project, people: People, compose: Compose) -> tuple[Batch, list[Ranking]]:
    """A batch of four rankings: flagged twice, with a better response, with a reason, with nothing; and of the flagged
    one, a first revision that said something else."""
    other = compose(1)
    say(take(people(1)[0], project), flags=[UNSAFE], rationale="Of another batch.")
    batch = compose(4)
    assert other != batch
    (annotator,) = people(1)
    rankings = [
        say(take(annotator, project), **remark)
        for remark in (
            {"demonstrations": [WRITTEN], "rationale": "Too long."},
            {"flags": [UNSAFE, OTHER]},
            {"rationale": "Short."},
            {},
        )
    ]
    first = rankings[0]
    rankings[0] = amend(
        annotator=annotator,
        assignment_id=first.assignment_id,
        key=uuid.uuid4(),
        tiers=ORDER,
        flags=[OTHER],
        demonstrations=[WRITTEN],
    )
    return batch, rankings


def say(place: Any, **remark: Any) -> Ranking:
    return submit(
        annotator=place.annotator,
        assignment_id=place.pk,
        lease=place.lease,
        key=uuid.uuid4(),
        tiers=ORDER,
        **remark,
    )


def test_counts_are_of_the_revisions_that_count(said: tuple[Batch, list[Ranking]]) -> None:
    counts = remark_counts(said[0])
    assert counts.flags == {"unsafe": 1, "other": 2}
    assert (counts.demonstrations, counts.rationales, counts.any) == (1, 1, True)


def test_a_batch_of_which_nothing_was_said_has_no_remarks(compose: Compose) -> None:
    batch = compose(1)
    assert not remark_counts(batch).any
    assert not remarked(batch).exists()


@pytest.mark.parametrize(
    ("remark", "which"),
    [
        ("", [0, 2, 1]),
        ("unsafe", [1]),
        ("other", [0, 1]),
        ("truncated", []),
        ("demonstrations", [0]),
        ("rationales", [2]),
    ],
)
def test_remarks_are_found_by_what_they_are_newest_first(
    said: tuple[Batch, list[Ranking]], remark: str, which: list[int]
) -> None:
    batch, rankings = said
    assert list(remarked(batch, remark)) == [rankings[index] for index in which]


def test_no_such_remark_is_refused(said: tuple[Batch, list[Ranking]]) -> None:
    with pytest.raises(Refusal, match="not 'rude'"):
        remarked(said[0], "rude")


def test_tasks_are_found_by_the_flags_that_count(said: tuple[Batch, list[Ranking]]) -> None:
    batch, rankings = said
    tasks = Task.objects.filter(batch=batch)
    assert [task.pk for task in tasks_with_flag(tasks, "unsafe")] == [rankings[1].task_id]
    amend(
        annotator=rankings[1].annotator,
        assignment_id=rankings[1].assignment_id,
        key=uuid.uuid4(),
        tiers=ORDER,
    )
    assert not tasks_with_flag(tasks, "unsafe").exists()
    assert list(with_flag(Ranking.objects.filter(task__batch=batch), "unsafe")) == [rankings[1]]
