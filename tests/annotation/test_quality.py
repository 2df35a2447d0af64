"""Figures of batches and their annotators."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from annotation.agreement import agreement_of
from annotation.answer_columns import read_answers, read_latest_answers
from annotation.batch_quality import quality_of
from annotation.known_accuracy import WINDOW
from annotation.measuring import gold_result
from annotation.models import Batch, Membership, Project, Source, Task, User
from annotation.quality import AnnotatorFigures, Times, annotator_figures, batches_of
from annotation.reviewing import review_task
from annotation.showing_reviews import version_of
from annotation.submitting import amend, current_rankings, submit
from tests.annotation.answered import give
from tests.annotation.conftest import Compose, People, answer, take

pytestmark = pytest.mark.django_db


def agreed(batch: Batch) -> float | None:
    return agreement_of(read_answers(batches_of(batch)).opinions).agreement


def figures_of(batch: Batch) -> dict[str, AnnotatorFigures]:
    return {one.annotator: one for one in annotator_figures(read_answers(batches_of(batch)))}


def test_what_was_amended_after_a_return_is_no_judgement_of_ones_own(
    project: Project, manager: User, people: People, compose: Compose
) -> None:
    batch = compose(1, overlap=2, responses_per_task=2)
    first, second = people(2)
    answer(take(first, project), [[0], [1]])
    place = take(second, project)
    answer(place, [[1], [0]])
    amend(annotator=second, assignment_id=place.pk, key=uuid.uuid4(), tiers=[[0, 1]])
    returned = place.rankings.get(revision=2)
    review_task(
        reviewer=manager,
        task_id=place.task_id,
        version=version_of(place.task),
        verdict="returned",
        ranking_id=returned.pk,
        note="Look again.",
    )
    amend(annotator=second, assignment_id=place.pk, key=uuid.uuid4(), tiers=[[0], [1]])

    answers = read_answers(batches_of(batch))

    assert agreed(batch) == 0.0, "what the reviewer brought about is not agreement"
    assert answers.ranking.tolist() == [*first.rankings.values_list("pk", flat=True), returned.pk]
    latest = read_latest_answers(batches_of(batch))
    assert latest.ranking.tolist() == sorted(current_rankings(batch).values_list("pk", flat=True))
    assert returned.pk not in latest.ranking, "datasets and win rates go by what they say now"


def test_a_batchs_figures_count_each_annotators_latest_revision(
    project: Project, people: People, compose: Compose
) -> None:
    batch = compose(1, overlap=2, responses_per_task=2)
    Task.objects.filter(batch=batch).update(gold_tiers=[[0], [1]])
    first, second = people(2)
    answer(take(first, project), [[0], [1]])
    place = take(second, project)
    submit(
        annotator=second,
        assignment_id=place.pk,
        lease=place.lease,
        key=uuid.uuid4(),
        tiers=[[1], [0]],
        seconds=20,
    )
    assert agreed(batch) == 0.0
    figures = figures_of(batch)
    one, other = figures[first.username], figures[second.username]
    assert (one.known_accuracy.value, other.known_accuracy.value) == (1.0, 0.0)
    assert one.gold_accuracy.value is None, "no gold task measures them"
    assert (other.median_seconds, one.median_seconds) == (20, None)

    amend(annotator=second, assignment_id=place.pk, key=uuid.uuid4(), tiers=[[0], [1]])

    assert agreed(batch) == 1.0
    assert [
        (one.rankings, one.agreement.value, one.known_accuracy.value) for one in figures_of(batch).values()
    ] == [(1, 1.0, 1.0)] * 2


def test_agreement_of_an_annotator_is_with_each_other_one_of_the_task(
    people: People, compose: Compose
) -> None:
    batch = compose(1, overlap=3, responses_per_task=2)
    (task,) = batch.tasks.all()
    ann, bea, cid = people(3)
    for who, tiers in ((ann, [[0], [1]]), (bea, [[0], [1]]), (cid, [[1], [0]])):
        give(task, who, tiers)
    found = figures_of(batch)
    # ann with bea alike, with cid not; cid with nobody.
    assert [
        (found[who.username].agreement.value, found[who.username].agreement.of) for who in (ann, bea, cid)
    ] == [
        (0.5, 2),
        (0.5, 2),
        (0.0, 2),
    ]


def test_speed_is_a_median_and_told_by_a_thousand_characters_too(people: People, compose: Compose) -> None:
    batch = compose(3, responses_per_task=2, text=lambda: "x" * 248)
    (ann,) = people(1)
    for task, seconds in zip(batch.tasks.all(), (10, 40, 20), strict=True):
        give(task, ann, [[0], [1]], seconds=seconds)
    (found,) = figures_of(batch).values()
    # Two responses of 250 characters each: half a thousand.
    assert (found.median_seconds, found.seconds_per_1000) == (20, 40)


def test_times_are_told_as_percentiles_of_those_that_were_measured(people: People, compose: Compose) -> None:
    batch = compose(12, responses_per_task=2, overlap=2)
    ann, bea = people(2)
    for task, seconds in zip(batch.tasks.all(), [*range(10, 120, 10), None], strict=True):
        give(task, ann, [[0], [1]], seconds=seconds)
        give(task, bea, [[0], [1]], seconds=None)
    found = figures_of(batch)
    assert found[ann.username].times == Times(p10=20, p25=35, median=60, p75=85, p90=100)
    assert found[bea.username].times is None
    everybody = quality_of(read_answers(batches_of(batch)))
    assert everybody.times == found[ann.username].times


def test_gold_accuracy_is_of_the_projects_gold_batches_and_known_accuracy_of_the_batches_asked_for(
    project: Project, people: People, compose: Compose, sources: list[Source]
) -> None:
    (ann,) = people(1)
    plain, golden, other = (compose(1, responses_per_task=2) for _ in range(3))
    Batch.objects.filter(pk=golden.pk).update(kind=Batch.Kind.GOLD)
    Task.objects.filter(batch__in=[golden, other]).update(gold_tiers=[[0], [1]])
    give(plain.tasks.get(), ann, [[0], [1]])
    give(golden.tasks.get(), ann, [[0], [1]])
    give(other.tasks.get(), ann, [[1], [0]])
    found = {batch: figures_of(batch)[ann.username] for batch in (plain, golden, other)}
    assert [(one.gold_accuracy.value, one.gold_accuracy.of) for one in found.values()] == [(1.0, 1)] * 3
    assert [one.known_accuracy.value for one in found.values()] == [None, 1.0, 0.0]


def test_the_gold_accuracy_of_the_quality_page_is_the_one_that_is_held_against_the_bar(
    project: Project, people: People, compose: Compose, compose_gold: Compose
) -> None:
    (ann,) = people(1)
    plain, gold = compose(1), compose_gold(WINDOW + 3)
    give(plain.tasks.get(), ann, [[0], [1], [2], [3]])
    long_ago = timezone.now() - timedelta(days=9)
    for n, task in enumerate(gold.tasks.order_by("pk")):
        give(task, ann, task.gold_tiers[:: 1 if n < 8 else -1], at=long_ago + timedelta(hours=n))

    def both() -> tuple[float | None, float | None, int]:
        tasks, result = gold_result(Membership.objects.get(user=ann))
        return figures_of(plain)[ann.username].gold_accuracy.value, result.share, tasks

    assert both() == (5 / WINDOW, 5 / WINDOW, WINDOW), "the latest 20, of which five are right"
    Membership.objects.filter(user=ann).update(measured_since=long_ago + timedelta(hours=20.5))
    assert both() == (0, 0, 2), "those since they are measured"


def test_a_gold_pair_that_is_tied_or_left_out_counts_half(people: People, compose: Compose) -> None:
    batch = compose(1, overlap=3, responses_per_task=3)
    Task.objects.filter(batch=batch).update(gold_tiers=[[0], [1], [2]])
    task = batch.tasks.get()
    tying, partial, wrong = people(3)
    give(task, tying, [[0, 1], [2]])  # (0, 1) half, the others right
    give(task, partial, [[0], [1]])  # (0, 1) right, both pairs with 2 half
    give(task, wrong, [[2], [1], [0]])
    found = figures_of(batch)
    shares = [found[who.username].known_accuracy.value for who in (tying, partial, wrong)]
    assert shares == [pytest.approx(2.5 / 3), pytest.approx(2 / 3), 0]


def test_of_nothing_there_are_no_figures(compose: Compose) -> None:
    assert figures_of(compose(1)) == {}
