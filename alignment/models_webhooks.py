"""Nouns of what other programs are told: events, webhooks, deliveries and their log."""

from __future__ import annotations

import uuid
from datetime import datetime

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from annotation.models import Project, User


class Event(models.Model):
    """Something that happened in a project, written in the transaction that made it so, once."""

    class Type(models.TextChoices):
        BATCH_FINISHED = "batch.finished"
        DATASET_FROZEN = "dataset.frozen"
        RUN_ENDED = "run.ended"
        ROUND_DECIDED = "round.decided"
        TEST = "webhook.test"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(Project, models.PROTECT, related_name="events")
    type = models.CharField(max_length=20, choices=Type.choices)
    subject = models.CharField(max_length=36, help_text="The id of what it happened to.")
    data = models.JSONField(help_text="What webhooks are sent of it.")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-created_at"]
        constraints = [models.UniqueConstraint(fields=["type", "subject"], name="event_once")]

    def __str__(self) -> str:
        return f"{self.type} {self.subject}"


class Webhook(models.Model):
    """An address that events of a project are sent to. The secret signs what is sent, so it is kept as it is."""

    project = models.ForeignKey(Project, models.PROTECT, related_name="webhooks")
    name = models.CharField(max_length=100)
    url = models.CharField(max_length=500)
    events = models.JSONField(help_text="Types of events that it is sent.")
    secret = models.CharField(max_length=100)
    old_secrets = models.JSONField(
        default=list,
        blank=True,
        help_text="Secrets before, by which what is sent is signed as well: of each, until when (ISO 8601).",
    )
    paused_at = models.DateTimeField(null=True, blank=True, help_text="Since then deliveries wait.")
    pause_reason = models.CharField(max_length=300, blank=True)
    created_by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="webhook_once")]

    def __str__(self) -> str:
        return self.name

    def secrets_at(self, time: datetime) -> list[str]:
        """The secrets that sign what is sent then, the newest first."""
        old = [each["secret"] for each in self.old_secrets if datetime.fromisoformat(each["until"]) > time]
        return [self.secret, *reversed(old)]

    @property
    def old_secret_until(self) -> datetime | None:
        """When the last of the secrets before ends."""
        return max((datetime.fromisoformat(each["until"]) for each in self.old_secrets), default=None)


class Delivery(models.Model):
    """An event on its way to a webhook. ``attempts`` counts all of them; an outcome is only that of the latest."""

    class State(models.TextChoices):
        PENDING = "pending"
        DELIVERED = "delivered"
        FAILED = "failed"

    webhook = models.ForeignKey(Webhook, models.CASCADE, related_name="deliveries")
    event = models.ForeignKey(Event, models.PROTECT, related_name="deliveries")
    state = models.CharField(max_length=9, choices=State.choices, default=State.PENDING)
    attempts = models.PositiveIntegerField(default=0)
    tries = models.PositiveSmallIntegerField(
        default=0, help_text="Attempts since it was made or sent again; there are only so many."
    )
    due_at = models.DateTimeField(null=True, blank=True, help_text="When it is next tried, while pending.")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(fields=["webhook", "event"], name="delivery_once"),
            models.CheckConstraint(
                condition=Q(state="pending", due_at__isnull=False)
                | Q(state__in=["delivered", "failed"], due_at__isnull=True),
                name="delivery_pending_is_due",
            ),
        ]
        indexes = [models.Index(fields=["due_at"], condition=Q(state="pending"), name="delivery_due")]

    def __str__(self) -> str:
        return f"{self.event} to {self.webhook}"


class DeliveryAttempt(models.Model):
    """One try to deliver, and what came of it: a status, or an error in a sentence."""

    delivery = models.ForeignKey(Delivery, models.CASCADE, related_name="log")
    number = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    seconds = models.FloatField()
    status = models.PositiveSmallIntegerField(null=True, blank=True)
    error = models.TextField(blank=True)
    response = models.TextField(blank=True, help_text="How the answer's body begins.")

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["delivery", "number"], name="delivery_attempt_once")]

    def __str__(self) -> str:
        return f"attempt {self.number} of {self.delivery}"
