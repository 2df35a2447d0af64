"""Serving annotators: how many submissions a second, and how long from one to the next task, by everything on one
machine: this client, the web with two workers as the Procfile starts it, and PostgreSQL; all that is started here on
the same two cores.

C annotators at once, each with a session and a connection, submit a ranking and read the next task out of the answer,
HTML and all, without a pause to think; so each waits for all the others, C / rate seconds. One more level is of people
who think for a second, whose page asks for the task after the next one while they do. Tasks have 4 replies of some 200
words and overlap 3. Each level is measured in a batch of few tasks and in one of many, in turn; what counts as flat is
the median of the ratios of their rates. What the annotators were told is compared with the database in the end.

The database is one of its own on the server of DATABASE_URL, or on the embedded one, and is dropped in the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.machine import machine
from benchmarks.serving_server import Spent, Web, own_database, settle

if TYPE_CHECKING:
    from annotation.models import Project
    from benchmarks.serving_annotators import Tally
    from benchmarks.serving_content import Found

RESULTS = Path(__file__).resolve().parent / "results"
WORKERS = 2
CORES = 2
AT_ONCE = 32  # the level that the targets are about
PAUSE = 1.0  # seconds that one who thinks does so on average, which is far less than anybody needs
PEER = "Label Studio 1.23 on such a machine, cited"
PEER_FIGURES = {"rate": 15.0, "p95_ms": 1100.0, "statements": 110.0}
COUNTED = 20  # submissions whose statements are counted


@dataclass(slots=True)
class Level:
    """All turns of so many annotators in a batch of so many tasks."""

    tasks: int
    at_once: int
    pause: float = 0.0
    rates: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    spent: dict[str, list[float]] = field(default_factory=dict)

    def take(self, tally: Tally, before: Spent, after: Spent) -> None:
        measured = tally.latencies()
        self.rates.append(len(measured) / tally.seconds)
        self.latencies += measured
        self.errors += tally.errors
        for side in ("web", "database", "client"):
            one, other = getattr(before, side), getattr(after, side)
            if one is not None:
                # Warm-up included: the whole of the time by the whole of the work.
                self.spent.setdefault(side, []).append(1000 * (other - one) / max(1, len(tally.ended)))

    def percentile(self, share: float) -> float:
        """In milliseconds."""
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("inf")

    @property
    def name(self) -> str:
        return f"c{self.at_once}_{self.tasks}{'_paced' if self.pause else ''}"

    def figures(self) -> dict[str, float]:
        name = self.name
        return {
            f"rate_{name}": round(statistics.median(self.rates), 1),
            **{f"p{p}_ms_{name}": round(self.percentile(p / 100), 1) for p in (50, 95, 99)},
            **{f"{side}_cpu_ms_{name}": round(statistics.mean(ms), 2) for side, ms in self.spent.items()},
        }


def main() -> int:
    options = _options()
    # What is started from here inherits it: the web, and the embedded PostgreSQL.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    # Ended by a signal it drops its database all the same.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with own_database() as postgresql:
        os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", interactive=False, verbosity=0)
        return _measure(options, postgresql)


def _measure(options: argparse.Namespace, postgresql: str) -> int:
    from annotation.projects import create_user
    from benchmarks.serving_annotators import work
    from benchmarks.serving_content import compare, make_annotators, make_project

    pairs = [
        at_once for at_once in options.at_once for _ in range(options.turns if at_once == AT_ONCE else 1)
    ]
    manager = create_user(username="manager")
    users, annotators = make_annotators(max(options.at_once))
    many = make_project("Many", options.many, users, manager)
    few = [make_project(f"Few {n}", options.few, users, manager) for n in range(1, len(pairs) + 1)]
    statements = _count_statements(make_project("Counted", 2 * COUNTED, users, manager), users[0])
    settle()

    levels: dict[tuple[int, int, float], Level] = {}
    flatness: list[float] = []
    acknowledged: dict[int, set[Any]] = {project.pk: set() for project in [many, *few]}
    with Web(WORKERS) as web:
        for project, tasks, at_once, pause in _turns(options, pairs, few, many):
            level = levels.setdefault((tasks, at_once, pause), Level(tasks, at_once, pause))
            before = web.spent()
            tally = asyncio.run(
                work(
                    annotators[:at_once],
                    port=web.port,
                    slug=project.slug,
                    warm_up=options.warm_up,
                    seconds=options.seconds,
                    most=_most(tasks, at_once),
                    pause=pause,
                )
            )
            level.take(tally, before, web.spent())
            acknowledged[project.pk] |= set(tally.acknowledged)
            if (tasks, at_once, pause) == (options.many, AT_ONCE, 0.0):
                flatness.append(level.rates[-1] / levels[options.few, AT_ONCE, 0.0].rates[-1])
        mib = web.mib()
    found = [compare(project, acknowledged[project.pk]) for project in [many, *few]]
    figures, targets = _figures(options, list(levels.values()), found, flatness, statements, mib)
    _print(list(levels.values()), figures)
    record = {
        "bench": "serving",
        "machine": machine(("Django", "gunicorn", "psycopg"))
        | {"python": sys.version.split()[0], "postgresql": postgresql},
        "settings": vars(options) | {"cores": CORES, "workers": WORKERS, "responses": 4, "overlap": 3},
        "cited": {PEER: PEER_FIGURES},
        "figures": figures,
        "targets": targets,
        "met": all(
            figures[name] >= target if sign == ">=" else figures[name] <= target
            for name, (sign, target) in targets.items()
        ),
    }
    if not options.quick:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "serving.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(record))
    return 0 if record["met"] else 1


def _turns(
    options: argparse.Namespace, pairs: Sequence[int], few: Sequence[Project], many: Project
) -> list[tuple[Project, int, int, float]]:
    """Project, tasks, annotators and their pause: few tasks, many tasks, in turn, and in the end people who think."""
    turns: list[tuple[Project, int, int, float]] = []
    for at_once, project in zip(pairs, few, strict=True):
        turns += [(project, options.few, at_once, 0.0), (many, options.many, at_once, 0.0)]
    return [*turns, (many, options.many, AT_ONCE, PAUSE)]


def _most(tasks: int, at_once: int) -> int:
    """Nine tenths of what these annotators can be given: at the end of a batch, rankings wait for others'."""
    return int(0.9 * tasks * min(3, at_once))


def _count_statements(project: Project, annotator: Any) -> float:
    """Statements that one submission with its next task sends to the database, with those that begin and end
    transactions and the one that asks whether the connection lives."""
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    from benchmarks.serving_annotators import task_of

    browser = Client(SERVER_NAME="localhost")
    browser.force_login(annotator)
    page = f"/projects/{project.slug}/rank/"
    shown = task_of(browser.get(page).content.decode())
    counts = []
    for number in range(COUNTED):
        assert shown is not None
        body = {
            "lease": shown.lease,
            "key": f"00000000-0000-4000-8000-{number:012d}",
            "tiers": [[n] for n in shown.numbers],
        }
        with CaptureQueriesContext(connection) as captured:
            answer = browser.post(
                f"{page}{shown.assignment}/submit/", body, content_type="application/json"
            ).json()
            if "html" not in answer:
                answer = browser.post(f"{page}next/", {}, content_type="application/json").json()
        counts.append(len(captured) + bool(connection.settings_dict["CONN_HEALTH_CHECKS"]))
        shown = task_of(answer["html"])
    return statistics.median(counts)


def _figures(
    options: argparse.Namespace,
    levels: Sequence[Level],
    found: Sequence[Found],
    flatness: Sequence[float],
    statements: float,
    mib: float,
) -> tuple[dict[str, float], dict[str, tuple[str, float]]]:
    figures: dict[str, float] = {}
    for level in levels:
        figures |= level.figures()
    figures |= {
        f"rate_c{AT_ONCE}": min(figures[f"rate_c{AT_ONCE}_{tasks}"] for tasks in (options.few, options.many)),
        f"p95_ms_c{AT_ONCE}": max(
            figures[f"p95_ms_c{AT_ONCE}_{tasks}"] for tasks in (options.few, options.many)
        ),
        "flat": round(statistics.median(flatness), 3),
        "statements": statements,
        "worker_mib": round(mib),
        "rankings": sum(each.rankings for each in found),
        "errors": sum(len(level.errors) for level in levels),
        **{
            name: sum(getattr(each, name) for each in found)
            for name in ("over_overlap", "lost", "unacknowledged", "doubled")
        },
    }
    targets: dict[str, tuple[str, float]] = {
        f"rate_c{AT_ONCE}": (">=", 150.0),
        f"p95_ms_c{AT_ONCE}": ("<=", 100.0),
        "flat": (">=", 0.9),
        **dict.fromkeys(("errors", "over_overlap", "lost", "unacknowledged", "doubled"), ("<=", 0)),
    }
    return figures, targets


def _print(levels: Sequence[Level], figures: dict[str, float]) -> None:
    sides = ("web", "database", "client")
    rows = [
        (
            "tasks",
            "annotators",
            "a second",
            "p50 ms",
            "p95 ms",
            "p99 ms",
            "errors",
            *(f"{s} CPU ms" for s in sides),
        )
    ]
    for level in levels:
        name = level.name
        rows.append(
            (
                f"{level.tasks:,}",
                f"{level.at_once}{', thinking' if level.pause else ''}",
                f"{figures[f'rate_{name}']:.0f}",
                *(f"{figures[f'p{p}_ms_{name}']:.1f}" for p in (50, 95, 99)),
                str(len(level.errors)),
                *(
                    f"{figures[f'{side}_cpu_ms_{name}']:.2f}" if side in level.spent else "–"
                    for side in sides
                ),
            )
        )
    print()
    for row in rows:
        print("  ".join(f"{cell:>15}" for cell in row))
    print()
    print(
        f"{PEER}: {PEER_FIGURES['rate']:.0f} a second, p95 {PEER_FIGURES['p95_ms']:.0f} ms, "
        f"{PEER_FIGURES['statements']:.0f} statements a submission"
    )
    print(
        f"Rankloop: {figures['statements']:.0f} statements a submission; the largest worker has "
        f"{figures['worker_mib']:.0f} MiB; rate at many tasks by rate at few: {figures['flat']:.2f}"
    )
    print(
        f"{figures['rankings']:,.0f} rankings stored: {figures['over_overlap']:.0f} tasks over their overlap, "
        f"{figures['lost']:.0f} lost, {figures['unacknowledged']:.0f} that nobody was told of, "
        f"{figures['doubled']:.0f} doubled; {figures['errors']:.0f} errors"
    )
    for error in [error for level in levels for error in level.errors][:5]:
        print(f"  {error}")
    print(flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--at-once", nargs="+", type=int, default=[1, 8, 32, 128], help="annotators at once")
    parser.add_argument("--few", type=int, default=2_000, help="tasks of the small batch")
    parser.add_argument("--many", type=int, default=200_000, help="tasks of the large batch")
    parser.add_argument("--seconds", type=float, default=10, help="measured of each turn")
    parser.add_argument("--warm-up", type=float, default=3, help="seconds before them")
    parser.add_argument(
        "--turns", type=int, default=3, help=f"of {AT_ONCE} annotators, which the targets are about"
    )
    parser.add_argument("--quick", action="store_true", help="small batches, a few seconds, nothing to quote")
    options = parser.parse_args()
    if AT_ONCE not in options.at_once:
        parser.error(f"--at-once must hold {AT_ONCE}, which the targets are about")
    if options.quick:
        options.at_once, options.few, options.many = [1, 8, AT_ONCE], 600, 5_000
        options.seconds, options.warm_up, options.turns = 3.0, 1.5, 1
    return options


if __name__ == "__main__":
    raise SystemExit(main())
