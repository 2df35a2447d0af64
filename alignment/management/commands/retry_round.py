"""``manage.py retry_round PROJECT NUMBER --by USER``."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from alignment.management.lookups import round_of
from alignment.rounds import retry_round
from annotation.management.lookups import refusals_told, user_named


class Command(BaseCommand):
    help = "Go on where a round failed; runs that failed are asked for anew."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", help="slug or name")
        parser.add_argument("number", type=int, help="of the round")
        parser.add_argument(
            "--by", required=True, metavar="USER", help="the manager in whose name it is done"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        found = round_of(options["project"], options["number"])
        with refusals_told():
            round = retry_round(round=found, by=user_named(options["by"]))
        self.stdout.write(f"Round {round.number} of {round.project} is {round.state}.")
