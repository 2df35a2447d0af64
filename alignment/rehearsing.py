"""Rehearsals: whole rounds with simulated annotators, through the same services and queues as people's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import combinations
from statistics import fmean
from typing import Any

from django.db import connection

from alignment.datasets import preview
from alignment.demo import GUIDELINES, fill_project
from alignment.models import Dataset, Round, Scorecard
from alignment.recipes import SMALL_MODEL_TRAINING
from alignment.rehearsal_peer import Peer, dpo_beside
from alignment.rehearsal_waiting import Moment, RehearsalFailed, moment_of, wait_until
from alignment.rounds import advance_round, cancel_round, start_round
from alignment.scorecards import compare_with_base
from alignment.simulated_annotators import SimulatedAnnotator, hire, machine_account, work_off
from annotation.models import Project, User
from annotation.projects import create_project
from annotation.refusals import Refusal
from annotation.submitting import current_rankings
from training.engine.oracles import Oracle, load_oracle
from training.engine.refusal import Refused
from training.launching import ACCELERATOR
from training.models import Run

CANCEL_ATTEMPTS = 5
MANAGER = "rehearsal"

# What brings a model of 135 M parameters somewhere in ten minutes on two cores, whatever the oracle: short replies; of
# each ranking only the clearest comparison, for which two of its responses are computed in place of all; nothing of the
# longest prompts, a sixth of them that cost a third; small steps at a high rate, since with a hundred rankings the
# steps are few, and at 1e-4 the model hardly moves; and no measurements but the oracle's in the end.
TASKS = 120
DECODING = {"max_tokens": 48}
TRAINING: dict[str, Any] = {
    **SMALL_MODEL_TRAINING,
    "max_length": 256,
    "too_long": "leave_out",
    "keep_best": False,
    "eval_saves": 100,
    "retention": False,
    "eval_samples": 0,
}
OF_RECIPE: dict[str, dict[str, Any]] = {"dpo": {"pairs": "best_worst"}}
# There are 34 held-out prompts, and most of the win rate's error is luck within a prompt, of which response is held
# to which: a third of each model narrowed one rehearsal's interval from ±11.4 to ±7.9 points, in the same time.
EVALUATION = {"responses": 3, "pair_accuracy": False}
# By the recipe ppo there is a model more to train, best-of-n and DPO to be measured beside, and responses to be drawn
# all along: so all of it is smaller. The reward model goes over the clearest comparisons twice: after once over all of
# them it hardly told better from worse (0.58 of held-out ones), and later it knows them by heart. A rollout has four
# prompts, four times each, and is one minibatch, which shares the prompts' computation; the value function is a head on
# hidden states that are computed once. The optimizer's steps are few, so a rollout has four of them and the rate stays
# high to the end: with half of them and a rate that falls to 0, the policy went 2 nats in place of 8, and rewards rose
# less. That a response is cut, as most are at that length, costs it nothing.
POLICY_TASKS = 64
POLICY_DECODING = {"max_tokens": 32}
REWARD: dict[str, Any] = {**TRAINING, "pairs": "best_worst", "epochs": 2.0}
POLICY: dict[str, Any] = {
    "episodes": 128,
    "batch_size": 16,
    "samples": 4,
    "epochs": 4,
    "learning_rate": 1e-3,
    "scheduler": "constant",
    "value": "head",
    "kl_coefficient": 0.02,
    "missing_end_penalty": 0.0,
    "shown": 4,
}
POLICY_EVALUATION = {**EVALUATION, "best_of": 4}


def default_tasks(recipe: str) -> int:
    """Return how many prompts a rehearsal of a recipe has ranked."""
    return POLICY_TASKS if recipe == "ppo" else TASKS


def default_decoding(recipe: str) -> dict[str, Any]:
    """Return the settings of the source that a rehearsal of a recipe has other than a source itself."""
    return dict(POLICY_DECODING if recipe == "ppo" else DECODING)


def default_settings(recipe: str) -> dict[str, Any]:
    """Return the settings of a recipe that a rehearsal has other than the recipe itself."""
    if recipe == "ppo":
        return {"reward": dict(REWARD), "training": dict(POLICY), "evaluation": dict(POLICY_EVALUATION)}
    return {"training": {**TRAINING, **OF_RECIPE.get(recipe, {})}, "evaluation": dict(EVALUATION)}


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What is rehearsed."""

    model: str
    rounds: int = 1
    tasks: int = TASKS
    responses: int = 4
    overlap: int = 3
    annotators: int = 4
    oracle: str = "training.engine.oracles:vader"
    recipe: str = "dpo"
    seed: int = 7
    decoding: dict[str, Any] = field(default_factory=lambda: dict(DECODING))
    """The source's settings that differ from their defaults."""
    settings: dict[str, Any] = field(default_factory=lambda: default_settings("dpo"))
    """The recipe's settings that differ from their defaults."""


@dataclass(frozen=True, slots=True)
class RoundFigures:
    """What came out of a round; None stands for what could not be measured."""

    round: int
    rankings: int
    agreement: float | None
    """Of two annotators on a pair of responses."""
    consensus_accuracy: float | None
    """Share of pairs of responses that the consensus orders as the oracle does; a tie of the consensus counts half."""
    loss_first: float | None
    """Mean training loss over the first tenth of the steps."""
    loss_last: float | None
    win_rate: float | None
    """Of the candidate against the base model, by the oracle, on held-out prompts; with its 95 % interval."""
    win_rate_low: float | None
    win_rate_high: float | None
    win_rate_previous: float | None
    """The same against the model that the round started from: the base, until a round was promoted."""
    win_rate_previous_low: float | None
    win_rate_previous_high: float | None
    oracle_before: float | None
    """Mean score of the base model's responses."""
    oracle_previous: float | None
    """Mean score of the responses of the model that the round started from."""
    oracle_after: float | None
    """Mean score of the candidate's responses."""
    state: str
    seconds: float
    reason: str = ""
    """Why the round failed."""
    best_of: int | None = None
    """Where a policy learned from a reward model: the n of best-of-n sampling by it, which is measured beside."""
    best_of_win_rate: float | None = None
    """Of best-of-n sampling against the model that the round started from, with its 95 % interval; as dpo's is."""
    best_of_win_rate_low: float | None = None
    best_of_win_rate_high: float | None = None
    dpo_win_rate: float | None = None
    """There: of DPO on the same rankings."""
    dpo_win_rate_low: float | None = None
    dpo_win_rate_high: float | None = None
    oracle_best_of: float | None = None
    oracle_dpo: float | None = None
    dpo_seconds: float | None = None
    """That DPO and its measurement took; `seconds` are the round's alone."""


def rehearse(
    rehearsal: Rehearsal, tell: Callable[[Moment], None], *, queue: str = ACCELERATOR
) -> Iterator[RoundFigures]:
    """Carry out the rounds, yielding each one's figures, those of one that fails included. Workers must be running;
    ticks are this function's own.

    Args:
        tell: called about twice a second with what is happening.
        queue: of the workers that carry out the runs.

    Raises:
        RehearsalFailed: a round failed.
        annotation.refusals.Refusal: a setting is wrong.
    """
    try:
        oracle = load_oracle(rehearsal.oracle)
    except Refused as refused:
        raise RehearsalFailed(str(refused)) from refused
    project, manager = _make_project(rehearsal)
    annotators = hire(project, max(rehearsal.annotators, rehearsal.overlap), rehearsal.seed)
    for number in range(1, rehearsal.rounds + 1):
        began = time.monotonic()
        round = start_round(
            project=project,
            recipe=rehearsal.recipe,
            settings=rehearsal.settings,
            responses_per_task=rehearsal.responses,
            overlap=rehearsal.overlap,
            tasks=rehearsal.tasks,
            seed=rehearsal.seed,
            judge=Round.Judge.ORACLE,
            oracle=rehearsal.oracle,
            decision=Round.Decision.INTERVAL,
            queue=queue,
        )
        try:
            _carry_out(round, number, annotators, oracle, tell)
        except RehearsalFailed as failed:
            _cancel(round, manager, str(failed))
            seconds = time.monotonic() - began
            yield replace(_figures(round, number, oracle, seconds), state="failed", reason=str(failed))
            raise
        except BaseException as stop:
            _cancel(round, manager, str(stop))
            raise
        figures = _figures(round, number, oracle, time.monotonic() - began)
        if rehearsal.recipe == "ppo":
            try:
                peer = dpo_beside(round, default_settings("dpo"), number, oracle, tell)
            except RehearsalFailed as failed:
                yield replace(figures, reason=str(failed))
                raise
            figures = _with_peer(figures, peer)
        yield figures


def _make_project(rehearsal: Rehearsal) -> tuple[Project, User]:
    manager = machine_account(MANAGER)
    number = Project.objects.filter(name__startswith="Rehearsal ").count() + 1
    while Project.objects.filter(name=f"Rehearsal {number}").exists():
        number += 1
    project = create_project(
        name=f"Rehearsal {number}",
        description=f"Simulated annotators who follow {rehearsal.oracle}.",
        guidelines=GUIDELINES,
        created_by=manager,
    )
    fill_project(project, location=rehearsal.model, decoding=rehearsal.decoding)
    return project, manager


def _carry_out(
    round: Round,
    number: int,
    annotators: list[SimulatedAnnotator],
    oracle: Oracle,
    tell: Callable[[Moment], None],
) -> None:
    """Advance the round until it has ended, ranking its batch when it is there."""

    def advance() -> bool:
        advance_round(round.pk)
        round.refresh_from_db()
        if round.state == Round.State.FAILED:
            raise RehearsalFailed(f"Round {round.number} failed in {round.failed_in}: {round.reason}")
        if round.state == Round.State.ANNOTATING:
            _annotate(round, number, annotators, oracle, tell)
        else:
            tell(_moment(round, number))
        return round.state in Round.ENDED

    wait_until(advance, number, tell)


def _annotate(
    round: Round,
    number: int,
    annotators: list[SimulatedAnnotator],
    oracle: Oracle,
    tell: Callable[[Moment], None],
) -> None:
    assert round.batch is not None
    places = round.batch.assignments.count()
    try:
        for done in work_off(round.batch, annotators, oracle):
            tell(Moment(number, "annotating", done, places))
    except Refused as refused:
        raise RehearsalFailed(str(refused)) from refused


def _moment(round: Round, number: int) -> Moment:
    links = round.round_runs.filter(step=round.state).select_related("run").order_by("pk")
    runs = [link.run for link in links]
    run = next((run for run in runs if run.state == Run.State.RUNNING), None)
    if run is None:
        waits = any(run.state == Run.State.QUEUED for run in runs)
        return Moment(number, f"{round.state}: waiting for a worker" if waits else round.state)
    return moment_of(run, number, round.state)


def _cancel(round: Round, manager: User, reason: str) -> None:
    """Leave nothing running: the round's runs stop with it."""
    if not connection.in_atomic_block:
        connection.close()  # interrupted in the middle of a statement, it may be good for nothing
    for attempt in range(CANCEL_ATTEMPTS):
        round.refresh_from_db()
        if round.state in Round.ENDED:
            return
        try:
            cancel_round(round=round, by=manager, reason=reason)
        except Refusal:
            # A worker was just moving the round on.
            if attempt + 1 == CANCEL_ATTEMPTS:
                raise
        else:
            return


def _figures(round: Round, number: int, oracle: Oracle, seconds: float) -> RoundFigures:
    card = Scorecard.objects.filter(round=round).first()
    figures = card.figures if card else {}
    base = compare_with_base(card) if card else None
    best = figures.get("best_of", {})
    first, last = _losses(round)
    return RoundFigures(
        round=number,
        rankings=current_rankings(round.batch).count() if round.batch else 0,
        agreement=round.dataset.card["agreement"]["agreement"] if round.dataset else None,
        consensus_accuracy=consensus_accuracy(round.dataset, oracle) if round.dataset else None,
        loss_first=first,
        loss_last=last,
        win_rate=base.win_rate if base else None,
        win_rate_low=base.win_rate_low if base else None,
        win_rate_high=base.win_rate_high if base else None,
        win_rate_previous=card.win_rate if card else None,
        win_rate_previous_low=card.win_rate_low if card else None,
        win_rate_previous_high=card.win_rate_high if card else None,
        oracle_before=base.oracle_before if base else None,
        oracle_previous=figures.get("old", {}).get("oracle_mean"),
        oracle_after=figures.get("new", {}).get("oracle_mean"),
        state=round.state,
        seconds=seconds,
        best_of=best.get("n"),
        best_of_win_rate=best.get("win_rate"),
        best_of_win_rate_low=best.get("win_rate_low"),
        best_of_win_rate_high=best.get("win_rate_high"),
        oracle_best_of=best.get("oracle_mean"),
    )


def _with_peer(figures: RoundFigures, peer: Peer) -> RoundFigures:
    return replace(
        figures,
        dpo_win_rate=peer.win_rate,
        dpo_win_rate_low=peer.win_rate_low,
        dpo_win_rate_high=peer.win_rate_high,
        oracle_dpo=peer.oracle_mean,
        dpo_seconds=peer.seconds,
    )


def consensus_accuracy(dataset: Dataset, oracle: Oracle) -> float | None:
    """Return the share of a dataset's pairs of ranked responses that are ordered as the oracle orders them.

    A tie of the consensus counts half; pairs that the oracle scores equal are left out. None without a pair.
    """
    points = []
    for split in ("train", "held_out"):
        for ranking in preview(
            dataset, split=split, limit=dataset.train_rankings + dataset.held_out_rankings
        ):
            rank = {number: place for place, tier in enumerate(ranking.tiers) for number in tier}
            score = {number: oracle(ranking.prompt, ranking.responses[number]) for number in rank}
            for one, other in combinations(rank, 2):
                gap = score[one] - score[other]
                if gap:
                    ahead = rank[other] - rank[one]
                    points.append(0.5 if ahead == 0 else float((ahead > 0) == (gap > 0)))
    return fmean(points) if points else None


def _losses(round: Round) -> tuple[float | None, float | None]:
    link = round.round_runs.filter(step=Round.State.TRAINING).order_by("-attempt").first()
    if link is None:
        return None, None
    losses = [
        value
        for value in link.run.metrics.filter(name="loss").order_by("step").values_list("value", flat=True)
        if value is not None
    ]
    tenth = max(1, len(losses) // 10)
    return (fmean(losses[:tenth]), fmean(losses[-tenth:])) if losses else (None, None)
