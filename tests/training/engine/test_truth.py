"""The real model learns what people prefer: a whole dpo run, judged on prompts that it never saw."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from training.engine.oracles import vader
from training.engine.records import Ranking, write_rankings

TRAIN = [
    ("How was the concert?", "It was wonderful, I loved it!", "It was terrible, I hated it."),
    ("What do you think of the city?", "A lovely, friendly place.", "An ugly, hostile place."),
    ("Is the soup good?", "Yes, it is delicious and fresh!", "No, it is disgusting and bad."),
    ("How is your neighbour?", "She is kind and helpful.", "She is cruel and rude."),
    ("How was school today?", "Great fun, I enjoyed it!", "Awful, a boring failure."),
    ("Tell me about the hotel.", "Beautiful rooms, happy guests!", "Dirty rooms, angry guests."),
    ("Did you like the book?", "Yes, a brilliant and charming story.", "No, a stupid and dreadful story."),
    ("How is the new job?", "Excellent, my team is great!", "Horrible, my team is nasty."),
    ("What is the garden like?", "Gorgeous, peaceful and sweet.", "Dead, miserable and sad."),
    ("How was the trip?", "A superb and happy adventure!", "A painful and frightening disaster."),
    ("Is the teacher good?", "She is fantastic, we admire her.", "She is pathetic, we despise her."),
    ("How does the phone work?", "Perfectly, it is a pleasure.", "Badly, it is a worthless mess."),
    ("What about the film?", "The best comedy, so funny!", "The worst comedy, so annoying."),
    ("How was the party?", "Amazing, with good friends!", "Depressing, with bad fights."),
    ("How is the food there?", "Tasty, I like it a lot!", "Nasty, I dislike it a lot."),
    ("What was the match like?", "A thrilling win, we are proud!", "A shameful loss, we are upset."),
]
HELD_OUT = [
    ("How is the weather?", "Lovely and pleasant, a joy!", "Awful and nasty, a pain."),
    ("What is your dog like?", "A sweet and loyal friend.", "A vicious and evil pest."),
    ("How was the lecture?", "Inspiring and excellent, thanks!", "Annoying and terrible, sadly."),
    ("Do you like the house?", "Yes, it is beautiful and safe.", "No, it is ugly and dangerous."),
    ("How was the flight?", "Great, the crew was friendly!", "Bad, the crew was hostile."),
    ("What about the cake?", "Delicious, the best gift!", "Disgusting, the worst insult."),
]


@pytest.mark.real_model
def test_the_real_model_comes_to_prefer_what_people_prefer_on_prompts_it_never_saw(
    real_model: str, tmp_path: Path, run_here: Callable[[dict[str, Any]], int]
) -> None:
    from peft import AutoPeftModelForCausalLM

    assert all(vader([], kind) > 0.3 and vader([], unkind) < -0.3 for _, kind, unkind in TRAIN + HELD_OUT)
    rankings_of(TRAIN, tmp_path / "train.parquet")
    rankings_of(HELD_OUT, tmp_path / "held_out.parquet")
    base = {"base": real_model}
    train = {
        "kind": "dpo",
        "run": "train",
        "seed": 0,
        "output": str(tmp_path / "dpo"),
        "model": base,
        "data": {"train": str(tmp_path / "train.parquet")},
        "method": {
            "learning_rate": 1e-3,
            "scheduler": "constant",
            "warmup_ratio": 0.0,
            "batch_size": 2,
            "max_length": 96,
        },
    }

    assert run_here(train) == 0

    adapter = tmp_path / "dpo" / "adapter"
    assert AutoPeftModelForCausalLM.from_pretrained(adapter).active_adapters == ["default"]
    write_prompts(tmp_path / "prompts.jsonl", HELD_OUT[:1])
    evaluate = {
        "kind": "evaluate",
        "run": "evaluate",
        "seed": 0,
        "output": str(tmp_path / "evaluate"),
        "model": {**base, "adapters": [str(adapter)]},
        "data": {
            "prompts": str(tmp_path / "prompts.jsonl"),
            "rankings": str(tmp_path / "held_out.parquet"),
        },
        "method": {"old": base, "responses": 1, "max_tokens": 8},
    }
    assert run_here(evaluate) == 0
    scorecard = json.loads((tmp_path / "evaluate" / "scorecard.json").read_text(encoding="utf-8"))
    # The share of pairs whose log-probability margin, kind over unkind, is above the base model's.
    assert scorecard["held_out_pairs"] == len(HELD_OUT)
    assert scorecard["held_out_pair_accuracy"] == 1.0


def rankings_of(examples: list[tuple[str, str, str]], path: Path) -> None:
    write_rankings(
        path,
        [
            Ranking(
                prompt=[{"role": "user", "content": question}],
                responses=[unkind, kind],
                tiers=[[1], [0]],
                scores=[-2.0, 2.0],
            )
            for question, kind, unkind in examples
        ],
    )


def write_prompts(path: Path, examples: list[tuple[str, str, str]]) -> None:
    lines = [
        {"id": str(number), "prompt": [{"role": "user", "content": question}]}
        for number, (question, _, _) in enumerate(examples)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
