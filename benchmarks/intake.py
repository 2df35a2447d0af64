"""Importing preferences: rows a second and memory of a file of a million, and that it comes in whole or not at all.

Each row is a person's vote between two replies of some 60 words to a question; four votes go to each question. The file
is drafted, with its preview, and carried out as a worker does it, in a process of its own whose memory counts. Before
that, the same file with a bad last line is carried out, of which nothing may stay but the line's number; and after it,
the file once more, which may add nothing. Rows of all tables are counted around each.

The database is one of its own on the server of DATABASE_URL, or on the embedded one, and the files lie in a temporary
folder; both are gone in the end.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.machine import machine
from benchmarks.serving_server import own_installation

if TYPE_CHECKING:
    from annotation.models import Project

RESULTS = Path(__file__).resolve().parent / "results"
VOTES_A_QUESTION = 4
ANNOTATORS = 1_000
AT_ONCE = 2**20
MAPPING = {
    "prompt": "question",
    "responses": ["left", "right"],
    "winner": "winner",
    "annotator": "who",
}
TABLES = ("Prompt", "Source", "Response", "Batch", "Task", "TaskResponse", "Assignment", "Ranking", "User")


def main() -> int:
    options = _options()
    if options.carry_out:
        print(json.dumps(_carry_out(options.carry_out)))
        return 0
    # Ended by a signal it drops its database all the same.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with own_installation() as (postgresql, home):
        return _measure(options, home, postgresql)


def _measure(options: argparse.Namespace, home: Path, postgresql: str) -> int:
    from annotation.projects import create_project, create_user

    project = create_project(name="Votes", created_by=create_user(username="manager"))
    file = home / "votes.jsonl"
    with file.open("w", encoding="utf-8") as lines:
        for vote in _votes(options.rows):
            lines.write(json.dumps(vote) + "\n")
    megabytes = file.stat().st_size / 1e6
    figures: dict[str, float] = {"file_mb": round(megabytes, 1)}
    print(f"{options.rows:,} rows, {megabytes:,.0f} MB")
    print(
        f"{'':<22} {'draft s':>8} {'carried out s':>14} {'rows a second':>14} {'peak MiB':>9} {'rows added':>11}"
    )
    for name, last in (("bad_line", '{"question": ""}\n'), ("whole", ""), ("again", "")):
        before = _counts()
        began = time.perf_counter()
        draft = _draft(project, file, last)
        drafted = time.perf_counter() - began
        found = _in_process(draft)
        added = sum(_counts().values()) - sum(before.values())
        rate = options.rows / found["seconds"]
        print(
            f"{name.replace('_', ' '):<22} {drafted:>8.1f} {found['seconds']:>14.1f} {rate:>14,.0f} "
            f"{found['peak_mib']:>9.0f} {added:>11,}",
            flush=True,
        )
        figures |= {
            f"{name}_draft_seconds": round(drafted, 1),
            f"{name}_seconds": round(found["seconds"], 1),
            f"{name}_rows_a_second": round(rate),
            f"{name}_peak_mib": round(found["peak_mib"]),
            f"{name}_added": added,
            f"{name}_bad": found["bad"],
            f"{name}_rankings": found["rankings"],
        }
    targets: dict[str, tuple[str, float]] = {
        "bad_line_added": ("==", 0),
        "bad_line_bad": ("==", 1),
        "whole_rankings": ("==", options.rows),
        "whole_bad": ("==", 0),
        "again_added": ("==", 0),
    }
    record = {
        "bench": "intake",
        "machine": machine(("Django", "psycopg"))
        | {"python": sys.version.split()[0], "postgresql": postgresql},
        "settings": {"rows": options.rows, "annotators": ANNOTATORS, "votes_a_question": VOTES_A_QUESTION},
        "figures": figures,
        "targets": targets,
        "met": all(figures[name] == target for name, (_, target) in targets.items()),
    }
    if not options.quick:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "intake.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(record))
    return 0 if record["met"] else 1


def _votes(count: int) -> Iterator[dict[str, str]]:
    from benchmarks.serving_content import WORDS, Writer

    writer, dice = Writer(seed=count), random.Random(count)
    replies = ("", "")
    question = ""
    for number in range(count):
        if number % VOTES_A_QUESTION == 0:
            question = writer.question(number)
            one, other = (" ".join(dice.choices(WORDS, k=60)) for _ in range(2))
            replies = (one, other)
        who = (number * 7 + number // VOTES_A_QUESTION) % ANNOTATORS
        yield {
            "question": question,
            "left": replies[0],
            "right": replies[1],
            "winner": dice.choice(("left", "right", "tie")),
            "who": f"worker {who}",
        }


def _draft(project: Project, file: Path, last: str) -> int:
    from annotation.intake.jobs import draft_import, start_import

    def pieces() -> Iterator[bytes]:
        with file.open("rb") as lines:
            while piece := lines.read(AT_ONCE):
                yield piece
        yield last.encode()

    job, _ = draft_import(
        project=project,
        created_by=None,
        pieces=pieces(),
        file_name="votes.jsonl",
        form="columns",
        mapping=MAPPING,
    )
    return start_import(job).pk


def _in_process(job: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.intake", "--carry-out", str(job)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _carry_out(job: int) -> dict[str, Any]:
    """Carry out an import as a worker does that has nothing else to do."""
    import django

    django.setup()
    from annotation.intake.carrying_out import carry_out

    began = time.perf_counter()
    ended = carry_out(job)
    seconds = time.perf_counter() - began
    assert ended is not None, "nobody else takes it"
    kibi = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 if sys.platform != "darwin" else 1024)
    rankings = (ended.report or {}).get("rankings", 0)
    return {"seconds": seconds, "peak_mib": kibi / 1024, "bad": ended.bad, "rankings": rankings}


def _counts() -> dict[str, int]:
    from django.apps import apps

    return {name: apps.get_model("annotation", name).objects.count() for name in TABLES}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--carry-out", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="a minute at most")
    options = parser.parse_args()
    if options.quick:
        options.rows = 20_000
    return options


if __name__ == "__main__":
    raise SystemExit(main())
