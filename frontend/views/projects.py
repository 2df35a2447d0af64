"""A project's home and its settings."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from annotation import projects
from annotation.models import Assignment, Prompt
from annotation.qualifying import stranded
from annotation.refusals import Refusal
from annotation.rubrics import RUBRICS, add_rubric
from annotation.standing import standing_of
from frontend.access import ProjectRequest, Role, may, project_page
from frontend.forms import AspectRows, SettingsForm, refuse
from frontend.next_step import next_step


@project_page(Role.ANNOTATOR)
def home(request: ProjectRequest) -> HttpResponse:
    project = request.project
    member = standing_of(request.user, project)
    context = {
        "step": next_step(project=project, role=request.role, member=member),
        "ranked": Assignment.objects.filter(
            annotator=request.user, task__batch__project=project, state=Assignment.State.SUBMITTED
        ).count(),
    }
    if may(request.role, Role.REVIEWER):
        context |= {
            "prompt_count": project.prompts.count(),
            "held_out_count": project.prompts.filter(split=Prompt.Split.HELD_OUT).count(),
            "member_count": project.memberships.count(),
            "ranking_count": Assignment.objects.filter(
                task__batch__project=project, state=Assignment.State.SUBMITTED
            ).count(),
            "rounds": project.rounds.select_related("scorecard")[:5],
        }
    if may(request.role, Role.MANAGER):
        paused = project.memberships.exclude(paused_at=None).select_related("user")
        context["paused"] = paused.order_by("paused_at")
        context["stranded"] = stranded(project)
    return render(request, "project/home.html", context)


@project_page(Role.MANAGER)
def settings(request: ProjectRequest) -> HttpResponse:
    form = SettingsForm(request.POST or None, instance=request.project)
    if request.method == "POST" and form.is_valid():
        try:
            projects.update_project(project=request.project, **form.cleaned_data)
        except Refusal as refusal:
            refuse(form, refusal)
        else:
            messages.success(request, "Saved.")
            return redirect("project_settings", request.project.slug)
    request.project.refresh_from_db()  # a form that was refused has written on it
    context = _with_aspects(form, AspectRows.of(request.project))
    return render(request, "project/settings.html", context, status=422 if form.errors else 200)


@require_POST
@project_page(Role.MANAGER)
def aspects(request: ProjectRequest) -> HttpResponse:
    """Save the rubric as it stands in the form; a button of a rubric to begin with adds what that has more."""
    rows = AspectRows.of(request.project, request.POST)
    said = ""
    if rows.is_valid():
        try:
            with transaction.atomic():
                projects.set_aspects(project=request.project, aspects=rows.given())
                rubric = request.POST.get("rubric")
                added = add_rubric(project=request.project, rubric=rubric) if rubric else []
        except Refusal as refusal:
            said = refusal.sentence
        else:
            messages.success(request, _said_of(rubric, [aspect.name for aspect in added]))
            return redirect("project_settings", request.project.slug)
    context = _with_aspects(SettingsForm(instance=request.project), rows) | {"aspects_refused": said}
    return render(request, "project/settings.html", context, status=422)


def _with_aspects(form: SettingsForm, rows: AspectRows) -> dict[str, Any]:
    return {"form": form, "aspects": rows, "rubrics": RUBRICS}


def _said_of(rubric: str | None, added: list[str]) -> str:
    if not rubric:
        return "The aspects are saved."
    if not added:
        return f"The project has the aspects of “{RUBRICS[rubric].label}” already."
    return f"Added: {', '.join(added)}."


@require_POST
@project_page(Role.MANAGER)
def archive(request: ProjectRequest) -> HttpResponse:
    projects.update_project(project=request.project, archived=True)
    messages.success(request, f"{request.project} is archived. Bring it back in its settings.")
    return redirect("home")


@require_POST
@project_page(Role.MANAGER)
def bring_back(request: ProjectRequest) -> HttpResponse:
    projects.update_project(project=request.project, archived=False)
    messages.success(request, f"{request.project} is back: its tasks are handed out again.")
    return redirect("project_settings", request.project.slug)
