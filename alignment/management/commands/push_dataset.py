"""``HF_TOKEN=… manage.py push_dataset PROJECT VERSION OWNER/NAME``."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from alignment.exporting import SHAPES
from alignment.hub import push_to_hub
from annotation.management.lookups import project_named, refusals_told
from config import environment


class Command(BaseCommand):
    help = (
        "Upload a version of a dataset, in every shape and with its card, to the Hugging Face Hub. The token of "
        "somebody who may write there stands in HF_TOKEN."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", help="slug or name")
        parser.add_argument("version", type=int, help="of the dataset")
        parser.add_argument("repository", help="owner/name; made, if there is none")
        parser.add_argument(
            "--public", action="store_true", help="a repository that is made is open to everybody"
        )
        parser.add_argument(
            "--shapes",
            nargs="+",
            choices=list(SHAPES),
            default=list(SHAPES),
            metavar="SHAPE",
            help=f"some of {', '.join(SHAPES)}; the first one is what load_dataset takes unless it is told another",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        project = project_named(options["project"])
        dataset = project.datasets.filter(version=options["version"]).first()
        if dataset is None:
            there = ", ".join(str(one.version) for one in project.datasets.order_by("version")) or "none yet"
            raise CommandError(f"{project} has no dataset version {options['version']}. Versions: {there}")
        with refusals_told():
            address = push_to_hub(
                dataset,
                repository=options["repository"],
                token=environment.read("HF_TOKEN"),
                private=not options["public"],
                shapes=options["shapes"],
            )
        self.stdout.write(f"{dataset} of {project} is at {address}")
