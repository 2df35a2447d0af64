"""Decisions' nouns: datasets, model versions, rounds, scorecards."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from alignment.judges.models import Judge as Judge
from alignment.judges.models import Judgement as Judgement
from alignment.judges.models import Judging as Judging
from alignment.models_hub import HubPush as HubPush
from alignment.models_webhooks import Delivery as Delivery
from alignment.models_webhooks import DeliveryAttempt as DeliveryAttempt
from alignment.models_webhooks import Event as Event
from alignment.models_webhooks import Webhook as Webhook
from annotation.models import MAX_RESPONSES, Batch, Project, Prompt, Ranking, Response, Source, User
from training.launching import ACCELERATOR
from training.models import Run


class Dataset(models.Model):
    """An immutable, content-addressed snapshot of consensus; its files lie in ``datasets/<sha256>/``.

    A trigger holds that a row is never changed.
    """

    project = models.ForeignKey(Project, models.PROTECT, related_name="datasets")
    version = models.PositiveIntegerField()
    sha256 = models.CharField(max_length=64, help_text="Of the files' hashes and the settings.")
    settings = models.JSONField(help_text="Batches, filters and estimator that it was built with.")
    card = models.JSONField(help_text="What the data say of themselves: counts, agreement, reliability.")
    batches = models.ManyToManyField(Batch, related_name="datasets")
    train_rankings = models.PositiveIntegerField()
    held_out_rankings = models.PositiveIntegerField()
    created_by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-version"]
        constraints = [
            models.UniqueConstraint(fields=["project", "version"], name="dataset_version_once"),
            # The same rankings and settings are the same dataset.
            models.UniqueConstraint(fields=["project", "sha256"], name="dataset_content_once"),
        ]

    def __str__(self) -> str:
        return f"dataset v{self.version}"


class DatasetRanking(models.Model):
    """A ranking whose say is in a dataset. A trigger holds that a row is never changed."""

    dataset = models.ForeignKey(Dataset, models.PROTECT, related_name="lineage", db_index=False)
    ranking = models.ForeignKey(Ranking, models.PROTECT, related_name="in_datasets")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["dataset", "ranking"], name="dataset_ranking_once")]

    def __str__(self) -> str:
        return f"ranking {self.ranking_id} in {self.dataset}"


class Withdrawal(models.Model):
    """An annotator's rankings, or a prompt's, are in no dataset that is built while it holds. Nothing is deleted."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="withdrawals")
    annotator = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="withdrawals")
    prompt = models.ForeignKey(Prompt, models.PROTECT, null=True, blank=True, related_name="withdrawals")
    reason = models.CharField(max_length=500, blank=True)
    created_by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(
        null=True, blank=True, help_text="Since when new datasets may hold it again."
    )

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(annotator__isnull=True, prompt__isnull=False)
                | Q(annotator__isnull=False, prompt__isnull=True),
                name="withdrawal_of_one_thing",
            ),
            models.UniqueConstraint(
                fields=["project", "annotator", "prompt"],
                condition=Q(ended_at__isnull=True),
                nulls_distinct=False,
                name="withdrawal_once",
            ),
        ]

    def __str__(self) -> str:
        return f"withdrawal of {self.annotator or self.prompt}"


class HeldOutLock(models.Model):
    """The held-out prompts that a project's models are measured on, for its whole life. Triggers hold that neither row
    nor prompts ever change."""

    project = models.OneToOneField(Project, models.PROTECT, related_name="held_out_lock")
    prompts = models.ManyToManyField(Prompt, related_name="+")
    created_by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"held-out set of {self.project}"


class ModelVersion(models.Model):
    """A base model, or what a run made of its parent: with ``parent``, a chain back to the base.

    ``location`` is the base's name (org/name, folder or package:NAME), or the artifact's folder.
    """

    class Form(models.TextChoices):
        BASE = "base"
        ADAPTER = "adapter"
        WEIGHTS = "weights"

    class State(models.TextChoices):
        CANDIDATE = "candidate"
        PROMOTED = "promoted"
        REJECTED = "rejected"

    project = models.ForeignKey(Project, models.PROTECT, related_name="model_versions")
    name = models.CharField(max_length=200)
    form = models.CharField(max_length=7, choices=Form.choices)
    location = models.CharField(max_length=1000)
    sha256 = models.CharField(max_length=64, blank=True)
    parent = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="children")
    run = models.OneToOneField(Run, models.PROTECT, null=True, blank=True, related_name="model_version")
    dataset = models.ForeignKey(Dataset, models.PROTECT, null=True, blank=True, related_name="model_versions")
    state = models.CharField(max_length=9, choices=State.choices, default=State.CANDIDATE)
    created_at = models.DateTimeField(db_default=Now())
    archived_at = models.DateTimeField(
        null=True, blank=True, help_text="Since then new rounds and sources cannot choose it."
    )

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="model_version_once"),
            models.CheckConstraint(
                condition=Q(form="base", parent__isnull=True)
                | (Q(form__in=["adapter", "weights"]) & Q(parent__isnull=False)),
                name="model_version_has_parent_unless_base",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class ModelSource(models.Model):
    """Which model version a source of kind *model* samples."""

    source = models.OneToOneField(Source, models.CASCADE, related_name="model_source")
    model_version = models.ForeignKey(ModelVersion, models.PROTECT, related_name="model_sources")

    def __str__(self) -> str:
        return f"{self.source} samples {self.model_version}"


class Round(models.Model):
    """sample → annotate → build dataset → train → evaluate → promote or reject, once. By the recipe ppo, a reward model
    is trained before the policy.

    ``state`` is where it is, ``reason`` why; ``failed_in`` the state in which it failed, where a retry goes on.
    """

    class State(models.TextChoices):
        SAMPLING = "sampling"
        ANNOTATING = "annotating"
        BUILDING = "building"
        REWARDING = "rewarding"
        TRAINING = "training"
        EVALUATING = "evaluating"
        JUDGING = "judging"
        DECIDING = "deciding"
        PROMOTED = "promoted"
        REJECTED = "rejected"
        FAILED = "failed"
        CANCELLED = "cancelled"

    class Judge(models.TextChoices):
        PEOPLE = "people", "people, blind, on held-out prompts"
        ORACLE = "oracle", "an oracle (rehearsals)"

    class Decision(models.TextChoices):
        MANAGER = "manager", "a manager decides"
        INTERVAL = "interval", "promoted when the win rate's interval is above one half"

    ENDED = (State.PROMOTED, State.REJECTED, State.CANCELLED)

    project = models.ForeignKey(Project, models.PROTECT, related_name="rounds")
    number = models.PositiveIntegerField()
    recipe = models.CharField(max_length=20, default="dpo")
    settings = models.JSONField(
        default=dict, help_text="The recipe's settings, complete: see alignment.recipes."
    )
    responses_per_task = models.PositiveSmallIntegerField(
        default=4, validators=[MinValueValidator(2), MaxValueValidator(MAX_RESPONSES)]
    )
    overlap = models.PositiveSmallIntegerField(
        default=3, validators=[MinValueValidator(1), MaxValueValidator(100)]
    )
    tasks = models.PositiveIntegerField(
        null=True, blank=True, help_text="How many prompts, of both splits in proportion; empty: all."
    )
    seed = models.BigIntegerField(default=0)
    judge = models.CharField(max_length=6, choices=Judge.choices, default=Judge.PEOPLE)
    oracle = models.CharField(
        max_length=200, blank=True, help_text="module:function, where the judge is an oracle."
    )
    decision = models.CharField(max_length=8, choices=Decision.choices, default=Decision.MANAGER)
    queue = models.CharField(
        max_length=50, default=ACCELERATOR, help_text="Celery queue of its runs, but for those on endpoints."
    )
    sources = models.ManyToManyField(Source, related_name="rounds")
    prompts = models.ManyToManyField(
        Prompt,
        related_name="rounds",
        blank=True,
        help_text="To be ranked; chosen when the round first samples.",
    )

    state = models.CharField(max_length=10, choices=State.choices, default=State.SAMPLING)
    reason = models.TextField(blank=True)
    failed_in = models.CharField(max_length=10, choices=State.choices, blank=True)

    start_from = models.ForeignKey(ModelVersion, models.PROTECT, related_name="rounds_from")
    candidate = models.OneToOneField(
        ModelVersion, models.PROTECT, null=True, blank=True, related_name="made_in"
    )
    batch = models.OneToOneField(Batch, models.PROTECT, null=True, blank=True, related_name="round")
    evaluation_batch = models.OneToOneField(
        Batch, models.PROTECT, null=True, blank=True, related_name="evaluated_round"
    )
    dataset = models.ForeignKey(Dataset, models.PROTECT, null=True, blank=True, related_name="rounds")
    review_waived_by = models.ForeignKey(
        User,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="Who went on without the review that the round's settings ask for.",
    )
    review_waived_at = models.DateTimeField(null=True, blank=True)
    review_left = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="How many tasks still awaited their review then, or an amendment of a returned ranking.",
    )
    created_by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(db_default=Now())
    state_since = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["project", "number"], name="round_number_once"),
            models.UniqueConstraint(
                fields=["project"],
                condition=~Q(state__in=["promoted", "rejected", "cancelled"]),
                name="round_one_at_a_time",
            ),
            models.CheckConstraint(
                condition=Q(
                    review_waived_by__isnull=True, review_waived_at__isnull=True, review_left__isnull=True
                )
                | Q(
                    review_waived_by__isnull=False, review_waived_at__isnull=False, review_left__isnull=False
                ),
                name="round_review_waiver_complete",
            ),
        ]

    def __str__(self) -> str:
        return f"round {self.number}"


class RoundRun(models.Model):
    """A run that serves a round: for which step, and which source or number within it.

    A round asks for its runs itself. Only a finished reward run serves later rounds too, which take it over.
    """

    round = models.ForeignKey(Round, models.PROTECT, related_name="round_runs")
    run = models.ForeignKey(Run, models.PROTECT, related_name="round_runs")
    step = models.CharField(max_length=10, choices=Round.State.choices)
    source = models.ForeignKey(Source, models.PROTECT, null=True, blank=True, related_name="+")
    number = models.PositiveSmallIntegerField(
        default=0, help_text="Of the round's reward models, from 0; the last may be the one that watches."
    )
    attempt = models.PositiveSmallIntegerField(default=1, help_text="A retry of a failed round asks anew.")
    taken_over = models.BooleanField(default=False, help_text="Whether an earlier round asked for the run.")

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["round", "step", "source", "number", "attempt"],
                nulls_distinct=False,
                name="round_run_once",
            ),
            models.UniqueConstraint(
                fields=["run"], condition=Q(taken_over=False), name="round_run_asked_for_by_one_round"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.step} of {self.round}"


class Scorecard(models.Model):
    """What an evaluation measured of a model version against the one it started from."""

    round = models.OneToOneField(Round, models.PROTECT, null=True, blank=True, related_name="scorecard")
    model_version = models.ForeignKey(ModelVersion, models.PROTECT, related_name="scorecards")
    against = models.ForeignKey(ModelVersion, models.PROTECT, related_name="+")
    run = models.OneToOneField(Run, models.PROTECT, null=True, blank=True, related_name="scorecard")
    win_rate = models.FloatField(null=True, blank=True)
    win_rate_low = models.FloatField(null=True, blank=True)
    win_rate_high = models.FloatField(null=True, blank=True)
    judge = models.CharField(
        max_length=250, blank=True, help_text="Who judged: people, or oracle:module:function."
    )
    figures = models.JSONField(default=dict, help_text="scorecard.json of the evaluate run.")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"{self.model_version} against {self.against}"

    @property
    def judged_prompts(self) -> int:
        """How many prompts the judge compared responses to: an oracle all of them, people those that they ranked."""
        return int(self.figures.get("judged_prompts", self.figures.get("prompts", 0)))


class ResponseStyle(models.Model):
    """How a response is set, whatever it says: counts of Markdown's parts. It follows from the text, which never
    changes, and is kept because counting takes time."""

    response = models.OneToOneField(Response, models.CASCADE, primary_key=True, related_name="style")
    words = models.PositiveIntegerField()
    headings = models.PositiveIntegerField()
    list_items = models.PositiveIntegerField()
    bold = models.PositiveIntegerField()
    code_blocks = models.PositiveIntegerField()

    def __str__(self) -> str:
        return f"style of response {self.response_id}"
