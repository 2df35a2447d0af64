"""What filters leave out of a dataset, that it is counted, and that a dataset without any is what it always was."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from alignment.datasets import build_dataset, content_hash, draft_dataset, preview
from alignment.models import Dataset
from alignment.narrowing import Amount
from annotation.models import Batch, Project, Ranking, Review, Source, User
from annotation.projects import create_user, set_aspects
from annotation.refusals import Refusal
from tests.alignment.test_datasets import Answer, answer, batch  # noqa: F401 (fixtures)
from tests.annotation.answered import give
from training.engine.records import Ranking as Record

pytestmark = pytest.mark.django_db


def records(dataset: Dataset) -> list[Record]:
    return [record for split in ("train", "held_out") for record in preview(dataset, split=split)]


def rate(ranking: Ranking, aspect: str, ratings: dict[int, int]) -> None:
    of = ranking.task.batch.project.aspects.get(name=aspect)
    for position, rating in ratings.items():
        ranking.aspect_ratings.create(aspect=of, position=position, rating=rating)


@pytest.fixture
def ranked(project: Project, batch: Batch, answer: Answer) -> Batch:  # noqa: F811
    """Two annotators who agree on the best of three responses and not on the others."""
    answer("ann", [[2], [0], [1]])
    answer("bob", [[2], [1], [0]])
    return batch


def test_a_dataset_without_filters_keeps_its_settings_and_so_its_hash(
    project: Project, ranked: Batch
) -> None:
    plain = build_dataset(project=project, batches=[ranked])
    assert plain.settings == {
        "batches": [ranked.pk],
        "consensus": "davidson-luce",
        "prior": 1.5,
        "tie_margin": 0.1,
    }
    nothing = {"sources": [], "flags": [], "min_margin": None, "reviewed_only": False, "aspect": ""}
    assert build_dataset(project=project, batches=[ranked], filters=nothing) == plain
    assert set(records(plain)[0].meta) == {"task", "rankings", "sources"}


def test_the_hash_of_a_dataset_is_what_it_was_before_there_were_filters(tmp_path: Path) -> None:
    for split in ("train", "held_out"):
        (tmp_path / f"{split}.parquet").write_bytes(split.encode())
    settings = {"batches": [1], "consensus": "davidson-luce", "prior": 1.0, "tie_margin": 0.1}
    assert (
        content_hash(tmp_path, settings) == "89f5895ef8710a49ccc43df0312970bb113f05dcba49259a2ce9e0a4fc9e117c"
    )


def test_filters_are_part_of_what_a_dataset_is_in_one_form(project: Project, ranked: Batch) -> None:
    b, a = (Source.objects.get(project=project, name=name).pk for name in ("b", "a"))
    first = build_dataset(project=project, batches=[ranked], filters={"sources": [b, a, b]})
    again = build_dataset(project=project, batches=[ranked], filters={"sources": [a, b]})
    plain = build_dataset(project=project, batches=[ranked])
    assert first == again != plain
    assert first.settings["filters"] == {"sources": sorted([a, b])}


def test_rankings_outside_the_days_are_left_out(project: Project, batch: Batch) -> None:  # noqa: F811
    ann, bob = (create_user(username=name) for name in ("ann", "bob"))
    early, late = datetime(2026, 3, 30, 23, 59, tzinfo=UTC), datetime(2026, 3, 31, 0, 1, tzinfo=UTC)
    for task in batch.tasks.all():
        give(task, ann, [[2], [0], [1]], at=early)
        give(task, bob, [[2], [1], [0]], at=late)
    first = build_dataset(project=project, batches=[batch], filters={"ranked_until": "2026-03-30"})
    last = build_dataset(project=project, batches=[batch], filters={"ranked_from": "2026-03-31"})
    assert {record.meta["rankings"] for record in records(first) + records(last)} == {1}
    assert records(first)[0].tiers == [[2], [0], [1]] and records(last)[0].tiers == [[2], [1], [0]]


def test_annotators_of_low_reliability_are_left_out_and_the_rest_is_fitted_anew(
    project: Project,
    batch: Batch,  # noqa: F811
    answer: Answer,  # noqa: F811
) -> None:
    answer("ann", [[2], [0], [1]])
    answer("odd", [[1], [0], [2]])
    drawn = draft_dataset(project=project, batches=[batch]).narrowed
    reliability = drawn.consensus.reliability
    least = max(reliability.values())
    strict = draft_dataset(project=project, batches=[batch], filters={"min_reliability": least}).narrowed
    kept = {vote.answer.annotator_id for one in strict.tasks for vote in one.votes}
    assert kept == {who for who, value in reliability.items() if value >= least}
    assert strict.consensus is not drawn.consensus


def test_only_responses_of_chosen_sources_stay(project: Project, ranked: Batch) -> None:
    a = Source.objects.get(project=project, name="a")
    dataset = build_dataset(project=project, batches=[ranked], filters={"sources": [a.pk]})
    found = records(dataset)
    assert {name for record in found for name in record.meta["sources"]} == {"a"}
    assert all(sum(map(len, record.tiers)) > 1 for record in found)
    for record in found:
        assert len(record.responses) == len(record.scores) == len(record.meta["sources"])
        assert sorted(n for tier in record.tiers for n in tier) == list(range(len(record.responses)))


def test_flagged_responses_are_left_out_and_the_others_keep_their_scores(
    project: Project, ranked: Batch
) -> None:
    whole = {
        record.meta["task"]: record for record in records(build_dataset(project=project, batches=[ranked]))
    }
    ranking = Ranking.objects.filter(task__batch=ranked).first()
    assert ranking is not None
    ranking.flags.create(position=0, kind="unsafe")
    dataset = build_dataset(project=project, batches=[ranked], filters={"flags": ["unsafe"]})
    changed = {record.meta["task"]: record for record in records(dataset)}[str(ranking.task_id)]
    before = whole[str(ranking.task_id)]
    assert changed.responses == before.responses[1:]
    assert changed.scores == before.scores[1:] and changed.tiers == [[1], [0]]
    none = build_dataset(project=project, batches=[ranked], filters={"flags": ["truncated"]})
    assert {record.meta["task"]: record for record in records(none)} == whole


def test_a_task_with_fewer_than_two_responses_left_is_left_out(project: Project, ranked: Batch) -> None:
    ranking = Ranking.objects.filter(task__batch=ranked).first()
    assert ranking is not None
    for position in (0, 1):
        ranking.flags.create(position=position, kind="unsafe")
    drawn = draft_dataset(project=project, batches=[ranked], filters={"flags": ["unsafe"]}).narrowed
    assert ranking.task_id not in {one.task.pk for one in drawn.tasks}
    assert sum(amount.tasks for amount in drawn.left_out[0].by_split.values()) == 1


def test_an_aspect_is_learned_from_ratings_alone(project: Project, ranked: Batch) -> None:
    set_aspects(project=project, aspects=[{"name": "accuracy", "question": "True?", "steps": 5}])
    rankings = Ranking.objects.filter(task__batch=ranked).order_by("pk")
    lonely, *others = rankings
    rate(lonely, "accuracy", {0: 5})
    for ranking in others:
        rate(ranking, "accuracy", {0: 5, 1: 2, 2: 2})
    dataset = build_dataset(project=project, batches=[ranked], filters={"aspect": "accuracy"})
    for record in records(dataset):
        assert record.meta["aspect"] == "accuracy"
        assert record.tiers == [[0], [1, 2]]
        assert record.meta["rankings"] == (1 if record.meta["task"] == str(lonely.task_id) else 2)


def test_responses_that_were_rated_low_are_left_out(project: Project, ranked: Batch) -> None:
    set_aspects(project=project, aspects=[{"name": "safety", "question": "Safe?", "steps": 5}])
    one = Ranking.objects.filter(task__batch=ranked).first()
    assert one is not None
    rate(one, "safety", {0: 2, 1: 3})
    dataset = build_dataset(
        project=project, batches=[ranked], filters={"min_rating_of": "safety", "min_rating": 3}
    )
    left = {record.meta["task"]: len(record.responses) for record in records(dataset)}
    assert left.pop(str(one.task_id)) == 2 and set(left.values()) == {3}


def test_only_tasks_that_were_reviewed_and_not_returned_since(
    project: Project, manager: User, ranked: Batch
) -> None:
    good, back, *_ = ranked.tasks.order_by("pk")
    for task in (good, back):
        Review.objects.create(task=task, reviewer=manager, verdict="accepted")
    Review.objects.create(
        task=back, reviewer=manager, verdict="returned", ranking=back.rankings.first(), note="Look again."
    )
    drawn = draft_dataset(project=project, batches=[ranked], filters={"reviewed_only": True}).narrowed
    assert [one.task.pk for one in drawn.tasks] == [good.pk]


def test_tasks_with_little_agreement_or_none_to_measure_are_left_out(
    project: Project,
    batch: Batch,  # noqa: F811
    answer: Answer,  # noqa: F811
) -> None:
    answer("ann", [[2], [0], [1]])
    alone = draft_dataset(project=project, batches=[batch], filters={"min_agreement": 0.0}).narrowed
    assert not alone.tasks
    answer("bob", [[2], [1], [0]])  # two of three pairs alike
    for least, tasks in ((0.6, 8), (0.7, 0)):
        drawn = draft_dataset(project=project, batches=[batch], filters={"min_agreement": least}).narrowed
        assert len(drawn.tasks) == tasks


def test_tasks_whose_responses_are_close_are_left_out(project: Project, ranked: Batch) -> None:
    margins = [
        max(record.scores) - min(record.scores)
        for record in records(build_dataset(project=project, batches=[ranked]))
    ]
    for least, tasks in ((min(margins), len(margins)), (max(margins) + 0.01, 0)):
        drawn = draft_dataset(project=project, batches=[ranked], filters={"min_margin": least}).narrowed
        assert len(drawn.tasks) == tasks


def test_what_each_filter_leaves_out_adds_up(project: Project, ranked: Batch) -> None:
    ranking = Ranking.objects.filter(task__batch=ranked).first()
    assert ranking is not None
    ranking.flags.create(position=2, kind="unsafe")
    a = Source.objects.get(project=project, name="a")
    drawn = draft_dataset(
        project=project,
        batches=[ranked],
        filters={"flags": ["unsafe"], "sources": [a.pk], "min_margin": 0.01, "min_agreement": 0.1},
    ).narrowed
    assert [step.name for step in drawn.left_out] == ["sources", "flags", "min_agreement", "min_margin"]
    for split, left in drawn.before.items():
        for step in drawn.left_out:
            left = left - step.by_split[split]
        assert left == drawn.after[split]
    assert drawn.before["train"] == Amount(tasks=5, rankings=10, responses=15, pairs=10)


def test_a_draft_keeps_nothing(project: Project, ranked: Batch, home: Path) -> None:
    draft_dataset(project=project, batches=[ranked], filters={"min_margin": 0.1})
    assert not Dataset.objects.exists() and not (home / "datasets").exists()


def test_a_dataset_of_nothing_is_refused(project: Project, ranked: Batch) -> None:
    with pytest.raises(Refusal, match="leave no task") as refused:
        build_dataset(project=project, batches=[ranked], filters={"min_margin": 20})
    assert refused.value.field == "filters" and not Dataset.objects.exists()


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"speed": 1}, "speed"),
        ({"min_agreement": 2}, "min_agreement"),
        ({"flags": ["rude"]}, "flags[0]"),
        ({"sources": [999_999]}, "sources"),
        ({"sources": [2**70]}, "sources"),
        ({"aspect": "charm"}, "aspect"),
        ({"min_rating": 3}, "min_rating"),
        ({"min_rating_of": "charm"}, "min_rating"),
        ({"ranked_from": "yesterday"}, "ranked_from"),
        ({"ranked_from": "2026-02-01", "ranked_until": "2026-01-01"}, "ranked_until"),
    ],
)
def test_a_wrong_filter_is_named(project: Project, ranked: Batch, wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(Refusal) as refused:
        build_dataset(project=project, batches=[ranked], filters=wrong)
    assert refused.value.field == f"filters.{field}"
