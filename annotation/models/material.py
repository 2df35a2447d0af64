"""What there is to rank: prompts, and the responses to them with where they came from."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from annotation.models.people import Project, User


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
