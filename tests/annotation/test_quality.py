"""Figures of batches and their annotators."""

from __future__ import annotations

import uuid

import pytest

from annotation.models import Project, Task
from annotation.quality import annotator_figures, batch_agreement
from annotation.submitting import amend, submit
from tests.annotation.conftest import Compose, People, answer, take


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
