"""What a *ppo* run needs before its first rollout: prompts as tokens, models, and memory enough."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from training.engine.actor_critic import ActorCritic
from training.engine.conversation import render
from training.engine.events import Events
from training.engine.generator import Generator, OwnGenerator
from training.engine.interrupt import Interrupt
from training.engine.judging import Judge
from training.engine.layout_check import choose_layout
from training.engine.models import encode_prompt, load_config, load_tokenizer
from training.engine.oracles import load_oracle
from training.engine.packed_forward import score_packed_responses
from training.engine.packing import Branching
from training.engine.parameters import refuse_qlora_if_impossible
from training.engine.ppo_limits import recomputes, tokens_at_once
from training.engine.ppo_preflight import PpoPreflight, estimator_of
from training.engine.ppo_settings import PpoMethod
from training.engine.processes import Processes
from training.engine.prompts import read_prompts
from training.engine.refusal import Refused
from training.engine.reward_models import RewardFolder, read_rewards
from training.engine.rollout import PassMaker, PromptStream, Task, tasks_of
from training.engine.spec import Spec
from training.engine.training_run import refuse_other_world
from training.engine.work import estimate_work

MOST_ROLLOUTS_BETWEEN_SAVES = 10
NAMED = 5
"""So many of the prompts that are left out are named."""
POLICIES_FOLDER = "policies"
"""Within a run's output: adapters as they were handed to vLLM."""
_LAYOUT_RESPONSE = 8
"""Tokens of the made-up responses on which layouts are compared."""


@dataclass(frozen=True, slots=True)
class Cadence:
    """Rollouts between checkpoints and between samples."""

    save: int
    sample: int

    @classmethod
    def of(cls, method: PpoMethod) -> Cadence:
        """Return a method's, its defaults filled in."""
        tenth = max(1, method.rollouts // 10)
        return cls(
            method.save_rollouts or min(MOST_ROLLOUTS_BETWEEN_SAVES, tenth), method.sample_rollouts or tenth
        )


@dataclass(frozen=True)
class Setup:
    """What was made ready for a run."""

    spec: Spec
    events: Events
    interrupt: Interrupt
    processes: Processes
    tokenizer: PreTrainedTokenizerBase
    tasks: list[Task]
    stream: PromptStream
    models: ActorCritic
    judge: Judge
    generator: Generator
    pass_maker: PassMaker
    checkpointing: bool
    """Whether activations are computed again in the backward pass."""
    cadence: Cadence

    @property
    def device(self) -> torch.device:
        """Where models are."""
        return self.processes.device

    def precision(self) -> AbstractContextManager[object]:
        """Return what forward passes run in: on a GPU 16 bits, unless the model's dtype says otherwise."""
        assert self.spec.model is not None
        wanted = self.device.type == "cuda" and self.spec.model.dtype != "float32"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=wanted)


@contextmanager
def prepare(spec: Spec, events: Events, interrupt: Interrupt) -> Iterator[Setup]:
    """Check, load and lay out; memory is watched within the block, and told in ``preflight.json`` when it ends well.

    Raises:
        Refused: prompts, models or settings cannot be used, or would not fit in memory.
    """
    method: PpoMethod = spec.method
    assert spec.model is not None
    refuse_other_world(spec)
    if method.parameters.kind == "qlora":
        refuse_qlora_if_impossible()
    oracle = load_oracle(method.watch_oracle) if method.watch_oracle else None
    rewards, watch = reward_folders(spec)
    tokenizer = load_tokenizer(spec.model)
    tasks = read_tasks(spec, tokenizer, events)
    interrupt.check()
    processes = Processes()
    device = processes.device
    estimator = estimator_of(spec, tasks, rewards, watch, device, processes=processes.world)
    with PpoPreflight(estimator, events, processes, binding=method.preflight) as preflight:
        torch.manual_seed(spec.seed)  # new adapters are drawn
        models, tokenizer = ActorCritic.load(spec.model, method, rewards, watch, device)
        interrupt.check()
        network = models.policy_network()
        work = estimate_work(network)
        score_packed_responses(network)
        with models.reference.active():
            layout, reason = choose_layout(network, _like(tasks), method.layout)
        if reason:
            events.log(reason)
        padding: Any = tokenizer.pad_token_id
        pass_maker = PassMaker(work, layout, padding, tokens_at_once(method, device))
        yield Setup(
            spec=spec,
            events=events,
            interrupt=interrupt,
            processes=processes,
            tokenizer=tokenizer,
            tasks=tasks,
            stream=PromptStream(len(tasks), spec.seed),
            models=models,
            judge=Judge(
                tokenizer=tokenizer,
                rewards=models.rewards,
                watch=models.watch,
                oracle=oracle,
                pass_maker=pass_maker,
                device=device,
                clip=method.reward_clip,
                penalty=method.ensemble_penalty,
                total=processes.total,
            ),
            generator=_generator(spec, models, tokenizer),
            pass_maker=pass_maker,
            checkpointing=recomputes(method, device),
            cadence=Cadence.of(method),
        )
        preflight.record()


def reward_folders(spec: Spec) -> tuple[list[RewardFolder], RewardFolder | None]:
    """Return the reward models that a spec names, looked at but not loaded."""
    assert spec.model is not None
    normalise = spec.method.normalise_rewards
    rewards = read_rewards(spec.data.rewards, spec.model, where="data.rewards", normalise=normalise)
    if spec.method.value == "head" and not rewards[0].adapter:
        raise Refused(
            "`method.value` head is a head on the first reward adapter's hidden states, and `data.rewards[0]` is a "
            "whole model: name an adapter first, or set `method.value` to adapter."
        )
    if spec.data.watch is None:
        return rewards, None
    watch = RewardFolder.read(spec.data.watch, "data.watch", normalise=normalise)
    watch.refuse_other_base(spec.model, "data.watch")
    return rewards, watch


def read_tasks(spec: Spec, tokenizer: PreTrainedTokenizerBase, events: Events) -> list[Task]:
    """Return the prompts that the model has room for, as it is shown them; the log names those it has not.

    Raises:
        Refused: no prompt fits.
    """
    method: PpoMethod = spec.method
    assert spec.model is not None
    config = load_config(spec.model).get_text_config()
    limit = getattr(config, "max_position_embeddings", None)
    prompts = read_prompts(spec.data.prompts)
    shown = [
        render(
            prompt.messages,
            context=prompt.context,
            system_prompt=method.system_prompt,
            give_context=method.give_context,
        )
        for prompt in prompts
    ]
    tasks = tasks_of(prompts, shown, [tuple(encode_prompt(tokenizer, each)) for each in shown])
    foreign = sum(any(token >= config.vocab_size for token in task.tokens) for task in tasks)
    if foreign:
        raise Refused(
            f"`model`: its tokenizer does not fit it: {foreign} prompts have tokens beyond the {config.vocab_size} "
            "that the model knows. Take the tokenizer that the model was trained with."
        )
    fitting = [task for task in tasks if limit is None or len(task.tokens) + method.max_tokens <= limit]
    if len(fitting) < len(tasks):
        fits = {task.id for task in fitting}
        named = [f"{task.id!r} ({len(task.tokens)})" for task in tasks if task.id not in fits]
        left_out = (
            f"{len(named)} of {len(tasks)} prompts have more tokens than the model's {limit} leave beside "
            f"{method.max_tokens} for the response: {', '.join(named[:NAMED])}{', …' if len(named) > NAMED else ''}."
        )
        if not fitting:
            raise Refused(f"{left_out} Shorten them, or set `method.max_tokens` lower.")
        events.log(f"Left out: {left_out}")
    return fitting


def _generator(spec: Spec, models: ActorCritic, tokenizer: PreTrainedTokenizerBase) -> Generator:
    """Return what draws from the policy."""
    method: PpoMethod = spec.method
    if method.generator == "own":
        return OwnGenerator.of(models.policy_network(), tokenizer)
    # Imported only here: it is large, and seldom installed.
    from training.engine.vllm_generator import VllmGenerator

    if method.parameters.kind != "lora" or spec.processes > 1:
        raise Refused(
            "`method.generator` vllm draws from a policy that is a LoRA adapter, in one process: set "
            "`method.parameters.kind` to lora and `processes` to 1, or `method.generator` to own."
        )
    assert spec.model is not None
    return VllmGenerator.of_policy(
        spec.model,
        tokenizer,
        rows=method.batch_size,
        rank=method.parameters.rank,
        save=models.save_policy_adapter,
        folder=spec.output / POLICIES_FOLDER,
    )


def _like(tasks: Sequence[Task]) -> list[Branching]:
    """Return branchings like a rollout's, for a comparison of layouts: their responses are pieces of prompts."""
    return [
        Branching(task.tokens, [task.tokens[-_LAYOUT_RESPONSE:], task.tokens[-_LAYOUT_RESPONSE // 2 :]])
        for task in tasks
    ]
