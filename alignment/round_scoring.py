"""Which tasks of a round reward models disagree about, so that people rank those first.

The project's newest reward models score the responses before anybody ranks them, in runs of their own: those that were
trained on the same model, shown prompts alike, are adapters on one copy of it and share a run. No web process computes
anything of it: what the runs leave is read back, as numbers.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from django.conf import settings
from scipy.special import expit, xlogy

from alignment import round_prompts
from alignment.models import Round, RoundRun
from alignment.recipes import annotation_settings
from alignment.round_runs import BROKEN, brought, reward_folder, seed_of
from alignment.run_files import write_lines
from annotation.models import Batch, Response, TaskResponse
from annotation.uncertainty import set_uncertainty
from training.launching import artifact_path, create_run
from training.models import Run
from training.refusals import Refusal as TrainingRefusal

State = Round.State


def scoring_of(round: Round, drawing: Sequence[RoundRun]) -> list[RoundRun]:
    """Return the runs that score what the sample runs ``drawing`` drew; empty where none was asked for."""
    drawn = max((link.pk for link in drawing), default=0)
    links = round.round_runs.filter(step=State.SAMPLING, source=None, pk__gt=drawn)
    return list(links.select_related("run", "source").order_by("number"))


def ask_scoring(round: Round, drawing: Sequence[RoundRun]) -> list[RoundRun]:
    """Ask for the runs that score the responses to the round's prompts, one a model that reward models were trained on.

    Empty where the settings want no scores, or the project has no finished reward model.
    """
    models = _reward_models(round)
    if not models:
        return []
    prompts = round_prompts.prompts_file(round)
    found = Response.objects.filter(
        prompt__in=round_prompts.chosen_prompts(round),
        source__in=round.sources.all(),
        drawn_by__in=drawn_by(round, drawing),
    )
    responses = write_lines(
        Path(settings.RANKLOOP_HOME) / "responses",
        (
            {"id": str(pk), "prompt": str(prompt), "text": text}
            for pk, prompt, text in found.order_by("pk").values_list("pk", "prompt_id", "text")
        ),
    )
    earlier = round.round_runs.filter(step=State.SAMPLING, source=None).order_by("-attempt").first()
    attempt = 1 if earlier is None else earlier.attempt + 1
    links = []
    for number, (shown, folders) in enumerate(models):
        spec = {
            "model": shown["model"],
            "endpoint": None,
            "data": {
                "prompts": str(prompts),
                "responses": str(responses),
                "rewards": [str(folder) for folder in folders],
            },
            "method": {name: shown[name] for name in ("system_prompt", "give_context")},
            "seed": seed_of(round, f"scoring {number}", attempt=attempt),
        }
        run = create_run(kind=Run.Kind.SCORE, spec=spec, project_id=round.project_id, queue=round.queue)
        links.append(
            RoundRun.objects.create(round=round, run=run, step=State.SAMPLING, number=number, attempt=attempt)
        )
    return links


def all_ended(scoring: Sequence[RoundRun]) -> bool:
    """Whether the runs are over, well or badly: a round is not stopped by what only orders its tasks."""
    return all(link.run.state == Run.State.SUCCEEDED or link.run.state in BROKEN for link in scoring)


def drawn_by(round: Round, drawing: Sequence[RoundRun]) -> list[UUID]:
    """Return what brought the round's responses: its sample runs, and the imports among its sources."""
    return [
        *(link.run_id for link in drawing),
        # The rows' own order would make every one of them distinct.
        *brought(round).order_by().values_list("drawn_by", flat=True).distinct(),
    ]


def order_by_disagreement(round: Round, scoring: Sequence[RoundRun]) -> str:
    """Give the tasks of the round's new batch their uncertainty by what the runs scored; return what people are told of
    it, empty where the oldest tasks come first."""
    batch, settings = round.batch, annotation_settings(round)
    assert batch is not None
    if batch.order != Batch.Order.UNCERTAINTY or not settings.reward_models:
        return ""
    if not scoring:
        return "No reward model of the project is finished, so tasks come by chance until people disagree about some."
    told, count = [], 0
    scores: dict[int, list[float | None]] = defaultdict(list)
    for link in scoring:
        try:
            read, models = _read_scores(link.run)
        except TrainingRefusal as refusal:
            why = link.run.reason if link.run.state in BROKEN else refusal.sentence
            told.append(f"Reward models could not score the responses: {why}")
            continue
        for response, numbers in read.items():
            scores[response] += [None] * (count - len(scores[response])) + numbers
        count += models
    for numbers in scores.values():
        numbers += [None] * (count - len(numbers))
    if count:
        set_uncertainty(batch, _numbers(batch, scores))
        told.append(
            "One reward model scored the responses: the tasks that it is least sure of come first."
            if count == 1
            else f"{count} reward models scored the responses: the tasks that they disagree on most come first."
        )
    return " ".join(told)


def disagreement(scores_MR: np.ndarray) -> float:
    """How far reward models differ on the order of a task's responses.

    A model's odds that response i is preferred to j are by Bradley and Terry σ(r_i − r_j), which is what it was trained
    as. Of several models the number is the standard deviation of this probability over the models (the disagreement by
    which Christiano et al. 2017, "Deep reinforcement learning from human preferences", section 2.2.4, choose what
    people compare), on average over the pairs: from 0 to ½. One model cannot disagree; of it, the number is the entropy
    of its own probability in bits (uncertainty sampling: Lewis and Gale 1994, "A sequential algorithm for training text
    classifiers"), on average over the pairs: from 0 to 1, and blind to what the model is wrongly sure of.

    Args:
        scores_MR: rewards; NaN where a model did not score a response, whose pairs then say nothing. Shape: ``(models,
            responses)``.
    """
    first, second = np.triu_indices(scores_MR.shape[1], 1)
    margins_MP = scores_MR[:, first] - scores_MR[:, second]
    margins_MP = margins_MP[:, ~np.isnan(margins_MP).any(axis=0)]
    if not margins_MP.size:
        return 0.0
    odds_MP = expit(margins_MP)
    if len(odds_MP) > 1:
        return float(odds_MP.std(axis=0).mean())
    return float(-(xlogy(odds_MP, odds_MP) + xlogy(1 - odds_MP, 1 - odds_MP)).mean() / np.log(2))


def _numbers(batch: Batch, scores: Mapping[int, list[float | None]]) -> dict[int, float]:
    """Return each task's disagreement; tasks of which nothing was scored have none."""
    tasks: dict[int, list[int]] = defaultdict(list)
    rows = TaskResponse.objects.filter(task__batch=batch).order_by("task_id", "position")
    for task, response in rows.values_list("task_id", "response_id"):
        if response in scores:
            tasks[task].append(response)
    return {
        task: disagreement(np.array([scores[response] for response in responses], np.float64).T)
        for task, responses in tasks.items()
    }


def _reward_models(round: Round) -> list[tuple[dict[str, Any], list[Path]]]:
    """Return where the project's newest reward models lie whose files are there, by what they were trained on and how
    that was shown prompts; none where the round wants none."""
    settings = annotation_settings(round)
    if settings.order != Batch.Order.UNCERTAINTY:
        return []
    runs = Run.objects.filter(
        kind=Run.Kind.REWARD, state=Run.State.SUCCEEDED, project_id=round.project_id
    ).order_by("-ended_at")
    return _by_model(runs, settings.reward_models)


def _by_model(runs: Iterable[Run], most: int) -> list[tuple[dict[str, Any], list[Path]]]:
    groups: dict[str, tuple[dict[str, Any], list[Path]]] = {}
    found = 0
    for run in runs:
        if found == most:
            break
        try:
            folder = reward_folder(run)
        except TrainingRefusal:
            continue
        method = run.spec["method"]
        shown = {
            "model": run.spec["model"],
            "system_prompt": method.get("system_prompt", ""),
            "give_context": method.get("give_context", True),
        }
        groups.setdefault(json.dumps(shown, sort_keys=True), (shown, []))[1].append(folder)
        found += 1
    return list(groups.values())


def _read_scores(run: Run) -> tuple[dict[int, list[float | None]], int]:
    """Return each response's scores by a scoring run, and by how many models they are.

    Raises:
        TrainingRefusal: it left none.
    """
    with artifact_path(run, "scores.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return {int(row["id"]): row["scores"] for row in rows}, len(run.spec["data"]["rewards"])
