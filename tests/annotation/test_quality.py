"""Agreement, against examples worked by hand and real votes."""

from __future__ import annotations

import csv
import os
import uuid
from collections import defaultdict
from pathlib import Path

import pytest

from annotation.models import Project, Task
from annotation.quality import annotator_figures, batch_agreement, pairwise_agreement
from annotation.submitting import amend, submit
from tests.annotation.conftest import Compose, People, answer, take

DATA = os.environ.get("RANKLOOP_DATA")


def test_agreement_is_that_of_the_example_worked_by_hand() -> None:
    # Task a, pair (0, 1): over, over, tied → of 3 couples 1 agrees. Pair (0, 2): over, over, over → 3 of 3.
    # Pair (1, 2): over, under, over → 1 of 3. Task b: (0, 1) tied, tied → 1 of 1. Together 6 of 10.
    rankings = {
        "a": [[[0], [1], [2]], [[0], [2], [1]], [[0, 1], [2]]],
        "b": [[[0, 1]], [[1, 0]]],
    }
    found = pairwise_agreement(rankings)
    assert (found.agreement, found.pairs) == (0.6, 10)


def test_the_interval_is_that_of_resampled_tasks() -> None:
    # 5 of 10 tasks agree: the resampled share is binomial, whose 95 % lie from 2 to 8 of 10.
    rankings = [[[[0], [1]], [[n % 2], [1 - n % 2]]] for n in range(10)]
    found = pairwise_agreement(rankings)
    assert (found.agreement, found.low, found.high) == (0.5, 0.2, 0.8)


@pytest.mark.parametrize(
    "rankings",
    [
        pytest.param([[[[0], [1]], [[n % 2], [1 - n % 2]]] for n in range(9)], id="few tasks"),
        pytest.param([[[[0], [1]], [[0], [1]]]] * 50, id="tasks that all agree"),
        pytest.param([[[[0], [1]], [[0], [1]], [[1], [0]]]] * 50, id="tasks that agree alike"),
    ],
)
def test_where_resamples_cannot_tell_how_sure_it_is_there_is_no_interval(
    rankings: list[list[list[list[int]]]],
) -> None:
    found = pairwise_agreement(rankings)
    assert found.agreement is not None and found.pairs
    assert (found.low, found.high) == (None, None)


def test_an_unranked_response_is_not_compared() -> None:
    found = pairwise_agreement([[[[0], [1]], [[0], [1], [2]], [[2], [0]]]])
    # (0, 1): over, over → 1 of 1; (0, 2): over, under → 0 of 1; (1, 2): one opinion only.
    assert (found.agreement, found.pairs) == (0.5, 2)


@pytest.mark.parametrize("rankings", [{}, {"a": []}, {"a": [[[0], [1]]]}])
def test_without_two_opinions_there_is_no_agreement(rankings: dict[str, list[list[list[int]]]]) -> None:
    found = pairwise_agreement(rankings)
    assert (found.agreement, found.pairs, found.low, found.high) == (None, 0, None, None)


def test_the_interval_is_the_same_each_time_and_holds_the_figure() -> None:
    rankings = [[[[0], [1]], [[n % 2], [1 - n % 2]], [[0, 1]]] for n in range(50)]
    found = pairwise_agreement(rankings)
    assert found == pairwise_agreement(rankings)
    assert found.low < found.agreement < found.high


@pytest.mark.skipif(not DATA, reason="RANKLOOP_DATA does not name the folder of real votes")
def test_agreement_of_the_llmfao_crowd_is_as_published_figures_give_it() -> None:
    votes: dict[str, list[list[list[int]]]] = defaultdict(list)
    tiers = {"left": [[0], [1]], "right": [[1], [0]], "tie": [[0, 1]]}
    with (Path(str(DATA)) / "llmfao" / "crowd-comparisons.csv").open(encoding="utf-8", newline="") as file:
        for vote in csv.DictReader(file):
            votes[vote["id"]].append(tiers[vote["winner"]])
    found = pairwise_agreement(votes)
    assert found.agreement == pytest.approx(0.532, abs=0.0005)
    assert 0.515 < found.low < found.high < 0.55


@pytest.mark.django_db
def test_a_batchs_figures_count_each_annotators_latest_revision(
    project: Project, people: People, compose: Compose
) -> None:
    batch = compose(1, overlap=2, responses_per_task=2)
    Task.objects.filter(batch=batch).update(gold_tiers=[[0], [1]])
    first, second = people(2)
    answer(take(first, project), [[0], [1]])
    place = take(second, project)
    submit(
        annotator=second,
        assignment_id=place.pk,
        lease=place.lease,
        key=uuid.uuid4(),
        tiers=[[1], [0]],
        seconds=20,
    )
    assert batch_agreement(batch).agreement == 0.0
    figures = {one.annotator: one for one in annotator_figures(batch)}
    assert (figures[first].gold_accuracy, figures[second].gold_accuracy) == (1.0, 0.0)
    assert (figures[second].median_seconds, figures[first].median_seconds) == (20, None)

    amend(annotator=second, assignment_id=place.pk, key=uuid.uuid4(), tiers=[[0], [1]])

    assert batch_agreement(batch).agreement == 1.0
    assert [(one.rankings, one.agreement, one.gold_accuracy) for one in annotator_figures(batch)] == [
        (1, 1.0, 1.0)
    ] * 2
