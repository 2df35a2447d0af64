"""What `benchmarks/training.py` compares, a function a part, and what each figure must reach."""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

Job = dict[str, Any]
Result = dict[str, float]

SPEEDUPS = {
    ("dpo", "all"): {2: 1.6, 4: 10.0, 9: 25.0},
    ("reward", "all"): {2: 1.2, 4: 5.0, 9: 12.0},
    ("dpo", "adjacent"): {4: 1.0, 9: 1.0},
    ("reward", "adjacent"): {4: 1.0, 9: 1.0},
}
ITSELF = {4: 4.0, 9: 10.0}
"""Against the engine fed with all pairs, so that nothing is owed to the peer's overheads."""
SHAPES = {"1:1": (64, 64), "2:1": (128, 64)}
"""Tokens of prompt and response."""
TUNED_SHAPE = "1:1"
"""Where the engine has less to gain."""
QUICK_SHAPES = {"1:1": (16, 16)}
QUICK_RANKINGS_A_STEP = {4: 1}
RATIOS = {
    "4:1": (128, 32),
    "2:1": (96, 48),
    "1:1": (64, 64),
    "1:2": (48, 96),
    "1:4": (48, 192),
    "1:8": (32, 256),
    "1:16": (24, 384),
}
TOKENS_AT_ONCE = 4096
"""Of a forward pass, on both sides."""
RANKINGS_A_STEP = {2: 3, 4: 2, 9: 1}
MOST_NOISE = 0.03
"""Of a median ratio, that "never slower" is granted: a noisier machine is no excuse."""
LOSS_GAP = {"cpu": 1e-4, "cuda": 5e-2}
GRADIENT_GAP = {"cpu": 1e-4, "cuda": 5e-2}
"""Of the first step of both sides, relative: float32 on a CPU, bfloat16 on a GPU. A response's log-probability is some
hundred nats here, which float32 holds to 1e-4; in DPO's loss that is 1e-5."""


@dataclass
class Side:
    """A process that carries out jobs for one side."""

    name: str
    _process: subprocess.Popen[str] = field(init=False)

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.training_sides", self.name],
            env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
            cwd=Path(__file__).resolve().parent.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        return self

    def __exit__(self, *error: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def run(self, job: Job) -> Result:
        """Return rankings a second, MiB, and the first step's loss and gradient norm."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(
                f"The side {self.name} died on {json.dumps(job)}: give that line to "
                f"`python -m benchmarks.training_sides {self.name}` to see why."
            )
        result: Result = json.loads(answer)
        return result


@dataclass
class Bench:
    """What a part works with, and what comes of it."""

    trl: Side
    engine: Side
    model: str
    device: str
    responses: list[int]
    shapes: Mapping[str, tuple[int, int]]
    turns: Mapping[int, int]
    """Of each number of responses."""
    rankings_a_step: Mapping[int, int]
    """Likewise."""
    quick: bool
    """Whether rankings are so short that speed is only held to be no lower, and TRL runs on all pairs as it comes."""
    figures: dict[str, float] = field(default_factory=dict)
    targets: dict[str, tuple[str, float]] = field(default_factory=dict)
    table: list[tuple[str, ...]] = field(default_factory=list)
    _turns_taken: int = 0

    def job(self, method: str, k: int, shape: str, **more: Any) -> Job:
        """Return a job on whole rankings; `more` replaces what it says."""
        prompt, response = self.shapes[shape]
        usual = {
            "model": self.model,
            "method": method,
            "k": k,
            "prompt": prompt,
            "response": response,
            "pairs": "all",
            "tokens_at_once": TOKENS_AT_ONCE,
            "varied": False,
            "layout": "auto",
            "peer": "as it comes",
            "rankings_a_step": self.rankings_a_step[k],
            "steps": 2,
        }
        return usual | more

    def job_on_pairs(self, method: str, k: int, shape: str, **more: Any) -> Job:
        """Return a job on all pairs, with as few steps as make two forward passes: the first is not timed."""
        job = self.job(method, k, shape, **more)
        tokens = k * (k - 1) * (job["prompt"] + job["response"]) * job["rankings_a_step"]
        return job | {"steps": 1 if tokens > TOKENS_AT_ONCE else 2}

    def in_turn(self, jobs: Mapping[str, tuple[Side, Job]], turns: int) -> dict[str, list[Result]]:
        """Run each job once a turn, every second turn in the opposite order."""
        results: dict[str, list[Result]] = {name: [] for name in jobs}
        for turn in range(turns):
            order = list(jobs) if self._turns_taken % 2 == 0 else list(reversed(jobs))
            self._turns_taken += 1
            for name in order:
                side, job = jobs[name]
                results[name].append(side.run(job | {"seed": turn + 1}))
        return results

    def tell(self, name: str, theirs: list[Result], ours: list[Result]) -> float:
        """Add a row to the table; return the median over turns of the ratio of rates."""
        ratio = round(
            statistics.median(our["rate"] / their["rate"] for their, our in _paired(theirs, ours)), 3
        )
        rates = [f"{_median(results, 'rate'):.3f}" for results in (theirs, ours)]
        memory = [f"{_median(results, 'mib'):.0f}" for results in (theirs, ours)]
        self.table.append((f"  {name}", *rates, f"{ratio:.2f}", *memory))
        return ratio


def against_trl(bench: Bench, method: str) -> None:
    """TRL on all pairs, as it comes and tuned, and on those of neighbours and of best and worst, which are fewer than
    the engine learns from."""
    bench.table.append(
        (f"{method}: rankings against TRL's pairs", "TRL 1/s", "engine 1/s", "times", "TRL MiB", "engine MiB")
    )
    for k in bench.responses:
        for shape in bench.shapes:
            fewer = () if k == 2 or bench.quick else ("adjacent", "best_worst")
            every = {"all": bench.job_on_pairs(method, k, shape)}
            if shape == TUNED_SHAPE and not bench.quick:
                every["all_tuned"] = every["all"] | {"peer": "tuned"}
            # The engine in the middle, so that it is near each of the others.
            jobs = {
                **{name: (bench.trl, bench.job(method, k, shape, pairs=name)) for name in fewer},
                "engine": (bench.engine, bench.job(method, k, shape)),
                **{name: (bench.trl, job) for name, job in every.items()},
            }
            results = bench.in_turn(jobs, bench.turns[k])
            for name in (*every, *fewer):
                _compare(bench, method, k, shape, name, results[name], results["engine"])


def _compare(
    bench: Bench, method: str, k: int, shape: str, name: str, theirs: list[Result], ours: list[Result]
) -> None:
    which = name.removesuffix("_tuned")
    how = "without checkpointing" if name.endswith("_tuned") else "as it comes"
    figure = f"{method}_k{k}_{shape}_{name}"
    bench.figures[f"{figure}_speedup"] = bench.tell(f"K={k} {shape}, TRL {how} on {which}", theirs, ours)
    wanted = SPEEDUPS.get((method, which), {}).get(k)
    if wanted is not None:
        bench.targets[f"{figure}_speedup"] = (">=", 1.0 if bench.quick else wanted)
    bench.figures[f"{figure}_memory_ratio"] = round(_median(ours, "mib") / _median(theirs, "mib"), 3)
    if which != "all":
        return
    bench.targets[f"{figure}_memory_ratio"] = ("<=", 1.0)
    pairs = _paired(theirs, ours)
    for kind, most in (("loss", LOSS_GAP), ("gradient", GRADIENT_GAP)):
        gap = max(abs(their[kind] - our[kind]) / abs(their[kind]) for their, our in pairs)
        bench.figures[f"{figure}_{kind}_gap"] = float(f"{gap:.2g}")
        bench.targets[f"{figure}_{kind}_gap"] = ("<=", most[bench.device])


def against_itself(bench: Bench) -> None:
    """The engine fed with all pairs as rankings of their own."""
    bench.table.append(
        ("dpo: the engine fed with all pairs", "pairs 1/s", "ranking 1/s", "times", "MiB", "MiB")
    )
    for k in bench.responses:
        for shape in bench.shapes if k > 2 else ():
            fed = bench.job_on_pairs("dpo", k, shape, fed="pairs", layout="separate")
            results = bench.in_turn(
                {"pairs": (bench.engine, fed), "rankings": (bench.engine, bench.job("dpo", k, shape))},
                bench.turns[k],
            )
            ratio = bench.tell(f"K={k} {shape}", results["pairs"], results["rankings"])
            bench.figures[f"itself_k{k}_{shape}_speedup"] = ratio
            bench.targets[f"itself_k{k}_{shape}_speedup"] = (">=", 1.0 if bench.quick else ITSELF[k])


def layouts(bench: Bench) -> None:
    """K separate sequences against the layout that the engine chooses, in reward training, where no projection onto the
    vocabulary, the same in both, hides a difference.

    Separate sequences run twice a turn, before and after. From how these two differ, over all ratios, follows the
    noise: twice the standard error of a median over turns of such ratios.
    """
    bench.table.append(("reward: K=4 separate sequences", "separate 1/s", "auto 1/s", "times", "MiB", "MiB"))
    turns = bench.turns[4]
    names, differences = [], []
    for name, (prompt, response) in RATIOS.items():
        job = bench.job("reward", 4, "1:1", prompt=prompt, response=response, rankings_a_step=1)
        separate = (bench.engine, job | {"layout": "separate"})
        results = bench.in_turn({"before": separate, "auto": (bench.engine, job), "after": separate}, turns)
        both = _paired(results["before"], results["after"])
        differences += [math.log(after["rate"] / before["rate"]) for before, after in both]
        means = [
            {each: (before[each] + after[each]) / 2 for each in ("rate", "mib")} for before, after in both
        ]
        names.append(f"layout_{name}_speedup")
        bench.figures[names[-1]] = bench.tell(f"prompt:response {prompt}:{response}", means, results["auto"])
    # The difference of two runs has twice a run's variance, a run against the mean of two 1.5 times.
    of_a_ratio = math.sqrt(0.75 * statistics.fmean(difference**2 for difference in differences))
    noise = round(2 * of_a_ratio * math.sqrt(math.pi / 2 / turns), 4)
    bench.figures["layout_noise"] = noise
    bench.table.append((f"  noise of these medians: {noise:.1%}",))
    bench.targets |= {name: (">=", round(1 - min(noise, MOST_NOISE), 4)) for name in names}


def switched_off(bench: Bench) -> None:
    """Each part of the gain switched off, with responses of different lengths."""
    bench.table.append(
        ("dpo: a part switched off (K=4, 96:48, varied)", "without 1/s", "with 1/s", "times", "MiB", "MiB")
    )
    job = bench.job("dpo", 4, "2:1", varied=True, prompt=96, response=48)
    changes: dict[str, Job] = {
        "each response once, not once a pair": {"fed": "pairs", "layout": "separate"},
        "the prompt once (tree)": {"layout": "separate"},
        "whole": {},
        "passes of like lengths up to a token budget": {"tokens_at_once": 8},
        "head in parts, with its gradient at once": {"head": "plain"},
    }
    results = bench.in_turn(
        {name: (bench.engine, job | change) for name, change in changes.items()}, bench.turns[4]
    )
    for name in changes:
        if name != "whole":
            bench.figures[f"part_{name}"] = bench.tell(name, results[name], results["whole"])


PARTS: dict[str, Callable[[Bench], None]] = {
    "dpo": lambda bench: against_trl(bench, "dpo"),
    "reward": lambda bench: against_trl(bench, "reward"),
    "itself": against_itself,
    "layouts": layouts,
    "switched-off": switched_off,
}


def _paired(theirs: list[Result], ours: list[Result]) -> list[tuple[Result, Result]]:
    return list(zip(theirs, ours, strict=True))


def _median(results: list[Result], name: str) -> float:
    return statistics.median(result[name] for result in results)
