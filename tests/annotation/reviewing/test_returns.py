"""A ranking that was returned: until when it waits, and what cannot be returned."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from annotation.batching import close_batch
from annotation.models import Project, Ranking, Review, User
from annotation.projects import remove_member
from annotation.returning import returned_note, returned_to
from annotation.review_queue import (
    Reason,
    queue,
)
from annotation.reviewing import review_figures
from tests.annotation.conftest import ORDER
from tests.annotation.reviewing.conftest import (
    BACKWARDS,
    Ranked,
    change,
    judge,
    refusal_of,
    send_back,
)

# Reviews are told apart from later rankings by their time, which stands still within a transaction.
pytestmark = pytest.mark.django_db(transaction=True)


def test_a_returned_ranking_counts_until_its_annotator_amends_it_and_then_comes_back(
    project: Project, reviewer: User, ranked: Ranked
) -> None:
    task = ranked(ORDER, BACKWARDS)
    ranking = task.rankings.get(tiers=BACKWARDS)

    send_back(reviewer, ranking)

    assert queue(project=project, reviewer=reviewer) == []
    (returned,) = returned_to(ranking.annotator, project)
    assert (returned.pk, returned.returned_note) == (ranking.pk, "Read the second response again.")
    assert not returned_to(task.rankings.get(tiers=ORDER).annotator, project).exists()
    assert review_figures(task.batch).pending == 1

    change(ranking, ORDER)

    assert not returned_to(ranking.annotator, project).exists()
    (waiting,) = queue(project=project, reviewer=reviewer)
    assert waiting.reasons == (Reason.AMENDED,), "they agree now, and the reviewer should see that"
    judge(reviewer, task)
    assert queue(project=project, reviewer=reviewer) == []
    assert sorted(Ranking.objects.values_list("assignment", "revision")) == sorted(
        [
            (ranking.assignment_id, 1),
            (ranking.assignment_id, 2),
            (task.rankings.get(revision=1, tiers=ORDER).assignment_id, 1),
        ]
    )


def test_a_return_is_over_once_a_reviewer_decides_otherwise_or_the_batch_is_closed(
    project: Project, reviewer: User, ranked: Ranked
) -> None:
    accepted, closed = ranked(ORDER, BACKWARDS), ranked(ORDER, BACKWARDS)
    for task in (accepted, closed):
        send_back(reviewer, task.rankings.first())
        assert returned_note(task.rankings.first()) is not None

    judge(reviewer, accepted)
    close_batch(closed.batch)

    for task in (accepted, closed):
        assert returned_note(task.rankings.first()) is None
        assert review_figures(task.batch).pending == 0


def test_what_cannot_be_returned_says_why(project: Project, reviewer: User, ranked: Ranked) -> None:
    task, other = ranked(ORDER, BACKWARDS), ranked(ORDER, BACKWARDS)
    mine, theirs = task.rankings.first(), other.rankings.first()

    def refused(**fields: Any) -> tuple[str, str]:
        refusal = refusal_of(partial(judge, reviewer, task, "returned", **fields))
        return refusal.code, refusal.field

    assert refused(ranking_id=mine.pk) == ("invalid", "note")
    assert refused(ranking_id=mine.pk, note="  ") == ("invalid", "note")
    assert refused(ranking_id=mine.pk, note="x" * 5001) == ("invalid", "note")
    assert refused(ranking_id=mine.pk, note="nul \x00") == ("invalid", "note")
    assert refused(note="Look again.") == ("invalid", "ranking")
    assert refused(ranking_id=theirs.pk, note="Look again.") == ("invalid", "ranking")
    assert refused(ranking_id=mine.pk, note="Look again.", tiers=ORDER) == ("invalid", "tiers")
    latest = change(mine)
    assert refused(ranking_id=mine.pk, note="Look again.") == ("invalid", "ranking"), "it was amended"
    send_back(reviewer, latest)
    assert refused(ranking_id=latest.pk, note="Look again.") == ("conflict", "")
    second = task.rankings.exclude(annotator=mine.annotator).get()
    remove_member(project=project, user=second.annotator)
    assert refused(ranking_id=second.pk, note="Look again.") == ("conflict", "")
    close_batch(task.batch)
    assert refused(ranking_id=second.pk, note="Look again.") == ("closed", "")
    assert Review.objects.count() == 1
