"""Best-of-n sampling: of n responses to a prompt, the one that the reward model likes best.

It needs no training, and is what a policy that was trained on the same reward model is to be compared with (Stiennon et
al. 2020, "Learning to summarize from human feedback"; Gao et al. 2022, "Scaling laws for reward model
overoptimization").
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from training.engine.events import Events
from training.engine.interrupt import Interrupt
from training.engine.judging import episode_of, task_of
from training.engine.methods import EvaluateMethod
from training.engine.prompts import Prompt
from training.engine.responses import PartialOutput, Response
from training.engine.reward_judge import load_judge
from training.engine.reward_models import read_rewards
from training.engine.sampling import Sampler
from training.engine.spec import Spec

PHASE = "sampling best of n"


def best_of_n(
    spec: Spec, prompts: Sequence[Prompt], events: Events, interrupt: Interrupt
) -> tuple[list[Response], PartialOutput]:
    """Return the best response to each prompt of n that are drawn from the old model of an evaluation, in the order of
    the prompts, and the partial output that a stopped run resumes from.

    Raises:
        Refused: a reward model cannot be used.
        Stopped: drawn batches are kept.
    """
    method: EvaluateMethod = spec.method
    folders = read_rewards(
        method.rewards, method.old, where="method.rewards", normalise=len(method.rewards) > 1
    )
    sampled = dataclasses.replace(method, responses=method.best_of)
    # Other random numbers than those of the old model's own responses, which the best are compared with.
    sampler = Sampler(method.old, sampled, (spec.seed + 1) % 2**32, events, interrupt, phase=PHASE)
    partial = sampler.partial_output(spec, prompts)
    responses = sampler.sample(prompts, partial)

    judge, tokenizer = load_judge(method.old, folders)
    tasks = [task_of(prompt, method, tokenizer) for prompt in prompts]
    number_of = {task.id: number for number, task in enumerate(tasks)}
    episodes = [episode_of(number_of[r.id], r.text, tokenizer) for r in responses]
    with torch.no_grad():
        scores = judge.scores(tasks, episodes, interrupt.check).tolist()
    best: dict[str, tuple[float, Response]] = {}
    for response, score in zip(responses, scores, strict=True):
        if response.id not in best or score > best[response.id][0]:
            best[response.id] = score, response
    return [best[prompt.id][1] for prompt in prompts], partial
