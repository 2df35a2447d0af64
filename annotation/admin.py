"""Django's admin: everything to look at. Accounts can be changed there and tokens revoked; what people answered
cannot be, and what has rules is changed by the pages, the API and the commands, which hold them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.http import HttpRequest

from annotation.models import (
    ApiToken,
    Aspect,
    AspectRating,
    Assignment,
    Batch,
    Demonstration,
    Flag,
    Import,
    ImportedAnnotator,
    Membership,
    Project,
    Prompt,
    Ranking,
    Response,
    Review,
    Skip,
    Source,
    Task,
    TaskResponse,
    User,
)
from config.admin import ReadOnly, ReadOnlyAdmin

admin.site.register(User, UserAdmin)


class MembershipInline(ReadOnly, admin.TabularInline):
    model = Membership
    extra = 0


class AspectInline(ReadOnly, admin.TabularInline):
    model = Aspect
    extra = 0


class TaskResponseInline(ReadOnly, admin.TabularInline):
    model = TaskResponse
    extra = 0


class AssignmentInline(ReadOnly, admin.TabularInline):
    model = Assignment
    extra = 0
    fields = ("place", "state", "annotator", "leased_at", "leased_until", "shown_order")


class AspectRatingInline(ReadOnly, admin.TabularInline):
    model = AspectRating
    extra = 0


class FlagInline(ReadOnly, admin.TabularInline):
    model = Flag
    extra = 0


class DemonstrationInline(ReadOnly, admin.TabularInline):
    model = Demonstration
    extra = 0


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnlyAdmin):
    list_display = ("name", "hint", "user", "created_at", "last_used_at", "expires_at")
    search_fields = ("name", "user__username")
    exclude = ("digest",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Deleting a token revokes it; an administrator must be able to."""
        return bool(
            request.user.is_active
            and request.user.is_staff
            and request.user.has_perm("annotation.delete_apitoken")
        )


@admin.register(Project)
class ProjectAdmin(ReadOnlyAdmin):
    list_display = (
        "name",
        "slug",
        "held_out_share",
        "allow_ties",
        "allow_partial",
        "created_at",
        "archived_at",
    )
    search_fields = ("name", "slug")
    inlines = (MembershipInline, AspectInline)


@admin.register(Prompt)
class PromptAdmin(ReadOnlyAdmin):
    list_display = ("id", "__str__", "key", "split", "language", "project", "created_at", "retired_at")
    list_filter = ("split", "project")
    list_select_related = ("project",)
    search_fields = ("key", "digest")


@admin.register(Source)
class SourceAdmin(ReadOnlyAdmin):
    list_display = ("name", "kind", "project", "endpoint_url", "created_at")
    list_filter = ("kind", "project")
    list_select_related = ("project",)
    search_fields = ("name",)


@admin.register(Response)
class ResponseAdmin(ReadOnlyAdmin):
    list_display = ("id", "__str__", "source", "prompt_id", "index", "tokens", "ended", "created_at")
    list_filter = ("ended", "source")
    list_select_related = ("source",)
    search_fields = ("=prompt__id", "=drawn_by")


@admin.register(Batch)
class BatchAdmin(ReadOnlyAdmin):
    list_display = ("name", "project", "kind", "overlap", "priority", "state", "created_at", "closed_at")
    list_filter = ("state", "kind", "project")
    list_select_related = ("project",)
    search_fields = ("name",)


@admin.register(Task)
class TaskAdmin(ReadOnlyAdmin):
    list_display = ("id", "batch", "prompt", "overlap", "created_at")
    list_filter = ("batch__project",)
    list_select_related = ("batch", "prompt")
    search_fields = ("=id", "=prompt__id")
    inlines = (TaskResponseInline, AssignmentInline)


@admin.register(Assignment)
class AssignmentAdmin(ReadOnlyAdmin):
    list_display = ("id", "task", "place", "state", "annotator", "leased_at", "leased_until")
    list_filter = ("state", "batch__project")
    list_select_related = ("task", "annotator")
    search_fields = ("=task__id", "annotator__username")


@admin.register(Skip)
class SkipAdmin(ReadOnlyAdmin):
    list_display = ("task", "annotator", "reason", "created_at")
    list_select_related = ("task", "annotator")
    search_fields = ("=task__id", "annotator__username", "reason")


@admin.register(Ranking)
class RankingAdmin(ReadOnlyAdmin):
    list_display = ("id", "task", "annotator", "revision", "tiers", "seconds", "submitted_at")
    list_filter = ("task__batch__project",)
    list_select_related = ("task", "annotator")
    search_fields = ("=task__id", "annotator__username")
    inlines = (AspectRatingInline, FlagInline, DemonstrationInline)


@admin.register(Review)
class ReviewAdmin(ReadOnlyAdmin):
    list_display = ("task", "verdict", "reviewer", "ranking", "created_at")
    list_filter = ("verdict", "task__batch__project")
    list_select_related = ("task", "reviewer", "ranking")
    search_fields = ("=task__id", "reviewer__username", "note")


@admin.register(Import)
class ImportAdmin(ReadOnlyAdmin):
    list_display = ("name", "project", "form", "file_name", "state", "created_by", "created_at")
    list_filter = ("state", "form", "project")
    list_select_related = ("project", "created_by")
    search_fields = ("name", "file_name", "=sha256")


@admin.register(ImportedAnnotator)
class ImportedAnnotatorAdmin(ReadOnlyAdmin):
    list_display = ("user", "project", "name", "number")
    list_filter = ("project",)
    list_select_related = ("user", "project")
    search_fields = ("name",)
