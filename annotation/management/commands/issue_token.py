"""``manage.py issue_token USER NAME``: prints an API token, once, alone on standard output."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from annotation.management.lookups import refusals_told, user_named
from annotation.tokens import issue_token


class Command(BaseCommand):
    help = "Make an API token and print it, which cannot be done again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("name", help="what will use it")
        parser.add_argument("--days", type=int, help="days until it expires; never, unless given")

    def handle(self, *args: Any, **options: Any) -> None:
        days = options["days"]
        if days is not None and not 1 <= days <= 36_500:
            raise CommandError(f"--days must be from 1 to 36500, not {days}.")
        with refusals_told():
            token, key = issue_token(
                user=user_named(options["username"]),
                name=options["name"],
                expires_at=timezone.now() + timedelta(days=days) if days is not None else None,
            )
        until = f"until {token.expires_at:%Y-%m-%d}" if token.expires_at else "and does not expire"
        self.stderr.write(f"This API token of {token.user} works {until}. Keep it: it cannot be shown again.")
        self.stdout.write(key)
