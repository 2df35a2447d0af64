"""A judge at work: asking for its run, and taking in what the run left.

Its run is one as all others: of kind *sample* on the queue of endpoints, or of kind *score* on that of accelerators. So
it is claimed, resumed, tried again and cancelled as they are.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from alignment.judges.asking import LAYOUT, MOST_RAW, NoRanking, question, read_answer
from alignment.judges.models import Judge, Judgement, Judging
from alignment.judges.orders import is_drawn, orders_of
from alignment.model_versions import FORMS
from alignment.run_files import write_lines
from annotation.batching import KNOWN_ANSWERS
from annotation.models import Batch, Task, User
from annotation.refusals import Refusal
from training.launching import ACCELERATOR, ENDPOINTS, artifact_path, create_run, run_folder
from training.models import Run
from training.refusals import Refusal as TrainingRefusal

logger = logging.getLogger(__name__)
LONGEST_FAULT = 250
ENDED = (Run.State.SUCCEEDED, Run.State.FAILED, Run.State.CANCELLED)


def start_judging(
    *, judge: Judge, batch: Batch, share: float = 1.0, created_by: User | None = None
) -> Judging:
    """Have a judge rank the tasks of a batch, or a share of them, that it has not ranked.

    A share is of the same tasks whenever it is asked for, and a larger one holds them too. What an earlier job asked,
    whatever came of it, is not asked again.

    Raises:
        Refusal: the batch is another project's or of known answers, the share is none, the judge is archived or at
            work, or there is nothing left to ask.
    """
    if batch.project_id != judge.project_id:
        raise Refusal("invalid", f"The batch {batch} belongs to another project.", field="batch")
    if batch.kind in KNOWN_ANSWERS:
        raise Refusal(
            "invalid",
            f"The answers of the {batch.kind} batch {batch} are known: it measures people.",
            field="batch",
        )
    if not 0 < share <= 1:
        raise Refusal(
            "invalid", f"The share of tasks must be above 0 and at most 1, not {share:g}.", field="share"
        )
    with transaction.atomic():
        locked = Judge.objects.select_for_update(no_key=True).get(pk=judge.pk)
        if locked.archived_at is not None:
            raise Refusal("conflict", f"{judge} is archived. Bring it back first.")
        if locked.judgings.filter(ended_at__isnull=True).exists():
            raise Refusal("conflict", f"{judge} is at work already. It does one batch after the other.")
        waiting = list(_unasked(locked, batch, share))
        if not waiting:
            raise Refusal("conflict", f"{judge} has ranked all that it was asked of {batch}.", field="batch")
        run = _create_run(locked, waiting)
        return Judging.objects.create(
            judge=locked,
            batch=batch,
            run=run,
            share=share,
            asked=sum(len(orders) for _, orders in waiting),
            layout=LAYOUT if locked.kind == Judge.Kind.ENDPOINT else "",
            created_by=created_by,
        )


def take_in(judging_id: int) -> None:
    """Store what a judging's run answered, once the run has ended; of one that failed or was cancelled, what it had
    answered by then. Does nothing before, or a second time."""
    with transaction.atomic():
        judging = (
            Judging.objects.select_for_update(of=("self",)).select_related("judge", "run").get(pk=judging_id)
        )
        if judging.ended_at is not None or judging.run.state not in ENDED:
            return
        Judgement.objects.bulk_create(_answers(judging), batch_size=500, ignore_conflicts=True)
        judging.ended_at = timezone.now()
        judging.save(update_fields=["ended_at"])


def take_in_all() -> None:
    """Store what every judging's run answered that has ended."""
    for pk in Judging.objects.filter(ended_at__isnull=True, run__state__in=ENDED).values_list(
        "pk", flat=True
    ):
        try:
            take_in(pk)
        except Exception:
            logger.exception("judging=%s could not be taken in; the next tick tries again", pk)


def _unasked(judge: Judge, batch: Batch, share: float) -> Iterator[tuple[Task, list[tuple[int, list[int]]]]]:
    """Yield the tasks with the numbers and orders that the judge was not asked in."""
    asked = set(Judgement.objects.filter(judge=judge, task__batch=batch).values_list("task_id", "order"))
    tasks = batch.tasks.select_related("prompt").prefetch_related("task_responses__response").order_by("pk")
    for task in tasks.iterator(chunk_size=500):
        if not is_drawn(judge, task.pk, share):
            continue
        numbers = [each.position for each in task.task_responses.all()]
        orders = [numbers] if judge.kind == Judge.Kind.REWARD else orders_of(judge.orders, task.pk, numbers)
        left = [(number, order) for number, order in enumerate(orders) if (task.pk, number) not in asked]
        if left:
            yield task, left


def _create_run(judge: Judge, waiting: list[tuple[Task, list[tuple[int, list[int]]]]]) -> Run:
    if judge.kind == Judge.Kind.REWARD:
        reward = judge.reward_run
        assert reward is not None
        artifact = reward.artifacts.filter(name__in=FORMS).order_by("name").first()
        folder = artifact_path(reward, artifact.name if artifact else "adapter")
        told = reward.spec.get("method", {})
        spec: dict[str, Any] = {
            "model": reward.spec["model"],
            "endpoint": None,
            "data": {
                "prompts": str(_write(_asked(task) for task, _ in waiting)),
                "responses": str(_write(each for task, _ in waiting for each in _to_score(task))),
                "rewards": [str(folder)],
            },
            "method": {
                "system_prompt": told.get("system_prompt", ""),
                "give_context": told.get("give_context", True),
            },
            "seed": 0,
        }
        return create_run(kind=Run.Kind.SCORE, spec=spec, project_id=judge.project_id, queue=ACCELERATOR)
    ties = judge.project.allow_ties
    asked = (
        {"id": f"{task.pk}-{number}", "prompt": question(task, order, ties=ties), "context": []}
        for task, orders in waiting
        for number, order in orders
    )
    decoding = {name: value for name, value in judge.settings.items() if name != "seed"}
    spec = {
        "model": None,
        "endpoint": {
            "url": judge.endpoint_url,
            "model": judge.endpoint_model,
            "api_key_env": judge.endpoint_key_variable or None,
            "skip_refused": True,
        },
        "data": {"prompts": str(_write(asked))},
        "method": {"responses": 1, "system_prompt": judge.instructions, "give_context": False, **decoding},
        "seed": judge.settings.get("seed", 0),
    }
    return create_run(kind=Run.Kind.SAMPLE, spec=spec, project_id=judge.project_id, queue=ENDPOINTS)


def _asked(task: Task) -> dict[str, Any]:
    return {"id": str(task.pk), "prompt": task.prompt.messages, "context": task.prompt.context}


def _to_score(task: Task) -> Iterator[dict[str, Any]]:
    for each in task.task_responses.all():
        yield {"id": f"{task.pk}-{each.position}", "prompt": str(task.pk), "text": each.response.text}


def _write(records: Iterable[dict[str, Any]]) -> Path:
    return write_lines(Path(settings.RANKLOOP_HOME) / "judges", records)


def _answers(judging: Judging) -> list[Judgement]:
    judge = judging.judge
    tasks = {
        task.pk: [each.position for each in task.task_responses.all()]
        for task in judging.batch.tasks.prefetch_related("task_responses")
    }
    if judge.kind == Judge.Kind.REWARD:
        scores = _scores(judging.run)
        return [
            _scored(judging, task, {number: scores[task, number] for number in numbers})
            for task, numbers in tasks.items()
            if all((task, number) in scores for number in numbers)
        ]
    ties = judge.project.allow_ties
    found = []
    for record in _left(judging.run, "responses"):
        task, number = map(int, record["id"].split("-"))
        if task in tasks:
            order = orders_of(judge.orders, task, tasks[task])[number]
            found.append(_answered(judging, task, number, order, record, ties=ties))
    return found


def _left(run: Run, name: str) -> Iterator[dict[str, Any]]:
    """Yield the records that a run left: its artifact's, or where it did not come so far, its partial output's."""
    try:
        files = [artifact_path(run, f"{name}.jsonl")]
    except TrainingRefusal:  # it did not come so far, or somebody removed its files
        files = sorted(run_folder(run).glob(f"{name}-*.partial.jsonl"))
    for file in files:
        # Not by splitlines: an answer may hold a line separator of Unicode's, which JSON leaves as it is.
        for line in file.read_text(encoding="utf-8").split("\n"):
            try:
                yield json.loads(line)
            except ValueError:  # the last line of an engine that was killed as it wrote
                continue


def _scores(run: Run) -> dict[tuple[int, int], float | None]:
    """Return the scores that a run left, by task and response number; None where one was too long to be scored."""
    found: dict[tuple[int, int], float | None] = {}
    for record in _left(run, "scores"):
        # A line of the artifact is a response; one of the partial output, several.
        several = record["scores"] if "models" in record else {record["id"]: record["scores"]}
        for id, (score,) in several.items():
            task, number = map(int, id.split("-"))
            found[task, number] = score
    return found


def _answered(
    judging: Judging, task: int, number: int, order: list[int], record: dict[str, Any], *, ties: bool
) -> Judgement:
    tiers, fault = None, ""
    try:
        tiers = read_answer(record["text"], order, ties=ties)
    except NoRanking as wrong:
        fault = record.get("refused", str(wrong))[:LONGEST_FAULT]
        if record.get("finish") == "length":
            fault += f" The answer was cut at {judging.judge.settings['max_tokens']} tokens."
    return Judgement(
        judging=judging,
        judge=judging.judge,
        task_id=task,
        order=number,
        shown_order=order,
        raw=record["text"].replace("\x00", "\N{REPLACEMENT CHARACTER}")[:MOST_RAW],
        tiers=tiers,
        fault=fault,
        prompt_tokens=record.get("prompt_tokens"),
        tokens=record.get("tokens"),
    )


def _scored(judging: Judging, task: int, scores: dict[int, float | None]) -> Judgement:
    """Responses that a reward model scores alike are tied; those that are too long for it are in no tier."""
    by_score: dict[float, list[int]] = {}
    for number in sorted(scores):
        if (score := scores[number]) is not None:
            by_score.setdefault(score, []).append(number)
    tiers = [by_score[score] for score in sorted(by_score, reverse=True)]
    # What orders nothing is no ranking.
    is_ranking = sum(map(len, tiers)) > 1
    return Judgement(
        judging=judging,
        judge=judging.judge,
        task_id=task,
        order=0,
        shown_order=sorted(scores),
        raw=json.dumps([scores[number] for number in sorted(scores)]),
        tiers=tiers if is_ranking else None,
        fault="" if is_ranking else "Too long for the reward model: fewer than two responses have a score.",
    )
