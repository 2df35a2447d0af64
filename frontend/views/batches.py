"""Batches: what is being ranked, how far it is, and releasing more."""

from __future__ import annotations

from django.contrib import messages
from django.db.models import Count, Q
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from annotation.batch_quality import quality_at_hand
from annotation.batching import (
    BatchReport,
    batch_progress,
    close_batch,
    compose_batch,
    pause_batch,
    reopen_batch,
)
from annotation.gold import compose_known
from annotation.models import Assignment, Batch
from annotation.order_worth import order_worth
from annotation.qualifying import stranded
from annotation.refusals import Refusal
from annotation.remarks import remark_counts
from annotation.retiring import prompts_in_use
from annotation.review_queue import queue
from annotation.reviewing import review_figures
from frontend.access import ProjectRequest, Role, project_page
from frontend.forms import refuse
from frontend.forms_alignment import BatchForm, GoldBatchForm
from frontend.quality_scope import scope_of
from frontend.views.quality import summary_of

CHANGES = {"pause": pause_batch, "reopen": reopen_batch, "close": close_batch}


@project_page(Role.REVIEWER)
def batches(request: ProjectRequest) -> HttpResponse:
    submitted = Q(tasks__assignments__state=Assignment.State.SUBMITTED)
    found = request.project.batches.annotate(
        place_count=Count("tasks__assignments"), submitted_count=Count("tasks__assignments", filter=submitted)
    ).order_by("-pk")
    return render(request, "batches/list.html", {"batches": found})


@project_page(Role.MANAGER)
def new_batch(request: ProjectRequest) -> HttpResponse:
    form = BatchForm(request.POST or None, project=request.project)
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        try:
            report = compose_batch(
                project=request.project,
                name=given["name"],
                prompts=prompts_in_use(request.project)
                .filter(responses__source__in=given["sources"])
                .distinct(),
                sources=list(given["sources"]),
                responses_per_task=given["responses_per_task"],
                overlap=given["overlap"],
                priority=given["priority"],
                order=given["order"],
                control_share=given["control_share"],
                max_per_annotator=given["max_per_annotator"],
            )
        except Refusal as refusal:
            refuse(form, refusal)
        else:
            left_out = "".join(f" {count} left out: {reason}." for reason, count in report.left_out.items())
            messages.success(request, f"{report.tasks:,} tasks released.{left_out}")
            return redirect("batch", request.project.slug, report.batch.pk)
    return render(request, "batches/new.html", {"form": form}, status=422 if form.errors else 200)


@project_page(Role.MANAGER)
def new_gold_batch(request: ProjectRequest) -> HttpResponse:
    form = GoldBatchForm(request.POST or None, project=request.project)
    if request.method == "POST" and form.is_valid():
        try:
            report = compose_known(project=request.project, by=request.user, **form.cleaned_data)
        except Refusal as refusal:
            refuse(form, refusal)
        else:
            messages.success(request, _released(report))
            return redirect("batch", request.project.slug, report.batch.pk)
    return render(request, "batches/new_gold.html", {"form": form}, status=422 if form.errors else 200)


@project_page(Role.REVIEWER)
def batch(request: ProjectRequest, batch_id: int) -> HttpResponse:
    shown, scope = _batch(request, batch_id), scope_of(request, batch_id)
    context = {
        "batch": shown,
        "stranded": stranded(request.project) if shown.kind == Batch.Kind.QUALIFICATION else [],
        "tasks": shown.tasks.count(),
        "progress": batch_progress(shown),
        **(summary_of(scope) if quality_at_hand(scope.batches) else {"scope": scope}),
        "said": remark_counts(shown),
        "datasets": shown.datasets.all(),
        "reviews": review_figures(shown),
        "reviews_waiting": len(queue(project=request.project, reviewer=request.user, batch=shown)),
        "worth": order_worth(shown),
    }
    return render(request, "batches/batch.html", context)


@require_POST
@project_page(Role.MANAGER)
def change_batch(request: ProjectRequest, batch_id: int, change: str) -> HttpResponse:
    shown = _batch(request, batch_id)
    try:
        CHANGES[change](shown)
    except Refusal as refusal:
        messages.error(request, refusal.sentence)
    else:
        said = {"pause": "paused", "reopen": "open again", "close": "closed"}[change]
        messages.success(request, f"{shown.name} is {said}.")
    return redirect("batch", request.project.slug, shown.pk)


def _released(report: BatchReport) -> str:
    said = f"{report.tasks:,} task{'' if report.tasks == 1 else 's'} with known answers released."
    if report.awaited_no_more:
        said += (
            f" {report.awaited_no_more:,} other task{'' if report.awaited_no_more == 1 else 's'} with the same "
            "responses will not be handed out any more: nobody should rank them twice."
        )
    return said


def _batch(request: ProjectRequest, batch_id: int) -> Batch:
    return get_object_or_404(request.project.batches.select_related("round", "evaluated_round"), pk=batch_id)
