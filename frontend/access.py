"""Who may open a project's page."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase

from annotation import projects
from annotation.models import Membership, Project, User
from annotation.refusals import Refusal

Role = Membership.Role


class LoggedInRequest(HttpRequest):
    """A request behind ``login_required``."""

    user: User


class ProjectRequest(LoggedInRequest):
    """A request of a member: ``project_page`` has set project and role."""

    project: Project
    role: Role


def may(role: Role, needed: Role) -> bool:
    """Whether ``role`` may do what ``needed`` may."""
    return projects.ROLES.index(role) >= projects.ROLES.index(needed)


View = Callable[..., HttpResponseBase]


def project_page(needed: Role) -> Callable[[View], View]:
    """A view of the project named ``slug`` in its address, for members with the role ``needed`` or more.

    The view finds ``request.project`` and ``request.role``. To others a project does not exist; a member with a
    lesser role is told which role the page needs.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        @login_required
        def guarded(request: ProjectRequest, slug: str, **kwargs: object) -> HttpResponseBase:
            try:
                project, role = projects.find_project(slug=slug, user=request.user)
            except Project.DoesNotExist:
                raise Http404 from None
            if role is None:
                raise Http404
            request.project, request.role = project, role  # for the navigation of the page that refuses, too
            try:
                projects.require(role, needed, project)
            except Refusal as refusal:
                raise PermissionDenied(refusal.sentence) from refusal
            return view(request, **kwargs)

        return guarded

    return decorate
