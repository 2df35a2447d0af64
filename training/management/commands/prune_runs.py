"""``manage.py prune_runs --older-than DAYS [--dry-run]``."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from training.pruning import prune_runs


class Command(BaseCommand):
    help = "Remove checkpoints and partial outputs of runs that have ended. Artifacts, events and logs stay."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--older-than", type=int, required=True, metavar="DAYS", help="since the run's end"
        )
        parser.add_argument("--dry-run", action="store_true", help="say what would go, and remove nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        if not 0 <= options["older_than"] <= 36_500:
            raise CommandError(f"--older-than must be from 0 to 36500 days, not {options['older_than']}.")
        before = timezone.now() - timedelta(days=options["older_than"])
        runs = freed = 0
        for pruned in prune_runs(ended_before=before, dry_run=options["dry_run"]):
            names = ", ".join(path.name for path in pruned.paths)
            self.stdout.write(f"{pruned.run.pk}  {pruned.size / 2**20:,.1f} MiB  {names}")
            runs, freed = runs + 1, freed + pruned.size
        done = "would be freed" if options["dry_run"] else "freed"
        self.stdout.write(f"{freed / 2**20:,.1f} MiB {done}, of {runs} runs.")
