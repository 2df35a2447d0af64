"""Composing batches of tasks, and their life."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from annotation.leasing import release
from annotation.likeness import are_alike, digest_of, hands_of
from annotation.models import (
    CONTROL_SHARE,
    MAX_RESPONSES,
    MIN_RESPONSES,
    Assignment,
    Batch,
    Project,
    Prompt,
    Response,
    Source,
    Task,
)
from annotation.refusals import Refusal, refusing_taken
from annotation.signals import batch_closing

PROMPTS_A_QUERY = 1000
MOST_ANNOTATORS = 100
"""The most that rank a task to teach or judge a model; tasks with known answers measure up to ``MAX_OVERLAP``."""
KNOWN_ANSWERS = Batch.KNOWN_ANSWERS
COMPOSED = (Batch.Kind.ANNOTATION, Batch.Kind.EVALUATION)
"""Kinds of batches that are composed of prompts and sources; `annotation.gold` and `annotation.intake` make others."""
TOO_FEW = "fewer than 2 different responses"
KNOWN = "their responses are in a task that measures annotators"

# Asked after each answer, so in SQL that is not composed anew each time. The orders are those of the indexes
# assignment_fresh, assignment_given_back and assignment_leased: a place is found at once however many are submitted.
AWAITED = """
SELECT COALESCE(
    (SELECT id FROM annotation_assignment WHERE batch_id = batch.id AND state = 'open' AND leased_at IS NULL
     ORDER BY task_id, place DESC LIMIT 1),
    (SELECT id FROM annotation_assignment WHERE batch_id = batch.id AND state = 'open' AND leased_at IS NOT NULL
     ORDER BY task_id, place DESC LIMIT 1),
    (SELECT id FROM annotation_assignment WHERE batch_id = batch.id AND state = 'leased' ORDER BY leased_until LIMIT 1))
FROM annotation_batch batch WHERE batch.id = %(batch)s AND batch.state <> 'closed'
"""


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What was composed: the batch, how many tasks, how many prompts were left out for which reason, and how many tasks
    of other batches await no more rankings (`annotation.likeness.await_no_more`)."""

    batch: Batch
    tasks: int
    left_out: dict[str, int] = field(default_factory=dict)
    awaited_no_more: int = 0


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """How many of a batch's places are where."""

    places: int
    submitted: int
    leased: int
    open: int
    skipped: int


@transaction.atomic
def compose_batch(
    *,
    project: Project,
    name: str,
    prompts: Iterable[Prompt],
    sources: Sequence[Source],
    responses_per_task: int,
    overlap: int,
    kind: str = Batch.Kind.ANNOTATION,
    seed: int = 0,
    priority: int = 0,
    order: str = Batch.Order.OLDEST,
    control_share: float = CONTROL_SHARE,
    max_per_annotator: int | None = None,
    drawn_by: Iterable[UUID] | None = None,
) -> BatchReport:
    """Release one task a prompt, with up to ``responses_per_task`` of its responses, spread evenly over the sources.

    Identical texts (but for space around them) are taken once. The same prompts, sources, responses and seed give the
    same tasks. Which number a response gets in its task is dealt at random, so that a number tells nothing.

    Args:
        prompts: of the project; left out and counted are those with fewer than 2 different responses, and those that
            were dealt two responses of a task of known answers: whoever is measured by it may not rank them again.
        sources: of the project; their order is part of what the seed determines.
        overlap: how many annotators rank each task; at most ``MOST_ANNOTATORS``.
        kind: ``annotation`` or ``evaluation``; `annotation.gold` composes the others.
        order: in which its tasks are handed out, see `annotation.ordering`.
        control_share: where the most uncertain come first, the share of places drawn by chance beside them.
        max_per_annotator: the most tasks of it that one annotator is given; None: no limit.
        drawn_by: only responses of these sample runs or imports; None: all.

    Raises:
        Refusal: a number is out of range, the name is taken, a prompt or source is another project's, or no prompt has
            two different responses.
    """
    _check_request(project, sources, responses_per_task)
    if kind in KNOWN_ANSWERS:
        raise Refusal(
            "invalid",
            f"The tasks of a {kind} batch have known answers, and sources have none. Compose it of tasks with known "
            "answers.",
            field="kind",
        )
    if kind not in COMPOSED:
        raise Refusal(
            "invalid",
            f"A batch of the kind {kind!r:.40} is not composed: its rankings come with it.",
            field="kind",
        )
    if overlap > MOST_ANNOTATORS:
        raise Refusal(
            "invalid", f"At most {MOST_ANNOTATORS} annotators rank each task, not {overlap}.", field="overlap"
        )
    batch = Batch(
        project=project,
        name=name.strip(),
        kind=kind,
        overlap=overlap,
        priority=priority,
        order=order,
        control_share=control_share,
        max_per_annotator=max_per_annotator,
    )
    save_new(batch)
    dealer = _Dealer(sources, responses_per_task, seed)
    tasks, left_out = 0, Counter[str]()
    remaining = iter(prompts)
    while chunk := list(islice(remaining, PROMPTS_A_QUERY)):
        for prompt in chunk:
            if prompt.project_id != project.pk:
                raise Refusal(
                    "invalid",
                    f"Prompt {prompt.pk} belongs to another project than {project}.",
                    field="prompts",
                )
        drawn = _responses(chunk, sources, drawn_by)
        dealt = [(prompt, *dealer.deal(prompt, drawn[prompt.pk])) for prompt in chunk]
        full = [(prompt, hand, seed_) for prompt, hand, seed_ in dealt if len(hand) >= MIN_RESPONSES]
        left_out[TOO_FEW] += len(dealt) - len(full)
        measuring = hands_of(Task.objects.filter(prompt__in=chunk, batch__kind__in=KNOWN_ANSWERS))
        fresh = [
            (prompt, hand, seed_)
            for prompt, hand, seed_ in full
            if prompt.pk not in measuring
            or not are_alike([digest_of(response.text) for response in hand], measuring[prompt.pk].values())
        ]
        left_out[KNOWN] += len(full) - len(fresh)
        _make_tasks(batch, fresh)
        tasks += len(fresh)
    if not tasks and left_out[KNOWN]:
        raise Refusal(
            "invalid",
            "Whatever responses of these prompts could be ranked stand in tasks whose answer measures annotators. "
            "Sample or import more responses.",
            field="prompts",
        )
    if not tasks:
        raise Refusal(
            "invalid",
            f"No prompt has two different responses from {', '.join(str(source) for source in sources)}, so there is "
            "nothing to rank. Sample or import more responses.",
            field="prompts",
        )
    make_places(batch)
    return BatchReport(batch, tasks, {reason: count for reason, count in left_out.items() if count})


@transaction.atomic
def pause_batch(batch: Batch) -> Batch:
    """Stop handing out places; those leased may still be answered. Raises Refusal where the batch is closed."""
    return _set_state(batch, Batch.State.PAUSED)


@transaction.atomic
def reopen_batch(batch: Batch) -> Batch:
    """Hand out places again. A closed batch stays closed: datasets rest on it. Raises Refusal there."""
    return _set_state(batch, Batch.State.OPEN)


@transaction.atomic
def close_batch(batch: Batch) -> Batch:
    """Take no more answers and no amendments, for good; leases end. Closing twice is closing once."""
    # Leasing and submitting hold shares of this lock: a lease or an answer is in before the batch closes, or refused.
    locked = Batch.objects.select_for_update().get(pk=batch.pk)
    if locked.state != Batch.State.CLOSED:
        locked.state, locked.closed_at = Batch.State.CLOSED, timezone.now()
        locked.save(update_fields=["state", "closed_at"])
        release(locked.assignments.all())
        batch_closing.send(sender=Batch, batch=locked)
    return locked


def open_work(project: Project) -> QuerySet[Batch]:
    """The project's open batches that are ranked for their own sake, not to measure annotators."""
    return project.batches.filter(state=Batch.State.OPEN).exclude(kind__in=KNOWN_ANSWERS)


def batch_progress(batch: Batch) -> BatchProgress:
    """How many places are where."""
    states = {state: Count("pk", filter=Q(state=state)) for state in Assignment.State.values}
    return BatchProgress(**batch.assignments.aggregate(places=Count("pk"), **states))


def is_complete(batch: Batch) -> bool:
    """Whether no more answers will come: the batch is closed, or has no place open or leased."""
    with connection.cursor() as cursor:
        cursor.execute(AWAITED, {"batch": batch.pk})
        return cursor.fetchone() in (None, (None,))


class _Dealer:
    """Chooses responses so that, within a task first and over the batch next, no source has more than its share."""

    def __init__(self, sources: Sequence[Source], hand: int, seed: int) -> None:
        self.order = {source.pk: position for position, source in enumerate(sources)}
        self.hand = hand
        self.seed = seed
        self.dealt: Counter[int] = Counter()

    def deal(self, prompt: Prompt, responses: list[Response]) -> tuple[list[Response], int]:
        """Return the task's responses in the order of their numbers, and the task's seed."""
        # Seeded by content, not by primary keys: an installation set up again composes the same tasks.
        dice = random.Random(f"{self.seed}:{prompt.digest}")  # noqa: S311 - no secret
        responses.sort(key=lambda r: (self.order[r.source_id], r.index, r.text))
        dice.shuffle(responses)
        piles: dict[int, list[Response]] = defaultdict(list)
        for response in responses:
            piles[response.source_id].append(response)
        hand: list[Response] = []
        texts: set[str] = set()
        in_hand: Counter[int] = Counter()
        while len(hand) < self.hand and piles:
            source = min(piles, key=lambda pk: (in_hand[pk], self.dealt[pk] + in_hand[pk], self.order[pk]))
            response = piles[source].pop()
            if not piles[source]:
                del piles[source]
            if response.text.strip() not in texts:
                texts.add(response.text.strip())
                hand.append(response)
                in_hand[source] += 1
        if len(hand) >= MIN_RESPONSES:
            self.dealt += in_hand
        dice.shuffle(hand)
        return hand, dice.getrandbits(63)


def _check_request(project: Project, sources: Sequence[Source], responses_per_task: int) -> None:
    if not MIN_RESPONSES <= responses_per_task <= MAX_RESPONSES:
        raise Refusal(
            "invalid",
            f"A task has {MIN_RESPONSES} to {MAX_RESPONSES} responses, not {responses_per_task}.",
            field="responses_per_task",
        )
    if not sources:
        raise Refusal("invalid", "A batch needs at least one source of responses.", field="sources")
    for source in sources:
        if source.project_id != project.pk:
            raise Refusal("invalid", f"The source {source} belongs to another project.", field="sources")


def save_new(batch: Batch) -> None:
    """Store a batch. Raises Refusal where a field is wrong or the name is taken."""
    _check(batch)
    with refusing_taken({"batch_once": _name_taken(batch)}, field="name"):
        batch.save()


def _check(batch: Batch) -> None:
    try:
        batch.full_clean()
    except ValidationError as error:
        if Batch.objects.filter(project=batch.project, name=batch.name).exists():
            raise Refusal("conflict", _name_taken(batch), field="name") from error
        name, messages = next(iter(error.message_dict.items()))
        label = name.replace("_", " ").capitalize()
        raise Refusal("invalid", f"{label}: {' '.join(messages)}", field=name) from error


def _name_taken(batch: Batch) -> str:
    return f"{batch.project} has a batch named {batch.name} already."


def _responses(
    prompts: list[Prompt], sources: Sequence[Source], drawn_by: Iterable[UUID] | None
) -> dict[int, list[Response]]:
    found = Response.objects.filter(prompt__in=prompts, source__in=sources)
    if drawn_by is not None:
        found = found.filter(drawn_by__in=list(drawn_by))
    by_prompt: dict[int, list[Response]] = defaultdict(list)
    for response in found.only("prompt_id", "source_id", "index", "text"):
        by_prompt[response.prompt_id].append(response)
    return by_prompt


def _make_tasks(batch: Batch, hands: list[tuple[Prompt, list[Response], int]]) -> None:
    tasks = Task.objects.bulk_create(
        Task(batch=batch, prompt=prompt, overlap=batch.overlap, seed=seed) for prompt, _, seed in hands
    )
    # COPY takes a fifth of bulk_create's time, and these rows are the most.
    with (
        connection.cursor() as cursor,
        cursor.copy("COPY annotation_taskresponse (task_id, response_id, position) FROM STDIN") as copy,
    ):
        for task, (_, hand, _) in zip(tasks, hands, strict=True):
            for position, response in enumerate(hand):
                copy.write_row((task.pk, response.pk, position))


def make_places(batch: Batch) -> None:
    """Make the places of a new batch's tasks."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO annotation_assignment (task_id, batch_id, place, overlap, state, uncertainty, chosen_by) "
            "SELECT task.id, task.batch_id, place, task.overlap, 'open', 0, '' "
            "FROM annotation_task task, generate_series(0, task.overlap - 1) place "
            "WHERE task.batch_id = %s ORDER BY task.id, place",
            [batch.pk],
        )


def _set_state(batch: Batch, state: Batch.State) -> Batch:
    locked = Batch.objects.select_for_update().get(pk=batch.pk)
    if locked.state == Batch.State.CLOSED:
        raise Refusal("closed", f"{locked.name} is closed and stays so; compose a new batch.")
    locked.state = state
    locked.save(update_fields=["state"])
    return locked
