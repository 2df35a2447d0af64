"""The two sides of `benchmarks/ppo.py`: ``python -m benchmarks.ppo_sides SIDE JOB.json`` does one job and prints a line
of JSON: for each rollout the seconds when it ended, the oracle's score and the KL; and the process's peak memory.

TRL's side runs with an interpreter of its own, in which an older TRL is installed; both find the same torch.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

Rollout = dict[str, float]


def engine(job: dict[str, Any]) -> list[Rollout]:
    """Carry out a ppo run as its users do."""
    from training.engine.__main__ import main

    spec = Path(job["folder"]) / "spec.json"
    record = {
        "kind": "ppo",
        "run": "bench",
        "seed": job["seed"],
        "output": str(Path(job["folder"]) / "run"),
        "model": {"base": job["model"], "dtype": job["dtype"]},
        "data": {"prompts": job["prompts"], "rewards": [job["reward"]]},
        "method": {
            "episodes": job["rollouts"] * job["batch"],
            "batch_size": job["batch"],
            "samples": job["samples"],
            "epochs": job["epochs"],
            "max_tokens": job["tokens"],
            "learning_rate": job["rate"],
            "value": job["value"],
            "kl_coefficient": job["kl_coefficient"],
            "parameters": {"rank": job["rank"]},
            "watch_oracle": "training.engine.oracles:vader",
            "save_rollouts": job["rollouts"],
            "shown": 0,
            "preflight": False,
        },
    }
    spec.write_text(json.dumps(record), encoding="utf-8")
    code = main([str(spec)])
    assert code == 0, f"the run ended with {code}"
    lines = (Path(job["folder"]) / "run/events.jsonl").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    return [
        {
            "ended": event["time"],
            "oracle": event["values"]["watch/oracle"],
            "kl": event["values"]["kl"],
            "length": event["values"]["length"],
            **{name: value for name, value in event["values"].items() if name.startswith("seconds/")},
        }
        for event in events
        if event["event"] == "metric"
    ]


def trl(job: dict[str, Any]) -> list[Rollout]:
    """Do the same with TRL's trainer: policy and value function with adapters, each on a base of its own, and a third
    base for the reward; its value function starts from the reward model as well."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig, PeftModel
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
    from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer

    from training.engine.models import encode_prompt, locate_base
    from training.engine.oracles import vader
    from training.engine.prompts import read_prompts

    base = locate_base(job["model"])
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.padding_side = "left"
    # TRL tells padding by its id: it must not be the token that ends a reply.
    tokenizer.pad_token = job["pad"]
    statistics = json.loads((Path(job["reward"]) / "reward.json").read_text(encoding="utf-8"))

    def classifier() -> Any:
        torch.manual_seed(0)
        network = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, dtype=torch.float32)
        network.config.pad_token_id = tokenizer.pad_token_id
        adapted = PeftModel.from_pretrained(network, job["reward"], is_trainable=True).get_base_model()
        with torch.no_grad():
            for name, parameter in adapted.named_parameters():
                if name.startswith("score.") and ".default." in name:
                    parameter.div_(statistics["std"])
        return adapted

    policy = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    tasks = read_prompts(job["prompts"])
    rows = [{"input_ids": encode_prompt(tokenizer, task.messages)} for task in tasks]
    oracle_scores: list[float] = []
    reward_model, value_model = classifier(), classifier()
    for parameter in reward_model.parameters():
        parameter.requires_grad_(False)
    usual = ppo_trainer.get_reward

    def judging(model: Any, query_responses: Any, pad: int, context: int) -> Any:
        if model is reward_model:
            texts = tokenizer.batch_decode(query_responses[:, context:], skip_special_tokens=True)
            oracle_scores.extend(vader([], text) for text in texts)
        return usual(model, query_responses, pad, context)

    ppo_trainer.get_reward = judging
    found: list[Rollout] = []

    class Told(PPOTrainer):
        def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
            if "objective/kl" in logs:
                recent = oracle_scores[-job["batch"] :]
                found.append(
                    {
                        "ended": time.time(),
                        "oracle": sum(recent) / len(recent),
                        "kl": logs["objective/kl"],
                        "length": float(job["tokens"]),
                    }
                )

    trainer = Told(
        args=PPOConfig(
            output_dir=str(Path(job["folder"]) / "trl"),
            seed=job["seed"],
            use_cpu=not torch.cuda.is_available(),
            bf16=False,
            per_device_train_batch_size=job["batch"],
            gradient_accumulation_steps=1,
            total_episodes=job["rollouts"] * job["batch"],
            num_ppo_epochs=job["epochs"],
            num_mini_batches=1,
            response_length=job["tokens"],
            temperature=1.0,
            stop_token="eos",
            missing_eos_penalty=1.0,
            learning_rate=job["rate"],
            kl_coef=job["kl_coefficient"],
            num_sample_generations=0,
            gradient_checkpointing=False,
            report_to="none",
            disable_tqdm=True,
            save_strategy="no",
        ),
        processing_class=tokenizer,
        model=policy,
        ref_model=None,
        reward_model=reward_model,
        value_model=value_model,
        train_dataset=Dataset.from_list(rows * job["samples"]),
        eval_dataset=Dataset.from_list(rows[:1]),
        peft_config=LoraConfig(
            task_type="CAUSAL_LM", r=job["rank"], lora_alpha=32, lora_dropout=0.0, target_modules="all-linear"
        ),
    )
    trainer.train()
    return found


def main() -> None:
    """Do one job."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print; the answer is for the other process
    job = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    rollouts = {"trl": trl, "engine": engine}[sys.argv[1]](job)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    answer.write(json.dumps({"rollouts": rollouts, "mib": peak}) + "\n")
    answer.close()


if __name__ == "__main__":
    main()
