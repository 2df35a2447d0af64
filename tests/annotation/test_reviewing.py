"""Reviewers see what needs them, each task goes to one of them, and a verdict changes no ranking."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from annotation.answer_columns import read_answers
from annotation.batching import close_batch
from annotation.models import Batch, Flag, Project, Ranking, Review, Source, Task, User
from annotation.projects import add_member, create_user, remove_member, update_project
from annotation.quality import annotator_figures, batches_of
from annotation.refusals import Refusal
from annotation.returning import returned_note, returned_to
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
from annotation.reviewing import review_figures, review_task
from annotation.showing_reviews import Divided, divided_pairs, review_view, version_of
from annotation.submitting import amend
from tests.annotation.conftest import ORDER, Compose, People, answer, take
from tests.annotation.parallel import all_at_once

# Reviews are told apart from later rankings by their time, which stands still within a transaction.
pytestmark = pytest.mark.django_db(transaction=True)

BACKWARDS = ORDER[::-1]
Ranked = Callable[..., Task]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is, no search counts as slow."""
    monkeypatch.setattr("annotation.review_queue.SLOW_SEARCH", 1000)


@pytest.fixture
def project(project: Project) -> Project:
    return update_project(project=project, review_share=0.0)


@pytest.fixture
def reviewer(project: Project) -> User:
    return new_reviewer(project)


@pytest.fixture
def ranked(project: Project, people: People, compose: Compose) -> Ranked:
    """Makes a task that was ranked so, by one new annotator each."""

    def make(*orders: list[list[int]]) -> Task:
        batch = compose(1, overlap=len(orders))
        for annotator, tiers in zip(people(len(orders)), orders, strict=True):
            answer(take(annotator, project), tiers)
        return batch.tasks.get()

    return make


def new_reviewer(project: Project) -> User:
    user = create_user(username=f"reviewer-{uuid.uuid4().hex[:8]}")
    add_member(project=project, user=user, role="reviewer")
    return user


def flag(task: Task, kind: str) -> None:
    Flag.objects.create(ranking=task.rankings.earliest("pk"), position=0, kind=kind)


def judge(reviewer: User, task: Task, verdict: str = "accepted", **fields: Any) -> Review:
    """Give a verdict on the task as it is now."""
    version = fields.pop("version", None) or version_of(task)
    return review_task(reviewer=reviewer, task_id=task.pk, version=version, verdict=verdict, **fields)


def send_back(reviewer: User, ranking: Ranking, note: str = "Read the second response again.") -> Review:
    return judge(reviewer, ranking.task, "returned", ranking_id=ranking.pk, note=note)


def change(ranking: Ranking, tiers: list[list[int]] = BACKWARDS) -> Ranking:
    return amend(
        annotator=ranking.annotator, assignment_id=ranking.assignment_id, key=uuid.uuid4(), tiers=tiers
    )


def refusal_of(call: Callable[[], object]) -> Refusal:
    with pytest.raises(Refusal) as refused:
        call()
    return refused.value


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


def test_an_annotator_gives_no_verdict(ranked: Ranked, people: People) -> None:
    (annotator,) = people(1)
    assert refusal_of(partial(judge, annotator, ranked(ORDER, BACKWARDS))).code == "forbidden"


def test_accepting_takes_a_task_from_the_queue_and_leaves_its_rankings(
    project: Project, reviewer: User, ranked: Ranked
) -> None:
    task = ranked(ORDER, BACKWARDS)
    before = list(Ranking.objects.values())

    judge(reviewer, task)

    assert queue(project=project, reviewer=reviewer) == []
    assert list(Ranking.objects.values()) == before
    assert (task.refresh_from_db(), task.gold_tiers)[1] is None


def test_an_answer_that_came_after_a_review_is_reviewed_again(
    project: Project, reviewer: User, ranked: Ranked
) -> None:
    task = ranked(ORDER, BACKWARDS)
    judge(reviewer, task)

    change(task.rankings.get(tiers=ORDER), [[0], [1], [2], [3]])

    (waiting,) = queue(project=project, reviewer=reviewer)
    assert waiting.reasons == (Reason.LOW_AGREEMENT,)


def test_a_returned_ranking_counts_until_its_annotator_amends_it_and_then_comes_back(
    project: Project, reviewer: User, ranked: Ranked
) -> None:
    task = ranked(ORDER, BACKWARDS)
    ranking = task.rankings.get(tiers=BACKWARDS)

    send_back(reviewer, ranking)

    assert queue(project=project, reviewer=reviewer) == []
    (returned,) = returned_to(ranking.annotator, project)
    assert (returned.pk, returned.returned_note) == (ranking.pk, "Read the second response again.")
    assert not returned_to(task.rankings.get(tiers=ORDER).annotator, project).exists()
    assert review_figures(task.batch).pending == 1

    change(ranking, ORDER)

    assert not returned_to(ranking.annotator, project).exists()
    (waiting,) = queue(project=project, reviewer=reviewer)
    assert waiting.reasons == (Reason.AMENDED,), "they agree now, and the reviewer should see that"
    judge(reviewer, task)
    assert queue(project=project, reviewer=reviewer) == []
    assert sorted(Ranking.objects.values_list("assignment", "revision")) == sorted(
        [
            (ranking.assignment_id, 1),
            (ranking.assignment_id, 2),
            (task.rankings.get(revision=1, tiers=ORDER).assignment_id, 1),
        ]
    )


def test_a_return_is_over_once_a_reviewer_decides_otherwise_or_the_batch_is_closed(
    project: Project, reviewer: User, ranked: Ranked
) -> None:
    accepted, closed = ranked(ORDER, BACKWARDS), ranked(ORDER, BACKWARDS)
    for task in (accepted, closed):
        send_back(reviewer, task.rankings.first())
        assert returned_note(task.rankings.first()) is not None

    judge(reviewer, accepted)
    close_batch(closed.batch)

    for task in (accepted, closed):
        assert returned_note(task.rankings.first()) is None
        assert review_figures(task.batch).pending == 0


def test_what_cannot_be_returned_says_why(project: Project, reviewer: User, ranked: Ranked) -> None:
    task, other = ranked(ORDER, BACKWARDS), ranked(ORDER, BACKWARDS)
    mine, theirs = task.rankings.first(), other.rankings.first()

    def refused(**fields: Any) -> tuple[str, str]:
        refusal = refusal_of(partial(judge, reviewer, task, "returned", **fields))
        return refusal.code, refusal.field

    assert refused(ranking_id=mine.pk) == ("invalid", "note")
    assert refused(ranking_id=mine.pk, note="  ") == ("invalid", "note")
    assert refused(ranking_id=mine.pk, note="x" * 5001) == ("invalid", "note")
    assert refused(ranking_id=mine.pk, note="nul \x00") == ("invalid", "note")
    assert refused(note="Look again.") == ("invalid", "ranking")
    assert refused(ranking_id=theirs.pk, note="Look again.") == ("invalid", "ranking")
    assert refused(ranking_id=mine.pk, note="Look again.", tiers=ORDER) == ("invalid", "tiers")
    latest = change(mine)
    assert refused(ranking_id=mine.pk, note="Look again.") == ("invalid", "ranking"), "it was amended"
    send_back(reviewer, latest)
    assert refused(ranking_id=latest.pk, note="Look again.") == ("conflict", "")
    second = task.rankings.exclude(annotator=mine.annotator).get()
    remove_member(project=project, user=second.annotator)
    assert refused(ranking_id=second.pk, note="Look again.") == ("conflict", "")
    close_batch(task.batch)
    assert refused(ranking_id=second.pk, note="Look again.") == ("closed", "")
    assert Review.objects.count() == 1


def test_an_adjudicated_order_is_gold_and_measures_the_annotators(
    project: Project, reviewer: User, ranked: Ranked
) -> None:
    task = ranked(ORDER, BACKWARDS)
    close_batch(task.batch)
    before = list(Ranking.objects.values())

    first = judge(
        reviewer, task, "adjudicated", tiers=ORDER, note="The third response is the only right one."
    )

    task.refresh_from_db()
    assert (first.tiers, task.gold_tiers) == (ORDER, ORDER)
    figures = annotator_figures(read_answers(batches_of(task.batch)))
    known = [one.known_accuracy.value for one in figures if one.known_accuracy.value is not None]
    assert sorted(known) == [0.0, 1.0]

    judge(new_reviewer(project), task, "adjudicated", tiers=BACKWARDS)

    task.refresh_from_db()
    assert task.gold_tiers == BACKWARDS, "the later one holds"
    assert [review.tiers for review in task.reviews.all()] == [ORDER, BACKWARDS], "and the earlier one stays"
    assert list(Ranking.objects.values()) == before


@pytest.mark.parametrize(
    "tiers", [None, [], [[0], [1]], [[0], [1], [2], [9]], [[0, 0], [1], [2], [3]], "0123", [[0, 1, 2, True]]]
)
def test_an_adjudication_keeps_to_the_projects_rules(
    tiers: Any, project: Project, reviewer: User, ranked: Ranked
) -> None:
    task = ranked(ORDER, BACKWARDS)
    refusal = refusal_of(partial(judge, reviewer, task, "adjudicated", tiers=tiers))
    assert (refusal.code, refusal.field) == ("invalid", "tiers")
    assert (task.refresh_from_db(), task.gold_tiers)[1] is None
    assert not Review.objects.exists()


def test_a_verdict_on_what_has_changed_since_is_refused_and_changes_nothing(
    reviewer: User, ranked: Ranked
) -> None:
    task = ranked(ORDER, BACKWARDS)
    seen = version_of(task)
    change(task.rankings.first())
    refusal = refusal_of(partial(judge, reviewer, task, version=seen))
    assert (refusal.code, refusal.field) == ("conflict", "version")
    assert "ranking of this task was changed" in refusal.sentence
    seen = version_of(task)
    judge(reviewer, task)
    assert "was reviewed while" in refusal_of(partial(judge, reviewer, task, version=seen)).sentence
    assert refusal_of(partial(judge, reviewer, task, "postponed")).field == "verdict"
    assert Review.objects.count() == 1


def test_a_verdict_that_is_sent_again_is_answered_with_the_same_review(
    project: Project, reviewer: User, ranked: Ranked
) -> None:
    accepted, returned, adjudicated = (ranked(ORDER, BACKWARDS) for _ in range(3))
    verdicts: list[tuple[Task, dict[str, Any]]] = [
        (accepted, {"verdict": "accepted", "note": " Fine. "}),
        (
            returned,
            {"verdict": "returned", "ranking_id": returned.rankings.first().pk, "note": "Look again."},
        ),
        (adjudicated, {"verdict": "adjudicated", "tiers": ORDER}),
    ]
    for task, verdict in verdicts:
        version = version_of(task)
        first = judge(reviewer, task, version=version, **verdict)
        assert judge(reviewer, task, version=version, **verdict) == first
        # The receipt may come late: what happened since does not change what was answered.
        for ranking in task.rankings.all():
            change(ranking, [[1], [0], [2], [3]])
        close_batch(task.batch)
        assert judge(reviewer, task, version=version, **verdict) == first
    assert Review.objects.count() == 3


def test_another_verdict_on_what_one_has_judged_is_told_so(reviewer: User, ranked: Ranked) -> None:
    task = ranked(ORDER, BACKWARDS)
    version = version_of(task)
    judge(reviewer, task, version=version)
    for other in ({"verdict": "adjudicated", "tiers": ORDER}, {"note": "Fine."}):
        refusal = refusal_of(partial(judge, reviewer, task, version=version, **other))
        assert (refusal.code, refusal.field) == ("conflict", "version")
        assert "You have judged this task already (accepted)" in refusal.sentence
    theirs = refusal_of(partial(judge, new_reviewer(task.batch.project), task, version=version))
    assert "was reviewed while you had it open" in theirs.sentence
    assert Review.objects.count() == 1


def test_one_verdict_sent_several_times_at_once_is_taken_once(
    project: Project, reviewer: User, ranked: Ranked
) -> None:
    task = ranked(ORDER, BACKWARDS)
    version = version_of(task)

    outcomes = all_at_once([partial(judge, reviewer, task, version=version)] * 5)

    assert outcomes == [Review.objects.get()] * 5


def test_reviewers_who_ask_at_once_get_different_tasks(project: Project, ranked: Ranked) -> None:
    tasks = {ranked(ORDER, BACKWARDS).pk for _ in range(4)}
    reviewers = [new_reviewer(project) for _ in range(6)]

    given = all_at_once([partial(next_task, project=project, reviewer=each) for each in reviewers])

    assert sorted(given, key=str) == [*sorted(tasks, key=str), None, None]


def test_of_verdicts_at_once_one_is_taken_and_the_others_are_told(project: Project, ranked: Ranked) -> None:
    task = ranked(ORDER, BACKWARDS)
    version = version_of(task)
    reviewers = [new_reviewer(project) for _ in range(5)]

    outcomes = all_at_once([partial(judge, each, task, version=version) for each in reviewers])

    taken = [outcome for outcome in outcomes if isinstance(outcome, Review)]
    assert [review.pk for review in taken] == [Review.objects.get().pk]
    assert [refusal.code for refusal in outcomes if isinstance(refusal, Refusal)] == ["conflict"] * 4


def test_a_verdict_and_an_amendment_at_once_do_not_miss_each_other(
    project: Project, reviewer: User, ranked: Ranked
) -> None:
    """Either the verdict was on the ranking as it was, or it is refused."""
    for _ in range(8):
        task = ranked(ORDER, BACKWARDS)
        ranking = task.rankings.first()
        version = version_of(task)
        outcome, amended = all_at_once(
            [partial(judge, reviewer, task, version=version), partial(change, ranking)]
        )
        assert isinstance(amended, Ranking)
        if isinstance(outcome, Refusal):
            assert outcome.code == "conflict" and not task.reviews.exists()
        assert task.rankings.count() == 3


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


def test_a_reviewer_sees_neither_names_nor_sources(
    project: Project, reviewer: User, sources: list[Source], ranked: Ranked
) -> None:
    task = ranked(ORDER, BACKWARDS, ORDER)
    flag(task, "hallucinated")

    view = review_view(task)

    text = str(view)
    assert not any(source.name in text for source in sources)
    assert not any(ranking.annotator.username in text for ranking in task.rankings.all())
    assert [ranking["annotator"] for ranking in view["rankings"]] == [1, 2, 3]
    assert sum(len(ranking["flags"]) for ranking in view["rankings"]) == 1


def test_an_annotator_keeps_their_number_when_they_amend(reviewer: User, ranked: Ranked) -> None:
    task = ranked(ORDER, BACKWARDS, [[0], [1], [2], [3]])
    number = {ranking["id"]: ranking["annotator"] for ranking in review_view(task)["rankings"]}
    for ranking in task.rankings.all():
        latest = change(ranking)
        after = {each["id"]: each["annotator"] for each in review_view(task)["rankings"]}
        assert after[latest.pk] == number[ranking.pk]


def test_divided_pairs_are_those_that_not_all_order_alike_the_most_divided_first() -> None:
    assert divided_pairs([[[0], [1], [2]], [[0], [2], [1]], [[0, 1], [2]], [[0], [1], [2]]]) == [
        Divided(0, 1, over=3, under=0, tied=1),
        Divided(1, 2, over=3, under=1, tied=0),
    ]
    assert divided_pairs([[[0], [1]], [[1], [2]]]) == [], "no pair was ordered by both"
    assert divided_pairs([]) == []


def test_a_batchs_figures_count_verdicts_and_tasks(project: Project, reviewer: User, ranked: Ranked) -> None:
    task = ranked(ORDER, BACKWARDS)
    assert review_figures(task.batch).reviewed == 0
    send_back(reviewer, task.rankings.first())
    judge(reviewer, task, "adjudicated", tiers=ORDER)
    figures = review_figures(task.batch)
    assert (figures.complete, figures.reviewed) == (1, 1)
    assert (figures.accepted, figures.returned, figures.adjudicated, figures.pending) == (0, 1, 1, 0)


def test_a_review_never_changes(reviewer: User, ranked: Ranked) -> None:
    review = judge(reviewer, ranked(ORDER, BACKWARDS))
    for change_it in (
        lambda: Review.objects.filter(pk=review.pk).update(note="Other words."),
        lambda: Review.objects.filter(pk=review.pk).delete(),
    ):
        with pytest.raises(IntegrityError, match="never change"), transaction.atomic():
            change_it()
