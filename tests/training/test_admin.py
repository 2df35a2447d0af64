"""The admin shows runs, cancels them, and changes nothing else."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse

from training.models import Artifact, Run, RunMetric

pytestmark = pytest.mark.django_db
LIST = "admin:training_run_changelist"


@pytest.fixture
def root(client: Client) -> Client:
    client.force_login(get_user_model().objects.create(username="root", is_staff=True, is_superuser=True))
    return client


@pytest.fixture
def runs() -> dict[str, Run]:
    waiting = Run.objects.create(kind="dpo", spec={})
    done = Run.objects.create(kind="sample", spec={}, state="succeeded")
    RunMetric.objects.bulk_create(RunMetric(run=done, step=n, name="loss", value=0.5) for n in range(17))
    Artifact.objects.create(run=done, name="adapter", path="adapter", sha256="0" * 64)
    return {"waiting": waiting, "done": done}


def test_runs_are_listed_filtered_and_opened_and_never_edited(root: Client, runs: dict[str, Run]) -> None:
    page = root.get(reverse(LIST), {"state__exact": "succeeded", "kind__exact": "sample"})
    rows = page.context["cl"].result_list
    assert [(run.pk, run.metric_count) for run in rows] == [(runs["done"].pk, 17)]
    address = reverse("admin:training_run_change", args=[runs["done"].pk])
    assert "adapter" in root.get(address).content.decode()
    assert root.post(address, {"state": "queued"}).status_code == 403
    assert root.get(reverse("admin:training_run_add")).status_code == 403


def test_cancelling_ends_what_waits_and_leaves_what_has_ended(root: Client, runs: dict[str, Run]) -> None:
    chosen = {"action": "cancel", "_selected_action": [str(run.pk) for run in runs.values()]}
    page = root.post(reverse(LIST), chosen, follow=True)
    assert "1 cancelled" in page.content.decode()
    for run in runs.values():
        run.refresh_from_db()
    assert (runs["waiting"].state, runs["done"].state) == ("cancelled", "succeeded")
    assert "root" in runs["waiting"].reason
