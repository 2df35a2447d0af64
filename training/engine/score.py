"""A *score* run: reward models give each response of some prompts a number. Nothing is drawn, nothing learned."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from training.engine.conversation import render
from training.engine.events import Events, close_torn_line
from training.engine.interrupt import Interrupt
from training.engine.judging import episode_of
from training.engine.methods import ScoreMethod
from training.engine.models import encode_prompt
from training.engine.prompts import Prompt, read_prompts
from training.engine.refusal import Refused
from training.engine.responses import write_records
from training.engine.reward_judge import load_judge
from training.engine.reward_models import read_rewards
from training.engine.rollout import Task
from training.engine.spec import Spec

TASKS_AT_ONCE = 32
"""Kept together: so many are scored anew at most after a stop."""


def run(spec: Spec, events: Events, interrupt: Interrupt) -> None:
    """Score the responses in `spec.data.prompts`; the artifact is ``scores.jsonl``, a line a prompt in their order:
    ``{"id", "scores"}``, the scores as the responses stand. 0 is the mean of what the reward model was trained on, 1
    its spread above it.

    Raises:
        Refused: prompts, responses or reward models cannot be used.
        Stopped: what was scored is kept, and the next start scores the rest.
    """
    assert spec.model is not None
    method: ScoreMethod = spec.method
    prompts = read_prompts(spec.data.prompts)
    responses = _read_responses(Path(spec.data.prompts))
    folders = read_rewards(method.rewards, spec.model, where="method.rewards", normalise=True)
    determined_by = [asdict(spec.model), asdict(method), [asdict(p) for p in prompts], responses]
    fingerprint = hashlib.sha256(json.dumps(determined_by, sort_keys=True).encode()).hexdigest()[:16]
    partial = spec.output / f"scores-{fingerprint}.partial.jsonl"
    close_torn_line(partial)
    kept = partial.read_text(encoding="utf-8").splitlines() if partial.exists() else []
    scored = {record["id"]: record for record in map(json.loads, kept)}
    waiting = [prompt for prompt in prompts if prompt.id not in scored]
    events.progress(len(scored), len(prompts), "scoring")
    if waiting:
        judge, tokenizer = load_judge(spec.model, folders)
        for start in range(0, len(waiting), TASKS_AT_ONCE):
            some = waiting[start : start + TASKS_AT_ONCE]
            tasks = [_task(prompt, method, tokenizer) for prompt in some]
            texts = [(number, text) for number, prompt in enumerate(some) for text in responses[prompt.id]]
            episodes = [episode_of(number, text, tokenizer) for number, text in texts]
            with torch.no_grad():
                values = judge.scores(tasks, episodes, interrupt.check).tolist()
            for number, prompt in enumerate(some):
                own = [value for (of, _), value in zip(texts, values, strict=True) if of == number]
                scored[prompt.id] = {"id": prompt.id, "scores": own}
            with partial.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(scored[prompt.id]) + "\n" for prompt in some)
            events.progress(len(scored), len(prompts), "scoring")
    with events.artifact("scores.jsonl") as path:
        write_records(path, [scored[prompt.id] for prompt in prompts])
    partial.unlink(missing_ok=True)


def _read_responses(path: Path) -> Mapping[str, Sequence[str]]:
    """Return the responses of each prompt of a file that `read_prompts` has read."""
    found: dict[str, list[str]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        record = json.loads(line)
        texts = record.get("responses")
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
            raise Refused(
                f"{path.name}, line {number}: `responses` must be a list of at least one text, not {texts!r:.80}."
            )
        found[record["id"]] = texts
    return found


def _task(prompt: Prompt, method: ScoreMethod, tokenizer: Any) -> Task:
    shown = render(
        prompt.messages,
        context=prompt.context,
        system_prompt=method.system_prompt,
        give_context=method.give_context,
    )
    return Task(prompt.id, tuple(prompt.messages), tuple(shown), tuple(encode_prompt(tokenizer, shown)))
