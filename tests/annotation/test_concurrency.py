"""The invariants of places and rankings, with many connections at work at once."""

from __future__ import annotations

import random
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import Count

from annotation.assigning import (
    SKIPS_THAT_CLOSE,
    expire_leases,
    next_assignment,
    renew_lease,
    return_lease,
    skip,
)
from annotation.batching import batch_progress, close_batch, compose_batch, is_complete
from annotation.importing import import_prompts
from annotation.models import Assignment, Batch, Project, Ranking, Source, User
from annotation.projects import create_project, create_user
from annotation.refusals import Refusal
from annotation.submitting import amend, current_rankings, submit
from tests.annotation.conftest import ORDER, Compose, People, answer, run_out, take
from tests.annotation.parallel import all_at_once

pytestmark = pytest.mark.django_db(transaction=True)


def work_to_the_end(annotator: User, project: Project) -> int:
    done = 0
    while (place := next_assignment(annotator=annotator, project=project)) is not None:
        answer(place)
        done += 1
    return done


def test_two_annotators_never_get_the_same_place(project: Project, people: People, compose: Compose) -> None:
    compose(8, overlap=2)
    annotators = people(16)

    places = all_at_once([partial(take, annotator, project) for annotator in annotators])

    assert len({place.pk for place in places}) == 16
    assert Counter(Assignment.objects.values_list("state", flat=True)) == {"leased": 16}


def test_16_threads_never_exceed_the_overlap_and_fill_every_place(
    project: Project, people: People, compose: Compose
) -> None:
    batch = compose(6, overlap=3)
    annotators = people(16)

    done = all_at_once([partial(work_to_the_end, annotator, project) for annotator in annotators])

    assert sum(done) == 18
    by_task = batch.tasks.annotate(
        rankings_=Count("rankings"), annotators_=Count("rankings__annotator", distinct=True)
    )
    assert {(task.rankings_, task.annotators_) for task in by_task} == {(3, 3)}
    assert is_complete(batch)


def test_tabs_of_one_annotator_share_one_lease(project: Project, people: People, compose: Compose) -> None:
    compose(8)
    (annotator,) = people(1)

    places = all_at_once([partial(take, annotator, project)] * 8)

    assert len({(place.pk, place.lease) for place in places}) == 1
    assert Assignment.objects.filter(state="leased").count() == 1


def test_tabs_of_one_annotator_share_the_place_ahead(
    project: Project, people: People, compose: Compose
) -> None:
    compose(8)
    (annotator,) = people(1)
    first = take(annotator, project)

    places = all_at_once([partial(take, annotator, project, besides=[first.public_id])] * 8)

    assert len({(place.pk, place.lease) for place in places}) == 1
    assert Assignment.objects.filter(state="leased").count() == 2


def test_submitting_at_once_with_one_key_is_submitting_once(
    project: Project, people: People, compose: Compose
) -> None:
    compose(1)
    (annotator,) = people(1)
    place = take(annotator, project)
    call = partial(
        submit,
        annotator=annotator,
        assignment_id=place.pk,
        lease=place.lease,
        key=uuid.uuid4(),
        tiers=ORDER,
    )

    rankings = all_at_once([call] * 8)

    assert {ranking.pk for ranking in rankings} == {Ranking.objects.get().pk}


def test_submitting_at_once_with_many_keys_keeps_one_and_tells_the_others(
    project: Project, people: People, compose: Compose
) -> None:
    compose(1)
    (annotator,) = people(1)
    place = take(annotator, project)

    outcomes = all_at_once([partial(answer, place)] * 8)

    assert Ranking.objects.count() == 1
    refused = [outcome for outcome in outcomes if isinstance(outcome, Refusal)]
    assert [refusal.code for refusal in refused] == ["conflict"] * 7


def test_one_key_for_two_places_at_once_answers_one_of_them(
    project: Project, people: People, compose: Compose
) -> None:
    compose(2, overlap=1)
    (annotator,) = people(1)
    first = take(annotator, project)
    # A lease a project is the rule; a second one is forced to reach the database's own constraint.
    second = Assignment.objects.exclude(pk=first.pk).get()
    Assignment.objects.filter(pk=second.pk).update(
        state="leased",
        annotator=annotator,
        lease=uuid.uuid4(),
        leased_until=first.leased_until,
        shown_order=[0, 1, 2, 3],
    )
    second.refresh_from_db()
    key = uuid.uuid4()

    outcomes = all_at_once(
        [
            partial(
                submit,
                annotator=annotator,
                assignment_id=place.pk,
                lease=place.lease,
                key=key,
                tiers=ORDER,
            )
            for place in (first, second)
        ]
    )

    assert Ranking.objects.count() == 1
    (refusal,) = [outcome for outcome in outcomes if isinstance(outcome, Refusal)]
    assert refusal.field == "key"
    assert Assignment.objects.filter(state="submitted").count() == 1


def test_an_expired_place_goes_to_its_late_holder_or_to_the_next_but_never_to_both(
    project: Project, people: People, compose: Compose
) -> None:
    for _ in range(12):
        compose(1)
        late, quick = people(2)
        place = take(late, project)
        run_out(place)

        submitted, taken = all_at_once(
            [partial(answer, place), partial(next_assignment, annotator=quick, project=project)]
        )

        if isinstance(submitted, Refusal):
            assert submitted.code == "lease_lost"
            assert taken.pk == place.pk
            answer(taken)
        else:
            assert taken is None
        assert Ranking.objects.filter(assignment=place).count() == 1


def test_amendments_at_once_are_all_kept_one_a_revision(
    project: Project, people: People, compose: Compose
) -> None:
    batch = compose(1)
    (annotator,) = people(1)
    place = take(annotator, project)
    answer(place)

    all_at_once(
        [
            partial(amend, annotator=annotator, assignment_id=place.pk, key=uuid.uuid4(), tiers=ORDER)
            for _ in range(8)
        ]
    )

    assert list(place.rankings.values_list("revision", flat=True).order_by("revision")) == list(range(1, 10))
    assert current_rankings(batch).get().revision == 9


def test_no_ranking_slips_in_behind_a_closed_batch(
    project: Project, people: People, compose: Compose
) -> None:
    batch = compose(8)
    places = [take(annotator, project) for annotator in people(8)]

    def close_and_count() -> int:
        close_batch(batch)
        return Ranking.objects.count()

    counted, *outcomes = all_at_once([close_and_count, *[partial(answer, place) for place in places]])

    kept = [outcome for outcome in outcomes if not isinstance(outcome, Refusal)]
    assert Ranking.objects.count() == counted == len(kept)
    assert {o.code for o in outcomes if isinstance(o, Refusal)} <= {"closed"}


def test_a_lease_taken_while_the_batch_closes_ends_with_it(
    project: Project, people: People, compose: Compose
) -> None:
    batch = compose(1)
    (annotator,) = people(1)
    leased, closing_done = threading.Event(), threading.Event()

    def lease_slowly() -> Assignment:
        with transaction.atomic():
            place = take(annotator, project)
            leased.set()
            wait_until_blocked_or(closing_done)
        return place

    def close() -> None:
        assert leased.wait(30)
        close_batch(batch)
        closing_done.set()

    place, _ = all_at_once([lease_slowly, close])

    assert next_assignment(annotator=annotator, project=project) is None
    assert Assignment.objects.get().state == "open"
    with pytest.raises(Refusal) as refusal:
        renew_lease(assignment=place, annotator=annotator, lease=place.lease)
    assert refusal.value.code == "closed"


def test_a_batch_that_is_being_closed_hands_out_no_place(
    project: Project, people: People, compose: Compose
) -> None:
    batch = compose(1)
    (annotator,) = people(1)
    closed, asked = threading.Event(), threading.Event()

    def close_slowly() -> None:
        with transaction.atomic():
            close_batch(batch)
            closed.set()
            wait_until_blocked_or(asked)

    def ask() -> Assignment | None:
        assert closed.wait(30)
        place = next_assignment(annotator=annotator, project=project)
        asked.set()
        return place

    _, place = all_at_once([close_slowly, ask])

    assert place is None


def slowly(call: Callable[[], Any], started: threading.Event, done: threading.Event) -> None:
    with transaction.atomic():
        call()
        started.set()
        wait_until_blocked_or(done)


@pytest.mark.parametrize("thing", ["project", "project of another name with its slug", "user", "batch"])
def test_a_name_taken_at_the_same_moment_is_refused(
    thing: str, project: Project, manager: User, sources: list[Source], compose: Compose
) -> None:
    prompts = list(compose(1).project.prompts.all())
    first = {
        "project": partial(create_project, name="Twice", created_by=manager),
        "user": partial(create_user, username="twice"),
        "batch": partial(
            compose_batch,
            project=project,
            name="Twice",
            prompts=prompts,
            sources=sources,
            responses_per_task=2,
            overlap=1,
        ),
    }[thing.split()[0]]
    second = partial(first, name="Twice!") if "slug" in thing else first
    started, done = threading.Event(), threading.Event()

    def late() -> None:
        assert started.wait(30)
        try:
            second()
        finally:
            done.set()

    _, refusal = all_at_once([partial(slowly, first, started, done), late])

    assert isinstance(refusal, Refusal)
    assert refusal.code == "conflict"
    assert refusal.field == ("username" if thing == "user" else "name")


def wait_until_blocked_or(done: threading.Event) -> None:
    """Hold this transaction until another waits for its locks, or the other is done without waiting."""
    with connection.cursor() as cursor:
        while not done.wait(0.02):
            cursor.execute(
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"
            )
            if cursor.fetchone()[0]:
                return


def test_skips_at_once_are_all_counted(project: Project, people: People, compose: Compose) -> None:
    annotators = people(8)
    for _ in range(8):
        batch = compose(1, overlap=8)
        places = [take(annotator, project) for annotator in annotators]

        all_at_once(
            [
                partial(skip, assignment=place, annotator=place.annotator, lease=place.lease)
                for place in places[:SKIPS_THAT_CLOSE]
            ]
        )

        assert batch_progress(batch).skipped == SKIPS_THAT_CLOSE
        close_batch(batch)


def test_imports_at_once_keep_each_prompt_once_and_count_it_once(project: Project) -> None:
    rows = [(n, {"prompt": f"Question {n % 30}?"}) for n in range(60)]

    reports = all_at_once([partial(import_prompts, project=project, rows=rows)] * 4)

    assert project.prompts.count() == 30
    assert sum(report.created for report in reports) == 30
    assert sum(report.existing for report in reports) == 4 * 60 - 30


def test_random_work_at_once_ends_without_deadlock_and_in_order(
    project: Project, people: People, compose: Compose
) -> None:
    batches = [compose(4, overlap=3), compose(4, overlap=2, priority=1)]
    annotators = people(8)

    def work(annotator: User, seed: int) -> None:
        dice = random.Random(seed)
        while (place := next_assignment(annotator=annotator, project=project)) is not None:
            match dice.randrange(6):
                case 0:
                    skip(assignment=place, annotator=annotator, lease=place.lease)
                case 1:
                    run_out(place)
                    expire_leases()
                case 2:
                    return_lease(assignment=place, annotator=annotator, lease=place.lease)
                case _:
                    answer(place)
                    amend(annotator=annotator, assignment_id=place.pk, key=uuid.uuid4(), tiers=ORDER)

    outcomes = all_at_once([partial(work, annotator, seed) for seed, annotator in enumerate(annotators)])

    assert outcomes == [None] * 8
    for batch in batches:
        for task in batch.tasks.all():
            current = current_rankings(Ranking.objects.filter(task=task))
            assert current.count() == task.assignments.filter(state="submitted").count() <= task.overlap
            assert not current.filter(annotator__in=task.skips.values("annotator")).exists()
        assert Batch.objects.get(pk=batch.pk).state == "open"
