"""What operators type."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from annotation.models import Project, User
from annotation.projects import role_of
from annotation.tokens import user_of

pytestmark = pytest.mark.django_db


def say(*args: Any, **options: Any) -> str:
    out = io.StringIO()
    call_command(*args, stdout=out, stderr=io.StringIO(), **options)
    return out.getvalue()


def test_a_user_is_made_with_a_password_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("a long enough one 9\n"))
    say("add_user", "root", "--email", "root@example.org", "--superuser")
    user = User.objects.get(username="root")
    assert user.check_password("a long enough one 9")
    assert (user.is_superuser, user.is_staff, user.email) == (True, True, "root@example.org")


def test_a_weak_or_missing_password_makes_no_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for typed, sentence in (("short\n", "too short"), ("", "no password")):
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        with pytest.raises(CommandError, match=sentence):
            say("add_user", "someone")
    assert not User.objects.filter(username="someone").exists()


def test_a_member_is_made_by_slug_or_name(project: Project) -> None:
    say("add_user", "ann", "--no-password")
    assert say("add_member", "answers", "ann", "annotator") == "ann is annotator of Answers.\n"
    say("add_member", "Answers", "ann", "reviewer")
    assert role_of(User.objects.get(username="ann"), project) == "reviewer"


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("add_member", "nowhere", "manager", "annotator"), "no project 'nowhere'. Projects: answers"),
        (("add_member", "answers", "nobody", "annotator"), "manage.py add_user nobody"),
        (("add_member", "answers", "manager", "annotator"), "last manager"),
        (("issue_token", "manager", "job", "--days", "0"), "from 1 to 36500"),
        (("import_prompts", "answers", "missing.jsonl"), "cannot be read: No such file"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_sentence(
    project: Project, args: tuple[str, ...], sentence: str
) -> None:
    with pytest.raises(CommandError) as refused:
        say(*args)
    assert sentence in str(refused.value)


def test_a_token_is_printed_alone(manager: User) -> None:
    printed = say("issue_token", "manager", "export job", "--days", "30")
    assert user_of(printed.strip()) == manager
    assert manager.api_tokens.get().expires_at is not None


def test_prompts_are_imported_from_a_file(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "prompts.csv"
    file.write_text("prompt,mood\nWhy?,curious\nHow?,curious\n", encoding="utf-8")
    printed = say("import_prompts", "answers", str(file))
    assert "2 prompts imported; 0 were there already." in printed
    assert "'mood', in 2 lines, is unknown" in printed
    assert project.prompts.count() == 2


def test_bad_lines_are_printed_and_nothing_imported(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "Why?"}\n{"prompt": 1}\n{\n', encoding="utf-8")
    with pytest.raises(CommandError) as refused:
        say("import_prompts", "answers", str(file))
    assert "  line 2: prompt: must be text" in str(refused.value)
    assert "  line 3: is not JSON" in str(refused.value)
    assert not project.prompts.exists()
