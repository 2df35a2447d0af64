"""What is asked of whom: batches of tasks, and the places of each task."""

from __future__ import annotations

from django.contrib.postgres.functions import RandomUUID
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.functional import cached_property

from annotation.models.material import Prompt, Response
from annotation.models.people import Project, User

MIN_RESPONSES, MAX_RESPONSES = 2, 9
MAX_OVERLAP = 1000
CONTROL_SHARE, MAX_CONTROL_SHARE = 0.2, 0.5
"""Of the places of a batch whose most uncertain tasks come first, how many are drawn by chance, to compare with: what
it is unless said, and the most."""


class Batch(models.Model):
    """Tasks released together. ``overlap`` is how many annotators rank each task.

    Tasks of a *qualification* batch have known answers and are ranked before all others, each answer being told how it
    did; those of a *gold* batch are mixed among the others, unmarked. Neither kind teaches a model. The rankings of an
    *imported* batch came with it, from people who have no account: it is closed from the start.
    """

    class Kind(models.TextChoices):
        ANNOTATION = "annotation"
        EVALUATION = "evaluation"
        QUALIFICATION = "qualification"
        GOLD = "gold"
        IMPORTED = "imported"

    KNOWN_ANSWERS = (Kind.QUALIFICATION, Kind.GOLD)
    """Kinds that measure annotators. Their rankings teach no model and judge none, and nobody waits for them."""

    class State(models.TextChoices):
        OPEN = "open"
        PAUSED = "paused"
        CLOSED = "closed"

    class Order(models.TextChoices):
        OLDEST = "oldest", "oldest first"
        UNCERTAINTY = "uncertainty", "most uncertain first"

    project = models.ForeignKey(Project, models.CASCADE, related_name="batches")
    name = models.CharField(max_length=200)
    kind = models.CharField(max_length=13, choices=Kind.choices, default=Kind.ANNOTATION)
    overlap = models.PositiveSmallIntegerField(
        validators=[MinValueValidator(1), MaxValueValidator(MAX_OVERLAP)]
    )
    priority = models.SmallIntegerField(
        default=0, help_text="Batches of higher priority are handed out first."
    )
    max_per_annotator = models.PositiveIntegerField(
        null=True, blank=True, help_text="Most tasks of it that one annotator is given; empty: no limit."
    )
    order = models.CharField(max_length=11, choices=Order.choices, default=Order.OLDEST)
    control_share = models.FloatField(
        default=CONTROL_SHARE,
        validators=[MinValueValidator(0.0), MaxValueValidator(MAX_CONTROL_SHARE)],
        help_text="Where the most uncertain tasks come first: the share of places drawn by chance beside them.",
    )
    state = models.CharField(max_length=6, choices=State.choices, default=State.OPEN)
    created_at = models.DateTimeField(db_default=Now())
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "batches"
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="batch_once"),
            models.CheckConstraint(
                condition=Q(overlap__gte=1, overlap__lte=MAX_OVERLAP), name="batch_overlap"
            ),
            models.CheckConstraint(condition=Q(state__in=["open", "paused", "closed"]), name="batch_state"),
            models.CheckConstraint(
                condition=Q(kind__in=["annotation", "evaluation", "qualification", "gold", "imported"]),
                name="batch_kind",
            ),
            models.CheckConstraint(condition=Q(order__in=["oldest", "uncertainty"]), name="batch_order"),
            models.CheckConstraint(condition=Q(max_per_annotator__gte=1), name="batch_max_per_annotator"),
            models.CheckConstraint(
                condition=Q(control_share__gte=0, control_share__lte=MAX_CONTROL_SHARE),
                name="batch_control_share",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def measures(self) -> bool:
        """Whether its tasks have known answers, to measure annotators by."""
        return self.kind in self.KNOWN_ANSWERS


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
            models.CheckConstraint(
                condition=Q(overlap__gte=1, overlap__lte=MAX_OVERLAP), name="task_overlap"
            ),
            # With the foreign key that a migration adds, a place beyond the task's overlap cannot exist.
            models.UniqueConstraint(fields=["id", "overlap"], name="task_id_overlap"),
        ]

    def __str__(self) -> str:
        return f"task {self.pk}"

    @cached_property
    def replies(self) -> dict[int, tuple[str, bool]]:
        """By number, each response's text and whether it ended; read once, since a task's responses never change."""
        rows = self.task_responses.values_list("position", "response__text", "response__ended")
        return {position: (text, ended) for position, text, ended in rows}


class TaskResponse(models.Model):
    """Which number a response has in a task, dealt at random; its letter follows (`annotation.lettering`). Tiers rest
    on it: it never changes, and a ranked task keeps its responses and gets no others (triggers hold that)."""

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

    ``public_id`` is what addresses, browsers and programs know it by. It is random, since primary keys run in ranges by
    batch: who saw them could tell the places of one batch, gold tasks say, from another's.
    """

    class State(models.TextChoices):
        OPEN = "open"
        LEASED = "leased"
        SUBMITTED = "submitted"
        SKIPPED = "skipped"

    class ChosenBy(models.TextChoices):
        UNCERTAINTY = "uncertainty"
        CONTROL = "control"

    public_id = models.UUIDField(unique=True, editable=False, db_default=RandomUUID())
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
    uncertainty = models.FloatField(
        default=0, help_text="How far those who ranked the task, or reward models, disagree about it."
    )
    chosen_by = models.CharField(
        max_length=11,
        choices=ChosenBy.choices,
        blank=True,
        help_text="In a batch of the most uncertain first: whether it was, or came by chance to compare with.",
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
            # These three serve `annotation.ordering`: places given back, places never leased, and how far in the
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
            # Serves a batch whose most uncertain tasks come first: few places have a number yet.
            models.Index(
                fields=["batch", "-uncertainty", "task", "-place"],
                condition=Q(state="open", uncertainty__gt=0),
                name="assignment_uncertain",
            ),
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
