"""What was answered, and what a reviewer said of it. Rows here are never changed (triggers hold that)."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from annotation.models.people import Aspect, User
from annotation.models.tasks import Assignment, Task


class Ranking(models.Model):
    """An annotator's answer, one row a revision; rows are never changed (a trigger holds that).

    ``tiers`` lists response numbers, best first; ``shown_order`` the order in which the page showed them, empty where
    it came by a file that does not say.
    ``strengths`` says of each tier but the last how much better it is than the next, from 1 (negligibly) to 4 (much);
    null where it was not said. ``key`` is the client's own name for this submission: the same key twice is one
    submission.
    """

    assignment = models.ForeignKey(Assignment, models.PROTECT, related_name="rankings")
    task = models.ForeignKey(Task, models.PROTECT, related_name="rankings")
    annotator = models.ForeignKey(User, models.PROTECT, related_name="rankings")
    revision = models.PositiveIntegerField(default=1)
    key = models.UUIDField(default=uuid.uuid4)
    tiers = models.JSONField()
    strengths = models.JSONField(null=True, blank=True)
    shown_order = models.JSONField()
    rationale = models.TextField(blank=True)
    seconds = models.FloatField(null=True, blank=True, help_text="Time that the annotator spent on it.")
    submitted_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["assignment", "revision"], name="ranking_revision_once"),
            models.UniqueConstraint(fields=["annotator", "key"], name="ranking_key_once"),
            models.CheckConstraint(condition=Q(revision__gte=1), name="ranking_revision_from_one"),
        ]
        indexes = [models.Index(fields=["task"]), models.Index(fields=["annotator", "-submitted_at"])]

    def __str__(self) -> str:
        return f"ranking {self.pk} of task {self.task_id}"


class AspectRating(models.Model):
    """A ranking's rating of one response on one aspect, from 1 to the aspect's steps."""

    ranking = models.ForeignKey(Ranking, models.CASCADE, related_name="aspect_ratings")
    aspect = models.ForeignKey(Aspect, models.PROTECT, related_name="ratings")
    position = models.PositiveSmallIntegerField(help_text="The response's number in the task.")
    rating = models.PositiveSmallIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["ranking", "aspect", "position"], name="aspect_rating_once"),
            models.CheckConstraint(condition=Q(rating__gte=1, rating__lte=10), name="aspect_rating_range"),
        ]

    def __str__(self) -> str:
        return f"{self.aspect}: {self.rating}"


class Flag(models.Model):
    """What a ranking's annotator marked about one response, apart from its rank."""

    class Kind(models.TextChoices):
        UNSAFE = "unsafe"
        HALLUCINATED = "hallucinated"
        WRONG_LANGUAGE = "wrong_language", "wrong language"
        TRUNCATED = "truncated"
        OTHER = "other"

    ranking = models.ForeignKey(Ranking, models.CASCADE, related_name="flags")
    position = models.PositiveSmallIntegerField(help_text="The response's number in the task.")
    kind = models.CharField(max_length=14, choices=Kind.choices)
    note = models.CharField(max_length=1000, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["ranking", "position", "kind"], name="flag_once"),
            models.CheckConstraint(
                condition=Q(kind__in=["unsafe", "hallucinated", "wrong_language", "truncated"])
                | (Q(kind="other") & ~Q(note="")),
                name="flag_kind_complete",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: response {self.position}"


class Demonstration(models.Model):
    """A better response that a ranking's annotator wrote: by editing one of the task's (``position``), or anew."""

    ranking = models.ForeignKey(Ranking, models.CASCADE, related_name="demonstrations")
    position = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="The number in the task of the response that was edited."
    )
    text = models.TextField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["ranking", "position"], name="demonstration_once"),
            models.UniqueConstraint(
                fields=["ranking"], condition=Q(position__isnull=True), name="demonstration_anew_once"
            ),
            models.CheckConstraint(condition=~Q(text=""), name="demonstration_text"),
        ]

    def __str__(self) -> str:
        return self.text[:80]


class Review(models.Model):
    """What a reviewer decided of a task's rankings.

    *Returned* concerns one ``ranking``, whose annotator is asked to amend it; *adjudicated* gives the task's right
    order in ``tiers``, which counts as gold. ``version`` names what was judged (`showing_reviews.version_of`), which is
    judged once; empty where a known answer was given without looking at rankings.
    """

    class Verdict(models.TextChoices):
        ACCEPTED = "accepted"
        RETURNED = "returned"
        ADJUDICATED = "adjudicated"

    task = models.ForeignKey(Task, models.PROTECT, related_name="reviews")
    reviewer = models.ForeignKey(User, models.PROTECT, related_name="reviews")
    verdict = models.CharField(max_length=11, choices=Verdict.choices)
    ranking = models.ForeignKey(Ranking, models.PROTECT, null=True, blank=True, related_name="reviews")
    tiers = models.JSONField(null=True, blank=True)
    note = models.TextField(blank=True)
    version = models.CharField(max_length=100, blank=True, editable=False)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["task", "version"], condition=~Q(version=""), name="review_version_once"
            ),
            models.CheckConstraint(
                condition=Q(verdict="accepted", ranking__isnull=True, tiers__isnull=True)
                | (Q(verdict="returned", ranking__isnull=False, tiers__isnull=True) & ~Q(note=""))
                | Q(verdict="adjudicated", ranking__isnull=True, tiers__isnull=False),
                name="review_verdict_complete",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.reviewer} {self.verdict} task {self.task_id}"
