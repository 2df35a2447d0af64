"""Managers have a dataset uploaded to the Hub from its page, and read there what came of it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from alignment.datasets import build_dataset
from alignment.models import Dataset, HubPush
from annotation.assigning import next_assignment
from annotation.models import Project, User
from annotation.submitting import submit

pytestmark = pytest.mark.django_db

AsRole = Callable[[str], Client]


@pytest.fixture
def dataset(project: Project, people: dict[str, User], compose: Callable[..., Any]) -> Dataset:
    batch = compose(4)
    while (place := next_assignment(annotator=people["annotator"], project=project)) is not None:
        answer = {"lease": place.lease, "key": uuid.uuid4(), "tiers": [[0], [1], [2, 3]]}
        submit(annotator=people["annotator"], assignment_id=place.pk, **answer)
    return build_dataset(project=project, batches=[batch])


def test_a_manager_uploads_a_dataset_and_sees_where_it_is(
    project: Project, dataset: Dataset, as_role: AsRole
) -> None:
    manager = as_role("manager")
    address = reverse("dataset_hub", args=[project.slug, dataset.version])
    shown = manager.get(reverse("dataset", args=[project.slug, dataset.version])).content.decode()
    assert address in shown
    assert "Not uploaded yet" in manager.get(address).content.decode()
    form = {"repository": "acme/kitchen", "token": "hf_secret", "private": "on", "shapes": ["pairs", "sft"]}
    asked = manager.post(address, form, follow=True).content.decode()
    assert "on its way to acme/kitchen" in asked and "queued" in asked and "hf_secret" not in asked
    push = HubPush.objects.get()
    assert push.shapes == ["pairs", "sft"] and push.private and push.created_by.username == "manager"

    HubPush.objects.update(state="failed", sealed_token="", reason="The Hub does not know <the token>.")
    assert "The Hub does not know &lt;the token&gt;." in manager.get(address).content.decode()


def test_a_wrong_repository_is_told_at_its_field_and_the_token_is_not_repeated(
    project: Project, dataset: Dataset, as_role: AsRole
) -> None:
    address = reverse("dataset_hub", args=[project.slug, dataset.version])
    form = {"repository": "kitchen", "token": "hf_secret", "shapes": ["pairs"]}
    refused = as_role("manager").post(address, form)
    assert refused.status_code == 422 and "must be owner/name" in refused.content.decode()
    assert "hf_secret" not in refused.content.decode() and not HubPush.objects.exists()


def test_reviewers_see_no_upload(project: Project, dataset: Dataset, as_role: AsRole) -> None:
    address = reverse("dataset_hub", args=[project.slug, dataset.version])
    assert as_role("reviewer").get(address).status_code == 403
    page = as_role("reviewer").get(reverse("dataset", args=[project.slug, dataset.version]))
    assert address not in page.content.decode()
