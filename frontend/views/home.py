"""The list of projects, and making one."""

from __future__ import annotations

from pathlib import Path

from django.contrib.auth.decorators import login_required
from django.contrib.staticfiles.finders import find
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q
from django.http import FileResponse, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

from annotation import projects
from annotation.batching import KNOWN_ANSWERS
from annotation.models import Batch
from annotation.refusals import Refusal
from frontend.access import LoggedInRequest
from frontend.forms import NewProjectForm, refuse


@require_safe
@cache_control(public=True, max_age=86400)
def favicon(request: HttpRequest) -> HttpResponseBase:
    """The mark, for browsers that look for an icon where no page says that there is one: a file that is shown alone."""
    return FileResponse(Path(str(find("frontend/mark.svg"))).open("rb"), content_type="image/svg+xml")


@login_required
def home(request: HttpRequest) -> HttpResponse:
    own = projects.projects_of(request.user)
    open_ones = Q(batches__state=Batch.State.OPEN) & ~Q(batches__kind__in=KNOWN_ANSWERS)
    mine = own.filter(archived_at=None).annotate(
        prompt_count=Count("prompts", distinct=True),
        open_batches=Count("batches", filter=open_ones, distinct=True),
    )
    cards = [(project, projects.role_of(request.user, project)) for project in mine]
    context = {
        "cards": cards,
        "archived": own.exclude(archived_at=None),
        "may_create": projects.may_create_projects(request.user),
    }
    return render(request, "home.html", context)


@login_required
def new_project(request: LoggedInRequest) -> HttpResponse:
    try:
        projects.require_may_create_projects(request.user)
    except Refusal as refusal:
        raise PermissionDenied(refusal.sentence) from refusal
    form = NewProjectForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            project = projects.create_project(created_by=request.user, **form.cleaned_data)
        except Refusal as refusal:
            refuse(form, refusal)
        else:
            return redirect("project_home", project.slug)
    return render(request, "new_project.html", {"form": form}, status=422 if form.errors else 200)
