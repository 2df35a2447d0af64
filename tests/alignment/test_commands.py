"""What operators do with rounds, datasets and model versions on the command line."""

from __future__ import annotations

import io
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from alignment.datasets import build_dataset, dataset_folder
from alignment.models import Round
from alignment.rounds import start_round
from annotation.models import Project, Source, User
from annotation.projects import create_user
from tests.alignment.conftest import advanced, bring_to, finish, waiting

pytestmark = pytest.mark.django_db


def told(name: str, *args: Any, **options: Any) -> str:
    out = io.StringIO()
    call_command(name, *args, stdout=out, **options)
    return out.getvalue()


@pytest.fixture
def round(project: Project, source: Source) -> Round:
    return start_round(project=project, tasks=6, overlap=1)


def test_a_failed_round_is_retried_in_a_managers_name(project: Project, round: Round, manager: User) -> None:
    advanced(round)
    finish(waiting(round)[0], state="failed", reason="No memory.")
    assert advanced(round).state == Round.State.FAILED
    create_user(username="stranger")

    with pytest.raises(CommandError, match="no member"):
        told("retry_round", project.slug, 1, by="stranger")
    assert "Round 1" in told("retry_round", project.slug, 1, by=manager.username)

    assert Round.objects.get().state == Round.State.SAMPLING and len(waiting(round)) == 1
    with pytest.raises(CommandError, match="only a failed round"):
        told("retry_round", project.slug, 1, by=manager.username)
    with pytest.raises(CommandError, match="no round 2"):
        told("retry_round", project.slug, 2, by=manager.username)


def test_a_round_is_cancelled_with_its_runs(project: Project, round: Round, manager: User) -> None:
    advanced(round)
    assert "is cancelled" in told("cancel_round", project.slug, 1, by=manager.username, reason="Wrong model.")
    assert "Wrong model." in Round.objects.get().reason and waiting(round) == []


def test_files_that_changed_or_went_are_told_and_end_in_an_error(round: Round, home: Path) -> None:
    bring_to(round, Round.State.DECIDING)
    round.refresh_from_db()
    assert "All 2 are as they were." in told("verify_artifacts")

    file = dataset_folder(round.dataset) / "train.parquet"
    content = file.read_bytes()
    file.write_bytes(content[:-1] + b"?")
    with pytest.raises(CommandError, match="1 of 2"):
        told("verify_artifacts")

    file.write_bytes(content)
    adapter = home / round.candidate.location
    shutil.rmtree(adapter) if adapter.is_dir() else adapter.unlink()
    with pytest.raises(CommandError, match="1 of 2"):
        told("verify_artifacts")


def test_a_datasets_files_are_on_the_disk_before_its_row(
    round: Round, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring_to(round, Round.State.TRAINING)
    round.refresh_from_db()
    shutil.rmtree(dataset_folder(round.dataset))
    synced, fsync = [], os.fsync

    def note(handle: int) -> None:
        synced.append(os.fstat(handle))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", note)
    dataset = build_dataset(project=round.project, batches=[round.batch])

    inodes = {each.st_ino for each in synced}
    folder = dataset_folder(dataset)
    assert {path.stat().st_ino for path in (*folder.iterdir(), folder, folder.parent)} <= inodes
    assert sum(stat.S_ISREG(each.st_mode) for each in synced) == 3
