"""``manage.py cancel_round PROJECT NUMBER --by USER``."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from alignment.management.lookups import round_of
from alignment.rounds import cancel_round
from annotation.management.lookups import refusals_told, user_named


class Command(BaseCommand):
    help = "End a round without a decision: its runs are cancelled, its batches closed. What was made stays."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", help="slug or name")
        parser.add_argument("number", type=int, help="of the round")
        parser.add_argument(
            "--by", required=True, metavar="USER", help="the manager in whose name it is done"
        )
        parser.add_argument("--reason", default="", help="in a sentence, for people")

    def handle(self, *args: Any, **options: Any) -> None:
        found = round_of(options["project"], options["number"])
        with refusals_told():
            round = cancel_round(round=found, by=user_named(options["by"]), reason=options["reason"])
        self.stdout.write(f"Round {round.number} of {round.project} is {round.state}.")
