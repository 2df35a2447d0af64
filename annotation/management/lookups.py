"""People, projects and refusals as operators name and read them on the command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError

from annotation.models import Project, User
from annotation.refusals import Refusal


def user_named(username: str) -> User:
    """The user, or CommandError."""
    try:
        return User.objects.get(username=username)
    except User.DoesNotExist:
        raise CommandError(
            f"There is no user {username!r}. Make one with: manage.py add_user {username}"
        ) from None


def project_named(name: str) -> Project:
    """The project with this slug or name, or CommandError, which lists those there are."""
    found = Project.objects.filter(slug=name).first() or Project.objects.filter(name=name).first()
    if found is None:
        there = ", ".join(Project.objects.values_list("slug", flat=True)[:20]) or "none yet"
        raise CommandError(f"There is no project {name!r}. Projects: {there}")
    return found


@contextmanager
def refusals_told() -> Iterator[None]:
    """Turn a Refusal into a CommandError with its sentence and every bad line."""
    try:
        yield
    except Refusal as refusal:
        lines = [
            f"  line {error.line}: " + (f"{error.field}: " if error.field else "") + error.reason
            for error in refusal.lines
        ]
        raise CommandError("\n".join([refusal.sentence, *lines])) from refusal
