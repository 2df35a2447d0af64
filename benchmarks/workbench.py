"""The annotator's page: how long from Enter to the next task's first card on the screen.

A real Chromium ranks tasks of 4 responses of some 300 words by keys, against the web with two workers as the Procfile
starts it, and PostgreSQL; each task is looked at for a moment, shorter than anybody could read it. The time goes from
the key event to the end of the second animation frame after the next task is in the page, so that it is painted. It is
taken without and with latency added to each request, and the page's heap at the start and in the end, after a garbage
collection. What the server has in the end is compared with what was answered.

The database is one of its own on the server of DATABASE_URL, or on the embedded one, and is dropped in the end.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import CDPSession, Page, sync_playwright

from benchmarks.machine import machine
from benchmarks.serving_server import Web, own_database, settle
from tests.browser import chromium

if TYPE_CHECKING:
    from playwright._impl._api_structures import SetCookieParam

    from annotation.models import Project, User

RESULTS = Path(__file__).resolve().parent / "results"
WORKERS = 2
RESPONSES = 4
LATENCIES = (0, 50, 200)
"""Milliseconds added to each request."""
MOST_MS = 100.0
WARM_UP = 3
LOOK = """
globalThis.bench = { pressed: null, shown: null, times: [] };
addEventListener("keydown", ({ key, timeStamp }) => { if (key === "Enter") bench.pressed = timeStamp; }, true);
new MutationObserver(() => {
  const now = document.querySelector("[data-workbench]:has([data-response])")?.dataset.assignment;
  if (!now || now === bench.shown) return;
  const { pressed } = bench;
  Object.assign(bench, { shown: now, pressed: null });
  if (pressed === null) return;
  requestAnimationFrame(() => requestAnimationFrame(() => bench.times.push(performance.now() - pressed)));
}).observe(document, { childList: true, subtree: true });
"""


@dataclass(slots=True)
class Session:
    """What one annotator's tasks took, in milliseconds, and the page's heap in MiB at the start and in the end."""

    latency: int
    times: list[float]
    heap: tuple[float, float]
    missing: int

    def percentile(self, share: float) -> float:
        ordered = sorted(self.times)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def main() -> int:
    options = _options()
    # Ended by a signal it drops its database all the same.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with own_database() as postgresql:
        os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
        # Playwright's loop runs in this thread; Django would take its queries for ones in a coroutine.
        os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", interactive=False, verbosity=0)
        return _measure(options, postgresql)


def _measure(options: argparse.Namespace, postgresql: str) -> int:
    from annotation.projects import create_user

    annotator = create_user(username="annotator")
    projects = {latency: _project(latency, options.tasks + WARM_UP + 2, annotator) for latency in LATENCIES}
    settle()
    with Web(WORKERS) as web, sync_playwright() as playwright:
        sandbox = [] if os.geteuid() else ["--no-sandbox"]
        browser = playwright.chromium.launch(
            executable_path=chromium.installed(), args=[*chromium.FLAGS, *sandbox]
        )
        version = browser.version
        sessions = []
        for latency, project in projects.items():
            context = browser.new_context(
                base_url=f"http://localhost:{web.port}", viewport={"width": 1440, "height": 900}
            )
            context.add_cookies([_cookie(annotator, web.port)])
            sessions.append(_session(context.new_page(), project, latency, options))
            context.close()
        browser.close()
    figures = _figures(sessions)
    targets: dict[str, tuple[str, float]] = {
        **{f"p95_ms_{latency}ms": ("<=", MOST_MS) for latency in (0, 200)},
        "missing": ("<=", 0),
    }
    _print(sessions)
    met = all(figures[name] <= most for name, (_, most) in targets.items())
    record = {
        "bench": "workbench",
        "machine": machine(("Django", "gunicorn", "playwright"))
        | {"python": sys.version.split()[0], "postgresql": postgresql, "chromium": version},
        "settings": vars(options) | {"workers": WORKERS, "responses": RESPONSES},
        "figures": figures,
        "targets": targets,
        "met": met,
    }
    if not options.quick:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "workbench.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(record))
    return 0 if met else 1


def _session(page: Page, project: Project, latency: int, options: argparse.Namespace) -> Session:
    """Rank by keys; the first tasks warm everything up and are not counted."""
    from annotation.models import Ranking

    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable")
    devtools.send("Network.enable")
    devtools.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": latency, "downloadThroughput": -1, "uploadThroughput": -1},
    )
    page.add_init_script(LOOK)
    page.goto(f"/projects/{project.slug}/rank/")
    page.locator("[data-response][data-current]").wait_for()
    before = 0.0
    for number in range(options.tasks + WARM_UP):
        if number == WARM_UP:
            before = _heap(devtools)
        page.wait_for_timeout(options.look * 1000)
        for tier in range(1, RESPONSES + 1):
            page.keyboard.press(str(tier))
        page.keyboard.press("Enter")
        _wait_for(page, f"bench.times.length === {number + 1}")
    times = page.evaluate("bench.times")[WARM_UP:]
    after = _heap(devtools)
    _wait_for(page, "!Object.keys(localStorage).some((name) => name.startsWith('rankloop:outbox:'))")
    stored = Ranking.objects.filter(task__batch__project=project).count()
    return Session(latency, times, (before, after), options.tasks + WARM_UP - stored)


def _wait_for(page: Page, expression: str) -> None:
    deadline = time.monotonic() + 60
    while not page.evaluate(expression):
        if time.monotonic() > deadline:
            raise SystemExit(f"The page does not come to this: {expression}")
        page.wait_for_timeout(20)


def _heap(devtools: CDPSession) -> float:
    for _ in range(3):
        devtools.send("HeapProfiler.collectGarbage")
    metrics = devtools.send("Performance.getMetrics")["metrics"]
    return next(each["value"] for each in metrics if each["name"] == "JSHeapUsedSize") / 2**20


def _project(latency: int, tasks: int, annotator: User) -> Project:
    from annotation.batching import compose_batch
    from annotation.importing import import_prompts
    from annotation.models import Response, Source
    from annotation.projects import add_member, create_project
    from benchmarks.serving_content import Writer

    project = create_project(
        name=f"Latency {latency}", created_by=annotator, guidelines="Prefer what is **right**."
    )
    add_member(project=project, user=annotator, role="manager")
    writer = Writer(seed=latency)
    rows = ((number, {"prompt": writer.question(number)}) for number in range(1, tasks + 1))
    import_prompts(project=project, rows=rows)
    source = Source.objects.create(project=project, name="model", kind=Source.Kind.IMPORT)
    drawn_by = uuid.uuid4()
    Response.objects.bulk_create(
        Response(
            prompt=prompt,
            source=source,
            drawn_by=drawn_by,
            index=index,
            # The writer's replies have some 200 words.
            text=f"{writer.reply()}\n\n{writer.dice.choice(writer.paragraphs)}\n\n{writer.dice.choice(writer.paragraphs)}",
        )
        for prompt in project.prompts.all()
        for index in range(RESPONSES)
    )
    compose_batch(
        project=project,
        name="batch",
        prompts=project.prompts.all(),
        sources=[source],
        responses_per_task=RESPONSES,
        overlap=1,
    )
    return project


def _cookie(annotator: User, port: int) -> SetCookieParam:
    from django.conf import settings
    from django.test import Client

    client = Client()
    client.force_login(annotator)
    name = settings.SESSION_COOKIE_NAME
    return {"name": name, "value": client.cookies[name].value, "url": f"http://localhost:{port}"}


def _figures(sessions: list[Session]) -> dict[str, float]:
    figures: dict[str, float] = {}
    for session in sessions:
        for percent in (50, 95, 99):
            figures[f"p{percent}_ms_{session.latency}ms"] = round(session.percentile(percent / 100), 1)
        for name, mib in zip(("start", "end"), session.heap, strict=True):
            figures[f"heap_{name}_mib_{session.latency}ms"] = round(mib, 2)
    return figures | {
        "mean_ms": round(statistics.mean(each for session in sessions for each in session.times), 1),
        "missing": sum(session.missing for session in sessions),
    }


def _print(sessions: list[Session]) -> None:
    print(
        f"{'latency ms':>10} {'tasks':>6} {'p50 ms':>8} {'p95 ms':>8} {'p99 ms':>8} {'heap MiB, start and end':>24}"
    )
    for session in sessions:
        times = " ".join(f"{session.percentile(share):>8.1f}" for share in (0.5, 0.95, 0.99))
        heap = "{:.1f} {:.1f}".format(*session.heap)
        print(f"{session.latency:>10} {len(session.times):>6} {times} {heap:>24}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=100, help="at each latency")
    parser.add_argument("--look", type=float, default=1.0, help="seconds for which each task is looked at")
    parser.add_argument("--quick", action="store_true", help="a minute at most")
    options = parser.parse_args()
    if options.quick:
        options.tasks, options.look = 8, 0.7
    return options


if __name__ == "__main__":
    sys.exit(main())
