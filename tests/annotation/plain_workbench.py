"""What there should be after each act of annotators, reviewers and managers, as plain data and without a database.

Names of states and kinds are the models'. Annotators, tasks, batches, places and rankings are primary keys.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from uuid import UUID

from annotation.assigning import MOST_AHEAD, SKIPS_THAT_CLOSE

WORK, GOLD, TEST = "annotation", "gold", "qualification"
KNOWN = (GOLD, TEST)


@dataclass
class Batch:
    kind: str
    most: int | None
    state: str = "open"


@dataclass
class Task:
    batch: Batch
    passed: set[int] = field(default_factory=set)
    reviews: int = 0


@dataclass
class Place:
    """``late``: the time of its lease has passed. ``leased``: its turn among all leases. ``right``: of each answer to a
    known task, whether it is the known one. ``answered``: the turn of the first answer."""

    pk: int
    task: Task
    state: str = "open"
    holder: int | None = None
    lease: UUID | None = None
    late: bool = False
    leased: int = 0
    rankings: list[int] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)
    answered: int = 0

    def release(self) -> None:
        self.state, self.holder, self.lease, self.late = "open", None, None, False


@dataclass
class Plain:
    """Everything of a project that acts change. ``measured``: since which turn, by annotator."""

    bar: float
    batches: dict[int, Batch]
    tasks: dict[int, Task]
    places: dict[int, Place]
    qualified: set[int]
    measured: dict[int, int] = field(default_factory=dict)
    paused: set[int] = field(default_factory=set)
    returned: set[int] = field(default_factory=set)
    turn: int = 0

    # Leasing

    def gets(self, who: int, besides: Collection[int], *, gold_is_due: bool) -> set[int]:
        """The places of which they get one; empty: they get none. What must be given back for it is given back."""
        held = [place for place in self.held(who) if place.pk not in besides]
        for place in held:
            if not place.late:
                return {place.pk}
        for place in held:
            place.release()
        in_work = [place for place in self.held(who) if place.pk in besides]
        if len(in_work) > MOST_AHEAD or any(place.task.batch.kind == TEST for place in in_work):
            return set()
        return self._offered(who, gold_is_due) or (
            self._offered(who, gold_is_due) if self.expire() else set()
        )

    def make(self, pk: int, task: int, who: int) -> None:
        """Take over a place that was made, which there is need of for a test alone that has no open one."""
        assert self.tasks[task].batch.kind == TEST and not self._open_to(who, TEST), "no place was needed"
        self.places[pk] = Place(pk, self.tasks[task])

    def lease(self, pk: int, who: int, lease: UUID | None) -> None:
        place = self.places[pk]
        if place.state == "leased":
            assert (place.holder, place.lease) == (who, lease), "a lease is somebody else's"
            return
        place.state, place.holder, place.lease, place.late = "leased", who, lease, False
        place.leased = self._next_turn()

    def held(self, who: int) -> list[Place]:
        """What they hold, the first that they took first."""
        held = [place for place in self.places.values() if (place.state, place.holder) == ("leased", who)]
        return sorted(held, key=lambda place: place.leased)

    def holds(self, pk: int, who: int, lease: UUID | None) -> bool:
        place = self.places[pk]
        return (place.state, place.holder, place.lease) == ("leased", who, lease)

    def expire(self) -> bool:
        """Give back all whose time has passed. Returns whether there was one."""
        late = [place for place in self.places.values() if place.late]
        for place in late:
            place.release()
        return bool(late)

    def skip(self, pk: int) -> None:
        place, who = self.places[pk], self.places[pk].holder
        assert who is not None
        place.task.passed.add(who)
        place.release()
        if place.task.batch.kind in KNOWN:
            self._after_known(who, place.task.batch)
        elif len(place.task.passed) >= SKIPS_THAT_CLOSE:
            for other in self._places_of(place.task):
                if other.state == "open":
                    other.state = "skipped"

    # Answering

    def answer(self, pk: int, ranking: int, *, right: bool) -> None:
        """Take a first answer or another revision."""
        place = self.places[pk]
        assert place.holder is not None
        self.returned -= set(place.rankings)
        place.state, place.lease, place.late = "submitted", None, False
        place.rankings.append(ranking)
        place.right.append(right)
        place.answered = place.answered or self._next_turn()
        if place.task.batch.kind in KNOWN:
            self._after_known(place.holder, place.task.batch)

    def may_amend(self, pk: int, who: int) -> bool:
        place = self.places[pk]
        if (place.state, place.holder) != ("submitted", who) or place.task.batch.kind == TEST:
            return False
        if place.task.batch.kind == WORK:
            return place.task.batch.state != "closed"
        # A gold answer rests with its neighbour: the one to an ordinary task before it, else the one after.
        work = {each.rankings[0]: each.task.batch.state for each in self._answered(who, WORK)}
        before = max((pk for pk in work if pk < place.rankings[0]), default=None)
        neighbour = before or min((pk for pk in work if pk > place.rankings[0]), default=None)
        return neighbour is None or work[neighbour] != "closed"

    # Standing

    def pause(self, who: int) -> None:
        self.paused.add(who)
        for place in self.held(who):
            place.release()

    def lift(self, who: int) -> None:
        if who in self.paused:
            self.paused.remove(who)
            self.measured[who] = self._next_turn()
            if self._must_qualify(who) and self._was_tested(who) and not self._left(who):
                self.qualified.add(who)

    def gold_may_pause(self, who: int) -> bool:
        """Whether two gold tasks were ordered wrongly, at least for a while: one may be bad luck."""
        return sum(not all(place.right) for place in self._answered(who, GOLD)) >= 2

    def gold_must_pause(self, who: int) -> bool:
        """Whether all gold tasks were ordered wrongly, two or more, and nothing was amended."""
        since = self.measured.get(who, 0)
        counted = [place.right for place in self._answered(who, GOLD) if place.answered > since]
        return len(counted) >= 2 and all(right == [False] for right in counted)

    def close(self, batch: Batch) -> None:
        batch.state = "closed"
        for place in self.places.values():
            if place.task.batch is batch and place.state == "leased":
                place.release()

    # Reviewing

    def version(self, task: Task) -> tuple[int, ...]:
        """Differs once a ranking or a verdict comes."""
        return (task.reviews, *(place.rankings[-1] for place in self._places_of(task) if place.rankings))

    def may_review(self, task: Task) -> bool:
        places = self._places_of(task)
        ended = task.batch.state == "closed" or all(p.state in ("submitted", "skipped") for p in places)
        return task.batch.kind == WORK and ended and any(place.rankings for place in places)

    def may_return(self, task: Task, ranking: int | None) -> bool:
        current = [place.rankings[-1] for place in self._places_of(task) if place.rankings]
        return ranking in current and ranking not in self.returned and task.batch.state != "closed"

    def review(self, task: Task, returned: int | None) -> None:
        task.reviews += 1
        if returned is not None:
            self.returned.add(returned)
        else:
            self.returned -= {pk for place in self._places_of(task) for pk in place.rankings}

    def waiting(self) -> set[int]:
        """The returned rankings that can still be amended."""
        return {
            pk
            for place in self.places.values()
            for pk in place.rankings
            if pk in self.returned and place.task.batch.state != "closed"
        }

    # Details

    def _offered(self, who: int, gold_is_due: bool) -> set[int]:
        if who in self.paused:
            return set()
        if self._must_qualify(who):
            if tests := self._open_to(who, TEST):
                return tests
            assert not self._left(who), "a task of the test was left, and not given"
            self._conclude(who)
            if self._must_qualify(who):
                return set()
        work = self._open_to(who, WORK)
        gold = self._open_to(who, GOLD) if gold_is_due and work else set()
        return gold or work

    def _open_to(self, who: int, kind: str) -> set[int]:
        return {
            place.pk
            for place in self.places.values()
            if place.state == "open"
            and (place.task.batch.kind, place.task.batch.state) == (kind, "open")
            and who not in place.task.passed
            and all(other.holder != who for other in self._places_of(place.task))
            and not self._has_most(who, place.task.batch)
        }

    def _left(self, who: int) -> bool:
        """Whether a task of an open test is left for them. A place is made where there is none."""
        return any(
            (task.batch.kind, task.batch.state) == (TEST, "open")
            and who not in task.passed
            and all(place.holder != who for place in self._places_of(task))
            for task in self.tasks.values()
        )

    def _was_tested(self, who: int) -> bool:
        tests = [
            task for task in self.tasks.values() if (task.batch.kind, task.batch.state) == (TEST, "open")
        ]
        had = any(place.holder == who for task in tests for place in self._places_of(task))
        return had or any(who in task.passed for task in tests)

    def _has_most(self, who: int, batch: Batch) -> bool:
        had = sum(place.task.batch is batch and place.holder == who for place in self.places.values())
        return batch.most is not None and had >= batch.most

    def _must_qualify(self, who: int) -> bool:
        tests = any((batch.kind, batch.state) == (TEST, "open") for batch in self.batches.values())
        return tests and who not in self.qualified

    def _after_known(self, who: int, batch: Batch) -> None:
        if who in self.paused:
            return
        if batch.kind == TEST and self._must_qualify(who) and batch.state == "open" and not self._left(who):
            self._conclude(who)

    def _conclude(self, who: int) -> None:
        if any(place.task.batch.kind == TEST for place in self.held(who)):
            return
        right = sum(place.right[0] for place in self._answered(who, TEST))
        had = sum(1 for _ in self._answered(who, TEST))
        had += sum(who in task.passed for task in self.tasks.values() if task.batch.kind == TEST)
        if had and right / had >= self.bar:
            self.qualified.add(who)
            self.measured[who] = self._next_turn()
        elif had:
            self.pause(who)

    def _answered(self, who: int, kind: str) -> Iterable[Place]:
        return [
            place
            for place in self.places.values()
            if (place.state, place.holder, place.task.batch.kind) == ("submitted", who, kind)
        ]

    def _places_of(self, task: Task) -> list[Place]:
        return [place for place in self.places.values() if place.task is task]

    def _next_turn(self) -> int:
        self.turn += 1
        return self.turn
