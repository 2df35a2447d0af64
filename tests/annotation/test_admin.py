"""Django's admin shows everything of this room and changes no answer."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.contrib import admin
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from annotation.assigning import skip
from annotation.models import ApiToken, Import, ImportedAnnotator, Project, Ranking, Review, User
from annotation.projects import create_user, set_aspects
from annotation.tokens import issue_token
from tests.annotation.conftest import Compose, People, answer, take

pytestmark = pytest.mark.django_db

SHOWN = sorted(
    (m for m in admin.site._registry if m._meta.app_label == "annotation"), key=lambda m: m.__name__
)


@pytest.fixture
def root(client: Client) -> Client:
    client.force_login(create_user(username="root", superuser=True))
    return client


@pytest.fixture
def everything(project: Project, people: People, compose: Compose) -> None:
    """At least one row of every model."""
    set_aspects(project=project, aspects=[{"name": "safety", "question": "Is it safe?"}])
    compose(2)
    first, second = people(2)
    ranking = answer(take(first, project))
    Review.objects.create(task=ranking.task, reviewer=second, verdict="accepted")
    passed = take(second, project)
    skip(assignment=passed, annotator=second, lease=passed.lease)
    issue_token(user=first, name="job")
    Import.objects.create(
        project=project, name="Votes", file_name="votes.csv", file_bytes=1, sha256="0" * 64, form="columns"
    )
    ImportedAnnotator.objects.create(user=create_user(username="judge-1"), project=project, name="judge 1")


def test_every_noun_is_shown_by_itself_or_within_another() -> None:
    inline = {inline.model for model in SHOWN for inline in admin.site._registry[model].inlines}
    hidden = {m for m in apps.get_app_config("annotation").get_models() if not m._meta.auto_created}
    assert hidden == set(SHOWN) | inline


@pytest.mark.parametrize("model", SHOWN, ids=lambda model: model.__name__)
def test_lists_searches_and_pages_of_one_open(root: Client, everything: None, model: type[Model]) -> None:
    name = f"admin:annotation_{model._meta.model_name}"
    row = model._default_manager.first()
    assert row is not None
    for address in (
        reverse(f"{name}_changelist"),
        reverse(f"{name}_changelist") + "?q=1",
        reverse(f"{name}_change", args=[row.pk]),
    ):
        assert root.get(address).status_code == 200, address


def test_rankings_cannot_be_added_changed_or_deleted(root: Client, everything: None) -> None:
    ranking = Ranking.objects.get()
    name = "admin:annotation_ranking"
    assert root.get(reverse(f"{name}_add")).status_code == 403
    assert root.post(reverse(f"{name}_change", args=[ranking.pk]), {"tiers": "[]"}).status_code == 403
    assert root.post(reverse(f"{name}_delete", args=[ranking.pk]), {"post": "yes"}).status_code == 403
    assert Ranking.objects.get().tiers == ranking.tiers


def test_an_administrator_can_revoke_a_token_but_not_see_its_hash(root: Client, everything: None) -> None:
    token = ApiToken.objects.get()
    page = root.get(reverse("admin:annotation_apitoken_change", args=[token.pk]))
    assert token.digest not in page.content.decode()
    root.post(reverse("admin:annotation_apitoken_delete", args=[token.pk]), {"post": "yes"})
    assert not ApiToken.objects.exists()


def test_people_who_are_not_staff_do_not_get_in(client: Client, manager: User) -> None:
    client.force_login(manager)
    assert client.get(reverse("admin:annotation_ranking_changelist")).status_code == 302


def test_the_index_names_each_kind_in_the_plural(root: Client) -> None:
    page = root.get("/admin/").content.decode()
    assert all(f">{words}</a>" in page for words in ("Batches", "API tokens"))
    assert "Batchs" not in page
