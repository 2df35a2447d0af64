"""Whatever annotators, reviewers and managers do, in whatever order: the invariants hold, each act succeeds exactly
when it should, and nothing changes but what it should change."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from annotation.assigning import (
    MOST_AHEAD,
    expire_leases,
    next_assignment,
    renew_lease,
    return_lease,
    skip,
)
from annotation.batching import close_batch, pause_batch, reopen_batch
from annotation.models import Assignment, Batch, Membership, Project, Ranking, Skip, Task, User
from annotation.refusals import Refusal
from annotation.returning import returned_rankings
from annotation.reviewing import review_task
from annotation.showing_reviews import version_of
from annotation.standing import lift_pause, pause_member, set_qualified
from annotation.submitting import amend, submit
from tests.annotation import plain_workbench as plain
from tests.annotation.conftest import Compose, People, run_out

pytestmark = pytest.mark.django_db

ANNOTATORS = 4
TIERS = [[[0], [1], [2], [3]], [[3], [2], [1], [0]], [[0, 1], [2, 3]], [[0, 1, 2, 3]]]

tabs = st.integers(0, 2 * ANNOTATORS - 1)
persons = st.integers(0, ANNOTATORS - 1)
any_of = st.integers(0, 99)
answers = st.sampled_from(range(len(TIERS)))


@dataclass
class Tab:
    """What one of an annotator's two pages last got: perhaps long out of date. ``key`` names its answer to ``place``,
    ``last`` is what it submitted last."""

    annotator: User
    place: Assignment | None = None
    ahead: Assignment | None = None
    key: uuid.UUID | None = None
    last: Ranking | None = None


@dataclass
class World:
    """What every example begins with; ``gold_is_due`` is said by each act."""

    project: Project
    manager: User
    annotators: list[User]
    batches: list[Batch]
    gold_is_due: bool = False
    happened: Counter[str] = field(default_factory=Counter)


@pytest.fixture
def world(
    project: Project,
    manager: User,
    people: People,
    compose: Compose,
    compose_gold: Compose,
    monkeypatch: pytest.MonkeyPatch,
) -> World:
    """Work of which everybody may have all and work of which each may have one; a test of two tasks, which half of the
    annotators have passed before; gold, of which two wrong answers are enough to be paused."""
    monkeypatch.setattr("annotation.measuring.FEWEST", 2)
    monkeypatch.setattr("annotation.measuring.BAD_LUCK", 0.5)
    batches = [
        compose(2, overlap=2),
        compose(3, overlap=1, max_per_annotator=1),
        compose_gold(2, kind="qualification", overlap=2),
        compose_gold(2, overlap=2),
    ]
    annotators = people(ANNOTATORS)
    for user in annotators[::2]:
        set_qualified(project=project, user=user, qualified=True)
    made = World(project, manager, annotators, batches)
    monkeypatch.setattr(
        "annotation.assigning.gold_is_due", lambda *, gold, **_: bool(gold) and made.gold_is_due
    )
    return made


def plain_copy(world: World) -> plain.Plain:
    batches = {batch.pk: plain.Batch(batch.kind, batch.max_per_annotator) for batch in world.batches}
    rows = Assignment.objects.filter(batch__in=world.batches).order_by("pk")
    of_batches = Task.objects.filter(batch__in=world.batches).order_by("pk").values_list("pk", "batch")
    tasks = {task: plain.Task(batches[batch]) for task, batch in of_batches}
    return plain.Plain(
        bar=world.project.gold_bar,
        batches=batches,
        tasks=tasks,
        places={pk: plain.Place(pk, tasks[task]) for pk, task in rows.values_list("pk", "task")},
        qualified={user.pk for user in world.annotators[::2]},
    )


class Workbench(RuleBasedStateMachine):
    """Four annotators with two pages each, a reviewer and a manager, beside a plain model of what they do."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world, self.project = world, world.project
        self.begun = transaction.savepoint()
        self.plain = plain_copy(world)
        self.tabs = [Tab(user) for user in world.annotators * 2]
        self.told: dict[int, tuple[Any, ...]] = {}
        self.read: dict[int, tuple[str, tuple[int, ...]]] = {}
        self.judged: dict[tuple[int, str], tuple[bool, int | None]] = {}

    def teardown(self) -> None:
        transaction.savepoint_rollback(self.begun)

    # What an annotator's page asks for

    @rule(at=tabs, gold=st.booleans())
    def goes_to_the_next(self, at: int, gold: bool) -> None:
        tab = self.tabs[at]
        if (found := self._lease(tab, [], gold)) is not NOT_GIVEN:
            tab.place, tab.key = found, uuid.uuid4()

    @rule(at=tabs, gold=st.booleans(), beyond=st.booleans())
    def gets_one_ahead(self, at: int, gold: bool, beyond: bool) -> None:
        tab = self.tabs[at]
        had = [tab.place, tab.ahead] if beyond else [tab.place]
        found = self._lease(tab, [place for place in had if place is not None], gold)
        if found is not NOT_GIVEN and not beyond:
            tab.ahead = found

    @rule(at=tabs, gold=st.booleans())
    def asks_for_more_than_one_ahead(self, at: int, gold: bool) -> None:
        """As no page does, and as anybody could."""
        self.goes_to_the_next(at, gold)
        self.gets_one_ahead(at, gold, beyond=False)
        self.gets_one_ahead(at, gold, beyond=True)

    @rule(at=tabs)
    def goes_on_to_the_one_ahead(self, at: int) -> None:
        tab = self.tabs[at]
        if tab.ahead is not None:
            tab.place, tab.key, tab.ahead = tab.ahead, uuid.uuid4(), None

    @rule(at=tabs, answer=answers)
    def submits(self, at: int, answer: int) -> None:
        tab = self.tabs[at]
        place = tab.place
        if place is None or (tab.last is not None and tab.last.key == tab.key):
            return
        expected = self.plain.holds(place.pk, tab.annotator.pk, place.lease)
        ranking = succeeds_if(expected, partial(self._send, tab, answer))
        if ranking is not None:
            tab.last = ranking
            self.world.happened["submitted"] += 1
            self._take(ranking, answer)

    @rule(at=tabs, gold=st.booleans(), answer=answers)
    def ranks_the_next(self, at: int, gold: bool, answer: int) -> None:
        """As people mostly do, so that tasks are ranked to their end."""
        self.goes_to_the_next(at, gold)
        self.as_it_should_be()
        self.submits(at, answer)

    @rule(at=tabs, answer=answers)
    def sends_the_same_answer_again(self, at: int, answer: int) -> None:
        """As a page does whose receipt was lost, whatever became of the answer since."""
        tab = self.tabs[at]
        if tab.last is None or tab.last.key != tab.key:
            return
        again = self._send(tab, answer)
        assert (again.pk, again.tiers) == (tab.last.pk, tab.last.tiers)

    @rule(at=tabs, answer=answers)
    def undoes_the_last_answer_and_gives_another(self, at: int, answer: int) -> None:
        last = self.tabs[at].last
        if last is not None:
            self._amend(self.tabs[at].annotator, last.assignment, answer)

    @rule(at=tabs, gold=st.booleans(), answer=answers, other=answers)
    def ranks_the_next_and_thinks_again(self, at: int, gold: bool, answer: int, other: int) -> None:
        self.ranks_the_next(at, gold, answer)
        self.as_it_should_be()
        self.undoes_the_last_answer_and_gives_another(at, other)

    @rule(at=tabs, other=any_of, answer=answers)
    def amends_any_place(self, at: int, other: int, answer: int) -> None:
        place = Assignment.objects.get(pk=pick(self.plain.places, other))
        self._amend(self.tabs[at].annotator, place, answer)

    @rule(at=tabs)
    def skips(self, at: int) -> None:
        tab, place = self.tabs[at], self.tabs[at].place
        if place is None:
            return
        passed = tab.annotator.pk in self.plain.places[place.pk].task.passed
        holds = self.plain.holds(place.pk, tab.annotator.pk, place.lease)
        succeeds_if(
            passed or holds, partial(skip, assignment=place, annotator=tab.annotator, lease=place.lease)
        )
        if holds and not passed:
            self.world.happened["skipped"] += 1
            self.plain.skip(place.pk)
            self._learn_pause(tab.annotator)

    @rule(at=tabs)
    def gives_back(self, at: int) -> None:
        if self._with_lease(self.tabs[at], return_lease):
            self.plain.places[self.tabs[at].place.pk].release()

    @rule(at=tabs)
    def stays_at_it(self, at: int) -> None:
        if self._with_lease(self.tabs[at], renew_lease):
            self.plain.places[self.tabs[at].place.pk].late = False

    # What time does

    @rule(at=tabs)
    def lets_the_time_run_out(self, at: int) -> None:
        tab, place = self.tabs[at], self.tabs[at].place
        if place is not None and self.plain.holds(place.pk, tab.annotator.pk, place.lease):
            run_out(place)
            self.plain.places[place.pk].late = True
            self.world.happened["ran out"] += 1

    @rule(at=tabs, gold=st.booleans())
    def comes_back_too_late(self, at: int, gold: bool) -> None:
        self.goes_to_the_next(at, gold)
        self.lets_the_time_run_out(at)
        self.goes_to_the_next(at, gold)

    @rule()
    def leases_expire(self) -> None:
        assert bool(expire_leases()) == self.plain.expire()

    # What managers and reviewers do

    @rule(who=persons)
    def is_paused(self, who: int) -> None:
        user = self.world.annotators[who]
        pause_member(project=self.project, user=user, reason="Read the guidelines.")
        self.plain.pause(user.pk)

    @rule(who=persons)
    def may_go_on(self, who: int) -> None:
        user = self.world.annotators[who]
        lift_pause(project=self.project, user=user)
        self.plain.lift(user.pk)

    @rule(which=any_of, act=st.sampled_from(["pause", "reopen", "reopen", "close"]))
    def a_batch_is(self, which: int, act: str) -> None:
        batch = self.world.batches[which % len(self.world.batches)]
        copy = self.plain.batches[batch.pk]
        if act == "close":
            close_batch(batch)
            self.plain.close(copy)
        elif succeeds_if(
            copy.state != "closed", partial({"pause": pause_batch, "reopen": reopen_batch}[act], batch)
        ):
            copy.state = {"pause": "paused", "reopen": "open"}[act]

    @rule(which=any_of)
    def a_reviewer_reads(self, which: int) -> None:
        pk = pick(self.plain.tasks, which)
        version = version_of(Task.objects.get(pk=pk))
        self.read[pk] = (version, self.plain.version(self.plain.tasks[pk]))

    @rule(which=any_of, ranking=any_of, returns=st.booleans())
    def a_reviewer_judges(self, which: int, ranking: int, returns: bool) -> None:
        """What they read, which may have changed since; what they return may be another task's, or long amended. The
        same verdict sent again is taken once."""
        if not self.read:
            return
        pk = pick(self.read, which)
        task, (version, seen) = self.plain.tasks[pk], self.read[pk]
        named = pick(self.told, ranking) if returns and self.told else None
        fields: dict[str, Any] = {"verdict": "accepted"}
        if returns:
            fields = {"verdict": "returned", "ranking_id": named, "note": "Read it again."}
        judge = partial(review_task, reviewer=self.world.manager, task_id=pk, version=version, **fields)
        if (pk, version) in self.judged:
            succeeds_if(self.judged[pk, version] == (returns, named), judge)
            return
        expected = (
            self.plain.may_review(task)
            and seen == self.plain.version(task)
            and (not returns or self.plain.may_return(task, named))
        )
        if succeeds_if(expected, judge):
            self.world.happened["reviewed"] += 1
            self.plain.review(task, named)
            self.judged[pk, version] = (returns, named)

    @rule(at=tabs, answer=answers, which=any_of, returns=st.booleans())
    def a_ranked_task_is_reviewed(self, at: int, answer: int, which: int, returns: bool) -> None:
        self.ranks_the_next(at, gold=False, answer=answer)
        self.as_it_should_be()
        ranked = [n for n, task in enumerate(self.plain.tasks.values()) if self.plain.may_review(task)]
        if ranked:
            self.a_reviewer_reads(ranked[which % len(ranked)])
            self.a_reviewer_judges(len(self.read) - 1, which, returns)

    # What holds after each of them

    @invariant()
    def as_it_should_be(self) -> None:
        places = list(
            Assignment.objects.filter(batch__in=self.world.batches)
            .order_by("pk")
            .values("pk", "task", "batch", "place", "overlap", "state", "annotator", "lease", "shown_order")
        )
        self._check_places(places)
        self._check_rankings(places)
        assert {(task, who) for task, each in self.plain.tasks.items() for who in each.passed} == set(
            Skip.objects.values_list("task", "annotator")
        )
        assert {pk: each.state for pk, each in self.plain.batches.items()} == dict(
            Batch.objects.filter(pk__in=self.plain.batches).values_list("pk", "state")
        )
        members = Membership.objects.filter(user__in=self.world.annotators)
        standing = {
            user: (paused, since)
            for user, paused, since in members.values_list("user", "paused_at", "qualified_at")
        }
        assert {user for user, (paused, _) in standing.items() if paused} == self.plain.paused
        assert {user for user, (_, since) in standing.items() if since} == self.plain.qualified

    def _check_places(self, places: list[dict[str, Any]]) -> None:
        copies = {pk: (each.state, each.holder, each.lease) for pk, each in self.plain.places.items()}
        assert {row["pk"]: (row["state"], row["annotator"], row["lease"]) for row in places} == copies
        by_task: dict[int, list[dict[str, Any]]] = {}
        for row in places:
            by_task.setdefault(row["task"], []).append(row)
        for task, rows in by_task.items():
            exam = self.plain.tasks[task].batch.kind == plain.TEST  # its places are made as they are needed
            assert sorted(row["place"] for row in rows) == list(
                range(len(rows) if exam else rows[0]["overlap"])
            )
        held = [row for row in places if row["annotator"] is not None]
        twice = Counter((row["task"], row["annotator"]) for row in held)
        assert max(twice.values(), default=0) <= 1, "an annotator has two places of a task"
        leases = Counter(row["annotator"] for row in held if row["state"] == "leased")
        assert max(leases.values(), default=0) <= 1 + MOST_AHEAD, "an annotator holds more than one ahead"
        for batch in self.world.batches:
            had = Counter(row["annotator"] for row in held if row["batch"] == batch.pk)
            most = batch.max_per_annotator
            assert most is None or max(had.values(), default=0) <= most, "more than the batch's most"

    def _check_rankings(self, places: list[dict[str, Any]]) -> None:
        now = {
            row[0]: row
            for row in Ranking.objects.order_by("pk").values_list(
                "pk", "assignment", "annotator", "revision", "key", "tiers", "shown_order"
            )
        }
        assert now == self.told, "a ranking was lost, changed, or came by itself"
        of_place: dict[int, list[tuple[Any, ...]]] = {}
        for row in now.values():
            of_place.setdefault(row[1], []).append(row)
        for place in places:
            own = of_place.get(place["pk"], [])
            assert [row[3] for row in own] == list(range(1, len(own) + 1)), "revisions count from 1"
            assert bool(own) == (place["state"] == "submitted")
            assert all((row[2], row[6]) == (place["annotator"], place["shown_order"]) for row in own)
        waiting = returned_rankings(Ranking.objects.all()).values_list("pk", flat=True)
        assert set(waiting) == self.plain.waiting()

    # Details

    def _lease(self, tab: Tab, besides: list[Assignment], gold: bool) -> Any:
        who = tab.annotator.pk
        self.world.gold_is_due = gold
        had = [place.public_id for place in besides]
        act = partial(next_assignment, annotator=tab.annotator, project=self.project, besides=had)
        if who in self.plain.paused:
            succeeds_if(False, act)
            return NOT_GIVEN
        found = act()
        if found is not None and found.pk not in self.plain.places:
            self.plain.make(found.pk, found.task_id, who)
        may_get = self.plain.gets(who, [place.pk for place in besides], gold_is_due=gold)
        assert (found.pk in may_get) if found is not None else not may_get
        if found is not None:
            self.plain.lease(found.pk, who, found.lease)
        elif len(besides) > MOST_AHEAD:
            self.world.happened["refused one more ahead"] += 1
        return found

    def _with_lease(self, tab: Tab, act: Callable[..., Any]) -> bool:
        """Do something to the page's place that takes its lease. Returns whether it was done."""
        place = tab.place
        if place is None:
            return False
        holds = self.plain.holds(place.pk, tab.annotator.pk, place.lease)
        succeeds_if(holds, partial(act, assignment=place, annotator=tab.annotator, lease=place.lease))
        return holds

    def _send(self, tab: Tab, answer: int) -> Ranking:
        assert tab.place is not None and tab.place.lease is not None and tab.key is not None
        return submit(
            annotator=tab.annotator,
            assignment_id=tab.place.pk,
            lease=tab.place.lease,
            key=tab.key,
            tiers=tiers_of(tab.place.task, answer),
        )

    def _amend(self, annotator: User, place: Assignment, answer: int) -> None:
        again = partial(
            amend,
            annotator=annotator,
            assignment_id=place.pk,
            key=uuid.uuid4(),
            tiers=tiers_of(place.task, answer),
        )
        ranking = succeeds_if(self.plain.may_amend(place.pk, annotator.pk), again)
        if ranking is not None:
            self.world.happened["amended"] += 1
            self._take(ranking, answer)
            assert again().pk == ranking.pk, "sent twice, it is one revision"

    def _take(self, ranking: Ranking, answer: int) -> None:
        """Tell the plain model of a new ranking."""
        self.told[ranking.pk] = (
            ranking.pk,
            ranking.assignment_id,
            ranking.annotator_id,
            ranking.revision,
            ranking.key,
            ranking.tiers,
            ranking.shown_order,
        )
        self.plain.answer(ranking.assignment_id, ranking.pk, right=is_right(answer))
        self._learn_pause(ranking.annotator)

    def _learn_pause(self, who: User) -> None:
        """Whether gold tasks paused them, which must be for a reason; how sure it has to be is another test's."""
        if who.pk in self.plain.paused:
            return
        paused = Membership.objects.filter(user=who).exclude(paused_at=None).exists()
        assert paused or not self.plain.gold_must_pause(who.pk), "nothing was known, and they go on"
        if paused:
            assert self.plain.gold_may_pause(who.pk), "they were paused without a reason"
            self.plain.pause(who.pk)


NOT_GIVEN = object()


def test_any_interleaving_keeps_the_invariants(world: World) -> None:
    run_state_machine_as_test(
        partial(Workbench, world),
        settings=settings(
            max_examples=40,
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
    rare = ("refused one more ahead", "ran out", "skipped", "submitted", "amended", "reviewed")
    assert all(world.happened[act] for act in rare), f"what never happens proves nothing: {world.happened}"


def is_right(answer: int) -> bool:
    return answer % 2 == 0


def tiers_of(task: Task, answer: int) -> list[list[int]]:
    """An answer; to a task with a known one, that or its opposite."""
    if task.gold_tiers is None:
        return TIERS[answer]
    return task.gold_tiers if is_right(answer) else task.gold_tiers[::-1]


def pick(among: Any, number: int) -> Any:
    keys = list(among)
    return keys[number % len(keys)]


def succeeds_if(expected: bool, act: Callable[[], Any]) -> Any:
    try:
        result = act()
    except Refusal as refusal:
        assert not expected, refusal.sentence
        return None
    assert expected, "it should have been refused"
    return result
