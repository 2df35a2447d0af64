"""What was brought in by the file: each import with how far it is, and the people whose opinions came with it."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from annotation.models.people import Project, User
from annotation.models.tasks import Batch


class Import(models.Model):
    """One file of prompts, responses or preferences, and what becomes of it.

    ``form`` names a reader of `annotation.intake`, ``mapping`` says which of the file's fields means what. The row is
    the truth and the queue's message a hint: who carries it out holds a lease, and ``token`` is checked when all of it
    is kept, in one transaction.
    """

    class State(models.TextChoices):
        DRAFT = "draft"
        QUEUED = "queued"
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        CANCELLED = "cancelled"

    project = models.ForeignKey(Project, models.CASCADE, related_name="imports")
    created_by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+")
    name = models.CharField(max_length=200, help_text="Of the batch that its rankings come in.")
    file_name = models.CharField(max_length=255)
    file_bytes = models.BigIntegerField()
    sha256 = models.CharField(max_length=64)
    location = models.CharField(
        max_length=500, blank=True, help_text="Where the file lies; empty once it is not needed any more."
    )
    form = models.CharField(max_length=40)
    mapping = models.JSONField(default=dict, blank=True)
    skip_bad = models.BooleanField(
        default=False, help_text="Whether bad lines are left out, rather than keep all others out."
    )
    state = models.CharField(max_length=9, choices=State.choices, default=State.DRAFT)
    reason = models.TextField(blank=True)
    phase = models.CharField(max_length=60, blank=True)
    done = models.BigIntegerField(default=0)
    total = models.BigIntegerField(default=0)
    report = models.JSONField(null=True, blank=True)
    bad = models.BigIntegerField(default=0, help_text="How many lines are wrong.")
    errors = models.JSONField(default=list, blank=True, help_text="The first of them: line, field, reason.")
    bad_location = models.CharField(
        max_length=500, blank=True, help_text="Where all of them lie; empty where that is not kept any more."
    )
    batch = models.ForeignKey(Batch, models.SET_NULL, null=True, blank=True, related_name="+")
    token = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    losses = models.PositiveSmallIntegerField(default=0, help_text="How often its worker was lost.")
    cancel_requested = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=["draft", "queued", "running", "succeeded", "failed", "cancelled"]),
                name="import_state",
            ),
            models.CheckConstraint(
                condition=~Q(state="running") | Q(lease_until__isnull=False), name="import_running_is_leased"
            ),
        ]
        indexes = [
            # Serves the search for what waits or was lost; nearly all imports have ended.
            models.Index(
                fields=["state", "created_at"],
                condition=Q(state__in=["queued", "running"]),
                name="import_due",
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.file_name})"


class ImportedAnnotator(models.Model):
    """Whose opinions a file brought: somebody by the name that the file has for them, who has no membership and can
    never log in, so that no figure of standing, work or pay counts them among the project's people.

    Where a file names nobody, ``name`` is empty and ``number`` tells apart those who ranked the same task.
    """

    user = models.OneToOneField(User, models.PROTECT, related_name="imported")
    project = models.ForeignKey(Project, models.CASCADE, related_name="imported_annotators")
    name = models.CharField(max_length=200, blank=True)
    number = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "name", "number"], name="imported_annotator_once"),
        ]

    def __str__(self) -> str:
        return self.user.username
