"""The two batches that a round has people work on: what it learns from, and what it is measured by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from alignment import round_prompts
from alignment.models import Round
from alignment.recipes import annotation_settings
from alignment.round_runs import seed_of, source_to_follow
from alignment.scorecards import read_draws
from alignment.sources import create_import_source, source_for
from annotation.batching import BatchReport, compose_batch
from annotation.models import Batch, Source
from annotation.responding import store_draws
from training.models import Run


def compose_annotation(round: Round, drawn_by: Sequence[UUID]) -> BatchReport:
    """Make tasks of what the round's sources say to its prompts, for people to rank blind.

    Args:
        drawn_by: the sample runs and imports whose responses are taken.
    """
    settings = annotation_settings(round)
    return compose_batch(
        project=round.project,
        name=_batch_name(round, f"Round {round.number}"),
        prompts=round_prompts.chosen_prompts(round),
        sources=list(round.sources.order_by("pk")),
        responses_per_task=round.responses_per_task,
        overlap=round.overlap,
        kind=Batch.Kind.ANNOTATION,
        seed=seed_of(round, "batch"),
        priority=settings.priority,
        order=settings.order,
        control_share=settings.control_share,
        max_per_annotator=settings.max_per_annotator,
        drawn_by=drawn_by,
    )


def compose_evaluation(round: Round, run: Run, prompts: set[int]) -> Batch:
    """Make tasks of the evaluation's responses to the prompts, new against old, and best-of-n where it was drawn, for
    people to compare blind."""
    assert round.candidate is not None
    settings = annotation_settings(round)
    old = _old_source(round)
    sources = {"new": source_for(round.candidate, settings=old.settings), "old": old}
    drawn = list(read_draws(run))
    if any(draw["model"] == "best_of" for draw in drawn):
        n = round.settings["evaluation"]["best_of"]
        names = round.project.sources.values_list("name", flat=True)
        sources["best_of"] = create_import_source(
            project=round.project, name=free_name(f"Best of {n}, round {round.number}", names)
        )
    for model, source in sources.items():
        store_draws(source=source, drawn_by=run.pk, draws=[draw for draw in drawn if draw["model"] == model])
    report = compose_batch(
        project=round.project,
        name=_batch_name(round, f"Round {round.number}, new against old"),
        prompts=round.project.prompts.filter(pk__in=prompts),
        sources=list(sources.values()),
        responses_per_task=len(sources),
        overlap=round.settings["evaluation"]["overlap"] or round.overlap,
        kind=Batch.Kind.EVALUATION,
        seed=seed_of(round, "evaluation batch"),
        priority=settings.priority,
        max_per_annotator=settings.max_per_annotator,
        drawn_by=[run.pk],
    )
    return report.batch


def free_name(stem: str, names: Iterable[str]) -> str:
    """Return the name, or where it is taken, the name with the first number that is free."""
    taken, name, number = set(names), stem, 1
    while name in taken:
        number += 1
        name = f"{stem} ({number})"
    return name


def _batch_name(round: Round, stem: str) -> str:
    return free_name(stem, round.project.batches.values_list("name", flat=True))


def _old_source(round: Round) -> Source:
    """Return the source of what the round starts from that decodes as its evaluation does."""
    followed = source_to_follow(round)
    if followed.model_source.model_version_id == round.start_from_id:
        return followed
    return source_for(round.start_from, settings=followed.settings)
