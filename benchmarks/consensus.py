"""Consensus: how long fits take, alone and beside peers, each given its votes in the form it wants.

Many small tasks are fitted in a process of their own, whose memory counts. Leaderboards are raced against evalica,
arena-rank, choix and crowd-kit, which the command installs into an environment in the user's cache folder. Peer and
Rankloop take turns, and who goes first alternates; figures are medians of ratios of paired runs. arena-rank and choix
have the same maximum as Rankloop on votes without ties, and its log-likelihood must reach theirs; crowd-kit's model is
another, and the log-likelihood of the votes under each one's own model is compared, as crowd-kit fits it, which is
below what its model can reach.

choix takes pairs, or counts of them that somebody else made: the second is raced too, with counts for both, and held to
no target. Rankloop's fit includes the covariance of all scores, which no peer but arena-rank has, and there only if it
is asked for, as it is not here.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from alignment.consensus import Consensus, Rankings, fit

PEERS = ["evalica==0.4.2", "arena-rank==0.1.1", "choix==0.4.1", "crowd-kit==1.4.2"]
SPEED: dict[str, float] = {"evalica": 1.0, "arena-rank": 10.0, "choix": 10.0, "crowd-kit": 10.0}
"""How many times as fast as each peer Rankloop must be."""
# A million as long as a peer can: crowd-kit's gradient is a loop in Python, a few thousand votes a second.
COUNTED = "choix, counts"
VOTES = {
    "evalica": 1_000_000,
    "arena-rank": 1_000_000,
    "choix": 1_000_000,
    COUNTED: 1_000_000,
    "crowd-kit": 10_000,
}
QUICK_VOTES = VOTES | {"arena-rank": 200_000, "crowd-kit": 2_000}
RESULTS = Path(__file__).resolve().parent / "results"


def main() -> int:
    options = _options()
    if options.tasks_only:
        print(json.dumps(_fit_tasks(options.rankings, options.tiers)))
        return 0
    figures: dict[str, float] = {}
    targets: dict[str, tuple[str, float]] = {}
    table: list[tuple[str, ...]] = []
    _tasks(options, figures, targets, table)
    _against_peers(options, figures, targets, table)
    width = max(len(row[0]) for row in table)
    for row in table:
        print(f"{row[0]:<{width}}  " + "  ".join(f"{cell:>14}" for cell in row[1:]))
    met = all(_holds(figures[name], *target) for name, target in targets.items())
    record = {
        "bench": "consensus",
        "machine": _machine(),
        "settings": {"quick": options.quick, "turns": options.turns, "rankings": options.rankings},
        "figures": figures,
        "targets": targets,
        "met": met,
    }
    if not options.quick:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "consensus.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(record))
    return 0 if met else 1


def _tasks(
    options: argparse.Namespace,
    figures: dict[str, float],
    targets: dict[str, tuple[str, float]],
    table: list[tuple[str, ...]],
) -> None:
    table.append(("many small tasks (K = 4)", "rankings", "seconds", "peak MiB", "iterations"))
    for name, extra in (("columns", []), ("tiers", ["--tiers"])):
        if options.quick and extra:
            continue
        found = _in_process(options.rankings, extra)
        figures[f"tasks_{name}_seconds"] = round(found["seconds"], 2)
        figures[f"tasks_{name}_peak_mib"] = round(found["peak_mib"])
        figures[f"tasks_{name}_converged"] = float(found["converged"])
        table.append(
            (
                f"  given as {name}",
                f"{options.rankings}",
                f"{found['seconds']:.1f}",
                f"{found['peak_mib']:.0f}",
                str(found["iterations"]),
            )
        )
    targets["tasks_columns_converged"] = (">=", 1.0)
    if not options.quick:
        targets["tasks_columns_seconds"] = ("<=", 60.0)
        targets["tasks_columns_peak_mib"] = ("<=", 4096.0)


def _in_process(rankings: int, extra: list[str]) -> dict[str, Any]:
    command = [
        sys.executable,
        "-m",
        "benchmarks.consensus",
        "--tasks-only",
        "--rankings",
        str(rankings),
        *extra,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _fit_tasks(count: int, as_tiers: bool) -> dict[str, float]:
    """Fit rankings of 0.3 tasks a ranking by a thousand annotators; how long it takes, from the votes to the scores."""
    dice = np.random.default_rng(7)
    tasks, annotators, size = max(1, int(0.3 * count)), min(1000, max(2, count // 20)), 4
    scores = dice.normal(0, 1.5, (tasks, size))
    adherence = dice.gamma(10, 1 / 10, annotators)
    adherence /= adherence.mean()
    task, who = dice.integers(tasks, size=count), dice.integers(annotators, size=count)
    tier = _tiers(scores[task] * adherence[who][:, None], dice)
    given: Any = Rankings(
        items=range(tasks * size),
        item=(task[:, None] * size + np.arange(size)).reshape(-1),
        tier=tier.reshape(-1),
        sizes=np.full(count, size),
        annotators=range(annotators),
        annotator=who,
    )
    settings: dict[str, Any] = {}
    if as_tiers:
        settings["annotators"] = who.tolist()
        given = [
            [[(t, int(i)) for i in np.flatnonzero(row == place)] for place in range(row.max() + 1)]
            for t, row in zip(task.tolist(), tier, strict=True)
        ]
    began = time.perf_counter()
    found = fit(given, **settings)
    seconds = time.perf_counter() - began
    kibi = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 if sys.platform != "darwin" else 1024)
    return {
        "seconds": seconds,
        "peak_mib": kibi / 1024,
        "iterations": found.iterations,
        "converged": found.converged,
    }


def _tiers(utilities: np.ndarray, dice: np.random.Generator) -> np.ndarray:
    """Plackett–Luce rankings in which neighbours that are hardly apart are tied. Shape: ``(rankings, K)``."""
    felt = utilities + dice.gumbel(size=utilities.shape)
    order = np.argsort(-felt, axis=1)
    gaps = -np.diff(np.take_along_axis(felt, order, 1), axis=1) > 0.2
    in_order = np.concatenate([np.zeros((len(felt), 1), np.int64), np.cumsum(gaps, axis=1)], axis=1)
    found = np.empty_like(in_order)
    np.put_along_axis(found, order, in_order, 1)
    return found


def _against_peers(
    options: argparse.Namespace,
    figures: dict[str, float],
    targets: dict[str, tuple[str, float]],
    table: list[tuple[str, ...]],
) -> None:
    table.append(("against peers", "votes", "peer s", "Rankloop s", "times", "log-lik. gained"))
    python = _environment()
    script = Path(__file__).with_name("consensus_peers.py")
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            [python, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as side,
    ):
        for peer, count in (QUICK_VOTES if options.quick else VOTES).items():
            votes = _votes(peer, count)
            path = Path(folder) / f"{peer}.npz"
            np.savez(path, **votes)
            ratios, theirs, ours, gained = [], [], [], 0.0
            for turn in range(options.turns):
                if turn % 2:
                    seconds, found = _fit_votes(peer, votes)
                    answer = _ask(side, peer, path)
                else:
                    answer = _ask(side, peer, path)
                    seconds, found = _fit_votes(peer, votes)
                gained = found.log_likelihood - _log_likelihood(peer, votes, answer)
                theirs.append(answer["seconds"])
                ours.append(seconds)
                ratios.append(answer["seconds"] / seconds)
            name = peer.replace("-", "_").replace(", ", "_")
            figures[f"{name}_speedup"] = round(statistics.median(ratios), 2)
            if peer in SPEED:
                targets[f"{name}_speedup"] = (">=", SPEED[peer])
            shown = "other model"
            if peer != "evalica":  # whose ties are half a win each way; Rankloop's are outcomes of their own
                figures[f"{name}_log_likelihood_gained"] = round(gained, 4)
                targets[f"{name}_log_likelihood_gained"] = (">=", -0.01)
                shown = f"{gained:+.4f}"
            table.append(
                (
                    f"  {peer}",
                    str(len(votes["left"])),
                    f"{statistics.median(theirs):.3f}",
                    f"{statistics.median(ours):.3f}",
                    f"{statistics.median(ratios):.1f}",
                    shown,
                )
            )


def _votes(peer: str, count: int) -> dict[str, np.ndarray]:
    """Votes between 200 models (crowd-kit: 50, by 60 workers), tied for evalica alone."""
    dice = np.random.default_rng(11)
    models = 50 if peer == "crowd-kit" else 200
    worth = dice.normal(0, 1, models)
    left = dice.integers(models, size=count)
    right = (left + dice.integers(1, models, size=count)) % models
    annotator = dice.integers(60, size=count)
    adherence = np.ones(60)
    if peer == "crowd-kit":
        adherence[:18] = 0
    gap = adherence[annotator] * (worth[left] - worth[right])
    outcome = np.where(dice.random(count) < 1 / (1 + np.exp(-gap)), 1, -1)
    if peer == "evalica":
        outcome[dice.random(count) < 0.2] = 0
    return {"left": left, "right": right, "outcome": outcome, "annotator": annotator}


def _fit_votes(peer: str, votes: dict[str, np.ndarray]) -> tuple[float, Consensus]:
    """Return Rankloop's seconds, from votes to scores, and what it found."""
    models = int(max(votes["left"].max(), votes["right"].max())) + 1
    names = [f"model-{n:03}" for n in range(models)]
    columns = votes["left"], votes["right"], votes["outcome"]
    annotators = votes["annotator"].tolist() if peer == "crowd-kit" else None
    weights = None
    if peer == COUNTED:
        won = votes["outcome"] > 0
        better, worse = np.where(won, columns[0], columns[1]), np.where(won, columns[1], columns[0])
        pairs, weights = np.unique(np.stack([better, worse]), axis=1, return_counts=True)
        columns = pairs[0], pairs[1], np.ones(pairs.shape[1], np.int64)
    began = time.perf_counter()
    found = fit(Rankings.of_votes(*columns, items=names, annotators=annotators, weights=weights), prior=None)
    _ = found.scores
    return time.perf_counter() - began, found


def _log_likelihood(peer: str, votes: dict[str, np.ndarray], answer: dict[str, Any]) -> float:
    """Return the log-likelihood of the votes under the peer's model as it fitted it."""
    theirs = np.array(answer["scores"])
    gap = (theirs[votes["left"]] - theirs[votes["right"]]) * votes["outcome"]
    chance = 1 / (1 + np.exp(-gap))
    if peer == "crowd-kit":
        skill = np.array(answer["skills"])[votes["annotator"]]
        bias = np.array(answer["biases"])[votes["annotator"]]
        chance = skill * chance + (1 - skill) * np.where(votes["outcome"] > 0, bias, 1 - bias)
    return float(np.log(chance).sum())


def _ask(side: subprocess.Popen[str], peer: str, path: Path) -> dict[str, Any]:
    assert side.stdin is not None and side.stdout is not None
    side.stdin.write(json.dumps({"peer": peer, "votes": str(path)}) + "\n")
    side.stdin.flush()
    answer = side.stdout.readline()
    if not answer:
        raise SystemExit(f"{peer} gave no answer; what it said is above.")
    found: dict[str, Any] = json.loads(answer)
    return found


def _environment() -> str:
    """Return the Python of an environment that has the peers, made in the user's cache folder the first time."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "rankloop" / "bench-consensus"
    wanted = f"{sys.version_info[:2]} {' '.join(PEERS)}"
    done = folder / "installed"
    python = str(folder / "bin" / "python")
    if done.is_file() and done.read_text(encoding="utf-8") == wanted:
        return python
    print(f"Installing {', '.join(PEERS)} into {folder} (a minute or two, once).", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    for command in ([sys.executable, "-m", "venv", str(folder)], [python, "-m", "pip", "install", *PEERS]):
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            raise SystemExit(
                f"The peers could not be installed; connect this machine to a package index.\n{made.stderr[-2000:]}"
            )
    done.write_text(wanted, encoding="utf-8")
    return python


def _holds(figure: float, sign: str, target: float) -> bool:
    return figure >= target if sign == ">=" else figure <= target


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rankings", type=int, default=1_000_000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--tasks-only", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--tiers", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="fewer rankings and votes, one turn; the targets of seconds and memory are of the whole",
    )
    options = parser.parse_args()
    if options.quick:
        options.turns, options.rankings = 1, 50_000
    return options


def _machine() -> dict[str, Any]:
    processor = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = (
            line.split(":", 1)[1].strip()
            for line in info.read_text().splitlines()
            if line.startswith("model name")
        )
        processor = next(names, processor)
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "peers": PEERS,
    }


if __name__ == "__main__":
    raise SystemExit(main())
