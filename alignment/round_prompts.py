"""Which prompts a round draws responses for, and the files that tell its runs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from django.conf import settings
from django.db.models import Count, Q, QuerySet

from alignment.held_out_lock import measured_prompts
from alignment.models import Round
from alignment.run_files import write_lines
from alignment.sources import draws_for_itself
from annotation.models import Batch, Prompt
from annotation.refusals import Refusal
from annotation.retiring import prompts_in_use


def chosen_prompts(round: Round) -> QuerySet[Prompt]:
    """Return the prompts to rank, by primary key; chosen at the first call, and kept with the round.

    One that is retired before it is released is left out, so that a round that failed by it can be retried. The
    caller holds the lock of the round's row.

    Raises:
        Refusal: there is no prompt to rank.
    """
    if not round.prompts.exists():
        round.prompts.set(_choose(round))
    return round.prompts.filter(retired_at=None).order_by("pk")


def prompts_file(round: Round) -> Path:
    """Return the file of `chosen_prompts`, for a sample run to read."""
    return _write(chosen_prompts(round))


def training_file(round: Round) -> Path:
    """Return the file of all prompts of the training split that are in use, for a policy to learn on by answering."""
    return _write(prompts_in_use(round.project).filter(split=Prompt.Split.TRAIN).order_by("digest"))


def held_out_prompts(round: Round) -> QuerySet[Prompt]:
    """Return the held-out prompts to evaluate on; none where the project has none.

    The same prompts in every round, as far as the settings' number goes, so that scorecards can be compared. Where the
    held-out set is locked, those of it.
    """
    prompts = measured_prompts(round.project).order_by("digest")
    return prompts[: round.settings["evaluation"]["prompts"]]


def held_out_file(round: Round) -> Path:
    """Return the file of `held_out_prompts`, for an evaluate run to read."""
    return _write(held_out_prompts(round))


def _choose(round: Round) -> Sequence[Prompt]:
    """Choose ``round.tasks`` prompts, both splits in proportion, those ranked least often first, then by a
    seeded hash."""
    prompts = _candidates(round).annotate(
        times_ranked=Count("tasks", filter=Q(tasks__batch__kind=Batch.Kind.ANNOTATION), distinct=True)
    )
    in_order = sorted(prompts, key=lambda prompt: (prompt.times_ranked, _lot(round, prompt)))
    train = [prompt for prompt in in_order if prompt.split == Prompt.Split.TRAIN]
    held_out = [prompt for prompt in in_order if prompt.split == Prompt.Split.HELD_OUT]
    if not train:
        raise Refusal(
            "conflict",
            "No prompt of the training split has responses to rank. Import prompts, or responses to them, then retry.",
        )
    tasks = min(round.tasks or len(in_order), len(in_order))
    measured = min(len(held_out), int(tasks * len(held_out) / len(in_order) + 0.5), tasks - 1)
    return train[: tasks - measured] + held_out[:measured]


def _candidates(round: Round) -> QuerySet[Prompt]:
    sources = list(round.sources.all())
    prompts = prompts_in_use(round.project)
    if any(draws_for_itself(source) for source in sources):
        return prompts
    with_enough = (
        prompts.filter(responses__source__in=sources)
        .annotate(texts=Count("responses__text", distinct=True))
        .filter(texts__gte=2)
    )
    return prompts.filter(pk__in=with_enough.values("pk"))


def _lot(round: Round, prompt: Prompt) -> str:
    return hashlib.sha256(f"{round.seed}/{round.number}/{prompt.digest}".encode()).hexdigest()


def _write(prompts: Iterable[Prompt]) -> Path:
    records = ({"id": str(p.pk), "prompt": p.messages, "context": p.context} for p in prompts)
    return write_lines(Path(settings.RANKLOOP_HOME) / "prompts", records)
