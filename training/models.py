"""Machines' nouns: runs, and what they told. A run's row is the truth; a queue's message is a hint."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class Run(models.Model):
    """One job on an accelerator.

    ``state`` is where it is, ``reason`` why. A worker holds it by ``lease_until`` and ``token``, the fencing token
    that grows with each claim: a write with an older token changes nothing. ``spec`` is what
    ``python -m training.engine`` is given, without folder and lease.
    """

    class Kind(models.TextChoices):
        SAMPLE = "sample"
        SFT = "sft"
        REWARD = "reward"
        DPO = "dpo"
        PPO = "ppo"
        EVALUATE = "evaluate"
        SCORE = "score"

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        CANCELLED = "cancelled"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # A bare number: this room knows nothing of projects, but logs and lists name them.
    project_id = models.BigIntegerField(null=True, blank=True, db_index=True)
    kind = models.CharField(max_length=8, choices=Kind.choices)
    spec = models.JSONField()
    queue = models.CharField(max_length=50, default="accelerator", help_text="Celery queue that it waits on.")
    state = models.CharField(max_length=9, choices=State.choices, default=State.QUEUED)
    reason = models.TextField(blank=True, help_text="Why it is in this state, in a sentence.")
    cancel_requested = models.BooleanField(default=False)

    token = models.BigIntegerField(default=0, help_text="Fencing token: the number of claims so far.")
    lease_until = models.DateTimeField(null=True, blank=True)
    worker = models.CharField(max_length=200, blank=True)
    attempts = models.PositiveSmallIntegerField(
        default=0, help_text="Claims in a row that ended without progress."
    )
    losses = models.PositiveSmallIntegerField(
        default=0, help_text="Claims in a row whose worker was lost before any progress."
    )
    max_attempts = models.PositiveSmallIntegerField(default=3)
    not_before = models.DateTimeField(db_default=Now(), help_text="A retry waits until then.")
    sent_at = models.DateTimeField(null=True, blank=True, help_text="When a message was last sent for it.")

    events_offset = models.BigIntegerField(
        default=0, help_text="Bytes of events.jsonl taken into the database."
    )
    done = models.PositiveIntegerField(default=0)
    total = models.PositiveIntegerField(default=0)
    phase = models.CharField(max_length=100, blank=True)
    furthest = models.JSONField(default=dict, help_text="The most that was ever done of each phase.")
    advanced = models.BooleanField(
        default=False, help_text="Whether the present claim got further than ever."
    )

    created_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(state="running", lease_until__isnull=False) | ~Q(state="running"),
                name="run_running_is_leased",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["queued", "running", "succeeded", "failed", "cancelled"]),
                name="run_state",
            ),
        ]
        indexes = [
            # Serves the sweep: runs that wait, and runs whose lease may have passed.
            models.Index(
                fields=["state", "not_before"], condition=Q(state__in=["queued", "running"]), name="run_due"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} run {str(self.pk)[:8]}"


class RunMetric(models.Model):
    """A figure of a run at a step; a step repeated after a resume replaces the first."""

    run = models.ForeignKey(Run, models.CASCADE, related_name="metrics")
    step = models.PositiveIntegerField()
    name = models.CharField(max_length=100)
    value = models.FloatField(null=True, help_text="Null where the engine reported not-a-number.")

    class Meta:
        ordering = ["step", "name"]
        constraints = [models.UniqueConstraint(fields=["run", "name", "step"], name="run_metric_once")]

    def __str__(self) -> str:
        return f"{self.name} at {self.step}"


class RunSample(models.Model):
    """A prompt and a response that the run showed on its way."""

    run = models.ForeignKey(Run, models.CASCADE, related_name="samples")
    step = models.PositiveIntegerField(default=0)
    prompt = models.JSONField()
    response = models.TextField(blank=True)
    scores = models.JSONField(
        default=dict, help_text="What it was given, by name; `score` orders those of a step."
    )
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return self.response[:80]


class Artifact(models.Model):
    """A file or folder that a run made, in the run's folder."""

    run = models.ForeignKey(Run, models.CASCADE, related_name="artifacts")
    name = models.CharField(max_length=100)
    path = models.CharField(max_length=500, help_text="Relative to the run's folder.")
    sha256 = models.CharField(max_length=64)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["run", "name"], name="artifact_once")]

    def __str__(self) -> str:
        return self.name
