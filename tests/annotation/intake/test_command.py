"""``manage.py import_preferences``: told before, carried out at once, and what was wrong."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from annotation.models import Batch, Import
from annotation.projects import create_project, create_user

pytestmark = pytest.mark.django_db(transaction=True)

TABLE = "q,a,b,w,who\nRice?,long,short,b,ann\nRice?,long,short,tie,ben\n"
MAPPED = ("--map", "prompt=q", "--map", "responses=a,b", "--map", "winner=w", "--map", "annotator=who")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    create_project(name="Answers", created_by=create_user(username="manager"))
    path = tmp_path / "votes.csv"
    path.write_text(TABLE, encoding="utf-8")
    return path


def say(*args: Any) -> str:
    out = io.StringIO()
    call_command("import_preferences", "answers", *map(str, args), stdout=out, stderr=io.StringIO())
    return out.getvalue()


def test_a_preview_keeps_nothing(file: Path) -> None:
    told = say(file, *MAPPED, "--preview")
    assert "Form: A table of your own (columns)" in told
    assert "2 rows: 1 prompts, 2 responses, 1 sources, 2 rankings, 1 ties, 2 annotators; 0 bad lines." in told
    assert not Import.objects.exists()


def test_a_file_comes_in_and_stays_where_it_lies(file: Path) -> None:
    told = say(file, *MAPPED, "--name", "Crowd")
    assert "2 rankings of 1 tasks by 2 annotators, 1 prompts and 2 responses imported" in told
    assert "The rankings are in the batch Crowd." in told
    assert file.exists()
    assert "0 rankings of 0 tasks" in say(file, *MAPPED, "--name", "Crowd")
    assert Batch.objects.count() == 1


def test_bad_lines_are_listed_and_left_out_on_request(file: Path) -> None:
    file.write_text(TABLE + "Tea?,hot,cold,nobody,ann\n", encoding="utf-8")
    with pytest.raises(CommandError) as refused:
        say(file, *MAPPED)
    assert "1 of 3 lines is wrong, so nothing was imported" in str(refused.value)
    assert "  line 4: w: must say which response won" in str(refused.value)
    assert "1 bad lines were left out:" in say(file, *MAPPED, "--skip-bad")


def test_what_lacks_a_mapping_says_what_to_map(file: Path) -> None:
    with pytest.raises(CommandError, match="Say it with --map"):
        say(file)
