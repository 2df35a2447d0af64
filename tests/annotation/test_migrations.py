"""Migrations keep what is there."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.state import StateApps


@pytest.mark.django_db(transaction=True)
def test_places_made_before_they_knew_their_batch_learn_it() -> None:
    try:
        old = migrate("0002_invariants")
        project = old.get_model("annotation", "Project").objects.create(name="p", slug="p")
        prompt = old.get_model("annotation", "Prompt").objects.create(
            project=project, messages=[], digest="0" * 64, split="train"
        )
        batch = old.get_model("annotation", "Batch").objects.create(project=project, name="b", overlap=1)
        task = old.get_model("annotation", "Task").objects.create(
            batch=batch, prompt=prompt, overlap=1, seed=1
        )
        old.get_model("annotation", "Assignment").objects.create(task=task, place=0, overlap=1)

        new = migrate("0003_assignment_batch")

        assert new.get_model("annotation", "Assignment").objects.get().batch_id == batch.pk
    finally:
        migrate_to_the_end()


@pytest.mark.django_db(transaction=True)
def test_places_that_were_there_get_a_random_id_each() -> None:
    try:
        old = migrate("0011_answers_never_change")
        project = old.get_model("annotation", "Project").objects.create(name="p", slug="p")
        prompt = old.get_model("annotation", "Prompt").objects.create(
            project=project, messages=[], digest="0" * 64, split="train"
        )
        batch = old.get_model("annotation", "Batch").objects.create(project=project, name="b", overlap=3)
        task = old.get_model("annotation", "Task").objects.create(
            batch=batch, prompt=prompt, overlap=3, seed=1
        )
        places = old.get_model("annotation", "Assignment").objects
        before = [places.create(task=task, batch=batch, place=n, overlap=3).pk for n in range(3)]

        new = migrate("0012_places_without_a_batch_in_their_address")

        ids = dict(new.get_model("annotation", "Assignment").objects.values_list("pk", "public_id"))
        assert sorted(ids) == before
        assert len(set(ids.values())) == 3 and {each.version for each in ids.values()} == {4}
    finally:
        migrate_to_the_end()


def migrate_to_the_end() -> None:
    MigrationExecutor(connection).migrate(MigrationExecutor(connection).loader.graph.leaf_nodes())


@pytest.mark.django_db(transaction=True)
def test_whoever_qualified_is_measured_since_then() -> None:
    try:
        old = migrate("0011_answers_never_change")
        project = old.get_model("annotation", "Project").objects.create(name="p", slug="p")
        then = datetime(2026, 5, 1, tzinfo=UTC)
        for name, qualified_at in (("qualified", then), ("not", None)):
            old.get_model("annotation", "Membership").objects.create(
                project=project,
                user=old.get_model("annotation", "User").objects.create(username=name),
                role="annotator",
                qualified_at=qualified_at,
            )

        new = migrate("0014_membership_measured_since")

        members = new.get_model("annotation", "Membership").objects.order_by("pk")
        assert list(members.values_list("qualified_at", "measured_since")) == [(then, then), (None, None)]
    finally:
        MigrationExecutor(connection).migrate(MigrationExecutor(connection).loader.graph.leaf_nodes())


def migrate(name: str) -> StateApps:
    """Move the annotation room to a migration; returns the models as they are there."""
    executor = MigrationExecutor(connection)
    executor.migrate([("annotation", name)])
    return MigrationExecutor(connection).loader.project_state([("annotation", name)]).apps
