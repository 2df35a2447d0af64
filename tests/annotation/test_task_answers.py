"""All that was said of a task, and who may not see it yet."""

from __future__ import annotations

import pytest

from annotation.batching import close_batch
from annotation.models import Demonstration, Project, Skip, Task
from annotation.projects import set_aspects
from annotation.submitting import amend
from annotation.task_answers import answers_to, responses_of
from tests.annotation.answered import give
from tests.annotation.conftest import Compose, People, answer, take

pytestmark = pytest.mark.django_db


def test_each_current_ranking_is_told_with_all_that_came_with_it(
    project: Project, people: People, compose: Compose
) -> None:
    set_aspects(project=project, aspects=[{"name": "accuracy", "question": "?", "steps": 3}])
    project.allow_partial = True
    project.save()
    task = compose(1, overlap=2).tasks.get()
    ann, bea = people(2)
    given = give(
        task,
        ann,
        [[2], [0, 3]],
        ratings={"accuracy": {2: 3, 0: 1}},
        flags={0: "unsafe"},
        rationale="C is right.",
        strengths=[4],
    )
    Demonstration.objects.create(ranking=given, position=0, text="Better.")
    Skip.objects.create(task=task, annotator=bea, reason="Too hard")

    said = answers_to(task, reader=bea)

    (only,) = said.answers
    assert [(tier.letters, tier.strength) for tier in only.tiers] == [(["C"], 4), (["A", "D"], None)]
    assert only.unranked == ["B"] and only.ratings == {"accuracy": [("A", 1), ("C", 3)]}
    assert [(letter, flag.kind) for letter, flag in only.flags] == [("A", "unsafe")]
    assert [(letter, one.text) for letter, one in only.demonstrations] == [("A", "Better.")]
    assert [skip.reason for skip in said.skips] == ["Too hard"]
    amend(annotator=ann, assignment_id=given.assignment_id, key="0" * 32, tiers=[[0], [1], [2], [3]])
    (only,) = answers_to(task, reader=bea).answers
    assert only.ranking.revision == 2 and only.tiers[0].letters == ["A"]


def test_who_holds_the_task_sees_no_answers_and_who_may_be_given_it_is_told_so(
    project: Project, people: People, compose: Compose
) -> None:
    batch = compose(1, overlap=3)
    task = batch.tasks.get()
    done, holding, waiting = people(3)
    answer(take(done, project))
    place = take(holding, project)

    assert answers_to(task, reader=holding).answers == [] and answers_to(task, reader=holding).withheld
    assert answers_to(task, reader=waiting).may_be_given
    mine = answers_to(task, reader=done)
    assert len(mine.answers) == 1 and not (mine.withheld or mine.may_be_given)
    assert all(response.being_ranked for _, response in responses_of(task))

    answer(place)
    close_batch(batch)
    task = Task.objects.get()

    assert not answers_to(task, reader=waiting).may_be_given, "nobody is given it any more"
    assert not any(response.being_ranked for _, response in responses_of(task))
    assert [letter for letter, _ in responses_of(task)] == ["A", "B", "C", "D"]
