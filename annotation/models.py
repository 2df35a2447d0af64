"""People's nouns: who, what is asked, what is answered. Constraints stand here; workflow does not."""

from __future__ import annotations

import hashlib
import secrets
import uuid

from django.contrib.auth.models import AbstractUser
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

MIN_RESPONSES, MAX_RESPONSES = 2, 9


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
    lease_minutes = models.PositiveSmallIntegerField(default=30, validators=[MinValueValidator(1)])
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
        ]

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """A person's role in a project; each role may do what the roles before it may."""

    class Role(models.TextChoices):
        ANNOTATOR = "annotator"
        REVIEWER = "reviewer"
        MANAGER = "manager"

    project = models.ForeignKey(Project, models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices)
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


class Prompt(models.Model):
    """A conversation that awaits a reply, with optional context that the reply should rest on.

    ``messages`` is a list of ``{"role", "content"}``; ``context`` a list of ``{"id", "title", "text", "url"}``.
    ``digest`` is the hash of the normalised messages, from which ``split`` follows, for ever.
    """

    class Split(models.TextChoices):
        TRAIN = "train"
        HELD_OUT = "held_out"

    project = models.ForeignKey(Project, models.CASCADE, related_name="prompts")
    key = models.CharField(max_length=200, blank=True, help_text="The importer's own name for it.")
    messages = models.JSONField()
    context = models.JSONField(default=list, blank=True)
    tags = models.JSONField(default=list, blank=True)
    language = models.CharField(max_length=20, blank=True)
    digest = models.CharField(max_length=64)
    split = models.CharField(max_length=8, choices=Split.choices)
    retired_at = models.DateTimeField(
        null=True, blank=True, help_text="Since when no new round or batch takes it."
    )
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["project", "digest"], name="prompt_once"),
            models.CheckConstraint(condition=Q(split__in=["train", "held_out"]), name="prompt_split"),
        ]
        indexes = [models.Index(fields=["project", "split"])]

    def __str__(self) -> str:
        return self.messages[-1]["content"][:80]


class Source(models.Model):
    """Where responses come from. What a model source decodes with stands in ``settings``:
    ``temperature, top_p, max_tokens, system_prompt, few_shot, give_context, seed``."""

    class Kind(models.TextChoices):
        MODEL = "model", "model version"
        ENDPOINT = "endpoint", "OpenAI-compatible endpoint"
        IMPORT = "import", "import"
        PERSON = "person", "person"

    project = models.ForeignKey(Project, models.CASCADE, related_name="sources")
    name = models.CharField(max_length=200)
    kind = models.CharField(max_length=8, choices=Kind.choices)
    settings = models.JSONField(default=dict, blank=True)
    endpoint_url = models.URLField(blank=True)
    endpoint_model = models.CharField(max_length=200, blank=True)
    endpoint_key_variable = models.CharField(
        max_length=100,
        blank=True,
        help_text="Name of the environment variable that holds the endpoint's key.",
    )
    person = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="source_once"),
            models.CheckConstraint(
                condition=Q(kind__in=["model", "import"])
                | (Q(kind="endpoint") & ~Q(endpoint_url="") & ~Q(endpoint_model=""))
                | Q(kind="person", person__isnull=False),
                name="source_kind_complete",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Response(models.Model):
    """One reply to a prompt, from one source. ``drawn_by`` is the sample run or import that brought it."""

    prompt = models.ForeignKey(Prompt, models.CASCADE, related_name="responses")
    source = models.ForeignKey(Source, models.PROTECT, related_name="responses")
    drawn_by = models.UUIDField(help_text="The sample run or import that brought it.")
    index = models.PositiveSmallIntegerField(default=0, help_text="Which of the draws for this prompt it is.")
    text = models.TextField(blank=True)
    tokens = models.PositiveIntegerField(null=True, blank=True)
    ended = models.BooleanField(default=True, help_text="False where the maximum length cut it off.")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["pk"]
        constraints = [
            # Bringing the same draws in twice changes nothing.
            models.UniqueConstraint(fields=["prompt", "source", "drawn_by", "index"], name="response_once"),
        ]

    def __str__(self) -> str:
        return self.text[:80]


class Batch(models.Model):
    """Tasks released together. ``overlap`` is how many annotators rank each task."""

    class Kind(models.TextChoices):
        ANNOTATION = "annotation"
        EVALUATION = "evaluation"

    class State(models.TextChoices):
        OPEN = "open"
        PAUSED = "paused"
        CLOSED = "closed"

    project = models.ForeignKey(Project, models.CASCADE, related_name="batches")
    name = models.CharField(max_length=200)
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.ANNOTATION)
    overlap = models.PositiveSmallIntegerField(validators=[MinValueValidator(1), MaxValueValidator(100)])
    priority = models.SmallIntegerField(
        default=0, help_text="Batches of higher priority are handed out first."
    )
    state = models.CharField(max_length=6, choices=State.choices, default=State.OPEN)
    created_at = models.DateTimeField(db_default=Now())
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "batches"
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="batch_once"),
            models.CheckConstraint(condition=Q(overlap__gte=1, overlap__lte=100), name="batch_overlap"),
            models.CheckConstraint(condition=Q(state__in=["open", "paused", "closed"]), name="batch_state"),
        ]

    def __str__(self) -> str:
        return self.name


class Task(models.Model):
    """A prompt with 2 to 9 responses, to be ranked together by ``overlap`` annotators.

    Responses are numbered by ``TaskResponse.position``; tiers index those numbers. ``seed`` shuffles the order
    in which each annotator sees them. A task with ``gold_tiers`` has a known answer, which may be learned later than
    the task was made: it measures the annotator. All else of a task never changes (triggers hold that).
    """

    batch = models.ForeignKey(Batch, models.CASCADE, related_name="tasks")
    prompt = models.ForeignKey(Prompt, models.PROTECT, related_name="tasks")
    responses = models.ManyToManyField(Response, through="TaskResponse", related_name="tasks")
    overlap = models.PositiveSmallIntegerField()
    seed = models.BigIntegerField()
    gold_tiers = models.JSONField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.CheckConstraint(condition=Q(overlap__gte=1, overlap__lte=100), name="task_overlap"),
            # With the foreign key that a migration adds, a place beyond the task's overlap cannot exist.
            models.UniqueConstraint(fields=["id", "overlap"], name="task_id_overlap"),
        ]

    def __str__(self) -> str:
        return f"task {self.pk}"


class TaskResponse(models.Model):
    """Which number a response has in a task. Tiers rest on it: it never changes, and a ranked task keeps its responses
    and gets no others (triggers hold that)."""

    task = models.ForeignKey(Task, models.CASCADE, related_name="task_responses")
    response = models.ForeignKey(Response, models.PROTECT, related_name="task_responses")
    position = models.PositiveSmallIntegerField()

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["task", "position"], name="task_response_position"),
            models.UniqueConstraint(fields=["task", "response"], name="task_response_once"),
            models.CheckConstraint(
                condition=Q(position__lt=MAX_RESPONSES), name="task_response_at_most_nine"
            ),
        ]

    def __str__(self) -> str:
        return f"response {self.response_id} as number {self.position} of task {self.task_id}"


class Assignment(models.Model):
    """One of a task's overlap places.

    ``lease`` names the present lease and is checked by every write, so that a place that expired and went to
    somebody else cannot be answered by the first. A skipped place was given up by too many annotators.
    """

    class State(models.TextChoices):
        OPEN = "open"
        LEASED = "leased"
        SUBMITTED = "submitted"
        SKIPPED = "skipped"

    # The unique constraints below begin with the task, and assignment_progress with the annotator: indexes of their
    # own would only lead the planner astray.
    task = models.ForeignKey(Task, models.CASCADE, related_name="assignments", db_index=False)
    # A trigger copies it from the task, so that one index can serve assigning.
    batch = models.ForeignKey(Batch, models.CASCADE, related_name="assignments", editable=False)
    place = models.PositiveSmallIntegerField()
    overlap = models.PositiveSmallIntegerField(help_text="The task's, held equal by a foreign key.")
    state = models.CharField(max_length=9, choices=State.choices, default=State.OPEN)
    annotator = models.ForeignKey(
        User, models.PROTECT, null=True, blank=True, related_name="assignments", db_index=False
    )
    lease = models.UUIDField(null=True, blank=True)
    leased_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="When it was last leased; stays when the lease ends, so null is: never yet.",
    )
    leased_until = models.DateTimeField(null=True, blank=True)
    shown_order = models.JSONField(
        null=True, blank=True, help_text="Response numbers in the order on the page."
    )

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["task", "place"], name="assignment_place_once"),
            models.UniqueConstraint(
                fields=["task", "annotator"],
                condition=Q(annotator__isnull=False),
                name="assignment_annotator_once",
            ),
            # With the foreign key that a migration adds, a ranking is of its place's task and by its annotator.
            models.UniqueConstraint(fields=["id", "task", "annotator"], name="assignment_id_task_annotator"),
            models.CheckConstraint(condition=Q(place__lt=F("overlap")), name="assignment_within_overlap"),
            models.CheckConstraint(
                condition=Q(state__in=["open", "skipped"], annotator__isnull=True, lease__isnull=True)
                | Q(state="leased", annotator__isnull=False, lease__isnull=False, leased_until__isnull=False)
                | Q(state="submitted", annotator__isnull=False),
                name="assignment_state_complete",
            ),
        ]
        indexes = [
            # These three serve assigning.NEXT_PLACE: places given back, places never leased, and how far in the
            # batch an annotator has come.
            models.Index(
                fields=["batch", "task", "-place"],
                condition=Q(state="open", leased_at__isnull=False),
                name="assignment_given_back",
            ),
            models.Index(
                fields=["batch", "task", "-place"],
                condition=Q(state="open", leased_at__isnull=True),
                name="assignment_fresh",
            ),
            models.Index(fields=["annotator", "batch", "task", "-place"], name="assignment_progress"),
            # Serves the search for expired leases.
            models.Index(fields=["leased_until"], condition=Q(state="leased"), name="assignment_leased"),
            models.Index(fields=["annotator", "state"], name="assignment_of_annotator"),
        ]

    def __str__(self) -> str:
        return f"place {self.place} of task {self.task_id}"


class Skip(models.Model):
    """An annotator passed a task by; it is not offered to them again."""

    task = models.ForeignKey(Task, models.CASCADE, related_name="skips", db_index=False)
    annotator = models.ForeignKey(User, models.PROTECT, related_name="skips")
    reason = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["task", "annotator"], name="skip_once")]

    def __str__(self) -> str:
        return f"{self.annotator} skipped task {self.task_id}"


class Ranking(models.Model):
    """An annotator's answer, one row a revision; rows are never changed (a trigger holds that).

    ``tiers`` lists response numbers, best first; ``shown_order`` the order in which the page showed them.
    ``key`` is the client's own name for this submission: the same key twice is one submission.
    """

    assignment = models.ForeignKey(Assignment, models.PROTECT, related_name="rankings")
    task = models.ForeignKey(Task, models.PROTECT, related_name="rankings")
    annotator = models.ForeignKey(User, models.PROTECT, related_name="rankings")
    revision = models.PositiveIntegerField(default=1)
    key = models.UUIDField(default=uuid.uuid4)
    tiers = models.JSONField()
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
