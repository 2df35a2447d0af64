"""How fast rankings come in, and what is said of the end: no more than is known."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from annotation.batching import close_batch, pause_batch
from annotation.models import Batch, Project
from annotation.pacing import forecast_end, pace_of
from annotation.quality import batches_of
from annotation.submitting import amend
from tests.annotation.answered import give
from tests.annotation.conftest import Compose, People

TODAY = date(2026, 3, 2)


def test_days_that_are_all_alike_leave_no_doubt() -> None:
    forecast, why = forecast_end([10] * 5, 35, today=TODAY)
    # 35 are four days' work, today's the first.
    assert why == "" and forecast is not None
    assert forecast.earliest == forecast.likely == forecast.latest == TODAY + timedelta(days=3)
    assert (forecast.per_day, forecast.days) == (10, 5)


def test_days_that_differ_give_a_range_around_the_pace() -> None:
    forecast, _ = forecast_end([20, 0, 5, 15, 0, 20], 100, today=TODAY)
    assert forecast is not None and forecast.per_day == 10
    assert forecast.earliest < forecast.likely < forecast.latest
    assert TODAY + timedelta(days=6) <= forecast.likely <= TODAY + timedelta(days=13)
    assert forecast == forecast_end([20, 0, 5, 15, 0, 20], 100, today=TODAY)[0], "the draws are fixed"


def test_the_range_holds_the_end_about_nine_times_of_ten() -> None:
    """Days drawn as the forecast takes them to be: slow and busy ones, fourteen seen, and the rest to come."""
    dice = np.random.default_rng(3)
    held = 0
    for _ in range(200):
        days = dice.poisson(dice.choice([4, 20, 40], size=80))
        forecast, _ = forecast_end(days[:14].tolist(), 400, today=TODAY)
        assert forecast is not None
        took = int(np.searchsorted(np.cumsum(days[14:]), 400)) + 1
        held += forecast.earliest <= TODAY + timedelta(days=took - 1) <= forecast.latest
    assert 0.8 <= held / 200 <= 1.0


@pytest.mark.parametrize("days", [[], [30], [30, 30], [0] * 12 + [5, 5], [9, 9, 9] + [0] * 14])
def test_too_few_days_with_rankings_give_no_forecast(days: list[int]) -> None:
    forecast, why = forecast_end(days, 10, today=TODAY)
    assert forecast is None and why.startswith("Not enough days to tell")


def test_a_pace_that_leads_nowhere_gives_no_date() -> None:
    forecast, why = forecast_end([1, 1, 1], 100_000, today=TODAY)
    assert forecast is None and "ten years" in why


@pytest.mark.django_db
def test_first_rankings_are_counted_by_day_and_amendments_are_not(
    project: Project, people: People, compose: Compose
) -> None:
    batch = compose(7, overlap=2, responses_per_task=2)
    ann, bea = people(2)
    tasks = list(batch.tasks.all())
    now = datetime(2026, 3, 6, 12, tzinfo=UTC)
    for n, (task, days_ago) in enumerate(zip(tasks, (5, 4, 4, 3, 1, 1, 0), strict=True)):
        give(task, ann if n % 2 else bea, [[0], [1]], at=now - timedelta(days=days_ago))
    amend(
        annotator=bea,
        assignment_id=tasks[0].assignments.get(annotator=bea).pk,
        key="0" * 32,
        tiers=[[1], [0]],
    )

    pace = pace_of(batches_of(batch), now=now)

    assert not pace.by_hour
    assert [step.rankings for step in pace.steps] == [1, 2, 1, 0, 2, 1]
    assert [step.so_far for step in pace.steps] == [1, 3, 4, 4, 6, 7]
    assert pace.steps[0].since == datetime(2026, 3, 1, tzinfo=UTC)
    assert [step.until for step in pace.steps] == [datetime(2026, 3, day, tzinfo=UTC) for day in range(2, 8)]
    assert (pace.places, pace.submitted, pace.left) == (14, 7, 7)
    assert pace.forecast is not None and pace.forecast.days == 4, "the first and the last day are not whole"
    assert pace.forecast.per_day == 1.25

    paused = compose(1, responses_per_task=2)
    pause_batch(paused)
    both = pace_of(Batch.objects.filter(pk__in=[batch.pk, paused.pk]), now=now)
    assert both.forecast is None and both.no_forecast.startswith("Some of it is paused")


@pytest.mark.django_db
def test_a_young_batch_is_told_by_the_hour_and_a_batch_that_stands_has_no_forecast(
    project: Project, people: People, compose: Compose
) -> None:
    batch = compose(2, overlap=1, responses_per_task=2)
    assert pace_of(batches_of(batch)).steps == []
    (ann,) = people(1)
    now = datetime(2026, 3, 6, 12, 30, tzinfo=UTC)
    give(batch.tasks.first(), ann, [[0], [1]], at=now - timedelta(hours=2))

    young = pace_of(batches_of(batch), now=now)
    assert young.by_hour and [step.rankings for step in young.steps] == [1, 0, 0]
    assert young.no_forecast.startswith("Not enough days to tell")

    pause_batch(batch)
    assert pace_of(batches_of(batch), now=now).no_forecast == "Paused: nothing is handed out."
    close_batch(batch)
    closed = pace_of(batches_of(batch), now=now)
    assert (closed.left, closed.no_forecast) == (0, "Closed before all was ranked.")
