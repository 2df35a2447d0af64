"""A dataset's way to the Hub."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from annotation.models import User


class HubPush(models.Model):
    """An upload of a dataset that somebody asked for. ``state`` is where it is, ``reason`` why it failed.

    The token is sealed by the server's secret key, and gone when the upload has ended.
    """

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"

    dataset = models.ForeignKey("alignment.Dataset", models.PROTECT, related_name="hub_pushes")
    repository = models.CharField(max_length=200)
    private = models.BooleanField(default=True)
    shapes = models.JSONField()
    sealed_token = models.TextField(blank=True)
    state = models.CharField(max_length=9, choices=State.choices, default=State.QUEUED)
    reason = models.TextField(blank=True)
    address = models.CharField(max_length=500, blank=True, help_text="Of the commit.")
    attempts = models.PositiveSmallIntegerField(default=0)
    lease_until = models.DateTimeField(
        null=True, blank=True, help_text="While running: when its worker is taken for lost."
    )
    created_by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["dataset", "repository"],
                condition=Q(state__in=["queued", "running"]),
                name="hub_push_once_at_a_time",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["queued", "running"]) | Q(sealed_token=""),
                name="hub_push_keeps_no_token",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.dataset} to {self.repository}"
