"""``manage.py verify_artifacts``."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from alignment.verifying import verify_artifacts


class Command(BaseCommand):
    help = "Compare the files of datasets and model versions with their SHA-256; exit 1 if any differs or is gone."

    def handle(self, *args: Any, **options: Any) -> None:
        looked_at = wrong = 0
        for name, trouble in verify_artifacts():
            looked_at, wrong = looked_at + 1, wrong + bool(trouble)
            self.stdout.write(f"{name}: {trouble or 'as it was'}")
        if wrong:
            raise CommandError(f"{wrong} of {looked_at} are damaged.")
        self.stdout.write(f"All {looked_at} are as they were.")
