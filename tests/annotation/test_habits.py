"""What rankings say of their annotator: leanings planted in them are found, and there are none where none were."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable

import pytest

from annotation.answer_columns import read_answers
from annotation.habits import BatchHabits, Habits
from annotation.models import Assignment, Batch, Project, User
from annotation.quality import batches_of
from annotation.submitting import submit
from tests.annotation.conftest import Compose, People, take

pytestmark = pytest.mark.django_db

Answer = Callable[[Assignment, dict[int, str]], list[list[int]]]


def work_off(annotator: User, project: Project, tasks: int, answer: Answer, *, seconds: float = 60) -> None:
    for _ in range(tasks):
        place = take(annotator, project)
        texts = {
            one.position: one.response.text for one in place.task.task_responses.select_related("response")
        }
        submit(
            annotator=annotator,
            assignment_id=place.pk,
            lease=place.lease,
            key=uuid.uuid4(),
            tiers=answer(place, texts),
            seconds=seconds,
        )


def drawn_text(dice: random.Random) -> str:
    """A text of some length, every other one with a list."""
    words = "word " * dice.randint(5, 60)
    return f"\n- {words}\n- {words}" if dice.random() < 0.5 else words


def at_random(seed: int) -> Answer:
    dice = random.Random(seed)

    def answer(place: Assignment, texts: dict[int, str]) -> list[list[int]]:
        numbers = sorted(texts)
        dice.shuffle(numbers)
        return [[number] for number in numbers]

    return answer


def lists_first(place: Assignment, texts: dict[int, str]) -> list[list[int]]:
    tiers = [[n for n in texts if ("- " in texts[n]) == with_list] for with_list in (True, False)]
    return [tier for tier in tiers if tier]


def habits_of(batch: Batch) -> BatchHabits:
    return BatchHabits(read_answers(batches_of(batch)))


def of(habits: list[Habits], annotator: User) -> Habits:
    (own,) = (one for one in habits if one.annotator == annotator.username)
    return own


def test_leanings_that_were_planted_are_found(project: Project, people: People, compose: Compose) -> None:
    dice = random.Random(5)
    batch = compose(40, overlap=4, text=lambda: drawn_text(dice))
    top, longer, lists, careful = people(4)
    work_off(top, project, 40, lambda place, texts: [[n] for n in place.shown_order])
    work_off(
        longer, project, 40, lambda place, texts: [[n] for n in sorted(texts, key=lambda n: -len(texts[n]))]
    )
    work_off(lists, project, 40, lists_first)
    work_off(careful, project, 40, at_random(1))

    read = habits_of(batch)
    habits = read.of_annotators()

    assert of(habits, top).first_shown.win_rate == of(habits, longer).longer.win_rate == 1
    assert of(habits, lists).formatted.win_rate == 1 and 0 < of(habits, lists).ties.value < 1
    fair = of(habits, careful)
    for leaning in (fair.first_shown, fair.longer, fair.formatted, of(habits, longer).first_shown):
        assert abs(leaning.win_rate - 0.5) < 0.25, "five standard deviations, of forty shuffled rankings"
        assert leaning.win_rate_low < leaning.win_rate < leaning.win_rate_high
    assert 0 <= of(habits, lists).ties.low < of(habits, lists).ties.value < of(habits, lists).ties.high
    assert fair.ties.value == 0 and fair.first_shown.pairs == 40 * 6
    everybody = read.everybody()
    assert everybody.annotator is None and everybody.rankings == 160
    assert 0.5 < everybody.first_shown.win_rate < 1
    assert [(one.annotator, one.pattern) for one in read.suspicions()] == [
        (top.username, "ranks responses as they were shown")
    ]


def test_patterns_of_no_careful_reader_are_listed_with_their_evidence(
    project: Project, people: People, compose: Compose
) -> None:
    dice = random.Random(6)
    batch = compose(12, overlap=4, text=lambda: drawn_text(dice))
    hasty, equal, backward, careful = people(4)
    work_off(hasty, project, 12, at_random(2), seconds=0.5)
    work_off(equal, project, 12, lambda place, texts: [list(texts)])
    work_off(backward, project, 12, lambda place, texts: [[n] for n in reversed(place.shown_order)])
    work_off(careful, project, 12, at_random(3))

    found = {one.annotator: one for one in habits_of(batch).suspicions()}

    assert {one: found[one].pattern for one in found} == {
        hasty.username: "is too fast to have read",
        equal.username: "ties everything",
        backward.username: "ranks responses the other way round",
    }
    assert (
        found[hasty.username].evidence.startswith("12 of 12 rankings")
        and len(found[hasty.username].tasks) == 12
    )
    assert "chance gives 0.5" in found[backward.username].evidence


def test_one_order_of_the_pages_places_is_seen_and_leads_to_its_tasks(
    project: Project, people: People, compose: Compose
) -> None:
    batch = compose(20, overlap=2)
    lazy, careful = people(2)
    always = iter(range(20))

    def second_first(place: Assignment, texts: dict[int, str]) -> list[list[int]]:
        first, second, *others = place.shown_order
        return (
            [[second], [first], *([n] for n in others)] if next(always) % 4 else [[n] for n in sorted(texts)]
        )

    work_off(lazy, project, 20, second_first)
    work_off(careful, project, 20, at_random(4))

    (found,) = habits_of(batch).suspicions()

    assert (found.annotator, found.kind.value) == (lazy.username, "one-order")
    assert (
        "20 rankings of 4 responses put the places of the page in the order 2 > 1 > 3 > 4" in found.evidence
    )
    theirs = lazy.rankings.filter(task__in=found.tasks)
    assert 15 <= len(found.tasks) < 20
    assert all(
        ranking.tiers[:2] == [[ranking.shown_order[1]], [ranking.shown_order[0]]] for ranking in theirs
    )


def test_the_order_of_the_page_is_seen_in_pairs_too(
    project: Project, people: People, compose: Compose
) -> None:
    batch = compose(12, responses_per_task=2, overlap=2)
    as_shown, nearly = people(2)
    work_off(as_shown, project, 12, lambda place, texts: [[n] for n in place.shown_order])
    turned = iter([True] * 3 + [False] * 9)
    work_off(
        nearly,
        project,
        12,
        lambda place, texts: [[n] for n in place.shown_order[:: -1 if next(turned) else 1]],
    )

    # By chance 12 of 12 come once in 4,096 times, and 9 or more of 12 once in 14.
    assert [one.annotator for one in habits_of(batch).suspicions()] == [as_shown.username]


def test_too_little_is_no_pattern_and_has_no_interval(
    project: Project, people: People, compose: Compose
) -> None:
    batch = compose(4, overlap=1)
    (annotator,) = people(1)
    assert habits_of(batch).of_annotators() == habits_of(batch).suspicions() == []
    assert habits_of(batch).everybody().first_shown.win_rate is None
    work_off(annotator, project, 4, lambda place, texts: [[n] for n in place.shown_order], seconds=0.1)
    read = habits_of(batch)
    (habits,) = read.of_annotators()
    assert (habits.first_shown.win_rate, habits.first_shown.win_rate_low) == (1, None)
    assert read.suspicions() == []
