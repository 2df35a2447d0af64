"""The tables of a quality page as rows, the head first, for files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import astuple, fields

from alignment.reliability import batch_reliability, batch_win_rates
from annotation.batch_quality import BatchQuality, batch_disagreement, batch_quality
from annotation.habits import Leaning
from annotation.pacing import pace_of
from annotation.quality import Times
from annotation.ratios import Ratio
from annotation.spreadsheets import plain_cell
from frontend.quality_scope import Scope

Rows = Iterator[list[object]]
LEANINGS = ("first_shown", "longer", "formatted")


def progress(scope: Scope) -> Rows:
    yield ["since", "rankings", "so_far"]
    for step in pace_of(scope.batches).steps:
        yield [step.since.isoformat(), step.rankings, step.so_far]


def agreement(scope: Scope) -> Rows:
    yield ["since", "until", "tasks", *_head("agreement"), "nominal_alpha"]
    for one in _figures(scope).over_time:
        yield [
            one.since.isoformat(),
            one.until.isoformat(),
            one.tasks,
            *_cells(one.agreement),
            one.nominal_alpha,
        ]


def annotators(scope: Scope) -> Rows:
    yield [
        "annotator",
        "rankings",
        *(f"{each.name}_seconds" for each in fields(Times)),
        "seconds_per_1000_characters",
        *_head("agreement"),
        *_head("gold_accuracy"),
        "gold_pairs",
        *_head("known_accuracy"),
        "known_pairs",
        *_head("reliability"),
        *_head("tied_share"),
        *(head for name in LEANINGS for head in _head(name)),
    ]
    figures, reliability = _figures(scope), batch_reliability(scope.batches).figures
    for one in figures.annotators:
        habits, trust = figures.habits[one.annotator], reliability.get(one.annotator)
        yield [
            plain_cell(one.annotator),
            one.rankings,
            *(astuple(one.times) if one.times else [None] * len(fields(Times))),
            one.seconds_per_1000,
            *_cells(one.agreement),
            *_cells(one.gold_accuracy),
            one.gold_accuracy.of,
            *_cells(one.known_accuracy),
            one.known_accuracy.of,
            *([trust.value, trust.low, trust.high] if trust else [None] * 3),
            *_cells(habits.ties),
            *(cell for name in LEANINGS for cell in _leaning(getattr(habits, name))),
        ]


def pairs(scope: Scope) -> Rows:
    yield ["annotator", "other", "tasks", "pairs", "agreement", "kappa"]
    for one in _figures(scope).pairs:
        yield [
            plain_cell(one.annotator),
            plain_cell(one.other),
            one.tasks,
            one.pairs,
            one.agreement,
            one.kappa,
        ]


def aspects(scope: Scope) -> Rows:
    yield ["aspect", "ratings", "counts_from_1_up", "ordinal_alpha", *_head("with_ranking")]
    for one in _figures(scope).aspects:
        counts = " ".join(map(str, one.counts))
        yield [one.aspect, one.ratings, counts, one.alpha, *_cells(one.with_ranking)]


def sources(scope: Scope) -> Rows:
    figures = _figures(scope)
    yield ["source", "tasks", *_head("agreement"), "nominal_alpha", *figures.flags]
    for one in figures.sources:
        flags = [one.flags.get(kind, 0) for kind in figures.flags]
        yield [plain_cell(one.name), one.tasks, *_cells(one.agreement), one.nominal_alpha, *flags]


def win_rates(scope: Scope) -> Rows:
    yield ["source", "against", *_head("win_rate"), "prompts", "comparisons"]
    for one in batch_win_rates(scope.batches).figures:
        yield [
            plain_cell(one.source.name),
            plain_cell(one.against.name),
            one.win_rate,
            one.win_rate_low,
            one.win_rate_high,
            one.prompts,
            one.comparisons,
        ]


def tasks(scope: Scope) -> Rows:
    yield ["task", "disagreement"]
    disagreement = batch_disagreement(scope.batches).figures
    for task in sorted(disagreement, key=lambda task: (-disagreement[task], -task)):
        yield [task, disagreement[task]]


FILES: dict[str, Callable[[Scope], Rows]] = {
    "progress": progress,
    "agreement": agreement,
    "annotators": annotators,
    "pairs": pairs,
    "aspects": aspects,
    "sources": sources,
    "win-rates": win_rates,
    "tasks": tasks,
}


def _figures(scope: Scope) -> BatchQuality:
    return batch_quality(scope.batches).figures


def _head(name: str) -> list[str]:
    return [name, f"{name}_low", f"{name}_high"]


def _cells(ratio: Ratio) -> list[object]:
    return [ratio.value, ratio.low, ratio.high]


def _leaning(leaning: Leaning) -> list[object]:
    return [leaning.win_rate, leaning.win_rate_low, leaning.win_rate_high]
