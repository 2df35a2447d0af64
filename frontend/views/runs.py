"""Runs: the list, and one with its curves, samples, artifacts and log, live."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.views.decorators.http import require_POST

from frontend.access import ProjectRequest, Role, project_page
from frontend.charts import ALARM, TABLED, charts_of, there_of
from training.engine.spec import TRAINS
from training.launching import cancel_run, full_spec, read_log
from training.models import Run, RunSample

A_PAGE = 50
LOG_BYTES = 32_768
TABLE_STEPS = 30
LIVE = (Run.State.QUEUED, Run.State.RUNNING)
SAMPLED_STEPS = 10
SAMPLES_A_STEP = 100


@project_page(Role.REVIEWER)
def runs(request: ProjectRequest) -> HttpResponse:
    found = Run.objects.filter(project_id=request.project.pk).prefetch_related("round_runs__round")
    state = request.GET.get("state", "")
    if state in Run.State.values:
        found = found.filter(state=state)
    context = {
        "page": Paginator(found, A_PAGE).get_page(request.GET.get("page")),
        "state": state,
        "states": Run.State.values,
        "any": bool(state) or found.exists(),
    }
    return render(request, "runs/list.html", context)


@project_page(Role.REVIEWER)
def run(request: ProjectRequest, run_id: UUID) -> HttpResponse:
    shown = _run(request, run_id)
    context = _live(shown) | {
        "links": shown.round_runs.select_related("round", "source"),
        "spec": json.dumps(full_spec(shown), indent=2, ensure_ascii=False),
        **_shown_samples(shown),
        "table": _table(shown),
        "trains": TRAINS,
    }
    return render(request, "runs/run.html", context)


@project_page(Role.REVIEWER)
def run_live(request: ProjectRequest, run_id: UUID) -> HttpResponse:
    """The parts of the page that move; a run in another state has the whole page drawn anew."""
    shown = _run(request, run_id)
    if request.GET.get("state") != shown.state:
        return HttpResponse(headers={"HX-Refresh": "true"})
    context = _live(shown) | {"apart": True}
    parts = [render_to_string(f"runs/{part}.html", context, request) for part in ("live", "output")]
    return HttpResponse("".join(parts))


@project_page(Role.REVIEWER)
def run_samples(request: ProjectRequest, run_id: UUID) -> HttpResponse:
    """The samples, where there are newer ones than ``last``; they stay as they are for who reads them otherwise."""
    shown = _run(request, run_id)
    context = _shown_samples(shown) | {"run": shown, "live": shown.state in LIVE}
    if str(context["last_sample"]) == request.GET.get("last"):
        return HttpResponse(status=204)
    return render(request, "runs/samples.html", context)


@project_page(Role.REVIEWER)
def run_curves(request: ProjectRequest, run_id: UUID) -> HttpResponse:
    """The run's curves for the page's charts: ``{"ended": bool, "charts": […]}``, see `frontend.charts.charts_of`."""
    shown = _run(request, run_id)
    values: dict[str, dict[int, float | None]] = defaultdict(dict)
    for name, step, value in shown.metrics.values_list("name", "step", "value"):
        values[name][step] = value
    return JsonResponse({"ended": shown.state not in LIVE, "charts": charts_of(values)})


@require_POST
@project_page(Role.MANAGER)
def stop_run(request: ProjectRequest, run_id: UUID) -> HttpResponse:
    shown = _run(request, run_id)
    cancel_run(run_id=shown.pk, reason=f"Cancelled by {request.user}.")
    messages.success(request, "The run is being stopped.")
    return redirect("run", request.project.slug, shown.pk)


def _live(shown: Run) -> dict[str, Any]:
    log = read_log(shown, offset=-LOG_BYTES, limit=LOG_BYTES)
    return {
        "run": shown,
        "live": shown.state in LIVE,
        "log": log.text,
        "log_is_cut": log.size > LOG_BYTES,
        "artifacts": shown.artifacts.all(),
        "alarms": _alarms(shown),
    }


def _table(shown: Run) -> dict[str, Any]:
    """The last steps' figures, for who would rather read than look, and for copying."""
    rows: dict[int, dict[str, float | None]] = defaultdict(dict)
    last = shown.metrics.order_by("-step").values_list("step", flat=True).distinct()[:TABLE_STEPS]
    for metric in shown.metrics.filter(step__in=list(last)):
        rows[metric.step][metric.name] = metric.value
    there = list(there_of(TABLED, [name for row in rows.values() for name in row]))
    return {
        "names": there,
        "rows": [(step, [rows[step].get(name) for name in there]) for step in sorted(rows, reverse=True)],
    }


def _shown_samples(shown: Run) -> dict[str, Any]:
    last = shown.samples.order_by("-pk").values_list("pk", flat=True).first()
    return {"sampled": _samples(shown), "last_sample": last or 0}


def _samples(shown: Run) -> list[dict[str, Any]]:
    """What the run showed at its last steps, the newest first; at each from the best score to the worst.

    A step that was repeated after a resume told its samples again.
    """
    last = shown.samples.order_by("-step").values_list("step", flat=True).distinct()[:SAMPLED_STEPS]
    by_step: dict[int, dict[str, RunSample]] = defaultdict(dict)
    for sample in shown.samples.filter(step__in=list(last)).order_by("pk"):
        by_step[sample.step][json.dumps([sample.prompt, sample.response])] = sample
    return [
        {
            "step": step,
            "samples": [
                (sample, _score_first(sample))
                for sample in sorted(by_step[step].values(), key=_worst_last)[:SAMPLES_A_STEP]
            ],
        }
        for step in sorted(by_step, reverse=True)
    ]


def _worst_last(sample: RunSample) -> tuple[bool, float]:
    score = sample.scores.get("score")
    return score is None, 0.0 if score is None else -score


def _score_first(sample: RunSample) -> list[tuple[str, float | None]]:
    return sorted(sample.scores.items(), key=lambda each: (each[0] != "score", each[0]))


def _alarms(shown: Run) -> list[int]:
    """The rollouts at which the run gave the alarm of over-optimisation."""
    return list(shown.metrics.filter(name=ALARM, value__gt=0).order_by("step").values_list("step", flat=True))


def _run(request: ProjectRequest, run_id: UUID) -> Run:
    return get_object_or_404(Run, pk=run_id, project_id=request.project.pk)
