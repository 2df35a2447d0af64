"""Runs: the list, and one with its curves, samples, artifacts and log, live."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.views.decorators.http import require_POST

from frontend.access import ProjectRequest, Role, project_page
from training.engine.spec import TRAINS
from training.launching import cancel_run, full_spec, read_log
from training.models import Run

A_PAGE = 50
LOG_BYTES = 32_768
TABLE_STEPS = 30
LIVE = (Run.State.QUEUED, Run.State.RUNNING)
# What is drawn in one picture: title, and its curves' names, as the engine reports them and for people. A name that
# ends in `*` stands for all that begin so, each under the rest of its own.
CHARTS = (
    ("Loss", {"loss": "training", "eval_loss": "held out"}),
    ("Preferences told right, share", {"accuracy": "training", "eval_accuracy": "held out"}),
    (
        "Held-out preferences told right, by how clear they are",
        {
            "eval_accuracy/close": "close",
            "eval_accuracy/clear": "clear",
            "eval_accuracy/sure": "sure",
        },
    ),
    ("Held-out preferences told right, by aspect", {"eval_accuracy/aspect:*": ""}),
    ("Lead of the preferred response", {"margin": "training", "eval_margin": "held out"}),
    ("Training ahead of held out, share told right", {"eval_gap": "gap"}),
    ("Calibration error", {"eval_calibration_error": "held out"}),
    ("KL from the model before, nats an answer", {"eval_kl": "held out"}),
    (
        "Perplexity of general text",
        {"eval_perplexity": "now", "eval_perplexity_before": "before training"},
    ),
    ("Length of answers, tokens", {"eval_length": "held out"}),
    ("Answers that end by themselves, share", {"eval_ended": "held out"}),
    ("Learning rate", {"learning_rate": "learning rate"}),
    ("Gradient norm", {"grad_norm": "gradient norm"}),
    ("Padding, share of what is computed", {"padding": "padding"}),
)
CURVES = {name: label for _, curves in CHARTS for name, label in curves.items()}


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
        "samples": shown.samples.all()[:20],
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
def run_curves(request: ProjectRequest, run_id: UUID) -> HttpResponse:
    """The run's curves for the page's charts: ``{"ended": bool, "charts": [{"title", "steps", "curves"}]}``."""
    shown = _run(request, run_id)
    values: dict[str, dict[int, float | None]] = defaultdict(dict)
    for name, step, value in shown.metrics.values_list("name", "step", "value"):
        values[name][step] = value
    charts = []
    for title, curves in CHARTS:
        there = _there(curves, values)
        if there:
            steps = sorted({step for name in there for step in values[name]})
            drawn = [
                {"label": label, "values": [values[name].get(step) for step in steps]}
                for name, label in there.items()
            ]
            charts.append({"title": title, "steps": steps, "curves": drawn})
    return JsonResponse({"ended": shown.state not in LIVE, "charts": charts})


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
    }


def _table(shown: Run) -> dict[str, Any]:
    """The last steps' figures, for who would rather read than look, and for copying."""
    rows: dict[int, dict[str, float | None]] = defaultdict(dict)
    last = shown.metrics.order_by("-step").values_list("step", flat=True).distinct()[:TABLE_STEPS]
    for metric in shown.metrics.filter(step__in=list(last)):
        rows[metric.step][metric.name] = metric.value
    there = list(_there(CURVES, [name for row in rows.values() for name in row]))
    return {
        "names": there,
        "rows": [(step, [rows[step].get(name) for name in there]) for step in sorted(rows, reverse=True)],
    }


def _there(curves: Mapping[str, str], told: Iterable[str]) -> dict[str, str]:
    """Which of the curves the run told of, in their order, with what people call them."""
    names = sorted(set(told))
    there: dict[str, str] = {}
    for curve, label in curves.items():
        if curve.endswith("*"):
            there |= {name: name.removeprefix(curve[:-1]) for name in names if name.startswith(curve[:-1])}
        elif curve in names:
            there[curve] = label
    return there


def _run(request: ProjectRequest, run_id: UUID) -> Run:
    return get_object_or_404(Run, pk=run_id, project_id=request.project.pk)
