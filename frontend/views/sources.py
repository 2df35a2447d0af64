"""Where responses come from: the list of sources, making one, and bringing responses in."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.db.models import Count
from django.forms import Form
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from alignment.model_versions import current_version
from alignment.sources import (
    create_endpoint_source,
    create_import_source,
    create_model_source,
    create_person_source,
    draws_for_itself,
)
from annotation.importing import import_responses
from annotation.models import Source
from annotation.reading import read_rows
from annotation.refusals import LineError, Refusal
from frontend.access import ProjectRequest, Role, project_page
from frontend.forms import refuse
from frontend.forms_alignment import EndpointSourceForm, ImportSourceForm, ModelSourceForm, ResponseUploadForm
from frontend.views.prompts import LINES_SHOWN


@project_page(Role.MANAGER)
def sources(request: ProjectRequest) -> HttpResponse:
    found = request.project.sources.annotate(response_count=Count("responses")).select_related(
        "model_source__model_version", "person"
    )
    return render(request, "sources/list.html", {"sources": found})


@project_page(Role.MANAGER)
def new_model_source(request: ProjectRequest) -> HttpResponse:
    form = ModelSourceForm(
        request.POST or None,
        project=request.project,
        initial={"model_version": current_version(request.project)},
    )

    def create() -> Source:
        return create_model_source(
            project=request.project,
            name=form.cleaned_data["name"],
            model_version=form.cleaned_data["model_version"],
            settings=form.settings(),
        )

    return _new(request, form, create, "A model version to sample", "Each round asks it for responses.")


@project_page(Role.MANAGER)
def new_endpoint_source(request: ProjectRequest) -> HttpResponse:
    form = EndpointSourceForm(request.POST or None, user=request.user)

    def create() -> Source:
        given = form.cleaned_data
        return create_endpoint_source(
            project=request.project,
            name=given["name"],
            url=given["url"],
            model=given["model"],
            key_variable=given.get("key_variable", ""),
            settings=form.settings(),
            created_by=request.user,
        )

    return _new(
        request, form, create, "An endpoint to sample", "Any server that speaks OpenAI's chat completions."
    )


@project_page(Role.MANAGER)
def new_import_source(request: ProjectRequest) -> HttpResponse:
    form = ImportSourceForm(request.POST or None, project=request.project)

    def create() -> Source:
        name, person = form.cleaned_data["name"], form.cleaned_data["person"]
        if person is not None:
            return create_person_source(project=request.project, name=name, person=person)
        return create_import_source(project=request.project, name=name)

    return _new(
        request, form, create, "Responses that you have", "Name where they come from, then upload them."
    )


def _new(
    request: ProjectRequest, form: Form, create: Callable[[], Source], title: str, text: str
) -> HttpResponse:
    if request.method == "POST" and form.is_valid():
        try:
            source = create()
        except Refusal as refusal:
            refuse(form, refusal)
        else:
            messages.success(request, f"{source.name} is there.")
            return redirect("source", request.project.slug, source.pk)
    context = {"form": form, "title": title, "text": text}
    return render(request, "sources/new.html", context, status=422 if form.errors else 200)


@project_page(Role.MANAGER)
def source(request: ProjectRequest, source_id: int) -> HttpResponse:
    shown = get_object_or_404(
        request.project.sources.select_related("model_source__model_version", "person"), pk=source_id
    )
    form = ResponseUploadForm(request.POST or None, request.FILES or None)
    lines: list[LineError] = []
    if request.method == "POST" and form.is_valid():
        file = form.cleaned_data["file"]
        try:
            report = import_responses(
                project=request.project, source=shown, rows=read_rows(file, file.name), drawn_by=uuid.uuid4()
            )
        except Refusal as refusal:
            lines = refusal.lines
            refuse(form, refusal)
        else:
            messages.success(request, f"{report.created:,} responses imported.")
            return redirect("source", request.project.slug, shown.pk)
    context: dict[str, Any] = {
        "source": shown,
        "responses": shown.responses.select_related("prompt").order_by("-pk")[:20],
        "response_count": shown.responses.count(),
        "form": None if draws_for_itself(shown) else form,
        "lines": lines[:LINES_SHOWN],
        "more_lines": max(0, len(lines) - LINES_SHOWN),
    }
    return render(request, "sources/source.html", context, status=422 if form.errors else 200)
