"""``manage.py add_user NAME``: an account, with a password that is typed, piped in or left out."""

from __future__ import annotations

import getpass
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotation.management.lookups import refusals_told
from annotation.projects import create_user


class Command(BaseCommand):
    help = "Make an account. The password is asked for, or read from the first line of standard input."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--email", default="")
        parser.add_argument("--superuser", action="store_true", help="May do everything, everywhere.")
        parser.add_argument(
            "--no-password", action="store_true", help="Logs in by single sign-on or API token only."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        with refusals_told():
            user = create_user(
                username=options["username"],
                password=None if options["no_password"] else _password(),
                email=options["email"],
                superuser=options["superuser"],
            )
        self.stdout.write(f"Made the user {user.username}.")


def _password() -> str:
    if not sys.stdin.isatty():
        password = sys.stdin.readline().rstrip("\r\n")
        if not password:
            raise CommandError("Standard input holds no password. Pipe one in, or pass --no-password.")
        return password
    password = getpass.getpass("Password: ")
    if getpass.getpass("Password again: ") != password:
        raise CommandError("The passwords differ. Nothing was made.")
    return password
