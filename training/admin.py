"""Django's admin for machines' rows: runs to look at, and to cancel."""

from __future__ import annotations

from django.contrib import admin, messages
from django.db.models import Count, QuerySet
from django.http import HttpRequest

from config.admin import ReadOnly, ReadOnlyAdmin
from training.launching import cancel_run
from training.models import Artifact, Run
from training.states import ENDED


class ArtifactInline(ReadOnly, admin.TabularInline):
    model = Artifact
    extra = 0


@admin.register(Run)
class RunAdmin(ReadOnlyAdmin):
    list_display = (
        "__str__",
        "kind",
        "state",
        "reason",
        "project_id",
        "worker",
        "attempts",
        "metric_count",
        "created_at",
        "ended_at",
    )
    list_filter = ("state", "kind", "queue")
    search_fields = ("=id", "=project_id", "worker")
    inlines = (ArtifactInline,)
    actions = ("cancel",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        return super().get_queryset(request).annotate(metric_count=Count("metrics"))

    @admin.display(description="metrics", ordering="metric_count")
    def metric_count(self, run: Run) -> int:
        return run.metric_count  # type: ignore[attr-defined]

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Looking is enough for others; stopping work is for who may change runs."""
        return bool(request.user.is_active and request.user.has_perm("training.change_run"))

    @admin.action(description="Cancel selected runs", permissions=["cancel"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Run]) -> None:
        going_on = list(queryset.exclude(state__in=ENDED).values_list("pk", flat=True))
        for pk in going_on:
            cancel_run(run_id=pk, reason=f"{request.user} cancelled it in the administration.")
        self.message_user(request, f"{len(going_on)} cancelled; those that had ended stay.", messages.SUCCESS)
