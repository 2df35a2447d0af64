"""Django's admin for decisions' rows: to look, not to edit, since activities are the only ones that write."""

from __future__ import annotations

from django.contrib import admin

from alignment.models import (
    Dataset,
    HeldOutLock,
    Judge,
    Judgement,
    Judging,
    ModelSource,
    ModelVersion,
    Round,
    RoundRun,
    Scorecard,
    Withdrawal,
)
from config.admin import ReadOnly, ReadOnlyAdmin


class RoundRunInline(ReadOnly, admin.TabularInline):
    model = RoundRun
    fields = ("step", "source", "number", "attempt", "taken_over", "run")
    extra = 0


@admin.register(Round)
class RoundAdmin(ReadOnlyAdmin):
    list_display = ["number", "project", "state", "reason", "recipe", "state_since"]
    list_filter = ["state", "project", "judge", "decision"]
    exclude = ["prompts"]  # there may be a hundred thousand
    inlines = [RoundRunInline]


@admin.register(Dataset)
class DatasetAdmin(ReadOnlyAdmin):
    list_display = ["version", "project", "train_rankings", "held_out_rankings", "sha256", "created_at"]
    list_filter = ["project"]


@admin.register(Withdrawal)
class WithdrawalAdmin(ReadOnlyAdmin):
    list_display = ["project", "annotator", "prompt", "reason", "created_by", "created_at", "ended_at"]
    list_filter = ["project"]


@admin.register(HeldOutLock)
class HeldOutLockAdmin(ReadOnlyAdmin):
    list_display = ["project", "created_by", "created_at"]


@admin.register(ModelVersion)
class ModelVersionAdmin(ReadOnlyAdmin):
    list_display = ["name", "project", "form", "state", "parent", "created_at", "archived_at"]
    list_filter = ["project", "form", "state"]
    search_fields = ["name", "location"]


@admin.register(ModelSource)
class ModelSourceAdmin(ReadOnlyAdmin):
    list_display = ["source", "model_version"]


@admin.register(Scorecard)
class ScorecardAdmin(ReadOnlyAdmin):
    list_display = [
        "model_version",
        "against",
        "judge",
        "win_rate",
        "win_rate_low",
        "win_rate_high",
        "created_at",
    ]


@admin.register(Judge)
class JudgeAdmin(ReadOnlyAdmin):
    list_display = ["name", "project", "kind", "endpoint_model", "orders", "created_at", "archived_at"]
    list_filter = ["project", "kind"]


@admin.register(Judging)
class JudgingAdmin(ReadOnlyAdmin):
    list_display = ["judge", "batch", "run", "share", "asked", "created_at", "ended_at"]
    list_filter = ["judge"]


@admin.register(Judgement)
class JudgementAdmin(ReadOnlyAdmin):
    list_display = ["judge", "task_id", "order", "tiers", "fault", "tokens", "created_at"]
    list_filter = ["judge"]
