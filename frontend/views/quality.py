"""How good rankings are: the page of a batch and the one of a project, their live part, and their tables as files."""

from __future__ import annotations

import csv
import io
from typing import Any

from django.db.models import Max
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from alignment.reliability import batch_reliability, batch_win_rates
from annotation.batch_quality import BatchQuality, batch_disagreement, batch_quality, quality_at_hand
from annotation.models import Batch, Skip
from annotation.pacing import pace_of
from annotation.remembering import Remembered
from annotation.spreadsheets import CSV
from annotation.task_figures import rows_of
from frontend import plots
from frontend.access import ProjectRequest, Role, project_page
from frontend.heat import heat_map
from frontend.quality_files import FILES
from frontend.quality_scope import Scope, scope_of
from frontend.time_scale import time_scale

MOST_DISAGREED = 8
SKIPS_SHOWN = 20
LIVE_SECONDS = 20


@project_page(Role.REVIEWER)
def quality(request: ProjectRequest, batch_id: int | None = None) -> HttpResponse:
    """The page; of very many rankings, which take some seconds, the figures follow."""
    scope = scope_of(request, batch_id)
    if quality_at_hand(scope.batches):
        context = _whole(scope, batch_quality(scope.batches))
    else:
        context = {"scope": scope, "batch": scope.batch, "follows": True}
    return render(request, "quality/page.html", context)


@project_page(Role.REVIEWER)
def quality_figures(request: ProjectRequest, batch_id: int | None = None) -> HttpResponse:
    """All figures of the page, without its frame; nothing, where it shows the newest already."""
    scope = scope_of(request, batch_id)
    found = batch_quality(scope.batches)
    if request.GET.get("seen") == _stamp(scope, found):
        return HttpResponse(status=204)
    return render(request, "quality/figures.html", _whole(scope, found))


@project_page(Role.REVIEWER)
def quality_summary(request: ProjectRequest, batch_id: int) -> HttpResponse:
    """The few figures that the batch's page shows."""
    return render(request, "quality/summary.html", summary_of(scope_of(request, batch_id)))


def summary_of(scope: Scope) -> dict[str, Any]:
    """What ``quality/summary.html`` needs."""
    return {
        "scope": scope,
        "quality": batch_quality(scope.batches).figures,
        "pace": pace_of(scope.batches),
    }


def _whole(scope: Scope, found: Remembered[BatchQuality]) -> dict[str, Any]:
    figures = found.figures
    disagreement = batch_disagreement(scope.batches).figures
    first = sorted(disagreement, key=lambda task: (-disagreement[task], -task))[:MOST_DISAGREED]
    skipped = Skip.objects.filter(task__batch__in=scope.batches)
    live = _live(scope, found)
    return live | {
        "latest_skips": skipped.select_related("annotator", "task__prompt").order_by("-pk")[:SKIPS_SHOWN],
        "as_of": found.as_of,
        "page_stamp": live["stamp"],
        "heat": heat_map(figures),
        "times": time_scale([figures.times, *(one.times for one in figures.annotators)]),
        "reliability": batch_reliability(scope.batches).figures,
        "win_rates": batch_win_rates(scope.batches).figures,
        "disagreed": [row for row in rows_of(first, disagreement) if row.disagreement],
    }


@project_page(Role.REVIEWER)
def quality_live(request: ProjectRequest, batch_id: int | None = None) -> HttpResponse:
    """The part of the page that moves; nothing, where it shows the newest already."""
    scope = scope_of(request, batch_id)
    found = batch_quality(scope.batches)
    if request.GET.get("seen") == _stamp(scope, found):
        return HttpResponse(status=204)
    context = _live(scope, found)
    context["page_stamp"] = request.GET.get("page", "")
    context["newer"] = context["page_stamp"] != context["stamp"]
    return render(request, "quality/live.html", context)


@project_page(Role.REVIEWER)
def quality_file(request: ProjectRequest, what: str, batch_id: int | None = None) -> HttpResponse:
    """One of the page's tables as CSV."""
    if what not in FILES:
        raise Http404
    scope = scope_of(request, batch_id)
    sheet = io.StringIO()
    csv.writer(sheet).writerows(FILES[what](scope))
    disposition = {"Content-Disposition": f'attachment; filename="{what}.csv"'}
    return HttpResponse(sheet.getvalue(), content_type=CSV, headers=disposition)


def _stamp(scope: Scope, found: Remembered[BatchQuality]) -> str:
    """What changes whenever the page would show something else: the figures, or who passed a task by."""
    skipped = Skip.objects.filter(task__batch__in=scope.batches).aggregate(last=Max("pk"))
    return f"{found.stamp}.{skipped['last'] or 0}"


def _live(scope: Scope, found: Remembered[BatchQuality]) -> dict[str, Any]:
    pace, figures = pace_of(scope.batches), found.figures
    ended = scope.batches.exists() and not scope.batches.exclude(state=Batch.State.CLOSED).exists()
    return {
        "scope": scope,
        "batch": scope.batch,
        "quality": figures,
        "stamp": _stamp(scope, found),
        "pace": pace,
        "skips": Skip.objects.filter(task__batch__in=scope.batches).count(),
        "bars": plots.bars(pace) if pace.steps else None,
        "course": plots.course(pace, timezone.now()) if pace.steps else None,
        "band": plots.band(figures.over_time) if figures.over_time else None,
        "live_seconds": 0 if ended else LIVE_SECONDS,
    }
