"""Batches: composed evenly, blind and repeatably; paused, reopened, closed."""

from __future__ import annotations

import uuid
from collections import Counter
from typing import Any

import pytest

from annotation.batching import (
    BatchReport,
    batch_progress,
    close_batch,
    compose_batch,
    is_complete,
    pause_batch,
    reopen_batch,
)
from annotation.importing import import_prompts
from annotation.models import Assignment, Batch, Project, Prompt, Response, Source, Task, User
from annotation.projects import create_project
from annotation.refusals import Refusal
from tests.annotation.conftest import Compose, People, answer, take

pytestmark = pytest.mark.django_db


@pytest.fixture
def prompts(project: Project) -> list[Prompt]:
    import_prompts(project=project, rows=[(n, {"prompt": f"Question {n}?"}) for n in range(30)])
    return list(project.prompts.all())


def draw(prompts: list[Prompt], source: Source, texts: list[str], drawn_by: uuid.UUID | None = None) -> None:
    drawn_by = drawn_by or uuid.uuid4()
    Response.objects.bulk_create(
        Response(prompt=prompt, source=source, drawn_by=drawn_by, index=index, text=text)
        for prompt in prompts
        for index, text in enumerate(texts)
    )


def compose_of(prompts: list[Prompt], sources: list[Source], **changes: Any) -> BatchReport:
    given = {
        "project": sources[0].project,
        "name": uuid.uuid4().hex,
        "prompts": prompts,
        "sources": sources,
        "responses_per_task": 4,
        "overlap": 2,
    }
    return compose_batch(**{**given, **changes})


def hands(batch: Batch) -> list[list[tuple[str, str]]]:
    """Of each task, the source and text of its responses by number."""
    return [
        list(task.task_responses.values_list("response__source__name", "response__text"))
        for task in batch.tasks.order_by("pk")
    ]


def test_every_task_has_its_responses_numbered_and_its_places(
    prompts: list[Prompt], sources: list[Source]
) -> None:
    for source, letter in zip(sources, "pq", strict=True):
        draw(prompts, source, [f"{letter}{n}" for n in range(3)])

    report = compose_of(prompts, sources, overlap=3)

    assert (report.tasks, report.left_out) == (30, {})
    for task in report.batch.tasks.all():
        assert [r.position for r in task.task_responses.all()] == [0, 1, 2, 3]
        assert {r.response.prompt_id for r in task.task_responses.all()} == {task.prompt_id}
        assert list(task.assignments.values_list("place", "state", "overlap")) == [
            (place, "open", 3) for place in range(3)
        ]
    assert set(Assignment.objects.values_list("batch", flat=True)) == {report.batch.pk}


def test_sources_get_equal_shares_of_every_task(prompts: list[Prompt], sources: list[Source]) -> None:
    draw(prompts, sources[0], [f"p{n}" for n in range(6)])
    draw(prompts, sources[1], [f"q{n}" for n in range(2)])
    for hand in hands(compose_of(prompts, sources).batch):
        assert Counter(source for source, _ in hand) == {source.name: 2 for source in sources}


def test_what_does_not_divide_evenly_evens_out_over_the_batch(
    prompts: list[Prompt], sources: list[Source]
) -> None:
    for source, letter in zip(sources, "pq", strict=True):
        draw(prompts, source, [f"{letter}{n}" for n in range(3)])
    dealt = Counter(
        source
        for hand in hands(compose_of(prompts, sources, responses_per_task=3).batch)
        for source, _ in hand
    )
    assert set(dealt.values()) == {45}


def test_a_source_without_enough_responses_is_made_up_for_by_the_others(
    prompts: list[Prompt], sources: list[Source]
) -> None:
    draw(prompts, sources[0], ["p0"])
    draw(prompts, sources[1], [f"q{n}" for n in range(5)])
    for hand in hands(compose_of(prompts, sources).batch):
        assert Counter(source for source, _ in hand) == {sources[0].name: 1, sources[1].name: 3}


def test_identical_texts_are_shown_once(prompts: list[Prompt], sources: list[Source]) -> None:
    draw(prompts, sources[0], ["same", "own"])
    draw(prompts, sources[1], [" same\n", "same"])
    for hand in hands(compose_of(prompts, sources).batch):
        assert sorted(text.strip() for _, text in hand) == ["own", "same"]


def test_prompts_without_two_different_responses_are_left_out_and_counted(
    prompts: list[Prompt], sources: list[Source]
) -> None:
    draw(prompts[:10], sources[0], ["a", "b"])
    draw(prompts[10:20], sources[0], ["a", "a "])

    report = compose_of(prompts, sources)

    assert report.tasks == 10
    assert report.left_out == {"fewer than 2 different responses": 20}
    assert {task.prompt_id for task in report.batch.tasks.all()} == {prompt.pk for prompt in prompts[:10]}


def test_only_the_draws_asked_for_are_used(prompts: list[Prompt], sources: list[Source]) -> None:
    old, new = uuid.uuid4(), uuid.uuid4()
    draw(prompts, sources[0], ["old 1", "old 2"], old)
    draw(prompts, sources[0], ["new 1", "new 2"], new)
    for hand in hands(compose_of(prompts, sources, drawn_by=[new]).batch):
        assert {text for _, text in hand} == {"new 1", "new 2"}


def test_one_seed_composes_the_same_tasks_in_another_project_and_another_seed_others(
    manager: User, prompts: list[Prompt], sources: list[Source]
) -> None:
    other = create_project(name="Other", created_by=manager)
    import_prompts(project=other, rows=[(n, {"prompt": f"Question {n}?"}) for n in range(30)])
    elsewhere = [Source.objects.create(project=other, name=s.name, kind=s.kind) for s in sources]
    for where, there in ((prompts, sources), (list(other.prompts.all()), elsewhere)):
        for source, letter in zip(there, "pq", strict=True):
            draw(where, source, [f"{letter}{n}" for n in range(5)])

    first = compose_of(prompts, sources, seed=7).batch
    second = compose_of(list(other.prompts.all()), elsewhere, seed=7).batch

    assert hands(first) == hands(second)
    assert [t.seed for t in first.tasks.order_by("pk")] == [t.seed for t in second.tasks.order_by("pk")]
    assert hands(first) != hands(compose_of(prompts, sources, seed=8).batch)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"responses_per_task": 1}, "responses_per_task"),
        ({"responses_per_task": 10}, "responses_per_task"),
        ({"overlap": 0}, "overlap"),
        ({"overlap": 101}, "overlap"),
        ({"priority": 40_000}, "priority"),
        ({"kind": "party"}, "kind"),
        ({"name": ""}, "name"),
        ({"name": "taken"}, "name"),
        ({"sources": []}, "sources"),
        ({"prompts": []}, "prompts"),
    ],
)
def test_a_wrong_request_names_the_field_and_makes_nothing(
    prompts: list[Prompt], sources: list[Source], changes: dict[str, Any], field: str
) -> None:
    draw(prompts, sources[0], ["a", "b"])
    compose_of(prompts[:1], sources, name="taken")
    given = {
        "project": sources[0].project,
        "name": "new",
        "prompts": prompts,
        "sources": sources,
        "responses_per_task": 4,
        "overlap": 2,
    }
    with pytest.raises(Refusal) as refused:
        compose_batch(**{**given, **changes})
    assert refused.value.field == field
    assert Batch.objects.count() == 1
    assert Task.objects.count() == 1


def test_another_projects_sources_and_prompts_are_refused(
    manager: User, prompts: list[Prompt], sources: list[Source]
) -> None:
    draw(prompts, sources[0], ["a", "b"])
    other = create_project(name="Other", created_by=manager)
    import_prompts(project=other, rows=[(1, {"prompt": "Elsewhere?"})])
    foreign = Source.objects.create(project=other, name="foreign", kind="import")
    with pytest.raises(Refusal, match="another project"):
        compose_of(prompts, [sources[0], foreign])
    with pytest.raises(Refusal, match="another project"):
        compose_of([*prompts, other.prompts.get()], sources)
    assert not Batch.objects.exists()


def test_progress_counts_every_place_where_it_is(project: Project, people: People, compose: Compose) -> None:
    batch = compose(3, overlap=2)
    first, second = people(2)
    answer(take(first, project))
    take(second, project)
    progress = batch_progress(batch)
    assert (progress.places, progress.submitted, progress.leased, progress.open, progress.skipped) == (
        6,
        1,
        1,
        4,
        0,
    )
    assert not is_complete(batch)


def test_closing_ends_leases_is_for_good_and_makes_complete(
    project: Project, people: People, compose: Compose
) -> None:
    batch = compose(2)
    take(people(1)[0], project)

    closed = close_batch(batch)

    assert (closed.state, closed.closed_at is not None) == ("closed", True)
    assert batch_progress(batch).leased == 0
    assert is_complete(batch)
    assert close_batch(batch).closed_at == closed.closed_at
    for change in (pause_batch, reopen_batch):
        with pytest.raises(Refusal, match="closed and stays so"):
            change(batch)
