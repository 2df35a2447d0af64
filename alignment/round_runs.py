"""The runs that a round asks for: what each is told, and whether they are done."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.db.models import Count, QuerySet

from alignment import round_prompts
from alignment.datasets import dataset_folder
from alignment.model_versions import FORMS, model_of
from alignment.models import Round, RoundRun
from alignment.recipes import RECIPES
from alignment.sources import decoding, draws_for_itself, followed_source, origin_of, source_for
from annotation.models import Response, Source
from annotation.refusals import Refusal
from training.launching import ENDPOINTS, artifact_path, create_run
from training.models import Run
from training.refusals import Refusal as TrainingRefusal

State = Round.State
# Runs that a round cannot go on with, and how people say so.
BROKEN: dict[str, str] = {Run.State.FAILED: "failed", Run.State.CANCELLED: "was cancelled"}
Asked = tuple[str, dict[str, Any], str]
"""Kind, spec (but for the seed) and queue of a run."""


def ask(
    round: Round, step: str, source: Source | None = None, *, number: int = 0, attempt: int = 1
) -> RoundRun:
    """Ask training for a run; in one transaction with the round's link to it, so it is asked for once."""
    kind, spec, queue = ASKED_IN[step](round, source)
    spec["seed"] = seed_of(round, f"{step} {number}" if number else step, source, attempt)
    run = create_run(kind=kind, spec=spec, project_id=round.project_id, queue=queue)
    return RoundRun.objects.create(
        round=round, run=run, step=step, source=source, number=number, attempt=attempt
    )


def ask_again(round: Round) -> None:
    """Ask anew for the runs that failed in the state that is retried.

    Where all sample runs succeeded, their responses could not be made into tasks, so all are drawn anew.
    """
    if round.state not in ASKED_IN:
        return
    last: dict[tuple[int | None, int], RoundRun] = {
        (link.source_id, link.number): link
        for link in round.round_runs.filter(step=round.state)
        # What scores responses follows from what is drawn, and is asked for anew by the step itself.
        .exclude(step=State.SAMPLING, source=None)
        .select_related("run", "source")
        .order_by("attempt")
    }
    broken = [link for link in last.values() if link.run.state in BROKEN]
    waiting = any(link.run.state in (Run.State.QUEUED, Run.State.RUNNING) for link in last.values())
    if not broken and not waiting and round.state == State.SAMPLING:
        broken = list(last.values())
    for link in broken:
        ask(round, round.state, link.source, number=link.number, attempt=link.attempt + 1)


def latest(round: Round, step: str, source: Source | None = None, number: int = 0) -> RoundRun | None:
    """Return the last run that served a step, for a source or of a number."""
    links = round.round_runs.filter(step=step, source=source, number=number).select_related("run", "source")
    return links.order_by("-attempt").first()


def all_succeeded(links: list[RoundRun]) -> bool:
    """Whether all runs are done.

    Raises:
        Refusal: one has failed or was cancelled.
    """
    for link in links:
        if link.run.state in BROKEN:
            of = f" of {link.source}" if link.source else ""
            why = link.run.reason or "See its log."
            raise Refusal("conflict", f"The {link.run.kind} run{of} {BROKEN[link.run.state]}: {why}")
    return all(link.run.state == Run.State.SUCCEEDED for link in links)


def reward_runs(round: Round) -> list[RoundRun]:
    """Return the runs that make the round's reward models, by their number: those that an earlier round has done alike
    are taken over, the others are asked for."""
    wanted = round.settings["reward_models"] + round.settings["watch"]
    return [
        latest(round, State.REWARDING, number=number)
        or _taken_over(round, number)
        or ask(round, State.REWARDING, number=number)
        for number in range(wanted)
    ]


def _taken_over(round: Round, number: int) -> RoundRun | None:
    """Link the round to a reward run of an earlier one, if there is one of the same dataset (its hash is in the name of
    its folder), model, settings and seed of the round, and its files are there."""
    kind, spec, _ = _reward_run(round, None)
    alike = {f"spec__{part}": spec[part] for part in ("model", "data", "method", "processes")}
    runs = Run.objects.filter(
        kind=kind,
        state=Run.State.SUCCEEDED,
        round_runs__round__project=round.project_id,
        round_runs__round__seed=round.seed,
        round_runs__number=number,
        **alike,
    )
    for run in runs.order_by("-ended_at").distinct():
        try:
            reward_folder(run)
        except TrainingRefusal:
            continue
        return RoundRun.objects.create(
            round=round, run=run, step=State.REWARDING, number=number, taken_over=True
        )
    return None


def reward_folder(run: Run) -> Path:
    """Return where the reward model lies that a run made. Raises `TrainingRefusal` where its files are gone."""
    artifact = run.artifacts.filter(name__in=FORMS).order_by("name").first()
    return artifact_path(run, artifact.name if artifact else "adapter")


def _reward_folders(round: Round) -> tuple[list[str], str | None]:
    """Return where the reward models are that the policy learns from, and the one that watches, if there is one."""
    numbers = {
        link.number: link.run
        for link in round.round_runs.filter(step=State.REWARDING).select_related("run").order_by("attempt")
    }
    folders = [str(reward_folder(numbers[number])) for number in sorted(numbers)]
    learned = round.settings["reward_models"]
    return folders[:learned], folders[learned] if round.settings["watch"] else None


def _sample_run(round: Round, source: Source | None) -> Asked:
    assert source is not None
    spec = {
        **origin_of(source),
        "data": {"prompts": str(round_prompts.prompts_file(round))},
        "method": {"responses": _share(round), **decoding(source)},
    }
    return Run.Kind.SAMPLE, spec, ENDPOINTS if source.kind == Source.Kind.ENDPOINT else round.queue


def _share(round: Round) -> int:
    """Return how many responses a prompt each source draws: its even share, or more where what was brought
    cannot give its own, so that every prompt reaches the round's number."""
    sources = list(round.sources.all())
    drawing = sum(map(draws_for_itself, sources))
    texts = dict(brought(round).order_by().values_list("prompt").annotate(texts=Count("text", distinct=True)))
    chosen = round_prompts.chosen_prompts(round).values_list("pk", flat=True)
    fewest = min((texts.get(prompt, 0) for prompt in chosen), default=0)
    even = math.ceil(round.responses_per_task / len(sources))
    return max(even, math.ceil((round.responses_per_task - fewest) / drawing))


def brought(round: Round) -> QuerySet[Response]:
    """Return what imports and people among the round's sources say to its prompts."""
    return Response.objects.filter(
        prompt__in=round_prompts.chosen_prompts(round),
        source__in=[source for source in round.sources.all() if not draws_for_itself(source)],
    )


def _reward_run(round: Round, source: Source | None) -> Asked:
    spec = learning_spec(round, round.settings["reward"], rankings_of(round))
    return Run.Kind.REWARD, spec, round.queue


def _training_run(round: Round, source: Source | None) -> Asked:
    kind = RECIPES[round.recipe].kind
    method = round.settings["training"]
    if kind != Run.Kind.PPO:
        return kind, learning_spec(round, method, rankings_of(round)), round.queue
    rewards, watch = _reward_folders(round)
    data = {"prompts": str(round_prompts.training_file(round)), "rewards": rewards, "watch": watch}
    spec = learning_spec(round, method, data)
    spec["method"] |= {
        "max_tokens": decoding(source_to_follow(round))["max_tokens"],
        "watch_oracle": round.oracle or None,
    }
    return kind, spec, round.queue


def rankings_of(round: Round) -> dict[str, Any]:
    """Return the data of a run that learns from the round's dataset."""
    assert round.dataset is not None
    folder = dataset_folder(round.dataset)
    return {
        "train": str(folder / "train.parquet"),
        "held_out": str(folder / "held_out.parquet") if round.dataset.held_out_rankings else None,
    }


def learning_spec(round: Round, method: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """Return the spec (but for the seed) of a run that trains what the round starts from, shown prompts as its source
    shows them."""
    decoded_with = decoding(source_to_follow(round))
    return {
        "model": model_of(round.start_from),
        "endpoint": None,
        "data": data,
        "method": {
            **method,
            "system_prompt": decoded_with["system_prompt"],
            "give_context": decoded_with["give_context"],
        },
        "processes": round.settings.get("processes", 1),
    }


def _evaluate_run(round: Round, source: Source | None) -> Asked:
    assert round.candidate is not None and round.dataset is not None
    by_oracle = round.judge == Round.Judge.ORACLE
    held_out = dataset_folder(round.dataset) / "held_out.parquet"
    ranked = round.settings["evaluation"].get("pair_accuracy", True) and round.dataset.held_out_rankings
    spec: dict[str, Any] = {
        "model": model_of(round.candidate),
        "endpoint": None,
        "data": {
            "prompts": str(round_prompts.held_out_file(round)),
            "rankings": str(held_out) if ranked else None,
        },
        "method": {
            "old": model_of(round.start_from),
            "oracle": round.oracle or None,
            "responses": round.settings["evaluation"]["responses"] if by_oracle else 1,
            **decoding(source_to_follow(round)),
        },
    }
    best_of = round.settings["evaluation"].get("best_of")
    if best_of is not None:
        spec["method"] |= {"rewards": _reward_folders(round)[0], "best_of": best_of}
    return Run.Kind.EVALUATE, spec, round.queue


ASKED_IN: dict[str, Callable[[Round, Source | None], Asked]] = {
    State.SAMPLING: _sample_run,
    State.REWARDING: _reward_run,
    State.TRAINING: _training_run,
    State.EVALUATING: _evaluate_run,
}


def source_to_follow(round: Round) -> Source:
    """Return the source that says how the round's models are shown prompts, and how they decode."""
    return followed_source(round) or source_for(round.start_from)


def seed_of(round: Round, what: str, source: Source | None = None, attempt: int = 1) -> int:
    """Return a seed of its own for each thing that the round draws, the same wherever the round is repeated."""
    of = (source.name, source.settings.get("seed", 0)) if source else ()
    text = json.dumps([round.seed, round.number, what, *of, attempt])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
