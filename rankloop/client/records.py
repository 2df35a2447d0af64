"""The forms of what the API answers. Fields that later versions add are there as well, as a dict has them."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

Shape = Literal["rankings", "pairs", "unpaired", "sft"]
Split = Literal["train", "held_out"]
Format = Literal["jsonl", "parquet", "csv"]
Compression = Literal["", "gzip", "zstd"]
Which = Literal["all", "adjacent", "best_worst"]
EventType = Literal["batch.finished", "dataset.frozen", "run.ended", "round.decided"]

Tiers = list[list[int]]
"""Response numbers, the best tier first; numbers in one tier are tied."""


class Message(TypedDict):
    role: Literal["system", "user", "assistant"]
    content: str


class Passage(TypedDict):
    id: str
    title: str
    text: str
    url: str


class ProjectRecord(TypedDict):
    slug: str
    name: str
    description: str
    guidelines: str
    held_out_share: float
    role: str
    created_at: str
    archived_at: str | None


class PromptRecord(TypedDict):
    id: int
    key: str
    messages: list[Message]
    context: list[Passage]
    tags: list[str]
    language: str
    digest: str
    split: Split
    retired_at: str | None
    created_at: str


class ImportReport(TypedDict):
    created: int
    existing: int
    ignored_fields: dict[str, int]


class ResponseRecord(TypedDict):
    id: int
    prompt: int
    source: int
    drawn_by: str
    index: int
    text: str
    created_at: str


class SourceRecord(TypedDict):
    id: int
    name: str
    kind: Literal["model", "endpoint", "import", "person"]
    created_at: str


class BatchRecord(TypedDict):
    id: int
    name: str
    kind: str
    overlap: int
    priority: int
    state: Literal["open", "paused", "closed"]
    tasks: int
    created_at: str
    closed_at: str | None


class TaskResponse(TypedDict):
    number: int
    letter: str
    response: int
    source: int
    text: str


class TaskRecord(TypedDict):
    id: int
    batch: int
    prompt: int
    overlap: int
    responses: list[TaskResponse]
    gold_tiers: Tiers | None
    created_at: str


class NumberedResponse(TypedDict):
    """``letter`` is what people call it, alike for everybody."""

    number: int
    letter: str
    text: str
    ended: bool


class TaskToRank(TypedDict):
    """What an annotator sees of a task; nothing in it tells where a response came from."""

    assignment: str
    lease: str | None
    state: str
    leased_until: str | None
    seconds_left: float | None
    guidelines: str
    prompt: list[Message]
    context: list[Passage]
    responses: list[NumberedResponse]


class RankingRecord(TypedDict):
    """``task`` is None to annotators."""

    id: int
    assignment: str
    task: int | None
    annotator: str
    revision: int
    tiers: Tiers
    submitted_at: str


class DatasetRecord(TypedDict):
    id: int
    version: int
    sha256: str
    batches: list[int]
    train_rankings: int
    held_out_rankings: int
    created_at: str


class DatasetDetail(DatasetRecord):
    settings: dict[str, Any]
    card: dict[str, Any]


class RoundRecord(TypedDict):
    id: int
    number: int
    recipe: str
    state: str
    reason: str
    candidate: int | None
    batch: int | None
    dataset: int | None
    created_at: str
    ended_at: str | None


class RunRecord(TypedDict):
    id: str
    kind: str
    state: str
    reason: str
    created_at: str
    ended_at: str | None


class WebhookRecord(TypedDict):
    id: int
    name: str
    url: str
    events: list[EventType]
    paused_at: str | None
    pause_reason: str
    old_secret_until: str | None
    created_at: str


class NewWebhook(WebhookRecord):
    secret: str
