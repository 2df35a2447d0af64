"""The demo: a project to try Rankloop with, and people who can log in to it."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from django.conf import settings
from django.db import transaction

import annotation
from alignment.model_versions import register_base, usual_name
from alignment.models import ModelVersion
from alignment.sources import create_model_source
from annotation.importing import import_prompts
from annotation.models import Membership, Project, User
from annotation.projects import add_member, create_project, create_user
from annotation.reading import read_rows

PROJECT = "Demo"
MANAGER = "demo"
ANNOTATORS = ("annotator1", "annotator2", "annotator3")
PASSWORD_FILE = "demo_password"  # noqa: S105 - the file's name

DESCRIPTION = "Two hundred everyday prompts and a small model, to try a whole round with."
GUIDELINES = """\
Rank the replies from **best to worst**, as the person who asked would. Read all of them first.

### What counts, in this order
1. **It helps.** The reply answers what was asked, so that the person can go on.
2. **It is true.** What it claims holds. Where sources are given, it rests on them and cites them, like [1].
3. **It is safe and kind.** It hurts nobody and talks down to nobody.
4. **It reads well.** Clear, well ordered, no longer than it needs to be.

### When you are unsure
- **Equally good, or equally bad?** Put the replies in one tier. A tie is an honest answer.
- **Cut off at the end?** Judge what is there; do not punish the missing end twice.
- **Wrong but charming?** Wrong loses.
- **You cannot judge it**, for lack of knowledge or of the language? Skip the task, and say why.

The replies come from several models in an order of chance. Nothing tells which is whose, and nothing should.
"""


def ensure_demo() -> str:
    """Make the demo in an installation that has no administrator yet; else leave everything as it is.

    The password of all its accounts is made once, and kept in ``RANKLOOP_HOME/demo_password`` for its owner's eyes.

    Returns:
        How to log in.
    """
    if not User.objects.filter(is_superuser=True).exists():
        _make_demo(_password())
    file = _password_file()
    manager = User.objects.filter(username=MANAGER).first()
    if manager is None or not file.exists() or not manager.check_password(file.read_text().strip()):
        return "with your account"
    return (
        f"as {MANAGER}, password {file.read_text().strip()} "
        f"(annotators: {', '.join(ANNOTATORS)}, the same password)"
    )


@transaction.atomic
def _make_demo(password: str) -> None:
    manager = create_user(username=MANAGER, password=password, superuser=True)
    project = create_project(name=PROJECT, description=DESCRIPTION, guidelines=GUIDELINES, created_by=manager)
    for name in ANNOTATORS:
        annotator = create_user(username=name, password=password)
        add_member(project=project, user=annotator, role=Membership.Role.ANNOTATOR)
    fill_project(project, location=settings.RANKLOOP_DEFAULT_MODEL)


def fill_project(
    project: Project, *, location: str, decoding: dict[str, object] | None = None
) -> ModelVersion:
    """Give a project the demo's prompts, a base model and a source that samples it.

    Args:
        location: the base model, as `alignment.model_versions.register_base` takes it from an operator.
        decoding: the source's settings that differ from their defaults.
    """
    prompts = Path(annotation.__file__).parent / "demo" / "prompts.jsonl"
    with prompts.open("rb") as file:
        import_prompts(project=project, rows=read_rows(file, prompts.name))
    name = usual_name(location)
    base = register_base(project=project, name=name, location=location, may_name_folders=True)
    create_model_source(project=project, name=name, model_version=base, settings=decoding)
    return base


def _password() -> str:
    """Return the password in the file, which is made if there is none."""
    file = _password_file()
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return file.read_text().strip()
    with os.fdopen(handle, "w") as new:
        password = secrets.token_urlsafe(9)
        new.write(password + "\n")
    return password


def _password_file() -> Path:
    return settings.RANKLOOP_HOME / PASSWORD_FILE
