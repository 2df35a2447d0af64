"""``manage.py add_member PROJECT USER ROLE``."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from annotation.management.lookups import project_named, refusals_told, user_named
from annotation.projects import Role, add_member


class Command(BaseCommand):
    help = "Make a user a member of a project, or give a member another role."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", help="slug or name")
        parser.add_argument("username")
        parser.add_argument("role", choices=Role.values)

    def handle(self, *args: Any, **options: Any) -> None:
        with refusals_told():
            member = add_member(
                project=project_named(options["project"]),
                user=user_named(options["username"]),
                role=options["role"],
            )
        self.stdout.write(f"{member.user} is {member.role} of {member.project}.")
