"""Judges' nouns: a machine with its instructions, what it was asked, and what it answered. `alignment.models` has them
too, where Django looks."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from annotation.models import Batch, Project, Task, User
from training.models import Run


class Judge(models.Model):
    """A machine annotator: an OpenAI-compatible endpoint with instructions, or a reward model.

    Whatever decides its answers never changes (a trigger holds that): other instructions are another judge, measured
    apart.
    """

    class Kind(models.TextChoices):
        ENDPOINT = "endpoint", "OpenAI-compatible endpoint"
        REWARD = "reward", "reward model"

    class Orders(models.TextChoices):
        BOTH = "both", "an order and its reverse"
        EACH = "each", "every response once at every place"

    project = models.ForeignKey(Project, models.CASCADE, related_name="judges")
    name = models.CharField(max_length=200)
    kind = models.CharField(max_length=8, choices=Kind.choices)
    endpoint_url = models.URLField(blank=True)
    endpoint_model = models.CharField(max_length=200, blank=True)
    endpoint_key_variable = models.CharField(
        max_length=100,
        blank=True,
        help_text="Name of the environment variable that holds the endpoint's key.",
    )
    reward_run = models.ForeignKey(
        Run, models.PROTECT, null=True, blank=True, related_name="+", help_text="What left the reward model."
    )
    instructions = models.TextField(blank=True, help_text="What an endpoint is told before each task.")
    settings = models.JSONField(default=dict, blank=True, help_text="temperature, top_p, max_tokens, seed.")
    orders = models.CharField(
        max_length=4,
        choices=Orders.choices,
        default=Orders.BOTH,
        help_text="In which orders an endpoint is shown the responses of a task.",
    )
    created_by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(db_default=Now())
    archived_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="Since then it is asked nothing, and counts nowhere unless it is named.",
    )

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="judge_once"),
            models.CheckConstraint(
                condition=(Q(kind="endpoint", reward_run__isnull=True) & ~Q(endpoint_url=""))
                | Q(kind="reward", reward_run__isnull=False),
                name="judge_kind_complete",
            ),
            models.CheckConstraint(condition=Q(orders__in=["both", "each"]), name="judge_orders"),
        ]

    def __str__(self) -> str:
        return self.name


class Judging(models.Model):
    """One job of a judge: a batch's tasks, or a share of them, that it had not judged. One at a time of each judge."""

    judge = models.ForeignKey(Judge, models.CASCADE, related_name="judgings")
    batch = models.ForeignKey(Batch, models.CASCADE, related_name="judgings")
    run = models.OneToOneField(Run, models.PROTECT, related_name="judging")
    share = models.FloatField(validators=[MinValueValidator(0.0), MaxValueValidator(1.0)])
    asked = models.PositiveIntegerField(help_text="How many tasks and orders.")
    layout = models.TextField(blank=True, help_text="What an endpoint is asked after its instructions.")
    created_by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True, blank=True, help_text="When what its run left was taken in.")

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(condition=Q(share__gt=0, share__lte=1), name="judging_share"),
            models.UniqueConstraint(
                fields=["judge"], condition=Q(ended_at__isnull=True), name="judging_one_at_a_time"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.judge} on {self.batch}"


class Judgement(models.Model):
    """What a judge answered to a task shown in one order. A row never changes (a trigger holds that).

    ``raw`` is the answer as it came; ``tiers`` the response numbers that it ranks, best first, or null where ``fault``
    says why it is no ranking. A judge takes no place of the task's overlap.
    """

    judging = models.ForeignKey(Judging, models.CASCADE, related_name="judgements")
    judge = models.ForeignKey(Judge, models.CASCADE, related_name="judgements", db_index=False)
    task = models.ForeignKey(Task, models.CASCADE, related_name="judgements")
    order = models.PositiveSmallIntegerField(help_text="Which of the orders it was, from 0.")
    shown_order = models.JSONField(help_text="Response numbers as they were shown.")
    raw = models.TextField(blank=True)
    tiers = models.JSONField(null=True, blank=True)
    fault = models.CharField(max_length=300, blank=True)
    prompt_tokens = models.PositiveIntegerField(null=True, blank=True)
    tokens = models.PositiveIntegerField(null=True, blank=True, help_text="Of the answer.")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["judge", "task", "order"], name="judgement_once"),
            models.CheckConstraint(
                condition=(Q(tiers__isnull=True) & ~Q(fault="")) | Q(tiers__isnull=False, fault=""),
                name="judgement_ranks_or_has_a_fault",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.judge} on task {self.task_id}"
