"""Exporting pairs: how fast a program gets them over HTTP in each format, and how much memory the web takes for it.

A dataset of rankings of 4 replies of some 200 words, six pairs each, is written as the product writes it. A client on
the same machine then downloads the pairs from gunicorn, as the Procfile starts it: the first time, when the file is
made before it is sent, and again, when it is there. Both are told in megabytes (10⁶ bytes) of the same million pairs as
JSON lines a second, so that formats which say the same in fewer bytes are compared by what they bring; what went over
the wire is beside it. Memory is the most that a web process ever held.

The database is one of its own on the server of DATABASE_URL, or on the embedded one, and the files lie in a temporary
folder; both are gone in the end.
"""

from __future__ import annotations

import argparse
import http.client
import json
import math
import random
import signal
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from benchmarks.machine import machine
from benchmarks.serving_server import Web, own_installation

if TYPE_CHECKING:
    from alignment.models import Dataset
    from training.engine.records import Ranking

WORKERS = 2
PAIRS_A_RANKING = 6
LEAST_MB_A_SECOND = 50.0
MOST_MIB = 300e6 / 2**20
RESULTS = Path(__file__).resolve().parent / "results"
AT_ONCE = 2**20
FORMS = {
    "jsonl": ("format=jsonl", "identity"),
    "jsonl, gzip": ("format=jsonl", "gzip"),
    "jsonl, zstd": ("format=jsonl", "zstd"),
    "csv": ("format=csv", "identity"),
    "parquet": ("format=parquet", "identity"),
}
"""What is asked for, and in which coding it may come."""


@dataclass(slots=True)
class Form:
    """What the downloads of one format took."""

    first: float = 0.0
    """Seconds, the making of the file among them."""
    waited: float = 0.0
    """Of them, until the answer began."""
    again: list[float] = field(default_factory=list)
    sent: int = 0
    """Bytes over the wire."""
    mib: float = 0.0


def main() -> int:
    options = _options()
    # Ended by a signal it drops its database all the same.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with own_installation() as (postgresql, _):
        return _measure(options, postgresql)


def _measure(options: argparse.Namespace, postgresql: str) -> int:
    dataset, token = _dataset(math.ceil(options.pairs / PAIRS_A_RANKING))
    forms = {}
    size = 0
    for name, (query, coding) in FORMS.items():
        # A web of its own for each format: memory that a process once had it keeps.
        with Web(WORKERS) as web:
            path = f"/api/v1/datasets/{dataset.pk}/export?shape=pairs&{query}"
            forms[name] = _download(web, path, token, coding, options.turns)
        if name == "jsonl":
            size = forms[name].sent
        print(_row(name, forms[name], size), flush=True)
    figures = _figures(forms, size) | {"pairs": _lines(dataset)}
    targets = {
        **{f"{_key(name)}_first_mb_s": [">=", LEAST_MB_A_SECOND] for name in forms},
        **{f"{_key(name)}_again_mb_s": [">=", LEAST_MB_A_SECOND] for name in forms},
        "peak_mib": ["<", MOST_MIB],
        "pairs": [">=", options.pairs],
    }
    holds = {
        ">=": lambda figure, bound: figure >= bound,
        "<": lambda figure, bound: figure < bound,
    }
    met = all(holds[sign](figures[name], bound) for name, (sign, bound) in targets.items())
    record = {
        "bench": "export",
        "machine": machine(("Django", "gunicorn", "pyarrow"))
        | {"python": sys.version.split()[0], "postgresql": postgresql},
        "settings": vars(options) | {"workers": WORKERS},
        "figures": figures,
        "targets": targets,
        "met": met,
    }
    if not options.quick:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "export.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(record))
    return 0 if met else 1


def _dataset(rankings: int) -> tuple[Dataset, str]:
    """A frozen dataset of so many rankings to train on, its files written by the product's own writer, and the token of
    who may read it."""
    from alignment.datasets import SPLITS, content_hash
    from alignment.models import Dataset
    from annotation.projects import create_project, create_user
    from annotation.tokens import issue_token
    from config import environment
    from training.engine.records import write_rankings

    manager = create_user(username="manager")
    project = create_project(name="Pairs", created_by=manager)
    datasets = environment.home() / "datasets"
    draft = datasets / "draft"
    draft.mkdir(parents=True)
    counts = {SPLITS[0]: rankings, SPLITS[1]: 1}
    for split, count in counts.items():
        write_rankings(draft / f"{split}.parquet", _rankings(count), demonstrations=False)
    settings = {"batches": [], "consensus": "bench"}
    sha256 = content_hash(draft, settings)
    draft.rename(datasets / sha256)
    dataset = Dataset.objects.create(
        project=project,
        version=1,
        sha256=sha256,
        settings=settings,
        card={},
        train_rankings=rankings,
        held_out_rankings=1,
    )
    return dataset, issue_token(user=manager, name="bench")[1]


def _rankings(count: int) -> Iterator[Ranking]:
    from benchmarks.serving_content import Writer
    from training.engine.records import Ranking

    writer = Writer(seed=count)
    dice = random.Random(count)
    for number in range(count):
        scores = sorted((round(dice.gauss(0, 1.5), 6) for _ in range(4)), reverse=True)
        order = dice.sample(range(4), 4)
        yield Ranking(
            prompt=[{"role": "user", "content": writer.question(number)}],
            responses=[writer.reply() for _ in range(4)],
            tiers=[[index] for index in order],
            scores=[scores[order.index(index)] for index in range(4)],
            meta={"task": str(number), "rankings": 3, "sources": ["old", "new", "old", "new"]},
        )


def _download(web: Web, path: str, token: str, coding: str, turns: int) -> Form:
    """Download once while the file is made, and then ``turns`` times from what is there."""
    form = Form()
    headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": coding}
    form.waited, form.first, form.sent = _get(web.port, path, headers)
    for _ in range(turns):
        _, seconds, sent = _get(web.port, path, headers)
        assert sent == form.sent
        form.again.append(seconds)
    form.mib = max(_most_held(worker) for worker in web.workers)
    return form


def _get(port: int, path: str, headers: dict[str, str]) -> tuple[float, float, int]:
    """Seconds until the answer begins and until it ends, and its bytes."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    buffer = memoryview(bytearray(AT_ONCE))
    begun = time.monotonic()
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    waited = time.monotonic() - begun
    if answer.status != 200:
        raise SystemExit(f"{path} answered {answer.status}: {answer.read(2000).decode(errors='replace')}")
    coding = answer.headers.get("Content-Encoding", "identity")
    if coding != headers["Accept-Encoding"]:
        raise SystemExit(f"{path} came in the coding {coding}, not {headers['Accept-Encoding']}.")
    received = 0
    while count := answer.readinto(buffer):
        received += count
    seconds = time.monotonic() - begun
    connection.close()
    if received != int(answer.headers["Content-Length"]):
        raise SystemExit(f"{path} broke off after {received} bytes.")
    return waited, seconds, received


def _most_held(worker: psutil.Process) -> float:
    """The most memory that a process ever held, in MiB; where the system does not tell, what it holds now."""
    status = Path(f"/proc/{worker.pid}/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return worker.memory_info().rss / 2**20


def _lines(dataset: Dataset) -> int:
    """How many pairs the file of JSON lines has."""
    from alignment.exporting import export

    with export(dataset, shape="pairs").path.open("rb") as file:
        return sum(part.count(b"\n") for part in iter(lambda: file.read(AT_ONCE), b""))


def _figures(forms: dict[str, Form], size: int) -> dict[str, float]:
    figures: dict[str, float] = {"jsonl_mb": round(size / 1e6, 1)}
    for name, form in forms.items():
        key = _key(name)
        again = statistics.median(form.again)
        figures |= {
            f"{key}_first_mb_s": round(size / 1e6 / form.first, 1),
            f"{key}_again_mb_s": round(size / 1e6 / again, 1),
            f"{key}_wire_mb": round(form.sent / 1e6, 1),
            f"{key}_wire_mb_s": round(form.sent / 1e6 / again, 1),
            f"{key}_waited_s": round(form.waited, 2),
            f"{key}_peak_mib": round(form.mib, 1),
        }
    return figures | {"peak_mib": round(max(form.mib for form in forms.values()), 1)}


def _row(name: str, form: Form, size: int) -> str:
    head = ""
    if name == next(iter(FORMS)):
        head = (
            f"{'format':<12} {'wire MB':>9} {'waited s':>9} {'first s':>8} {'first MB/s':>11} "
            f"{'again s':>8} {'again MB/s':>11} {'wire MB/s':>10} {'peak MiB':>9}\n"
        )
    again = statistics.median(form.again)
    return head + (
        f"{name:<12} {form.sent / 1e6:>9.1f} {form.waited:>9.2f} {form.first:>8.2f} {size / 1e6 / form.first:>11.1f} "
        f"{again:>8.2f} {size / 1e6 / again:>11.1f} {form.sent / 1e6 / again:>10.1f} {form.mib:>9.1f}"
    )


def _key(name: str) -> str:
    return name.replace(", ", "_")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--turns", type=int, default=3, help="downloads of each file that is there")
    parser.add_argument("--quick", action="store_true", help="a minute at most")
    options = parser.parse_args()
    if options.quick:
        options.pairs, options.turns = 30_000, 1
    return options


if __name__ == "__main__":
    sys.exit(main())
