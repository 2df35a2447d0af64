"""Rounds as operators name them on the command line."""

from __future__ import annotations

from django.core.management.base import CommandError

from alignment.models import Round
from annotation.management.lookups import project_named


def round_of(project: str, number: int) -> Round:
    """The round ``number`` of the project with this slug or name, or CommandError."""
    found = project_named(project).rounds.filter(number=number).first()
    if found is None:
        raise CommandError(f"{project} has no round {number}.")
    return found
