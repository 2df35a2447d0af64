"""What a round does in each of its states. Every step runs in a transaction that holds the lock of the round's row."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from typing import Any

from django.db.models import Count, QuerySet

from alignment import round_prompts
from alignment.datasets import build_dataset, dataset_folder, split_file
from alignment.model_versions import model_of, register_artifact
from alignment.models import ModelVersion, Round, RoundRun, Scorecard
from alignment.recipes import RECIPES
from alignment.round_states import move
from alignment.scorecards import read_draws, read_scorecard, record_scorecard, split_by_agreement
from alignment.sources import decoding, draws_for_itself, followed_source, origin_of, source_for
from annotation.batching import BatchReport, close_batch, compose_batch, is_complete
from annotation.models import Batch, Response, Source
from annotation.refusals import Refusal
from annotation.responding import store_draws
from training.engine.records import read_rankings
from training.launching import ENDPOINTS, create_run
from training.models import Run

State = Round.State
# Runs that a round cannot go on with, and how people say so.
BROKEN: dict[str, str] = {Run.State.FAILED: "failed", Run.State.CANCELLED: "was cancelled"}


def sample(round: Round) -> None:
    """Have every source draw its share of responses; then compose the batch, all sources mixed, blind."""
    drawing = [source for source in round.sources.order_by("pk") if draws_for_itself(source)]
    links = [
        _latest(round, State.SAMPLING, source) or _ask(round, State.SAMPLING, source) for source in drawing
    ]
    if not _all_succeeded(links):
        return
    asked = set(round_prompts.chosen_prompts(round).values_list("pk", flat=True))
    too_long = []
    for link in links:
        assert link.source is not None
        store_draws(source=link.source, drawn_by=link.run_id, draws=read_draws(link.run))
        unanswered = len(asked - {draw["id"] for draw in read_draws(link.run)})
        too_long.append(_too_long(unanswered, len(asked), f"for {link.source}"))
    report = compose_batch(
        project=round.project,
        name=_free_batch_name(round, f"Round {round.number}"),
        prompts=round_prompts.chosen_prompts(round),
        sources=list(round.sources.order_by("pk")),
        responses_per_task=round.responses_per_task,
        overlap=round.overlap,
        kind=Batch.Kind.ANNOTATION,
        seed=_seed(round, "batch"),
        drawn_by=[
            *(link.run_id for link in links),
            # The rows' own order would make every one of them distinct.
            *_brought(round).order_by().values_list("drawn_by", flat=True).distinct(),
        ],
    )
    round.batch = report.batch
    move(round, State.ANNOTATING, reason=" ".join(filter(None, [_left_out(report), *too_long])))


def annotate(round: Round) -> None:
    """Wait until every place of the batch is ranked, or a manager closed it."""
    assert round.batch is not None
    if _finish(round.batch):
        move(round, State.BUILDING)


def build(round: Round) -> None:
    """Freeze the rankings into a dataset."""
    assert round.batch is not None
    settings = round.settings["dataset"]
    batches = [round.batch]
    if settings["batches"] == "all":
        batches = list(round.project.batches.filter(state=Batch.State.CLOSED).order_by("pk"))
    dataset = build_dataset(
        project=round.project,
        batches=batches,
        settings={name: value for name, value in settings.items() if name != "batches"},
        created_by=round.created_by,
    )
    recipe = RECIPES[round.recipe]
    if not any(map(recipe.teaches, read_rankings(split_file(dataset, "train")))):
        raise Refusal(
            "conflict",
            f"There is nothing to train on: the {dataset.train_rankings} training rankings of {dataset} {recipe.lack}. "
            "Cancel this round, and let the next one have more tasks or more rankings a task.",
        )
    round.dataset = dataset
    move(round, State.TRAINING)


def train(round: Round) -> None:
    """Have the recipe's run made of the dataset; its artifact becomes the candidate."""
    link = _latest(round, State.TRAINING) or _ask(round, State.TRAINING)
    if not _all_succeeded([link]):
        return
    round.candidate = register_artifact(
        run=link.run,
        parent=round.start_from,
        dataset=round.dataset,
        name=_free_version_name(round, f"{round.recipe}-round-{round.number}"),
    )
    move(round, State.EVALUATING)


def evaluate(round: Round) -> None:
    """Sample the candidate and the model it was made of on held-out prompts; an oracle scores them, or
    people are asked, where there is a difference to ask about."""
    if not round_prompts.held_out_prompts(round).exists():
        move(round, State.DECIDING, reason="The project has no held-out prompts, so nothing was measured.")
        return
    link = _latest(round, State.EVALUATING) or _ask(round, State.EVALUATING)
    if not _all_succeeded([link]):
        return
    figures = read_scorecard(link.run)
    left_out = figures.get("left_out", 0)
    too_long = _too_long(left_out, figures["prompts"] + left_out, "for one of the two models", "held-out ")
    if round.judge == Round.Judge.ORACLE:
        record_scorecard(round=round, run=link.run)
        move(round, State.DECIDING, reason=too_long)
    else:
        different, alike = split_by_agreement(read_draws(link.run))
        if different:
            round.evaluation_batch = _compose_evaluation(round, link.run, different)
            said = _answered_alike(len(alike), len(alike) + len(different))
            move(round, State.JUDGING, reason=" ".join(filter(None, [said, too_long])))
        else:
            record_scorecard(round=round, run=link.run)
            move(
                round,
                State.DECIDING,
                reason=" ".join(
                    filter(
                        None,
                        [
                            "Both models answered every held-out prompt alike, so there was nothing to compare.",
                            too_long,
                        ],
                    )
                ),
            )


def judge(round: Round) -> None:
    """Wait until people have compared the candidate with the model it was made of."""
    assert round.evaluation_batch is not None
    link = _latest(round, State.EVALUATING)
    assert link is not None
    if _finish(round.evaluation_batch):
        card = record_scorecard(round=round, run=link.run)
        nobody = "Nobody compared the two models, so there is no win rate."
        move(round, State.DECIDING, reason=nobody if card.win_rate is None else "")


def weigh(round: Round) -> None:
    """Decide by the win rate's interval, if a manager does not."""
    if round.decision != Round.Decision.INTERVAL:
        return
    card = Scorecard.objects.filter(round=round).first()
    if card is None or card.win_rate_low is None:
        decide(round, State.REJECTED, "Rejected: nothing was measured on held-out prompts.")
        return
    measured = f"the win rate is {card.win_rate:.1%} ({card.win_rate_low:.1%} to {card.win_rate_high:.1%})"
    if card.win_rate_low > 0.5:
        decide(round, State.PROMOTED, f"Promoted: {measured}, clear of one half.")
    else:
        decide(round, State.REJECTED, f"Rejected: {measured}, not clear of one half.")


STEPS: dict[str, Callable[[Round], None]] = {
    State.SAMPLING: sample,
    State.ANNOTATING: annotate,
    State.BUILDING: build,
    State.TRAINING: train,
    State.EVALUATING: evaluate,
    State.JUDGING: judge,
    State.DECIDING: weigh,
}


def decide(round: Round, to: str, reason: str) -> None:
    """Promote or reject the candidate; a promoted one gets a source that decodes as its predecessor's did.

    Raises:
        Refusal: the round awaits no decision.
    """
    if round.state != State.DECIDING:
        raise Refusal("conflict", f"Round {round.number} is {round.state}; it awaits no decision.")
    move(round, to, reason=reason)
    assert round.candidate is not None
    if to == State.PROMOTED:
        round.candidate.state = ModelVersion.State.PROMOTED
        source_for(round.candidate, settings=_source_to_follow(round).settings)
    else:
        round.candidate.state = ModelVersion.State.REJECTED
    round.candidate.save(update_fields=["state"])


def ask_again(round: Round) -> None:
    """Ask anew for the runs that failed in the state that is retried.

    Where all sample runs succeeded, their responses could not be made into tasks, so all are drawn anew.
    """
    if round.state not in (State.SAMPLING, State.TRAINING, State.EVALUATING):
        return
    latest: dict[int | None, RoundRun] = {
        link.source_id: link
        for link in round.round_runs.filter(step=round.state)
        .select_related("run", "source")
        .order_by("attempt")
    }
    broken = [link for link in latest.values() if link.run.state in BROKEN]
    waiting = any(link.run.state in (Run.State.QUEUED, Run.State.RUNNING) for link in latest.values())
    if not broken and not waiting and round.state == State.SAMPLING:
        broken = list(latest.values())
    for link in broken:
        _ask(round, round.state, link.source, attempt=link.attempt + 1)


def _ask(round: Round, step: str, source: Source | None = None, attempt: int = 1) -> RoundRun:
    """Ask training for a run; in one transaction with the round's link to it, so it is asked for once."""
    kind, spec, queue = ASKED_IN[step](round, source)
    spec["seed"] = _seed(round, step, source, attempt)
    run = create_run(kind=kind, spec=spec, project_id=round.project_id, queue=queue)
    return RoundRun.objects.create(round=round, run=run, step=step, source=source, attempt=attempt)


def _sample_run(round: Round, source: Source | None) -> tuple[str, dict[str, Any], str]:
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
    brought = dict(
        _brought(round).order_by().values_list("prompt").annotate(texts=Count("text", distinct=True))
    )
    chosen = round_prompts.chosen_prompts(round).values_list("pk", flat=True)
    fewest = min((brought.get(prompt, 0) for prompt in chosen), default=0)
    even = math.ceil(round.responses_per_task / len(sources))
    return max(even, math.ceil((round.responses_per_task - fewest) / drawing))


def _brought(round: Round) -> QuerySet[Response]:
    """Return what imports and people among the round's sources say to its prompts."""
    return Response.objects.filter(
        prompt__in=round_prompts.chosen_prompts(round),
        source__in=[source for source in round.sources.all() if not draws_for_itself(source)],
    )


def _left_out(report: BatchReport) -> str:
    """Return what people are told of the prompts that got no task; nothing where all got one."""
    asked = report.tasks + sum(report.left_out.values())
    return " ".join(
        f"{count} of {asked} prompts {'is' if count == 1 else 'are'} left out: {why}."
        for why, count in report.left_out.items()
    )


def _too_long(unanswered: int, asked: int, whom: str, which: str = "") -> str:
    """Return what people are told of the prompts that a run left out; nothing where it answered all."""
    if not unanswered:
        return ""
    those = "is" if unanswered == 1 else "are"
    return f"{unanswered} of {asked} {which}prompts {those} too long {whom}."


def _training_run(round: Round, source: Source | None) -> tuple[str, dict[str, Any], str]:
    assert round.dataset is not None
    folder = dataset_folder(round.dataset)
    decoded_with = decoding(_source_to_follow(round))
    spec = {
        "model": model_of(round.start_from),
        "endpoint": None,
        "data": {
            "train": str(folder / "train.parquet"),
            "held_out": str(folder / "held_out.parquet") if round.dataset.held_out_rankings else None,
        },
        "method": {
            **round.settings["training"],
            "system_prompt": decoded_with["system_prompt"],
            "give_context": decoded_with["give_context"],
        },
        "processes": round.settings.get("processes", 1),
    }
    return RECIPES[round.recipe].kind, spec, round.queue


def _evaluate_run(round: Round, source: Source | None) -> tuple[str, dict[str, Any], str]:
    assert round.candidate is not None and round.dataset is not None
    by_oracle = round.judge == Round.Judge.ORACLE
    held_out = dataset_folder(round.dataset) / "held_out.parquet"
    spec = {
        "model": model_of(round.candidate),
        "endpoint": None,
        "data": {
            "prompts": str(round_prompts.held_out_file(round)),
            "rankings": str(held_out) if round.dataset.held_out_rankings else None,
        },
        "method": {
            "old": model_of(round.start_from),
            "oracle": round.oracle or None,
            "responses": round.settings["evaluation"]["responses"] if by_oracle else 1,
            **decoding(_source_to_follow(round)),
        },
    }
    return Run.Kind.EVALUATE, spec, round.queue


# Kind, spec (but for the seed) and queue of the run that a state asks for.
ASKED_IN: dict[str, Callable[[Round, Source | None], tuple[str, dict[str, Any], str]]] = {
    State.SAMPLING: _sample_run,
    State.TRAINING: _training_run,
    State.EVALUATING: _evaluate_run,
}


def _answered_alike(alike: int, prompts: int) -> str:
    if not alike:
        return ""
    return (
        f"Both models answered {alike} of {prompts} held-out prompts alike; these count as ties, and nobody is asked "
        "about them."
    )


def _compose_evaluation(round: Round, run: Run, prompts: set[int]) -> Batch:
    """Make pairs of the evaluation's responses to the prompts, new against old, for people to compare blind."""
    assert round.candidate is not None
    old = _old_source(round)
    new = source_for(round.candidate, settings=old.settings)
    drawn = list(read_draws(run))
    for source, model in ((new, "new"), (old, "old")):
        store_draws(source=source, drawn_by=run.pk, draws=[draw for draw in drawn if draw["model"] == model])
    report = compose_batch(
        project=round.project,
        name=_free_batch_name(round, f"Round {round.number}, new against old"),
        prompts=round.project.prompts.filter(pk__in=prompts),
        sources=[new, old],
        responses_per_task=2,
        overlap=round.settings["evaluation"]["overlap"] or round.overlap,
        kind=Batch.Kind.EVALUATION,
        seed=_seed(round, "evaluation batch"),
        drawn_by=[run.pk],
    )
    return report.batch


def _latest(round: Round, step: str, source: Source | None = None) -> RoundRun | None:
    links = round.round_runs.filter(step=step, source=source).select_related("run", "source")
    return links.order_by("-attempt").first()


def _all_succeeded(links: list[RoundRun]) -> bool:
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


def _finish(batch: Batch) -> bool:
    """Whether the batch takes no more answers; a complete one is closed, so that what is built on it stays true."""
    if batch.state != Batch.State.CLOSED and is_complete(batch):
        close_batch(batch)
        return True
    return batch.state == Batch.State.CLOSED


def _source_to_follow(round: Round) -> Source:
    return followed_source(round) or source_for(round.start_from)


def _old_source(round: Round) -> Source:
    """Return the source of what the round starts from that decodes as its evaluation does."""
    followed = _source_to_follow(round)
    if followed.model_source.model_version_id == round.start_from_id:
        return followed
    return source_for(round.start_from, settings=followed.settings)


def _seed(round: Round, what: str, source: Source | None = None, attempt: int = 1) -> int:
    """Return a seed of its own for each thing that the round draws, the same wherever the round is repeated."""
    of = (source.name, source.settings.get("seed", 0)) if source else ()
    text = json.dumps([round.seed, round.number, what, *of, attempt])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def _free_batch_name(round: Round, stem: str) -> str:
    return _free(stem, round.project.batches.values_list("name", flat=True))


def _free_version_name(round: Round, stem: str) -> str:
    return _free(stem, round.project.model_versions.values_list("name", flat=True))


def _free(stem: str, names: Any) -> str:
    taken, name, number = set(names), stem, 1
    while name in taken:
        number += 1
        name = f"{stem} ({number})"
    return name
