"""Who may call what: roles at the door of every endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any, ClassVar, cast

from django.db.models import QuerySet
from django.http import Http404
from rest_framework.generics import get_object_or_404
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.viewsets import GenericViewSet

from annotation.models import Project, User
from annotation.projects import Role, projects_of, require_may_create_projects, role_of


class Access(IntEnum):
    """The least that a caller must be. What needs a role needs it in the project at hand."""

    ANYONE = 0
    SIGNED_IN = 1
    ANNOTATOR = 2
    REVIEWER = 3
    MANAGER = 4
    CREATOR = 5
    """Who may make projects; whatever their roles in those that are there."""


ACCESS_OF_ROLE = {
    Role.ANNOTATOR: Access.ANNOTATOR,
    Role.REVIEWER: Access.REVIEWER,
    Role.MANAGER: Access.MANAGER,
}


class ByAccess(BasePermission):
    """Allow what the view's ``access`` says of the action. To who is no member, the project does not exist (404);
    an action that ``access`` does not name is nobody's."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if view.action is None:
            return True  # no method of this endpoint: the view answers 405
        needed = view.access.get(view.action)
        if needed is None:
            return False
        if needed > Access.ANYONE and not request.user.is_authenticated:
            return False
        if needed <= Access.SIGNED_IN:
            return True
        if needed == Access.CREATOR:
            require_may_create_projects(request.user)
            return True
        view.project = view.find_project()
        role = role_of(request.user, view.project)
        if role is None:
            raise Http404
        view.role = ACCESS_OF_ROLE[role]
        return view.role >= needed


class ApiViewSet(GenericViewSet):
    """A resource. ``access`` comes with the endpoint's line in the table of `config.api`."""

    access: ClassVar[Mapping[str, Access]] = {}
    permission_classes = (ByAccess,)
    http_method_names = ["get", "head", "post", "put", "patch", "delete"]

    @property
    def caller(self) -> User:
        """Who calls, where nobody anonymous may."""
        return cast(User, self.request.user)

    @property
    def is_for_schema(self) -> bool:
        """Whether the view only lends its declarations to the OpenAPI document, without a request."""
        return getattr(self, "swagger_fake_view", False)


class ProjectViewSet(ApiViewSet):
    """A resource of a project, whose address holds the project's slug (``project``) or the resource's id (``pk``): the
    column ``lookup_field``, which the OpenAPI document calls ``id``.

    ``project_path`` leads from the queryset's model to its project. Once access is granted, ``project`` and ``role``
    are set.
    """

    project_path: ClassVar[str] = "project"
    project: Project
    role: Access

    def find_project(self) -> Project:
        """The project of the address. Raises Http404 for what is in none of the caller's projects."""
        if "project" in self.kwargs:
            return get_object_or_404(projects_of(self.request.user), slug=self.kwargs["project"])
        path = f"{self.project_path}__in" if self.project_path else "pk__in"
        mine = self.resources().filter(**{path: projects_of(self.request.user)})
        self.found = get_object_or_404(mine, **{self.lookup_field: self.kwargs["pk"]})
        return self.project_of(self.found)

    def resources(self) -> QuerySet[Any]:
        """All rows of the resource, of every project."""
        return super().get_queryset()

    def project_of(self, resource: Any) -> Project:
        value = resource
        for name in self.project_path.split("__"):
            value = getattr(value, name)
        return value

    def get_queryset(self) -> QuerySet[Any]:
        """The project's rows."""
        rows = self.resources()
        return rows.none() if self.is_for_schema else rows.filter(**{self.project_path: self.project.pk})

    def get_object(self) -> Any:
        return self.found
