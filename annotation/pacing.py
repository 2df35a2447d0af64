"""How fast the rankings of some batches come in, and when the last will be there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
from django.db.models import Count, Q, QuerySet
from django.db.models.functions import TruncHour
from django.utils import timezone

from annotation.models import Assignment, Batch, Ranking

RECENT_DAYS = 14
FEWEST_DAYS = 3
"""Whole days with rankings before a forecast is made."""
DRAWS = 2000
FURTHEST_DAYS = 3650
HOURS_DRAWN = 72


@dataclass(frozen=True, slots=True)
class Step:
    """A day or an hour, from ``since`` to before ``until``, and how many rankings came in it."""

    since: datetime
    until: datetime
    rankings: int
    so_far: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """When the last ranking will be in: in nine of ten draws from ``earliest`` to ``latest``, in half of them by
    ``likely``. ``per_day`` is the mean of the recent whole days, which were ``days``."""

    earliest: date
    likely: date
    latest: date
    per_day: float
    days: int


@dataclass(frozen=True, slots=True)
class Pace:
    """How far some batches are.

    Attributes:
        places, submitted, left: of all places, how many are ranked, and how many still can be.
        by_hour: whether ``steps`` are hours, as they are while there are fewer than three days.
        steps: from the first ranking on, without gaps.
        forecast: None where there is none to make, for the reason ``no_forecast``.
    """

    places: int
    submitted: int
    left: int
    by_hour: bool
    steps: list[Step]
    forecast: Forecast | None
    no_forecast: str


def pace_of(batches: QuerySet[Batch], *, now: datetime | None = None) -> Pace:
    """The pace of the batches' rankings, each place's first, and the forecast; see `forecast_end`."""
    now = timezone.localtime(now)
    state = Assignment.State
    places = Assignment.objects.filter(batch__in=batches).aggregate(
        all=Count("pk"),
        submitted=Count("pk", filter=Q(state=state.SUBMITTED)),
        handed_out=Count("pk", filter=Q(state__in=[state.OPEN, state.LEASED], batch__state=Batch.State.OPEN)),
        # What was not ranked when its batch was closed never will be.
        left=Count(
            "pk", filter=Q(state__in=[state.OPEN, state.LEASED]) & ~Q(batch__state=Batch.State.CLOSED)
        ),
    )
    hours = dict(
        Ranking.objects.filter(task__batch__in=batches, revision=1)
        # What came by the file was ranked elsewhere, at whatever times: nobody's pace here.
        .exclude(task__batch__kind=Batch.Kind.IMPORTED)
        .order_by()
        .values_list(TruncHour("submitted_at"))
        .annotate(Count("pk"))
    )
    days = _by_day(hours, now)
    by_hour = len(days) < FEWEST_DAYS
    forecast, why_not = None, ""
    if not places["left"]:
        why_not = "All is ranked." if places["submitted"] else "There is nothing to rank."
        if batches.filter(kind=Batch.Kind.QUALIFICATION).exists():
            why_not = "As many come as have to qualify."
        if batches.filter(state=Batch.State.CLOSED).exists() and places["submitted"] < places["all"]:
            why_not = "Closed before all was ranked."
    elif not places["handed_out"]:
        why_not = "Paused: nothing is handed out."
    elif places["handed_out"] < places["left"]:
        why_not = "Some of it is paused, for nobody knows how long."
    else:
        # The first day began when the work did, and today is not over.
        forecast, why_not = forecast_end(list(days.values())[1:-1], places["left"], today=now.date())
    return Pace(
        places=places["all"],
        submitted=places["submitted"],
        left=places["left"],
        by_hour=by_hour,
        steps=_steps(
            _by_each_hour(hours, now) if by_hour else days,
            timedelta(hours=1) if by_hour else timedelta(days=1),
        ),
        forecast=forecast,
        no_forecast=why_not,
    )


def forecast_end(
    whole_days: Sequence[int], left: int, *, today: date, seed: int = 0
) -> tuple[Forecast | None, str]:
    """When ``left`` more rankings will be in, if days to come are like the recent ones.

    Each of `DRAWS` futures draws its days from a resample of the latest `RECENT_DAYS` whole days, days without any
    ranking among them: the resample stands for how little so few days tell of the pace, the days for how they differ.
    From the fifth to the ninety-fifth percentile is the range. It knows nothing of holidays, or of people who will join
    or leave.

    Args:
        whole_days: rankings of each day between the first one and today, in order.
        left: rankings to come, at least 1.
        today: whose rest counts as the first of the days to come.
        seed: fixes the draws.

    Returns:
        The forecast, or None and why there is none.
    """
    recent = np.array(whole_days[-RECENT_DAYS:], np.int64)
    active = int((recent > 0).sum())
    if active < FEWEST_DAYS:
        return None, (
            f"Not enough days to tell: a forecast takes {FEWEST_DAYS} whole days with rankings among the latest "
            f"{RECENT_DAYS}, and there {'is' if active == 1 else 'are'} {active}."
        )
    per_day = float(recent.mean())
    if left > per_day * FURTHEST_DAYS:
        return None, "At the present pace it would take more than ten years."
    dice = np.random.default_rng(seed)
    resamples = recent[dice.integers(len(recent), size=(DRAWS, len(recent)))]
    open_futures, done, needed = np.arange(DRAWS), np.zeros(DRAWS, np.int64), np.zeros(DRAWS, np.int64)
    while len(open_futures) and needed.max() < FURTHEST_DAYS:
        needed[open_futures] += 1
        drawn = dice.integers(len(recent), size=len(open_futures))
        done[open_futures] += resamples[open_futures, drawn]
        open_futures = open_futures[done[open_futures] < left]
    early, likely, late = np.quantile(needed, [0.05, 0.5, 0.95], method="higher")
    earliest, by, latest = (today + timedelta(days=int(days) - 1) for days in (early, likely, late))
    return Forecast(earliest, by, latest, per_day, len(recent)), ""


def _by_day(hours: dict[datetime, int], now: datetime) -> dict[datetime, int]:
    """Rankings of each day from the first to today."""
    if not hours:
        return {}
    counts: Counter[date] = Counter()
    for hour, count in hours.items():
        counts[timezone.localtime(hour).date()] += count
    first, today = min(counts), max(now.date(), max(counts))
    days = [first + timedelta(days=n) for n in range((today - first).days + 1)]
    return {timezone.make_aware(datetime(day.year, day.month, day.day)): counts[day] for day in days}


def _by_each_hour(hours: dict[datetime, int], now: datetime) -> dict[datetime, int]:
    """Rankings of each of the latest hours, from the first one with a ranking on."""
    if not hours:
        return {}
    last = now.replace(minute=0, second=0, microsecond=0)
    first = max(timezone.localtime(min(hours)), last - timedelta(hours=HOURS_DRAWN - 1))
    known = {timezone.localtime(hour): count for hour, count in hours.items()}
    number = int((last - first).total_seconds() // 3600) + 1
    return {each: known.get(each, 0) for each in (first + timedelta(hours=n) for n in range(number))}


def _steps(counts: dict[datetime, int], length: timedelta) -> list[Step]:
    so_far = 0
    steps = []
    # Where clocks are changed a day has another length: each step ends where the next begins.
    ends = [*list(counts)[1:], *(since + length for since in list(counts)[-1:])]
    for (since, rankings), until in zip(counts.items(), ends, strict=True):
        so_far += rankings
        steps.append(Step(since, until, rankings, so_far))
    return steps
