"""What a reviewer decided is what a dataset says of the task."""

from __future__ import annotations

import uuid
from itertools import pairwise
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignment.adjudicating import ADJUDICATED_LEAD, put_in_order
from alignment.datasets import build_dataset, dataset_folder, preview
from alignment.exporting import export
from annotation.assigning import next_assignment
from annotation.batching import close_batch, compose_batch
from annotation.models import Batch, Project, Response, Source, Task, User
from annotation.projects import add_member, create_user
from annotation.reviewing import review_task
from annotation.showing_reviews import version_of
from annotation.submitting import submit
from training.engine.records import Ranking


def test_scores_that_have_the_order_already_stay() -> None:
    scores = {0: 2.0, 1: 0.5, 2: -2.5}
    assert put_in_order(scores, [[0], [1], [2]]) == pytest.approx(scores)


def test_scores_in_the_other_order_meet_in_the_middle_a_lead_apart() -> None:
    """By hand: the mean of 1 and -1 is 0; half a lead above it, and half below."""
    assert put_in_order({0: 1.0, 1: -1.0}, [[1], [0]], lead=1.0) == pytest.approx({1: 0.5, 0: -0.5})


def test_those_of_a_tier_share_their_mean() -> None:
    assert put_in_order({0: 3.0, 1: 1.0, 2: -4.0}, [[0, 1], [2]], lead=1.0) == pytest.approx(
        {0: 2.0, 1: 2.0, 2: -4.0}
    )


@st.composite
def orders(draw: st.DrawFn) -> tuple[dict[int, float], list[list[int]]]:
    tier_of = draw(st.lists(st.integers(0, 8), min_size=2, max_size=9))
    scores = {number: draw(st.floats(-8, 8)) for number in range(len(tier_of))}
    tiers = [[n for n, tier in enumerate(tier_of) if tier == each] for each in sorted(set(tier_of))]
    return scores, tiers


@given(orders())
def test_tiers_are_a_lead_apart_and_nothing_nearer_is_there(
    case: tuple[dict[int, float], list[list[int]]],
) -> None:
    scores, tiers = case
    put = put_in_order(scores, tiers)

    assert put.keys() == scores.keys()
    assert all(len({put[number] for number in tier}) == 1 for tier in tiers)
    for better, worse in pairwise(tiers):
        assert put[better[0]] - put[worse[0]] >= ADJUDICATED_LEAD - 1e-9
    # The means agree over each run of tiers that stand exactly a lead apart, which makes it the nearest.
    run: list[int] = []
    for place, tier in enumerate(tiers):
        run += tier
        last = place + 1 == len(tiers)
        if last or put[tier[0]] - put[tiers[place + 1][0]] > ADJUDICATED_LEAD + 1e-9:
            assert sum(put[n] - scores[n] for n in run) == pytest.approx(0, abs=1e-6)
            run = []


@pytest.fixture
def batch(project: Project) -> Batch:
    """Two tasks of three responses, each ranked 0, 1, 2 by three annotators, and closed."""
    source = Source.objects.create(project=project, name="a", kind="import")
    prompts = list(project.prompts.filter(split="train")[:2])
    Response.objects.bulk_create(
        Response(prompt=prompt, source=source, drawn_by=uuid.uuid4(), index=index, text=f"{index}")
        for prompt in prompts
        for index in range(3)
    )
    batch = compose_batch(
        project=project, name="b", prompts=prompts, sources=[source], responses_per_task=3, overlap=3
    ).batch
    for name in ("ann", "bob", "cyd"):
        user = create_user(username=name)
        add_member(project=project, user=user, role="annotator")
        while place := next_assignment(annotator=user, project=project):
            submit(
                annotator=user,
                assignment_id=place.pk,
                lease=place.lease,
                key=uuid.uuid4(),
                tiers=[[0], [1], [2]],
            )
    return close_batch(batch)


def adjudicate(task: Task, tiers: list[list[int]], by: str) -> None:
    reviewer = User.objects.filter(username=by).first() or create_user(username=by)
    add_member(project=task.batch.project, user=reviewer, role="reviewer")
    review_task(
        reviewer=reviewer, task_id=task.pk, version=version_of(task), verdict="adjudicated", tiers=tiers
    )


def records(project: Project, batch: Batch) -> dict[str, Ranking]:
    dataset = build_dataset(project=project, batches=[batch])
    return {record.meta["task"]: record for record in preview(dataset)}


def odds(record: Ranking) -> Any:
    return [record.scores[better[0]] - record.scores[worse[0]] for better, worse in pairwise(record.tiers)]


@pytest.mark.django_db
def test_an_adjudicated_order_is_the_tasks_and_its_scores_say_so(project: Project, batch: Batch) -> None:
    one, other = batch.tasks.order_by("pk")
    before = records(project, batch)
    adjudicate(one, [[2], [0, 1]], by="rita")

    after = records(project, batch)

    decided = after[str(one.pk)]
    assert decided.tiers == [[2], [0, 1]] and decided.meta["adjudicated"] is True
    assert odds(decided)[0] >= ADJUDICATED_LEAD - 1e-6
    assert decided.scores[0] == decided.scores[1]
    assert Ranking.from_record(decided.to_record()) == decided, "the engine takes it"
    untouched = after[str(other.pk)]
    assert untouched.tiers == before[str(other.pk)].tiers and "adjudicated" not in untouched.meta
    assert decided.meta["rankings"] == 3


@pytest.mark.django_db
def test_exports_in_parquet_say_which_tasks_were_adjudicated(project: Project, batch: Batch) -> None:
    one, other = batch.tasks.order_by("pk")
    adjudicate(one, [[2], [0, 1]], by="rita")
    made = export(build_dataset(project=project, batches=[batch]), shape="rankings", format="parquet")
    held_out = export(
        build_dataset(project=project, batches=[batch]), shape="rankings", split="held_out", format="parquet"
    )
    assert pq.read_schema(held_out.path) == pq.read_schema(made.path), "splits are loaded together"
    meta = {row["meta"]["task"]: row["meta"] for row in pq.read_table(made.path).to_pylist()}
    assert [meta[str(task.pk)]["adjudicated"] for task in (one, other)] == [True, None]
    assert "aspect" not in meta[str(one.pk)]


@pytest.mark.django_db
def test_the_latest_adjudication_holds_and_each_makes_a_dataset_of_its_own(
    project: Project, batch: Batch
) -> None:
    task = batch.tasks.earliest("pk")
    first = build_dataset(project=project, batches=[batch])
    adjudicate(task, [[2], [0], [1]], by="rita")
    second = build_dataset(project=project, batches=[batch])
    adjudicate(task, [[1], [2], [0]], by="sam")
    third = build_dataset(project=project, batches=[batch])

    assert records(project, batch)[str(task.pk)].tiers == [[1], [2], [0]]
    assert len({first.sha256, second.sha256, third.sha256}) == 3
    assert build_dataset(project=project, batches=[batch]) == third
    card = (dataset_folder(third) / "README.md").read_text()
    assert (third.card["adjudicated"], first.card["adjudicated"]) == (1, 0)
    assert "Of 1 task, marked `adjudicated`" in card
    assert "adjudicated" not in (dataset_folder(first) / "README.md").read_text()
    assert third.card["annotators"]["count"] == 3 == len(third.card["annotators"]["reliability"])
