"""What evaluations measured: an oracle's scorecards, and people's own win rates, blind, with honest intervals."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

import numpy as np

from alignment.judgements import Judged, Rate, judge, texts_of
from alignment.models import Round, Scorecard
from annotation.answer_columns import AnswerColumns, read_latest_answers
from annotation.batching import KNOWN_ANSWERS
from annotation.models import Batch, Source, Task
from annotation.quality import batches_of
from training.engine.intervals import win_rate_by_prompt, win_rate_interval
from training.launching import artifact_path
from training.models import Run


@dataclass(frozen=True, slots=True)
class WinRate:
    """How often people preferred one source's responses to another's in the same tasks."""

    source: Source
    against: Source
    win_rate: float
    """Mean over prompts of the mean over rankings and pairs of 1 (preferred), ½ (tied), 0."""
    win_rate_low: float
    win_rate_high: float
    prompts: int
    comparisons: int
    """Pairs compared, each ranking counted apart."""


def source_win_rates(batch: Batch) -> list[WinRate]:
    """Return people's win rate of every two sources that met in a batch, see `win_rates_of`."""
    return win_rates_of(read_latest_answers(batches_of(batch)))


def win_rates_of(answers: AnswerColumns) -> list[WinRate]:
    """Return people's win rate of every two sources that met in a task, the newer source against the older.

    Rankings of one prompt are not independent, so prompts are the unit: their means are averaged, and the 95
    % interval is over prompts, see `win_rate_interval`. Unranked responses are compared with nothing. Batches whose
    answers are known tell nothing of sources.
    """
    first, second = answers.opinions.pairs
    sources, source = np.unique(answers.source, return_inverse=True)
    prompts, prompt = np.unique(answers.prompt, return_inverse=True)
    source = source.reshape(answers.source.shape)[answers.task]
    one, other = source[:, first], source[:, second]
    known = Task.objects.filter(batch__in=answers.batches, batch__kind__in=KNOWN_ANSWERS)
    judging = ~np.isin(answers.tasks, list(known.values_list("pk", flat=True)))[answers.task]
    met = answers.opinions.ordered & (one != other) & judging[:, None]
    outcome = (1 - answers.opinions.opinion) / 2
    # In ascending order of sources' keys, so the greater index is the newer source.
    pair = np.maximum(one, other) * len(sources) + np.minimum(one, other)
    of_prompt = pair * len(prompts) + prompt[answers.task][:, None]
    compared, which = np.unique(of_prompt[met], return_inverse=True)
    counts = np.bincount(which, minlength=len(compared))
    means = np.bincount(which, np.where(one > other, outcome, 1 - outcome)[met], len(compared)) / counts
    found = Source.objects.in_bulk(sources.tolist())
    rates = []
    for code in np.unique(compared // max(len(prompts), 1))[::-1].tolist():
        own = compared // len(prompts) == code
        low, high = win_rate_interval(means[own])
        rates.append(
            WinRate(
                source=found[int(sources[code // len(sources)])],
                against=found[int(sources[code % len(sources)])],
                win_rate=math.fsum(means[own]) / int(own.sum()),
                win_rate_low=low,
                win_rate_high=high,
                prompts=int(own.sum()),
                comparisons=int(counts[own].sum()),
            )
        )
    return rates


@dataclass(frozen=True, slots=True)
class Baseline:
    """What the reward model gives without training the policy: of ``n`` responses of the old model, the best."""

    n: int
    against_old: Rate
    new_against: Rate
    """The candidate against it."""
    mean_length_tokens: float
    ended_share: float
    oracle_mean: float | None
    kl_bound: float
    """The most that it is from the old model, in nats a response."""


def baseline_of(card: Scorecard) -> Baseline | None:
    """Return best-of-n sampling as a scorecard has it; None where it was not measured."""
    best = card.figures.get("best_of")
    if not best:
        return None
    names = ("win_rate", "win_rate_low", "win_rate_high")
    return Baseline(
        n=best["n"],
        against_old=Rate(*(best.get(name) for name in names)),
        new_against=Rate(*(best.get(f"new_{name}") for name in names)),
        mean_length_tokens=best["mean_length_tokens"],
        ended_share=best["ended_share"],
        oracle_mean=best["oracle_mean"],
        kl_bound=best["kl_bound"],
    )


@dataclass(frozen=True, slots=True)
class OracleComparison:
    """What an oracle says of a model's responses to held-out prompts beside another model's."""

    win_rate: float
    win_rate_low: float
    win_rate_high: float
    oracle_before: float
    """Mean score of the other model's responses."""
    oracle_after: float


def compare_with_base(card: Scorecard) -> OracleComparison | None:
    """Return how an oracle sees a candidate beside the base model that it descends from, on the same held-out prompts.

    Where the candidate was made of another candidate, the base's responses are those of the last evaluation that drew
    some, scored by the same oracle. None where there are none, or where people judged.
    """
    base = card.model_version
    while base.parent is not None:
        base = base.parent
    measured = (
        Scorecard.objects.filter(against=base, judge=card.judge, run__isnull=False).order_by("pk").last()
        if card.against_id != base.pk
        else card
    )
    if card.run is None or measured is None or measured.run is None:
        return None
    new, old = oracle_scores(card.run, "new"), oracle_scores(measured.run, "old")
    prompts = sorted(new.keys() & old.keys())
    if not prompts:
        return None
    rates = win_rate_by_prompt([new[prompt] for prompt in prompts], [old[prompt] for prompt in prompts])
    low, high = win_rate_interval(rates, seed=card.run.spec["seed"])
    return OracleComparison(
        win_rate=float(rates.mean()),
        win_rate_low=low,
        win_rate_high=high,
        oracle_before=fmean(score for prompt in prompts for score in old[prompt]),
        oracle_after=fmean(score for prompt in prompts for score in new[prompt]),
    )


def oracle_scores(run: Run, model: str) -> dict[int, list[float]]:
    """Return the oracle's scores of one model's responses in an evaluation, by prompt."""
    scores: dict[int, list[float]] = defaultdict(list)
    for draw in read_draws(run):
        if draw["model"] == model and "oracle" in draw:
            scores[draw["id"]].append(draw["oracle"])
    return scores


def read_draws(run: Run) -> Iterator[dict[str, Any]]:
    """Yield the responses that a sample or evaluate run drew, their prompts by primary key."""
    with artifact_path(run, "responses.jsonl").open(encoding="utf-8") as file:
        for line in file:
            draw = json.loads(line)
            yield {**draw, "id": int(draw["id"])}


def read_scorecard(run: Run) -> dict[str, Any]:
    """Return the figures of an evaluate run."""
    return dict(json.loads(artifact_path(run, "scorecard.json").read_text(encoding="utf-8")))


def record_scorecard(*, round: Round, run: Run) -> Scorecard:
    """Store what the evaluate run, and people where they judge, measured of the round's candidate. Once a round.

    The caller holds the lock of the round's row.
    """
    assert round.candidate is not None
    figures = read_scorecard(run)
    if round.judge == Round.Judge.PEOPLE:
        figures = figures | _peoples_figures(round, run)
    return Scorecard.objects.create(
        round=round,
        model_version=round.candidate,
        against=round.start_from,
        run=run,
        win_rate=figures["win_rate"],
        win_rate_low=figures["win_rate_low"],
        win_rate_high=figures["win_rate_high"],
        judge=figures["judge"] or "",
        figures=figures,
    )


def split_by_agreement(draws: Iterable[Mapping[str, Any]]) -> tuple[set[int], set[int]]:
    """Return the prompts that both models of an evaluation answered differently, and those that they answered alike.

    Alike but for space around it, as `annotation.batching.compose_batch` has it: nobody can prefer one of the two.

    Args:
        draws: the evaluation's, one of each model a prompt.
    """
    texts: dict[int, set[str]] = defaultdict(set)
    for draw in draws:
        if draw["model"] in ("new", "old"):
            texts[draw["id"]].add(draw["text"].strip())
    alike = {prompt for prompt, said in texts.items() if len(said) == 1}
    return texts.keys() - alike, alike


def _peoples_figures(round: Round, run: Run) -> dict[str, Any]:
    """Return people's win rate of the candidate. A prompt that both models answered alike counts ½ without being
    asked about; where people judged only some of the others, as large a share of these is counted."""
    different, alike = split_by_agreement(read_draws(run))
    batch = round.evaluation_batch
    texts = texts_of(read_draws(run))
    nobody = Judged({}, 0)
    judged = judge(batch, texts, "new", "old") if batch else nobody
    # As large a share of the ties as of the prompts that were asked about.
    ties = len(alike) * len(judged.by_prompt) / len(different) if different else len(alike)
    rates = [*judged.by_prompt.values(), *[0.5] * math.floor(ties + 0.5)]
    figures = {
        "judge": "people" if batch else None,
        **asdict(Rate.of(rates)),
        "pairs": judged.comparisons,
        "judged_prompts": len(judged.by_prompt),
        "identical_prompts": len(alike),
    }
    if best := read_scorecard(run).get("best_of"):
        of_best, of_new = (
            judge(batch, texts, *two) if batch else nobody for two in (("best_of", "old"), ("new", "best_of"))
        )
        against = asdict(Rate.of(of_new.by_prompt.values())) | {"pairs": of_new.comparisons}
        figures["best_of"] = {
            **best,
            **asdict(Rate.of(of_best.by_prompt.values())),
            "pairs": of_best.comparisons,
            **{f"new_{name}": value for name, value in against.items()},
        }
    return figures
