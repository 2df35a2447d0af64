"""The admin shows every noun of decisions and changes none."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from alignment.judges.judging import start_judging
from alignment.models import Dataset, Judge, Judgement, Judging, ModelVersion, Round, Scorecard
from alignment.rounds import start_round
from annotation.models import Project, Source, User
from tests.alignment.conftest import bring_to
from tests.alignment.judges.answering import answer

pytestmark = pytest.mark.django_db


def test_an_administrator_sees_everything_and_edits_nothing(
    client: Client, project: Project, source: Source, manager: User, judge: Judge
) -> None:
    round = bring_to(start_round(project=project, tasks=6, overlap=1), Round.State.DECIDING)
    assert round.batch is not None
    answer(start_judging(judge=judge, batch=round.batch), lambda text: "?")
    client.force_login(manager)
    for model in (Round, Dataset, ModelVersion, Scorecard, Judge, Judging, Judgement):
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        assert client.get(reverse(f"{name}_changelist")).status_code == 200
        row = reverse(f"{name}_change", args=[model.objects.first().pk])
        assert client.get(row).status_code == 200
        assert client.post(row, {"state": "promoted"}).status_code == 403
        assert client.get(reverse(f"{name}_add")).status_code == 403
    round.refresh_from_db()
    assert round.state == Round.State.DECIDING
