"""What ratings of aspects say, and what rankings say of each source, by hand."""

from __future__ import annotations

import pytest

from annotation.answer_columns import read_answers
from annotation.aspect_figures import aspect_figures
from annotation.models import Project, Source, Task
from annotation.projects import set_aspects
from annotation.quality import batches_of
from annotation.source_figures import source_figures
from tests.annotation.answered import give
from tests.annotation.conftest import Compose, People

pytestmark = pytest.mark.django_db


def test_an_aspects_figures_are_those_worked_by_hand(
    project: Project, people: People, compose: Compose
) -> None:
    set_aspects(
        project=project,
        aspects=[{"name": name, "question": "?", "steps": 3} for name in ("accuracy", "style")],
    )
    batch = compose(2, overlap=2, responses_per_task=2)
    one, other = batch.tasks.all()
    ann, bea = people(2)
    # Higher rated, ranked above: ann on the first task, not on the second; bea rates alike, which tells nothing.
    give(one, ann, [[0], [1]], ratings={"accuracy": {0: 3, 1: 1}})
    give(one, bea, [[0], [1]], ratings={"accuracy": {0: 3, 1: 3}})
    give(other, ann, [[0], [1]], ratings={"accuracy": {0: 1, 1: 2}})
    give(other, bea, [[0, 1]], ratings={"accuracy": {0: 1}})

    (accuracy,) = aspect_figures(read_answers(batches_of(batch)))

    assert (accuracy.aspect, accuracy.ratings, accuracy.counts) == ("accuracy", 7, [3, 1, 3])
    assert (accuracy.with_ranking.value, accuracy.with_ranking.of) == (0.5, 2)
    # Units of two ratings: (3, 3), (1, 3), (1, 1), so n = 6, three 1s and three 3s, one distance d between them:
    # observed 2d of coincidences, expected 3 × 3 × 2 × d; α = 1 − 5 × 2 / 18.
    assert accuracy.alpha == pytest.approx(1 - 10 / 18)


def test_agreement_and_flags_are_told_by_source(
    people: People, compose: Compose, sources: list[Source]
) -> None:
    batch = compose(1, overlap=2)
    (task,) = batch.tasks.all()
    old, new = sources
    numbers = {source: [] for source in sources}
    for number, source in task.task_responses.values_list("position", "response__source"):
        numbers[Source.objects.get(pk=source)].append(number)
    (a, b), (c, d) = numbers[old], numbers[new]
    ann, bea = people(2)
    give(task, ann, [[a], [b], [c], [d]], flags={a: "unsafe", c: "other"})
    give(task, bea, [[b], [a], [c], [d]], flags={a: "unsafe"})

    found = {one.name: one for one in source_figures(read_answers(batches_of(batch)))}

    # They differ on (a, b) alone, which is of the old source: 4 of its 5 pairs, and all 5 of the new one's.
    assert (found[old.name].agreement.value, found[old.name].agreement.of) == (0.8, 5)
    assert (found[new.name].agreement.value, found[new.name].agreement.of) == (1.0, 5)
    assert found[old.name].flags == {"unsafe": 2} and found[new.name].flags == {"other": 1}
    assert Task.objects.count() == found[old.name].tasks == 1
