"""Known answers: marking a task's, and composing batches of tasks that have one."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db import transaction
from django.db.models import QuerySet

from annotation.answering import Tiers, check_tiers
from annotation.batching import KNOWN_ANSWERS, BatchReport, make_places, save_new
from annotation.likeness import await_no_more
from annotation.models import (
    MAX_OVERLAP,
    MAX_RESPONSES,
    MIN_RESPONSES,
    Batch,
    Project,
    Prompt,
    Response,
    Review,
    Task,
    TaskResponse,
    User,
)
from annotation.projects import Role, require_role
from annotation.refusals import Refusal, require_storable
from annotation.review_queue import forget_count, own_tasks

MOST_TASKS = 1000
LONGEST_REVIEW_NOTE = 5000
"""On a verdict or a known answer."""


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """A prompt, responses to it, and their right order: ``tiers`` index into ``responses``, best first, as in a ranking
    record. ``note`` says why, to those who rank it as a qualification task."""

    prompt: Prompt
    responses: Sequence[Response]
    tiers: Tiers
    note: str = ""


@transaction.atomic
def set_known_answer(*, task: Task, tiers: Tiers, by: User, note: str = "") -> Review:
    """Say what a task's right order is. It measures annotators from then on where the task is a gold one, and the task
    can be copied into gold and qualification batches. An earlier known answer is replaced, and stays in the reviews.

    Args:
        tiers: response numbers, best first, under the project's rules: an answer that nobody may give measures nobody.
        by: a reviewer or manager of the project.
        note: why; at most 5,000 characters.

    Raises:
        Refusal: the tiers are no order of the task's responses, the note is too long, they are no reviewer, or they
            ranked the task themselves or wrote one of its responses.
    """
    require_role(user=by, project=task.batch.project, role=Role.REVIEWER)
    locked = Task.objects.select_for_update(no_key=True).get(pk=task.pk)
    if task.pk in own_tasks(task.batch.project, by):
        raise Refusal(
            "forbidden",
            f"You ranked task {task.pk} or wrote one of its responses, so somebody else says what its right order is.",
        )
    review = adjudicate(task=locked, tiers=tiers, by=by, note=note)
    forget_count(task.batch.project)
    return review


def adjudicate(*, task: Task, tiers: Tiers | None, by: User, note: str, version: str = "") -> Review:
    """Store a task's right order and who gave it, in place of an earlier one. Lock the task before it. ``version``: of
    the rankings that it judges, if it does.

    Raises:
        Refusal: the tiers are no order of the task's responses under the project's rules, or the note is too long.
    """
    numbers = set(task.task_responses.values_list("position", flat=True))
    task.gold_tiers = check_tiers(tiers, numbers, task.batch.project)
    note = check_note(note)
    task.save(update_fields=["gold_tiers"])
    return _adjudication(task, by, note, version)


def check_note(note: str) -> str:
    """Return what a reviewer says of a verdict, without space around it.

    Raises:
        Refusal: it is no text, or too long.
    """
    if not isinstance(note, str):
        raise Refusal("invalid", f"The note must be text, not {note!r:.40}.", field="note")
    require_storable(note, "The note", field="note")
    note = note.strip()
    if len(note) > LONGEST_REVIEW_NOTE:
        raise Refusal(
            "invalid",
            f"The note has {len(note):,} characters; {LONGEST_REVIEW_NOTE:,} are allowed.",
            field="note",
        )
    return note


def tasks_with_known_answers(project: Project) -> QuerySet[Task]:
    """The project's tasks that batches of known answers can be composed of: their answer is known, and they are no
    such copies themselves. Newest first."""
    return (
        Task.objects.filter(batch__project=project, gold_tiers__isnull=False)
        .exclude(batch__kind__in=KNOWN_ANSWERS)
        .order_by("-pk")
    )


@transaction.atomic
def compose_known(
    *,
    project: Project,
    name: str,
    kind: str,
    overlap: int | None = None,
    by: User,
    tasks: Iterable[Task] = (),
    answers: Iterable[KnownAnswer] = (),
    max_per_annotator: int | None = None,
) -> BatchReport:
    """Release tasks whose answer is known, to measure annotators by.

    Which number a response gets is dealt anew, so that a copy is not told by its numbers. Nobody is given two of these
    responses both here and in an ordinary task. So tasks that show two of them and still await rankings await no more
    of them, what is ranked or being ranked staying as it is: their order is known.

    Args:
        kind: ``qualification`` or ``gold``.
        overlap: how many annotators can rank each task of a gold batch; up to 1000, since every annotator of the
            project should. A qualification has a place for whoever needs one, whatever is said here.
        by: who releases it; the known answers of ``answers`` are theirs.
        tasks: of the project, with ``gold_tiers``: their prompts, responses and known answers are copied.
        answers: more of them.

    Raises:
        Refusal: there is none or more than 1000, one is not of the project or has no known answer, tiers are no
            order of the responses, the kind is another one, a number is missing or out of range, or the
            name is taken.
    """
    if kind not in KNOWN_ANSWERS:
        raise Refusal(
            "invalid",
            f"Tasks with known answers make {' and '.join(KNOWN_ANSWERS)} batches, not {kind!r:.40}.",
            field="kind",
        )
    hands = [_of_task(task, project, by) for task in _with_all(tasks)]
    hands += [_of_answer(number, answer, project, by) for number, answer in enumerate(answers)]
    if not 0 < len(hands) <= MOST_TASKS:
        raise Refusal(
            "invalid",
            f"A batch of tasks with known answers has 1 to {MOST_TASKS} of them, not {len(hands)}.",
            field="tasks",
        )
    exam = kind == Batch.Kind.QUALIFICATION
    if overlap is None and not exam:
        raise Refusal("invalid", "Say how many annotators can rank each gold task.", field="overlap")
    batch = Batch(
        project=project,
        name=name.strip(),
        kind=kind,
        overlap=MAX_OVERLAP if exam or overlap is None else overlap,
        max_per_annotator=max_per_annotator,
    )
    save_new(batch)
    _make_tasks(batch, hands)
    if not exam:
        make_places(batch)
    return BatchReport(batch, len(hands), awaited_no_more=await_no_more(batch))


@dataclass(frozen=True, slots=True)
class _Hand:
    """A task to make: responses in the order of their new numbers."""

    prompt: Prompt
    responses: list[Response]
    tiers: list[list[int]]
    note: str
    known_by: User


def _with_all(tasks: Iterable[Task]) -> QuerySet[Task]:
    return (
        Task.objects.filter(pk__in=[task.pk for task in tasks])
        .select_related("batch", "prompt")
        .prefetch_related("task_responses__response", "reviews__reviewer")
        .order_by("pk")
    )


def _of_task(task: Task, project: Project, by: User) -> _Hand:
    if task.batch.project_id != project.pk:
        raise Refusal("invalid", f"Task {task.pk} belongs to another project than {project}.", field="tasks")
    if task.gold_tiers is None:
        raise Refusal(
            "invalid",
            f"Task {task.pk} has no known answer. Adjudicate it, or say what its answer is, first.",
            field="tasks",
        )
    said = [review for review in task.reviews.all() if review.verdict == Review.Verdict.ADJUDICATED]
    responses = {shown.position: shown.response for shown in task.task_responses.all()}
    note, known_by = (said[-1].note, said[-1].reviewer) if said else ("", by)
    return _shuffled(task.prompt, responses, task.gold_tiers, note, known_by)


def _of_answer(at: int, answer: KnownAnswer, project: Project, by: User) -> _Hand:
    field = f"answers[{at}]"

    def wrong(sentence: str) -> Refusal:
        return Refusal("invalid", f"Answer {at + 1}: {sentence}", field=field)

    if answer.prompt.project_id != project.pk:
        raise wrong(f"prompt {answer.prompt.pk} belongs to another project than {project}.")
    if not MIN_RESPONSES <= len(answer.responses) <= MAX_RESPONSES:
        raise wrong(f"a task has {MIN_RESPONSES} to {MAX_RESPONSES} responses, not {len(answer.responses)}.")
    for response in answer.responses:
        if response.prompt_id != answer.prompt.pk:
            raise wrong(f"response {response.pk} answers another prompt than {answer.prompt.pk}.")
    if len({response.pk for response in answer.responses}) < len(answer.responses):
        raise wrong("a response stands twice.")
    try:
        tiers = check_tiers(answer.tiers, set(range(len(answer.responses))), project)
        note = check_note(answer.note)
    except Refusal as refusal:
        raise wrong(refusal.sentence) from refusal
    return _shuffled(answer.prompt, dict(enumerate(answer.responses)), tiers, note, by)


def _shuffled(
    prompt: Prompt, responses: dict[int, Response], tiers: Tiers, note: str, known_by: User
) -> _Hand:
    before = sorted(responses)
    secrets.SystemRandom().shuffle(before)
    now = {old: new for new, old in enumerate(before)}
    return _Hand(
        prompt=prompt,
        responses=[responses[number] for number in before],
        tiers=[[now[number] for number in tier] for tier in tiers],
        note=note,
        known_by=known_by,
    )


def _make_tasks(batch: Batch, hands: Sequence[_Hand]) -> None:
    # Nobody can tell from a seed which of their tasks come from here: it decides that, see `measuring.gold_is_due`.
    tasks = Task.objects.bulk_create(
        Task(
            batch=batch,
            prompt=hand.prompt,
            overlap=batch.overlap,
            seed=secrets.randbits(63),
            gold_tiers=hand.tiers,
        )
        for hand in hands
    )
    TaskResponse.objects.bulk_create(
        TaskResponse(task=task, response=response, position=position)
        for task, hand in zip(tasks, hands, strict=True)
        for position, response in enumerate(hand.responses)
    )
    for task, hand in zip(tasks, hands, strict=True):
        _adjudication(task, hand.known_by, hand.note)


def _adjudication(task: Task, by: User, note: str, version: str = "") -> Review:
    return Review.objects.create(
        task=task,
        reviewer=by,
        verdict=Review.Verdict.ADJUDICATED,
        tiers=task.gold_tiers,
        note=note,
        version=version,
    )
