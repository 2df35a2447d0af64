"""Bringing files in: the list, a file to upload, what would come of it, and how far it is."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from annotation.intake import jobs
from annotation.intake.bad_lines import as_csv, bad_lines_of
from annotation.intake.forms import FORMS
from annotation.intake.previewing import Preview
from annotation.models import Import
from annotation.refusals import Refusal
from annotation.splitting import Held
from annotation.spreadsheets import CSV
from frontend.access import ProjectRequest, Role, project_page
from frontend.forms import refuse
from frontend.forms_imports import ImportReadingForm, ImportStartForm, ImportUploadForm

A_PAGE = 50
LINES_SHOWN = 100
State = Import.State


@project_page(Role.REVIEWER)
def imports(request: ProjectRequest) -> HttpResponse:
    # What was dropped has no file; what was stopped has it still, and may be started again.
    found = request.project.imports.select_related("created_by", "batch").exclude(
        state=State.CANCELLED, location=""
    )
    return render(
        request, "imports/list.html", {"page": Paginator(found, A_PAGE).get_page(request.GET.get("page"))}
    )


@project_page(Role.MANAGER)
def new_import(request: ProjectRequest) -> HttpResponse:
    form = ImportUploadForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        file = form.cleaned_data["file"]
        try:
            job, _ = jobs.draft_import(
                project=request.project,
                created_by=request.user,
                pieces=file.chunks(),
                file_name=file.name,
                name=form.cleaned_data["name"],
            )
        except Refusal as refusal:
            refuse(form, refusal)
        else:
            return redirect("import", request.project.slug, job.pk)
    context = {"form": form, "forms": FORMS.values()}
    return render(request, "imports/new.html", context, status=422 if form.errors else 200)


@project_page(Role.REVIEWER)
def one_import(request: ProjectRequest, import_id: int) -> HttpResponse:
    """What would come of a draft, and how it may be read otherwise; how far one is that was started."""
    job = _job(request, import_id)
    told = _told(job)
    form = None
    if told is not None and request.role == Role.MANAGER:
        form = ImportReadingForm(request.POST or None, job=job, told=told)
        if request.method == "POST" and form.is_valid():
            try:
                jobs.change_import(
                    job,
                    form=form.cleaned_data["form"],
                    mapping=form.mapping(),
                    name=form.cleaned_data["name"],
                )
            except Refusal as refusal:
                refuse(form, refusal)
            else:
                return redirect("import", request.project.slug, job.pk)
    context = _shown(job) | {
        "told": told,
        "form": form,
        "start": ImportStartForm(initial={"skip_bad": job.skip_bad or job.state == State.FAILED}),
        "before": _same_file(job),
    }
    return render(request, "imports/import.html", context, status=422 if form and form.errors else 200)


@project_page(Role.REVIEWER)
def import_live(request: ProjectRequest, import_id: int) -> HttpResponse:
    """The part of the page that moves; an import in another state has the whole page drawn anew."""
    job = _job(request, import_id)
    if request.GET.get("state") != job.state:
        return HttpResponse(headers={"HX-Refresh": "true"})
    return render(request, "imports/live.html", _shown(job))


@require_POST
@project_page(Role.MANAGER)
def start_import(request: ProjectRequest, import_id: int) -> HttpResponse:
    job = _job(request, import_id)
    try:
        jobs.start_import(job, skip_bad="skip_bad" in request.POST)
    except Refusal as refusal:
        messages.error(request, refusal.sentence)
    return redirect("import", request.project.slug, job.pk)


@require_POST
@project_page(Role.MANAGER)
def cancel_import(request: ProjectRequest, import_id: int) -> HttpResponse:
    job = _job(request, import_id)
    try:
        job = jobs.cancel_import(job)
    except Refusal as refusal:
        messages.error(request, refusal.sentence)
        return redirect("import", request.project.slug, job.pk)
    if job.state == State.CANCELLED:
        messages.success(request, "Dropped. Nothing was imported.")
        return redirect("imports", request.project.slug)
    messages.success(request, "The import is being stopped.")
    return redirect("import", request.project.slug, job.pk)


@project_page(Role.REVIEWER)
def import_errors(request: ProjectRequest, import_id: int) -> StreamingHttpResponse:
    """All bad lines, as CSV."""
    job = _job(request, import_id)
    return StreamingHttpResponse(
        as_csv(bad_lines_of(job)),
        content_type=CSV,
        headers={"Content-Disposition": f'attachment; filename="import-{job.pk}-bad-lines.csv"'},
    )


def _job(request: ProjectRequest, import_id: int) -> Import:
    found = request.project.imports.select_related("project", "batch", "created_by")
    return get_object_or_404(found, pk=import_id)


def _told(job: Import) -> Preview | None:
    """What would come of it, where it can still be started and its file is kept."""
    if job.state not in jobs.AGAIN:
        return None
    try:
        return jobs.look_at(job)
    except Refusal:
        return None


def _shown(job: Import) -> dict[str, Any]:
    return {
        "job": job,
        "live": job.state in jobs.WAITING,
        "lines": job.errors[:LINES_SHOWN],
        "more_lines": max(0, job.bad - LINES_SHOWN),
        "held": _held(job),
    }


def _held(job: Import) -> Held | None:
    """How its new prompts were split, where it brought some; imports of earlier versions did not count that."""
    report = job.report or {}
    if not report.get("prompts") or "prompts_held_out" not in report:
        return None
    return Held(report["prompts_held_out"], report["prompts"], job.project.held_out_share)


def _same_file(job: Import) -> Import | None:
    """An earlier import of the very same file, if there was one."""
    same = job.project.imports.filter(sha256=job.sha256, state=State.SUCCEEDED)
    return same.exclude(pk=job.pk).first() if job.state == State.DRAFT else None
