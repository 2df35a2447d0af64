"""A project's home and its settings."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from annotation import projects
from annotation.models import Assignment, Prompt
from annotation.refusals import Refusal
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
    context = {"form": form, "aspects": AspectRows.of(request.project)}
    return render(request, "project/settings.html", context, status=422 if form.errors else 200)


@require_POST
@project_page(Role.MANAGER)
def aspects(request: ProjectRequest) -> HttpResponse:
    rows = AspectRows.of(request.project, request.POST)
    said = ""
    if rows.is_valid():
        try:
            projects.set_aspects(project=request.project, aspects=rows.given())
        except Refusal as refusal:
            said = refusal.sentence
        else:
            messages.success(request, "The aspects are saved.")
            return redirect("project_settings", request.project.slug)
    context = {"form": SettingsForm(instance=request.project), "aspects": rows, "aspects_refused": said}
    return render(request, "project/settings.html", context, status=422)


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
