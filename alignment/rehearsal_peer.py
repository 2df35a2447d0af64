"""What DPO makes of the same rankings, beside a rehearsed policy that learned from a reward model."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from alignment import round_prompts
from alignment.model_versions import model_of
from alignment.models import Round
from alignment.recipes import check_recipe
from alignment.rehearsal_waiting import Moment, RehearsalFailed, moment_of, wait_until
from alignment.round_runs import learning_spec, rankings_of, seed_of, source_to_follow
from alignment.scorecards import oracle_scores, read_draws
from alignment.sources import decoding
from training.engine.intervals import win_rate_by_prompt, win_rate_interval
from training.engine.oracles import Oracle
from training.launching import artifact_path, cancel_run, create_run
from training.models import Run


@dataclass(frozen=True, slots=True)
class Peer:
    """How the peer does against the model that the round started from; None where the round measured nothing."""

    win_rate: float | None
    win_rate_low: float | None
    win_rate_high: float | None
    oracle_mean: float | None
    seconds: float


def dpo_beside(
    round: Round,
    settings: dict[str, Any],
    number: int,
    oracle: Oracle,
    tell: Callable[[Moment], None],
) -> Peer:
    """Train the model that an ended round started from by DPO on the round's dataset, and have it answer the same
    held-out prompts. It takes no part in any decision, so it becomes no model version.

    Args:
        round: an oracle judged it.
        settings: the recipe dpo's, as far as they differ from its defaults.
        number: the round's in the rehearsal.
        oracle: the judge.
        tell: called about twice a second.

    Raises:
        RehearsalFailed: a run failed.
    """
    began = time.monotonic()
    method = check_recipe("dpo", settings)["training"]
    trained = _carry_out(round, Run.Kind.DPO, learning_spec(round, method, rankings_of(round)), number, tell)
    model = model_of(round.start_from)
    model["adapters"] = [*model["adapters"], str(artifact_path(trained, "adapter"))]
    spec = {
        "model": model,
        "data": {"prompts": str(round_prompts.held_out_file(round))},
        "method": {
            "responses": round.settings["evaluation"]["responses"],
            **decoding(source_to_follow(round)),
        },
    }
    drawn = _carry_out(round, Run.Kind.SAMPLE, spec, number, tell)
    measured = round.scorecard.run
    old = oracle_scores(measured, "old") if measured else {}
    new: dict[int, list[float]] = defaultdict(list)
    messages = {prompt.pk: prompt.messages for prompt in round_prompts.held_out_prompts(round)}
    for draw in read_draws(drawn):
        if draw["id"] in old:
            new[draw["id"]].append(oracle(messages[draw["id"]], draw["text"]))
    seconds = time.monotonic() - began
    if not new:
        return Peer(None, None, None, None, seconds)
    rates = win_rate_by_prompt(list(new.values()), [old[prompt] for prompt in new])
    low, high = win_rate_interval(rates, seed=seed_of(round, "dpo beside"))
    mean = fmean(score for scores in new.values() for score in scores)
    return Peer(float(rates.mean()), low, high, mean, seconds)


def _carry_out(
    round: Round, kind: str, spec: dict[str, Any], number: int, tell: Callable[[Moment], None]
) -> Run:
    """Ask for a run that serves no round, and return it when it has succeeded."""
    spec = {**spec, "seed": seed_of(round, f"{kind} beside")}
    run = create_run(kind=kind, spec=spec, project_id=round.project_id, queue=round.queue)

    def look() -> bool:
        run.refresh_from_db()
        if run.state in (Run.State.FAILED, Run.State.CANCELLED):
            raise RehearsalFailed(f"The {kind} run beside round {round.number} is {run.state}: {run.reason}")
        running = run.state == Run.State.RUNNING
        tell(
            moment_of(run, number, "dpo beside")
            if running
            else Moment(number, "dpo beside: waiting for a worker")
        )
        return run.state == Run.State.SUCCEEDED

    try:
        wait_until(look, number, tell)
    except BaseException:
        cancel_run(run_id=run.pk, reason="The rehearsal was stopped.")
        raise
    return run
