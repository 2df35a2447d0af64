"""Who: accounts, their keys, projects, and what people may do in them."""

from __future__ import annotations

import hashlib
import secrets

from django.contrib.auth.models import AbstractUser
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class User(AbstractUser):
    """A person with an account. What they may do stands in their memberships."""


class ApiToken(models.Model):
    """A key for programs. Only its SHA-256 is kept: the key is shown once, when it is made."""

    user = models.ForeignKey(User, models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100)
    digest = models.CharField(max_length=64, unique=True)
    hint = models.CharField(max_length=12, help_text="The key's first characters, to tell keys apart.")
    created_at = models.DateTimeField(db_default=Now())
    last_used_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "API token"

    def __str__(self) -> str:
        return f"{self.name} ({self.hint}…)"

    @staticmethod
    def new_key() -> str:
        return f"rl_{secrets.token_urlsafe(32)}"

    @staticmethod
    def digest_of(key: str) -> str:
        return hashlib.sha256(key.encode()).hexdigest()


class Project(models.Model):
    """One alignment effort: guidelines, prompts, annotators, rounds."""

    name = models.CharField(max_length=200, unique=True)
    slug = models.SlugField(max_length=80, unique=True)
    description = models.TextField(blank=True)
    guidelines = models.TextField(blank=True, help_text="Markdown; annotators read it beside their tasks.")
    held_out_share = models.FloatField(
        default=0.2,
        validators=[MinValueValidator(0.0), MaxValueValidator(0.9)],
        help_text="Share of prompts, by hash, that never train. Fixed once the project has prompts.",
    )
    allow_ties = models.BooleanField(default=True)
    allow_partial = models.BooleanField(default=False, help_text="Whether responses may be left unranked.")
    ask_strength = models.BooleanField(
        default=False, help_text="Whether annotators are asked how much better each tier is than the next."
    )
    lease_minutes = models.PositiveSmallIntegerField(default=30, validators=[MinValueValidator(1)])
    gold_share = models.FloatField(
        default=0.1,
        validators=[MinValueValidator(0.0), MaxValueValidator(0.5)],
        help_text="Share of an annotator's tasks that come from the project's gold batches, unmarked.",
    )
    gold_bar = models.FloatField(
        default=0.6,
        validators=[MinValueValidator(0.0), MaxValueValidator(1.0)],
        help_text="Share of gold pairs that an annotator must order as is known, to begin and to go on.",
    )
    review_share = models.FloatField(
        default=0.05,
        validators=[MinValueValidator(0.0), MaxValueValidator(1.0)],
        help_text="Share of complete tasks that reviewers look at whatever was answered.",
    )
    archived_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    members = models.ManyToManyField(User, through="Membership", related_name="projects")

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(held_out_share__gte=0, held_out_share__lte=0.9), name="project_held_out_share"
            ),
            models.CheckConstraint(condition=Q(lease_minutes__gte=1), name="project_lease_minutes"),
            models.CheckConstraint(
                condition=Q(gold_share__gte=0, gold_share__lte=0.5), name="project_gold_share"
            ),
            models.CheckConstraint(condition=Q(gold_bar__gte=0, gold_bar__lte=1), name="project_gold_bar"),
            models.CheckConstraint(
                condition=Q(review_share__gte=0, review_share__lte=1), name="project_review_share"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """A person's role in a project; each role may do what the roles before it may.

    ``languages`` and ``tags`` are of the prompts that this person is given to rank; empty: all. Who is paused is given
    none. ``qualified_at`` is when they passed a qualification, or a manager answered for them; ``measured_since``, from
    when gold tasks count against the bar, null: all do.
    """

    class Role(models.TextChoices):
        ANNOTATOR = "annotator"
        REVIEWER = "reviewer"
        MANAGER = "manager"

    project = models.ForeignKey(Project, models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices)
    languages = models.JSONField(default=list, blank=True)
    tags = models.JSONField(default=list, blank=True)
    qualified_at = models.DateTimeField(null=True, blank=True)
    measured_since = models.DateTimeField(null=True, blank=True)
    paused_at = models.DateTimeField(null=True, blank=True)
    pause_reason = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "user"], name="membership_once"),
            models.CheckConstraint(
                condition=Q(role__in=["annotator", "reviewer", "manager"]), name="membership_role"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} as {self.role}"


class Aspect(models.Model):
    """One axis of a project's rubric, rated per response apart from the ranking."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="aspects")
    name = models.SlugField(max_length=40)
    question = models.CharField(max_length=300, help_text="What the annotator is asked about each response.")
    steps = models.PositiveSmallIntegerField(
        default=5,
        validators=[MinValueValidator(2), MaxValueValidator(10)],
        help_text="Ratings run from 1 to this.",
    )
    position = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering = ["position", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="aspect_once"),
            models.CheckConstraint(condition=Q(steps__gte=2, steps__lte=10), name="aspect_steps"),
        ]

    def __str__(self) -> str:
        return self.name
