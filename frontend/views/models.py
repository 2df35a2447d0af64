"""Model versions: what the project trained, from what, on what, and how good it is."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from alignment.archiving import archive_version, bring_version_back
from alignment.dataset_lineage import withdrawn_from
from alignment.model_versions import current_version, lineage, register_base
from alignment.scorecards import baseline_of
from annotation.refusals import Refusal
from frontend.access import ProjectRequest, Role, project_page
from frontend.forms import refuse
from frontend.forms_alignment import BaseModelForm


@project_page(Role.REVIEWER)
def model_versions(request: ProjectRequest) -> HttpResponse:
    found = request.project.model_versions.select_related("parent", "run", "dataset", "made_in__scorecard")
    context = {"versions": found, "current": current_version(request.project)}
    return render(request, "models/list.html", context)


@project_page(Role.MANAGER)
def new_base_model(request: ProjectRequest) -> HttpResponse:
    suggestion = BaseModelForm.suggestion(request.project, request.user)
    form = BaseModelForm(request.POST or None, initial=suggestion)
    if request.method == "POST" and form.is_valid():
        try:
            version = register_base(
                project=request.project,
                may_name_folders=request.user.is_superuser,
                **form.cleaned_data,
            )
        except Refusal as refusal:
            refuse(form, refusal)
        else:
            messages.success(request, f"{version.name} is there.")
            return redirect("model_version", request.project.slug, version.pk)
    return render(request, "models/new.html", {"form": form}, status=422 if form.errors else 200)


@project_page(Role.REVIEWER)
def model_version(request: ProjectRequest, version_id: int) -> HttpResponse:
    version = get_object_or_404(
        request.project.model_versions.select_related("parent", "run", "dataset"), pk=version_id
    )
    line = list(reversed(lineage(version)))
    context = {
        "version": version,
        "line": line,
        "children": version.children.all(),
        "scorecards": [
            (card, baseline_of(card)) for card in version.scorecards.select_related("against", "round")
        ],
        "sources": version.model_sources.select_related("source"),
        "withdrawn": [
            (each.dataset, withdrawn)
            for each in line
            if each.dataset and (withdrawn := withdrawn_from(each.dataset))
        ],
        "is_current": current_version(request.project) == version,
    }
    return render(request, "models/version.html", context)


@require_POST
@project_page(Role.MANAGER)
def change_model_version(request: ProjectRequest, version_id: int, change: str) -> HttpResponse:
    version = get_object_or_404(request.project.model_versions, pk=version_id)
    archives = change == "archive"
    try:
        (archive_version if archives else bring_version_back)(version)
    except Refusal as refusal:
        messages.error(request, refusal.sentence)
    else:
        said = "archived: new rounds and sources cannot choose it" if archives else "back among the choices"
        messages.success(request, f"{version.name} is {said}.")
    return redirect("model_version", request.project.slug, version.pk)
