"""The two sides of `benchmarks/training.py`, each in a process: ``python -m benchmarks.training_sides SIDE``.

A side reads jobs, one JSON object a line, and answers each with rankings a second, peak memory in MiB, and the loss and
gradient norm of the first step; waiting costs nothing. Rankings are of random tokens with distinct consensus tiers, the
same on both sides, and so are the adapters that training starts from.
"""

from __future__ import annotations

import gc
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from datasets import Dataset, disable_progress_bars
from peft import LoraConfig
from transformers import TrainingArguments
from trl import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer

from benchmarks.training_clock import Clock, Run, now, with_peak_memory
from training.engine import token_scores
from training.engine.batches import Examples
from training.engine.events import Events
from training.engine.examples import Comparison, Example
from training.engine.interrupt import Interrupt
from training.engine.methods import DpoMethod, ModelSpec, ParametersSpec, RewardMethod
from training.engine.models import load_model
from training.engine.objectives import DpoObjective, RewardObjective
from training.engine.parameters import with_adapters
from training.engine.ranking_trainer import RankingTrainer
from training.engine.reference import add_references
from training.engine.reward import with_reward_head
from training.engine.step_plan import StepPlan
from training.engine.work import estimate_work

RANK = 16
BETA = 0.1
RATE = 1e-5
UPDATE_STD = 0.02
"""Of the adapters' B at the start. At PEFT's zero, policy and reference are one, and the first loss of DPO is ln 2 on
whatever data."""

Job = dict[str, Any]
Base = Callable[[], tuple[Any, Any]]
"""Gives a network and its tokenizer anew: a trainer leaves adapters and hooks behind."""

disable_progress_bars()


def rankings(job: Job, vocabulary: int) -> list[dict[str, Any]]:
    """Return rankings of K responses, best first; lengths vary by a third where the job says so."""
    dice = random.Random(job["seed"])

    def text(length: int) -> list[int]:
        spread = length // 3 if job["varied"] else 0
        return [dice.randrange(100, vocabulary) for _ in range(length + dice.randint(-spread, spread))]

    return [
        {"prompt": text(job["prompt"]), "responses": [text(job["response"]) for _ in range(job["k"])]}
        for _ in range(job["rankings_a_step"] * job["steps"])
    ]


def pairs_of(count: int, which: str) -> list[tuple[int, int]]:
    """Return the comparisons of K responses, best first."""
    every = [(i, j) for i in range(count) for j in range(i + 1, count)]
    return {
        "all": every,
        "adjacent": [(i, i + 1) for i in range(count - 1)],
        "best_worst": [(0, count - 1)],
    }[which]


class TokenDpoTrainer(DPOTrainer):
    """TRL's trainer on tokens, so that both sides have the same."""

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset


def peer(job: Job, base: Base) -> Run:
    """Prepare TRL's trainer; what is returned trains.

    A forward pass holds as many pairs as the engine's token budget allows. TRL checkpoints activations unless it is
    told not to (``peer`` other than "as it comes"), which saves memory for a further forward pass.
    """
    network, tokenizer = base()
    which = pairs_of(job["k"], job["pairs"])
    data = rankings(job, network.config.vocab_size)
    rows = [
        {
            "prompt_ids": ranking["prompt"],
            "chosen_ids": ranking["responses"][better],
            "rejected_ids": ranking["responses"][worse],
        }
        for ranking in data
        for better, worse in which
    ]
    in_step = len(which) * job["rankings_a_step"]
    at_once = max(1, job["tokens_at_once"] // (2 * (job["prompt"] + job["response"])))
    passes = -(-in_step // at_once)
    while in_step % passes:
        passes += 1
    clock = Clock(passes, job["steps"])
    common = _common(job) | {
        "per_device_train_batch_size": in_step // passes,
        "gradient_accumulation_steps": passes,
        "max_length": None,
        "gradient_checkpointing": job["peer"] == "as it comes",
        "train_sampling_strategy": "sequential",
    }
    if job["method"] == "dpo":
        trainer: Any = TokenDpoTrainer(
            model=network,
            args=DPOConfig(beta=BETA, **common),
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            peft_config=_lora("CAUSAL_LM"),
            callbacks=[clock],
        )
    else:
        whole = [
            {
                "chosen_ids": row["prompt_ids"] + row["chosen_ids"],
                "rejected_ids": row["prompt_ids"] + row["rejected_ids"],
            }
            for row in rows
        ]
        trainer = RewardTrainer(
            model=classifier(network, tokenizer),
            args=RewardConfig(**common),
            train_dataset=Dataset.from_list(whole),
            processing_class=tokenizer,
            peft_config=_lora("SEQ_CLS"),
            callbacks=[clock],
        )
    _start_adapters(trainer.model, job["seed"])

    def run() -> dict[str, float]:
        trainer.train()
        return clock.result(len(data))

    return run


def engine(job: Job, base: Base) -> Run:
    """Prepare the engine; what is returned scores references and trains.

    The job's ``layout`` is the engine's; ``fed`` pairs gives it each pair as a ranking of its own; ``head`` plain
    projects onto the vocabulary all at once, and keeps what the backward pass needs.
    """
    network, tokenizer = base()
    settings = {"learning_rate": RATE, "parameters": ParametersSpec(rank=RANK)}
    if job["method"] == "dpo":
        objective: Any = DpoObjective(DpoMethod(beta=BETA, **settings))
        task: Any = "CAUSAL_LM"
    else:
        objective = RewardObjective(RewardMethod(**settings))
        task, network = "SEQ_CLS", classifier(network, tokenizer)
    objective.extend(network)
    work = estimate_work(network)
    fed = job.get("fed") == "pairs"
    data = rankings(job, network.config.vocab_size)
    examples = [
        _example(ranking, chosen)
        for ranking in data
        for chosen in (pairs_of(job["k"], "all") if fed else [tuple(range(job["k"]))])
    ]
    in_step = len(examples) // job["steps"]
    model: Any = with_adapters(network, ParametersSpec(rank=RANK), task)
    _start_adapters(model, job["seed"])
    padding: Any = tokenizer.pad_token_id
    train = Examples(examples, work, job["layout"], padding)

    def plan(part: list[Example], batch_size: int) -> StepPlan:
        return StepPlan(
            [example.branching for example in part],
            batch_size=batch_size,
            tokens_at_once=job["tokens_at_once"],
            work=work,
            layout=job["layout"],
            shuffle=False,
        )

    steps = plan(examples, in_step)
    # Where lengths vary, passes differ, and only whole steps are alike.
    clock = Clock(steps.passes, job["steps"], steps.passes if job["varied"] else 1)
    trainer = RankingTrainer(
        model=model,
        args=TrainingArguments(
            per_device_train_batch_size=in_step,
            gradient_accumulation_steps=steps.passes,
            gradient_checkpointing=torch.cuda.is_available(),  # the engine's default
            remove_unused_columns=False,
            **_common(job),
        ),
        objective=objective,
        train=train,
        plan=steps,
        held_out=None,
        familiar=None,
        tokenizer=tokenizer,
    )
    trainer.add_callback(clock)

    def scored(part: list[Example]) -> tuple[list[list[float]], float]:
        """Return reference scores and the seconds that they took."""
        unscored = Examples(part, work, job["layout"], padding)
        folder = Path(tempfile.mkdtemp())
        began = now()
        # No scores of an earlier job are to be found.
        with patch.dict(os.environ, RANKLOOP_HOME=str(folder)), Interrupt(None) as interrupt:
            add_references(
                model,
                unscored,
                plan(part, len(part)),
                fingerprint=[str(time.time())],
                device=trainer.args.device,
                processes=1,
                first=True,
                events=Events(folder),
                interrupt=interrupt,
            )
        assert unscored.references is not None
        return unscored.references, now() - began

    def run() -> dict[str, float]:
        token_scores.LOGITS_AT_ONCE = 2**40 if job.get("head") == "plain" else 2**24
        before = 0.0
        if job["method"] == "dpo":
            first = next(iter(steps)).examples
            scored(
                [examples[n] for n in first]
            )  # pays for the start and is not timed, like the first pass of training
            train.references, before = scored(examples)
        trainer.train()
        return clock.result(len(data), before)

    return run


def classifier(network: Any, tokenizer: Any) -> Any:
    """Return a reward model on the network's layers, the same on both sides."""
    torch.manual_seed(0)
    model = with_reward_head(network)
    model.config.pad_token_id = tokenizer.pad_token_id
    return model


def _common(job: Job) -> dict[str, Any]:
    """Return the Trainer's settings that both sides share."""
    gpu = torch.cuda.is_available()
    return {
        "output_dir": tempfile.mkdtemp(),
        "num_train_epochs": 1,
        "learning_rate": RATE,
        "lr_scheduler_type": "constant",
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": not gpu,
        "bf16": gpu,
        "seed": job["seed"],
    }


def _example(ranking: dict[str, Any], chosen: tuple[int, ...]) -> Example:
    """Return some responses of a ranking, best first, with all their comparisons."""
    return Example(
        tuple(ranking["prompt"]),
        tuple(tuple(ranking["responses"][n]) for n in chosen),
        messages=(),
        comparisons=tuple(Comparison(i, j, 0.0) for i, j in pairs_of(len(chosen), "all")),
        tiers=tuple((n,) for n in range(len(chosen))),
    )


def _lora(task: str) -> LoraConfig:
    """Return the same adapters as the engine's."""
    return LoraConfig(task_type=task, r=RANK, lora_alpha=32, target_modules="all-linear")


def _start_adapters(model: Any, seed: int) -> None:
    """Give adapters the same weights on both sides: A as wide as PEFT draws it, B not zero."""
    dice = torch.Generator().manual_seed(seed)
    for name, weight in sorted(model.named_parameters()):
        if "lora_" in name:
            spread = UPDATE_STD if "lora_B" in name else (3 * weight.shape[1]) ** -0.5
            with torch.no_grad():
                weight.copy_(torch.randn(weight.shape, generator=dice) * spread)


def _bare_model(name: str) -> Base:
    return lambda: load_model(ModelSpec(base=name), "training")


def _random_model(like: str) -> Base:
    """Return what makes a Qwen2 of half a billion random parameters in bfloat16, for a GPU: speed does not depend on
    the weights."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    def make() -> tuple[Any, Any]:
        _, tokenizer = load_model(ModelSpec(base=like), "sampling")
        shape = {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24}
        heads = {"num_attention_heads": 14, "num_key_value_heads": 2, "tie_word_embeddings": True}
        torch.manual_seed(0)
        with torch.device("cuda"):
            network = Qwen2ForCausalLM(
                Qwen2Config(vocab_size=151_936, **shape, **heads, dtype=torch.bfloat16)
            )
        return network.to(torch.bfloat16).eval(), tokenizer

    return make


def main() -> None:
    """Answer jobs until the input ends."""
    sides = {"trl": peer, "engine": engine}
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # libraries print; answers are for the other process
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder  # nothing that a job writes stays behind
        for line in sys.stdin:
            job = json.loads(line)
            base = _random_model(job["model"]) if torch.cuda.is_available() else _bare_model(job["model"])
            run = sides[sys.argv[1]](job, base)
            answers.write(json.dumps(with_peak_memory(run)) + "\n")
            del run
            gc.collect()


if __name__ == "__main__":
    main()
