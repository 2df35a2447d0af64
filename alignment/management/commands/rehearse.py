"""Rehearses whole rounds with simulated annotators, and prints what came out."""

from __future__ import annotations

import json
import logging
import signal
from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from alignment.recipes import RECIPES
from alignment.rehearsal_report import LiveProgress, as_json, as_table
from alignment.rehearsal_workers import workers
from alignment.rehearsing import (
    Moment,
    Rehearsal,
    RehearsalFailed,
    RoundFigures,
    default_decoding,
    default_settings,
    default_tasks,
    rehearse,
)
from annotation.refusals import Refusal
from config.launching.checks import CannotStart
from training.engine.oracles import load_oracle
from training.engine.refusal import Refused


class Command(BaseCommand):
    help = (
        "Carries out whole rounds with simulated annotators whose opinion is an oracle's, and measures on held-out "
        "prompts whether the new model is better. Starts workers for itself unless `make run` is running."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        defaults = Rehearsal(model="")
        parser.add_argument(
            "--rounds", type=_positive, default=defaults.rounds, help="how many rounds (%(default)s)"
        )
        parser.add_argument(
            "--tasks",
            type=_positive,
            help=f"prompts ranked a round, of 200 ({default_tasks('dpo')}; with ppo {default_tasks('ppo')})",
        )
        parser.add_argument(
            "--responses",
            type=_positive,
            default=defaults.responses,
            help="responses a task, 2 to 9 (%(default)s)",
        )
        parser.add_argument(
            "--overlap", type=_positive, default=defaults.overlap, help="annotators a task (%(default)s)"
        )
        parser.add_argument(
            "--annotators",
            type=_positive,
            default=defaults.annotators,
            help="at least the overlap (%(default)s)",
        )
        parser.add_argument(
            "--oracle",
            default=defaults.oracle,
            metavar="MODULE:FUNCTION",
            help="scores a response: function(messages, text) -> float (%(default)s)",
        )
        parser.add_argument(
            "--recipe", choices=sorted(RECIPES), default=defaults.recipe, help="(%(default)s)"
        )
        parser.add_argument("--seed", type=int, default=defaults.seed, help="(%(default)s)")
        parser.add_argument(
            "--model",
            default=settings.RANKLOOP_DEFAULT_MODEL,
            help="base model: org/name, a folder or package:NAME (%(default)s)",
        )
        parser.add_argument(
            "--decoding",
            type=_object,
            default={},
            metavar="JSON",
            help=f"the source's settings, over {json.dumps(defaults.decoding)}, with ppo "
            f"{json.dumps(default_decoding('ppo'))}",
        )
        parser.add_argument(
            "--recipe-settings",
            type=_object,
            default={},
            metavar="JSON",
            help=f"the recipe's settings, over {json.dumps(defaults.settings)} with dpo",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        model, recipe = options["model"], options["recipe"]
        rehearsal = Rehearsal(
            model=str(Path(model).resolve()) if Path(model).is_dir() else model,
            tasks=options["tasks"] or default_tasks(recipe),
            decoding=_over(default_decoding(recipe), options["decoding"]),
            settings=_over(default_settings(recipe), options["recipe_settings"]),
            **{
                name: options[name]
                for name in (
                    "rounds",
                    "responses",
                    "overlap",
                    "annotators",
                    "oracle",
                    "recipe",
                    "seed",
                )
            },
        )
        _check(rehearsal)
        # SIGINT as well: a shell's background job starts with it ignored.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _interrupt)
        if options["verbosity"] < 2:
            logging.getLogger().setLevel(
                logging.ERROR
            )  # the live line tells; the workers' logs have the rest
        call_command("migrate", interactive=False, verbosity=0)
        progress = LiveProgress(self.stdout)
        rounds: list[RoundFigures] = []
        try:
            with workers(rehearsal.oracle) as working:

                def tell(moment: Moment) -> None:
                    working.tend()
                    progress(moment)

                self.stdout.write(_opening(rehearsal))
                for figures in rehearse(rehearsal, tell, queue=working.queue):
                    rounds.append(figures)
        except KeyboardInterrupt:
            raise CommandError(
                "Stopped; the round was cancelled, and what it made so far is kept.", returncode=130
            ) from None
        except (RehearsalFailed, CannotStart) as error:
            raise CommandError(str(error)) from error
        except Refusal as refusal:
            raise CommandError(refusal.sentence) from refusal
        finally:
            # What was measured is told, however it ends.
            progress.end_line()
            if rounds:
                self.stdout.write("\n" + as_table(rounds) + "\n")
                self.stdout.write(as_json(rehearsal, rounds))


def _check(rehearsal: Rehearsal) -> None:
    """Refuse what can be known to fail before anything is started."""
    try:
        load_oracle(rehearsal.oracle)
    except Refused as refused:
        raise CommandError(str(refused)) from refused
    folder = Path(rehearsal.model).expanduser()
    if folder.is_absolute() and not (folder / "config.json").is_file():
        raise CommandError(
            f"--model {rehearsal.model}: the folder holds no config.json, so there is no model in it. Give a model's "
            "folder, package:NAME or a Hub name."
        )


def _opening(rehearsal: Rehearsal) -> str:
    annotators = max(rehearsal.annotators, rehearsal.overlap)
    return (
        f"Rehearsing {rehearsal.rounds} round{'s' if rehearsal.rounds > 1 else ''} of {rehearsal.model} by "
        f"{rehearsal.recipe}: {rehearsal.tasks} tasks of {rehearsal.responses} responses, each ranked by "
        f"{rehearsal.overlap} of {annotators} simulated annotators who follow {rehearsal.oracle}."
    )


def _over(defaults: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return the defaults with what is given put over them, part by part."""
    merged = dict(defaults)
    for name, value in given.items():
        nested = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = _over(merged[name], value) if nested else value
    return merged


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ArgumentTypeError(f"{text!r} is not a JSON object")
    return value
