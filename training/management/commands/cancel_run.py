"""``manage.py cancel_run RUN``."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from training.launching import cancel_run
from training.models import Run


class Command(BaseCommand):
    help = (
        "Cancel a run: at once if it waits, else its worker stops it soon. One that has ended stays as it is."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("run", type=UUID, help="its id")
        parser.add_argument("--reason", default="Cancelled by an operator.", help="in a sentence, for people")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            run = cancel_run(run_id=options["run"], reason=options["reason"])
        except Run.DoesNotExist:
            raise CommandError(f"There is no run {options['run']}.") from None
        awaited = ", and its worker was told to stop it" if run.state == Run.State.RUNNING else ""
        self.stdout.write(f"The {run} is {run.state}{awaited}.")
