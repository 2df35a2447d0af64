"""What a reviewer sees of a task, blind."""

from __future__ import annotations

import pytest

from annotation.models import Project, Source, User
from annotation.showing_reviews import Divided, divided_pairs, review_view
from tests.annotation.conftest import ORDER
from tests.annotation.reviewing.conftest import (
    BACKWARDS,
    Ranked,
    change,
    flag,
)

# Reviews are told apart from later rankings by their time, which stands still within a transaction.
pytestmark = pytest.mark.django_db(transaction=True)


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
