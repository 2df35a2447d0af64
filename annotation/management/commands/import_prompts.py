"""``manage.py import_prompts PROJECT FILE``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotation.importing import import_prompts
from annotation.management.lookups import project_named, refusals_told
from annotation.reading import read_rows


class Command(BaseCommand):
    help = "Import prompts from a JSONL, CSV or Parquet file: all of them, or, where any line is bad, none."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", help="slug or name")
        parser.add_argument("file", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        project, path = project_named(options["project"]), options["file"]
        try:
            with path.open("rb") as file, refusals_told():
                report = import_prompts(project=project, rows=read_rows(file, path.name))
        except OSError as error:
            raise CommandError(f"{path} cannot be read: {error.strerror}.") from error
        self.stdout.write(f"{report.created:,} prompts imported; {report.existing:,} were there already.")
        for field, count in report.ignored_fields.items():
            self.stdout.write(f"The field {field!r}, in {count:,} lines, is unknown and was left out.")
