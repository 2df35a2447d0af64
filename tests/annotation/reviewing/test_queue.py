"""What awaits a reviewer and why, and that each task goes to one of them."""

from __future__ import annotations

from functools import partial

import pytest

from annotation.batching import close_batch
from annotation.models import Batch, Project, Source, User
from annotation.projects import add_member, update_project
from annotation.review_queue import (
    Reason,
    claim,
    in_sample,
    next_task,
    pass_by,
    queue,
    release_claim,
    waiting_count,
)
from tests.annotation.conftest import ORDER, Compose, People, answer, take
from tests.annotation.parallel import all_at_once
from tests.annotation.reviewing.conftest import (
    BACKWARDS,
    Ranked,
    change,
    flag,
    judge,
    new_reviewer,
    refusal_of,
)

# Reviews are told apart from later rankings by their time, which stands still within a transaction.
pytestmark = pytest.mark.django_db(transaction=True)


def test_what_is_divided_flagged_or_drawn_by_chance_waits_the_most_urgent_first(
    project: Project, reviewer: User, ranked: Ranked
) -> None:
    ranked(ORDER, ORDER)
    divided = ranked(ORDER, BACKWARDS)
    truncated = ranked(ORDER, ORDER)
    flag(truncated, "truncated")
    unsafe = ranked(ORDER)
    flag(unsafe, "unsafe")

    waiting = queue(project=project, reviewer=reviewer)

    assert [(each.task, each.reasons) for each in waiting] == [
        (unsafe.pk, (Reason.FLAGGED,)),
        (truncated.pk, (Reason.FLAGGED,)),
        (divided.pk, (Reason.LOW_AGREEMENT,)),
    ]
    assert [each.agreement for each in waiting] == [None, 1.0, 0.0]


def test_agreement_is_low_where_people_say_otherwise_more_often_than_the_same(
    project: Project, reviewer: User, ranked: Ranked
) -> None:
    """Of the six pairs of four responses, a swap of neighbours turns one, the way from first to last three."""
    ranked([[0], [1], [2], [3]], [[1], [0], [2], [3]])
    ranked([[0], [1], [2], [3]], [[1], [2], [3], [0]])  # half of the pairs: not below
    low = ranked([[0], [1], [2], [3]], [[3], [1], [2], [0]])

    (waiting,) = queue(project=project, reviewer=reviewer)

    assert waiting.task == low.pk
    assert waiting.agreement == pytest.approx(1 / 6)


def test_a_task_waits_once_it_is_ranked_to_the_end_or_its_batch_is_closed(
    project: Project, reviewer: User, people: People, compose: Compose
) -> None:
    batch = compose(1, overlap=3)
    one, other = people(2)
    answer(take(one, project))
    answer(take(other, project), BACKWARDS)
    assert queue(project=project, reviewer=reviewer) == []
    assert next_task(project=project, reviewer=reviewer) is None
    assert "not ranked to the end" in refusal_of(partial(judge, reviewer, batch.tasks.get())).sentence

    close_batch(batch)

    assert [each.batch for each in queue(project=project, reviewer=reviewer)] == [batch.pk]
    assert judge(reviewer, batch.tasks.get())


def test_only_annotation_batches_are_reviewed(project: Project, reviewer: User, ranked: Ranked) -> None:
    task = ranked(ORDER, BACKWARDS)
    Batch.objects.filter(pk=task.batch_id).update(kind="evaluation")

    assert queue(project=project, reviewer=reviewer) == []
    assert "annotation batches" in refusal_of(partial(judge, reviewer, task)).sentence


def test_the_random_share_is_the_same_for_all_and_grows_with_the_share(
    project: Project, ranked: Ranked
) -> None:
    drawn = {share: {seed for seed in range(20_000) if in_sample(seed, share)} for share in (0.0, 0.05, 0.5)}
    assert drawn[0.0] == set()
    assert drawn[0.05] < drawn[0.5]
    assert len(drawn[0.05]) / 20_000 == pytest.approx(0.05, abs=0.01)

    task = ranked(ORDER)
    project = update_project(project=project, review_share=1.0)
    for reviewer in (new_reviewer(project), new_reviewer(project)):
        (waiting,) = queue(project=project, reviewer=reviewer)
        assert (waiting.task, waiting.reasons) == (task.pk, (Reason.SAMPLE,))


def test_nobody_reviews_what_they_ranked_or_wrote(
    project: Project, people: People, compose: Compose, ranked: Ranked
) -> None:
    batch = compose(1, overlap=2)
    ranker, other = people(2)
    add_member(project=project, user=ranker, role="reviewer")
    answer(take(ranker, project))
    answer(take(other, project), BACKWARDS)
    writer = new_reviewer(project)
    task = batch.tasks.get()
    source = task.responses.first().source
    Source.objects.filter(pk=source.pk).update(kind="person", person=writer)

    for person in (ranker, writer):
        assert queue(project=project, reviewer=person) == []
        assert next_task(project=project, reviewer=person) is None
        assert refusal_of(partial(judge, person, task)).code == "forbidden"
    assert len(queue(project=project, reviewer=new_reviewer(project))) == 1


def test_an_answer_that_came_after_a_review_is_reviewed_again(
    project: Project, reviewer: User, ranked: Ranked
) -> None:
    task = ranked(ORDER, BACKWARDS)
    judge(reviewer, task)

    change(task.rankings.get(tiers=ORDER), [[0], [1], [2], [3]])

    (waiting,) = queue(project=project, reviewer=reviewer)
    assert waiting.reasons == (Reason.LOW_AGREEMENT,)


def test_reviewers_who_ask_at_once_get_different_tasks(project: Project, ranked: Ranked) -> None:
    tasks = {ranked(ORDER, BACKWARDS).pk for _ in range(4)}
    reviewers = [new_reviewer(project) for _ in range(6)]

    given = all_at_once([partial(next_task, project=project, reviewer=each) for each in reviewers])

    assert sorted(given, key=str) == [*sorted(tasks, key=str), None, None]


def test_a_task_that_somebody_has_open_goes_to_no_other_until_they_are_done(
    project: Project, ranked: Ranked
) -> None:
    first, second = ranked(ORDER, BACKWARDS), ranked(ORDER, BACKWARDS)
    one, other = new_reviewer(project), new_reviewer(project)

    assert next_task(project=project, reviewer=one) == first.pk
    assert next_task(project=project, reviewer=one) == first.pk, "still theirs"
    assert not claim(project, first.pk, other)
    release_claim(first.pk, other)
    assert next_task(project=project, reviewer=other) == second.pk

    judge(one, first)
    assert next_task(project=project, reviewer=one) is None
    pass_by(project=project, task=second.pk, reviewer=other)
    assert next_task(project=project, reviewer=one) == second.pk


def test_what_was_passed_by_comes_last(project: Project, reviewer: User, ranked: Ranked) -> None:
    tasks = [ranked(ORDER, BACKWARDS).pk for _ in range(3)]

    seen = []
    for _ in range(4):
        task = next_task(project=project, reviewer=reviewer)
        seen.append(task)
        pass_by(project=project, task=task, reviewer=reviewer)

    assert seen == [*tasks, tasks[0]]


def test_the_count_follows_a_verdict(project: Project, reviewer: User, ranked: Ranked) -> None:
    task, _ = ranked(ORDER, BACKWARDS), ranked(ORDER, BACKWARDS)
    count = partial(waiting_count, project=project, reviewer=reviewer)
    assert count() == 2
    judge(reviewer, task)
    assert count() == 1


def test_where_searching_takes_long_what_was_found_serves_several_and_nothing_is_handed_out_twice(
    project: Project, reviewer: User, ranked: Ranked, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = ranked(ORDER, BACKWARDS), ranked(ORDER, BACKWARDS)
    monkeypatch.setattr("annotation.review_queue.SLOW_SEARCH", 0)
    assert next_task(project=project, reviewer=reviewer) == first.pk
    judge(reviewer, first)
    monkeypatch.setattr("annotation.review_queue._search", lambda project: pytest.fail("searched anew"))

    assert next_task(project=project, reviewer=reviewer) == second.pk
