"""A verdict changes no ranking, is on what was read, and stays."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from annotation.answer_columns import read_answers
from annotation.batching import close_batch
from annotation.models import Project, Ranking, Review, Task, User
from annotation.quality import annotator_figures, batches_of
from annotation.refusals import Refusal
from annotation.review_queue import (
    queue,
)
from annotation.reviewing import review_figures
from annotation.showing_reviews import version_of
from tests.annotation.conftest import ORDER, People
from tests.annotation.parallel import all_at_once
from tests.annotation.reviewing.conftest import (
    BACKWARDS,
    Ranked,
    change,
    judge,
    new_reviewer,
    refusal_of,
    send_back,
)

# Reviews are told apart from later rankings by their time, which stands still within a transaction.
pytestmark = pytest.mark.django_db(transaction=True)


def test_an_annotator_gives_no_verdict(ranked: Ranked, people: People) -> None:
    (annotator,) = people(1)
    assert refusal_of(partial(judge, annotator, ranked(ORDER, BACKWARDS))).code == "forbidden"


def test_accepting_takes_a_task_from_the_queue_and_leaves_its_rankings(
    project: Project, reviewer: User, ranked: Ranked
) -> None:
    task = ranked(ORDER, BACKWARDS)
    before = list(Ranking.objects.values())

    judge(reviewer, task)

    assert queue(project=project, reviewer=reviewer) == []
    assert list(Ranking.objects.values()) == before
    assert (task.refresh_from_db(), task.gold_tiers)[1] is None


def test_an_adjudicated_order_is_gold_and_measures_the_annotators(
    project: Project, reviewer: User, ranked: Ranked
) -> None:
    task = ranked(ORDER, BACKWARDS)
    close_batch(task.batch)
    before = list(Ranking.objects.values())

    first = judge(
        reviewer, task, "adjudicated", tiers=ORDER, note="The third response is the only right one."
    )

    task.refresh_from_db()
    assert (first.tiers, task.gold_tiers) == (ORDER, ORDER)
    figures = annotator_figures(read_answers(batches_of(task.batch)))
    known = [one.known_accuracy.value for one in figures if one.known_accuracy.value is not None]
    assert sorted(known) == [0.0, 1.0]

    judge(new_reviewer(project), task, "adjudicated", tiers=BACKWARDS)

    task.refresh_from_db()
    assert task.gold_tiers == BACKWARDS, "the later one holds"
    assert [review.tiers for review in task.reviews.all()] == [ORDER, BACKWARDS], "and the earlier one stays"
    assert list(Ranking.objects.values()) == before


@pytest.mark.parametrize(
    "tiers", [None, [], [[0], [1]], [[0], [1], [2], [9]], [[0, 0], [1], [2], [3]], "0123", [[0, 1, 2, True]]]
)
def test_an_adjudication_keeps_to_the_projects_rules(
    tiers: Any, project: Project, reviewer: User, ranked: Ranked
) -> None:
    task = ranked(ORDER, BACKWARDS)
    refusal = refusal_of(partial(judge, reviewer, task, "adjudicated", tiers=tiers))
    assert (refusal.code, refusal.field) == ("invalid", "tiers")
    assert (task.refresh_from_db(), task.gold_tiers)[1] is None
    assert not Review.objects.exists()


def test_a_verdict_on_what_has_changed_since_is_refused_and_changes_nothing(
    reviewer: User, ranked: Ranked
) -> None:
    task = ranked(ORDER, BACKWARDS)
    seen = version_of(task)
    change(task.rankings.first())
    refusal = refusal_of(partial(judge, reviewer, task, version=seen))
    assert (refusal.code, refusal.field) == ("conflict", "version")
    assert "ranking of this task was changed" in refusal.sentence
    seen = version_of(task)
    judge(new_reviewer(task.batch.project), task)
    assert "was reviewed while" in refusal_of(partial(judge, reviewer, task, version=seen)).sentence
    assert refusal_of(partial(judge, reviewer, task, "postponed")).field == "verdict"
    assert Review.objects.count() == 1


def test_of_verdicts_at_once_one_is_taken_and_the_others_are_told(project: Project, ranked: Ranked) -> None:
    task = ranked(ORDER, BACKWARDS)
    version = version_of(task)
    reviewers = [new_reviewer(project) for _ in range(5)]

    outcomes = all_at_once([partial(judge, each, task, version=version) for each in reviewers])

    taken = [outcome for outcome in outcomes if isinstance(outcome, Review)]
    assert [review.pk for review in taken] == [Review.objects.get().pk]
    assert [refusal.code for refusal in outcomes if isinstance(refusal, Refusal)] == ["conflict"] * 4


def test_a_verdict_and_an_amendment_at_once_do_not_miss_each_other(
    project: Project, reviewer: User, ranked: Ranked
) -> None:
    """Either the verdict was on the ranking as it was, or it is refused."""
    for _ in range(8):
        task = ranked(ORDER, BACKWARDS)
        ranking = task.rankings.first()
        version = version_of(task)
        outcome, amended = all_at_once(
            [partial(judge, reviewer, task, version=version), partial(change, ranking)]
        )
        assert isinstance(amended, Ranking)
        if isinstance(outcome, Refusal):
            assert outcome.code == "conflict" and not task.reviews.exists()
        assert task.rankings.count() == 3


def test_a_batchs_figures_count_verdicts_and_tasks(project: Project, reviewer: User, ranked: Ranked) -> None:
    task = ranked(ORDER, BACKWARDS)
    assert review_figures(task.batch).reviewed == 0
    send_back(reviewer, task.rankings.first())
    judge(reviewer, task, "adjudicated", tiers=ORDER)
    figures = review_figures(task.batch)
    assert (figures.complete, figures.reviewed) == (1, 1)
    assert (figures.accepted, figures.returned, figures.adjudicated, figures.pending) == (0, 1, 1, 0)


def test_a_review_never_changes(reviewer: User, ranked: Ranked) -> None:
    review = judge(reviewer, ranked(ORDER, BACKWARDS))
    for change_it in (
        lambda: Review.objects.filter(pk=review.pk).update(note="Other words."),
        lambda: Review.objects.filter(pk=review.pk).delete(),
    ):
        with pytest.raises(IntegrityError, match="never change"), transaction.atomic():
            change_it()


def test_a_verdict_that_is_sent_again_is_answered_with_the_same_review(
    project: Project, reviewer: User, ranked: Ranked
) -> None:
    accepted, returned, adjudicated = (ranked(ORDER, BACKWARDS) for _ in range(3))
    verdicts: list[tuple[Task, dict[str, Any]]] = [
        (accepted, {"verdict": "accepted", "note": " Fine. "}),
        (
            returned,
            {"verdict": "returned", "ranking_id": returned.rankings.first().pk, "note": "Look again."},
        ),
        (adjudicated, {"verdict": "adjudicated", "tiers": ORDER}),
    ]
    for task, verdict in verdicts:
        version = version_of(task)
        first = judge(reviewer, task, version=version, **verdict)
        assert judge(reviewer, task, version=version, **verdict) == first
        # The receipt may come late: what happened since does not change what was answered.
        for ranking in task.rankings.all():
            change(ranking, [[1], [0], [2], [3]])
        close_batch(task.batch)
        assert judge(reviewer, task, version=version, **verdict) == first
    assert Review.objects.count() == 3


def test_another_verdict_on_what_one_has_judged_is_told_so(reviewer: User, ranked: Ranked) -> None:
    task = ranked(ORDER, BACKWARDS)
    version = version_of(task)
    judge(reviewer, task, version=version)
    for other in ({"verdict": "adjudicated", "tiers": ORDER}, {"note": "Fine."}):
        refusal = refusal_of(partial(judge, reviewer, task, version=version, **other))
        assert (refusal.code, refusal.field) == ("conflict", "version")
        assert "You have judged this task already (accepted)" in refusal.sentence
    theirs = refusal_of(partial(judge, new_reviewer(task.batch.project), task, version=version))
    assert "was reviewed while you had it open" in theirs.sentence
    assert Review.objects.count() == 1


def test_one_verdict_sent_several_times_at_once_is_taken_once(
    project: Project, reviewer: User, ranked: Ranked
) -> None:
    task = ranked(ORDER, BACKWARDS)
    version = version_of(task)

    outcomes = all_at_once([partial(judge, reviewer, task, version=version)] * 5)

    assert outcomes == [Review.objects.get()] * 5
