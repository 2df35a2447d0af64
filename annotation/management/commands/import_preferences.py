"""``manage.py import_preferences PROJECT FILE``."""

from __future__ import annotations

import hashlib
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotation.intake.carrying_out import carry_out
from annotation.intake.forms import FORMS
from annotation.intake.jobs import cancel_import, look_at
from annotation.intake.previewing import ERRORS_SHOWN, Preview
from annotation.management.lookups import project_named, refusals_told
from annotation.models import Import, Project


class Command(BaseCommand):
    help = (
        "Import prompts, responses and preferences from a file, of any size: all of it, or, where any line is bad, "
        "nothing. The same file again adds nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", help="slug or name")
        parser.add_argument("file", type=Path, help="JSONL, JSON, CSV, TSV or Parquet; also .gz and .zst")
        parser.add_argument(
            "--form", choices=list(FORMS), default="", help="unless given, what the first rows have"
        )
        parser.add_argument(
            "--map",
            type=_pair,
            action="append",
            default=[],
            metavar="FIELD=COLUMN[,COLUMN…]",
            help="which of the file's columns is what, for forms where that is chosen",
        )
        parser.add_argument("--name", default="", help="of the batch; unless given, the file's")
        parser.add_argument("--skip-bad", action="store_true", help="leave bad lines out")
        parser.add_argument(
            "--preview", action="store_true", help="only tell what would come of the first rows"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        project, path = project_named(options["project"]), options["file"].resolve()
        with refusals_told():
            job = _job(project, path, options)
            told = _look(job, options)
            self._tell_preview(told)
            if options["preview"]:
                return
            if told.missing:
                raise CommandError(f"{told.missing} Say it with --map.")
        job.state = Import.State.QUEUED
        job.save()
        try:
            ended = carry_out(job.pk, beside_others=True)
        except KeyboardInterrupt:
            cancel_import(job)
            raise CommandError("Stopped; nothing was imported.") from None
        if ended is None:
            raise CommandError(f"A worker took import {job.pk} first; its page shows how far it is.")
        self._tell_end(ended)

    def _tell_preview(self, told: Preview) -> None:
        self.stdout.write(f"Form: {told.form.title} ({told.form.name})")
        for field, chosen in told.mapping.items():
            self.stdout.write(f"  {field}: {', '.join(chosen) if isinstance(chosen, list) else chosen}")
        if told.missing:
            self.stdout.write(told.missing)
            return
        rows = f"{told.rows:,} rows" if told.whole else f"The first {told.rows:,} rows"
        counts = ", ".join(f"{count:,} {what}" for what, count in (told.counts or {}).items())
        self.stdout.write(f"{rows}: {counts}; {told.bad.count:,} bad lines.")
        for error in told.bad.listed[:ERRORS_SHOWN]:
            self.stdout.write(
                f"  line {error.line}: {error.field + ': ' if error.field else ''}{error.reason}"
            )

    def _tell_end(self, job: Import) -> None:
        errors = [
            f"  line {error['line']}: {error['field'] + ': ' if error['field'] else ''}{error['reason']}"
            for error in job.errors
        ]
        if job.state != Import.State.SUCCEEDED:
            raise CommandError("\n".join([job.reason, *errors]))
        report = job.report
        assert report is not None
        self.stdout.write(
            f"{report['rankings']:,} rankings of {report['tasks']:,} tasks by {report['annotators']:,} annotators, "
            f"{report['prompts']:,} prompts and {report['responses']:,} responses imported; "
            f"{report['rankings_existing']:,} rankings, {report['prompts_existing']:,} prompts and "
            f"{report['responses_existing']:,} responses were there already."
        )
        if job.batch is not None:
            self.stdout.write(f"The rankings are in the batch {job.batch.name}.")
        for reason, count in report["ratings_left_out"].items():
            self.stdout.write(f"Ratings left out, {count:,}: {reason}.")
        if job.bad:
            self.stdout.write("\n".join([f"{job.bad:,} bad lines were left out:", *errors]))


def _pair(text: str) -> tuple[str, Any]:
    field, equals, columns = text.partition("=")
    if not equals or not field or not columns:
        raise ArgumentTypeError(f"{text!r} is not FIELD=COLUMN")
    return field, columns


def _job(project: Project, path: Path, options: dict[str, Any]) -> Import:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(2**20):
                digest.update(piece)
        size = path.stat().st_size
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}.") from error
    return Import(
        project=project,
        name=(options["name"].strip() or path.name.split(".")[0])[:200],
        file_name=path.name[:255],
        file_bytes=size,
        sha256=digest.hexdigest(),
        location=str(path),
        skip_bad=options["skip_bad"],
    )


def _look(job: Import, options: dict[str, Any]) -> Preview:
    """The preview by what was said on the command line; what was not said is as the names suggest."""
    job.form = options["form"]
    told = look_at(job, guess=True)
    given = {
        field: columns.split(",") if _takes_several(told, field) else columns
        for field, columns in options["map"]
    }
    if given:
        job.form, job.mapping = told.form.name, {**told.mapping, **given}
        told = look_at(job)
    return told


def _takes_several(told: Preview, name: str) -> bool:
    return any(field.name == name and field.several for field in told.form.fields)
