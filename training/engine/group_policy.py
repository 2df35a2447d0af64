"""A *ppo* run without a value function: RLOO and GRPO, by TRL's own trainers, with this engine's reward models.

Responses to one prompt are compared with each other: with the mean of the others (Ahmadian et al. 2024, "Back to
basics: revisiting REINFORCE-style optimization for learning from human feedback in LLMs", RLOO), or with the group's
mean and spread (Shao et al. 2024, "DeepSeekMath", section 4.1, GRPO). Reward adapters lie on the policy's own base here
as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase, TrainerControl, TrainerState, TrainingArguments
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from training.engine.actor_critic import POLICY, RewardLoader
from training.engine.checkpoints import CHECKPOINTS_FOLDER, WholeCheckpoints, newest_checkpoint
from training.engine.events import Events
from training.engine.interrupt import Interrupt, Stopped
from training.engine.judging import Judge
from training.engine.model_card import TrainingCard
from training.engine.models import end_tokens, load_tokenizer
from training.engine.oracles import load_oracle
from training.engine.parameters import adapter_settings, load_for_training, refuse_qlora_if_impossible
from training.engine.ppo_checkpoints import Progress
from training.engine.ppo_guards import keep_to_budget, watch
from training.engine.ppo_limits import recomputes, tokens_at_once
from training.engine.ppo_results import evenly, leave_policy
from training.engine.ppo_settings import PpoMethod
from training.engine.ppo_setup import Cadence, read_tasks, reward_folders
from training.engine.processes import Processes
from training.engine.progress import TrainingProgress
from training.engine.refusal import Refused
from training.engine.rollout import Episode, PassMaker, Task
from training.engine.spec import Spec
from training.engine.training_run import refuse_other_world
from training.engine.tree_attention import install
from training.engine.work import estimate_work

CUT = "completions/clipped_ratio"
NAMES = {"completions/mean_length": "length", "clip_ratio/region_mean": "clip_fraction"}
"""What TRL calls what a ppo run calls by another name."""
REWARD = "reward_model"
TITLES = {"rloo": "REINFORCE leave-one-out", "grpo": "Group relative policy optimization"}


class RlooRun(WholeCheckpoints, RLOOTrainer):
    """TRL's RLOO, with checkpoints that are whole or absent."""


class GrpoRun(WholeCheckpoints, GRPOTrainer):
    """TRL's GRPO, likewise."""


def run(spec: Spec, events: Events, interrupt: Interrupt) -> None:
    """Train `spec.model` on `spec.data.prompts` against `spec.data.rewards`; it leaves ``adapter/`` or ``weights/``.

    Raises:
        Refused: prompts, models or settings cannot be used, or training diverged.
        Unavailable: a checkpoint cannot be written.
        Stopped: a checkpoint is kept that the next start goes on from.
    """
    method: PpoMethod = spec.method
    assert spec.model is not None
    refuse_other_world(spec)
    if method.batch_size % spec.processes:
        raise Refused(
            f"`method.batch_size` {method.batch_size} must be a multiple of `processes` {spec.processes}."
        )
    full = method.parameters.kind == "full"
    if method.parameters.kind == "qlora":
        refuse_qlora_if_impossible()
    folders, watch_folder = reward_folders(spec)
    oracle = load_oracle(method.watch_oracle) if method.watch_oracle else None
    if full and any(folder.adapter for folder in [*folders, *([watch_folder] if watch_folder else [])]):
        raise Refused(
            f"`method.algorithm` {method.algorithm} with `method.parameters.kind` full takes whole reward models "
            "(merged or weights): the base that an adapter is on would change under it."
        )
    tasks = read_tasks(spec, load_tokenizer(spec.model), events)
    processes = Processes()
    network, tokenizer = load_for_training(spec.model, method.parameters, processes.device)
    torch.manual_seed(spec.seed)
    # TRL ends replies at the generation config's tokens; the engine knows of more.
    ends = end_tokens(network, tokenizer)
    network.generation_config.eos_token_id = ends
    install()
    work = estimate_work(network)
    rewards = GroupRewards(spec, tasks, ends, events)
    trainer_class: Any = RlooRun if method.algorithm == "rloo" else GrpoRun
    trainer = trainer_class(
        model=network,
        reward_funcs=rewards,
        args=arguments(spec, processes),
        train_dataset=Dataset.from_list(
            [{"prompt": [dict(each) for each in task.shown], "task": n} for n, task in enumerate(tasks)]
        ),
        processing_class=tokenizer,
        peft_config=None if full else adapter_settings(network, method.parameters),
        callbacks=[GroupProgress(events, interrupt, method, rewards)],
    )
    padding: Any = tokenizer.pad_token_id
    loader = RewardLoader(trainer.model, tokenizer, processes.device)
    rewards.judge = Judge(
        tokenizer=tokenizer,
        rewards=[loader.load(folder, f"reward-{n}") for n, folder in enumerate(folders)],
        watch=None if watch_folder is None else loader.load(watch_folder, "watch"),
        oracle=oracle,
        pass_maker=PassMaker(work, "alone", padding, tokens_at_once(method, processes.device)),
        device=processes.device,
        clip=method.reward_clip,
        penalty=method.ensemble_penalty,
        total=processes.total,
    )
    if not full:
        rewards.wrapped = trainer.model
        trainer.model.set_adapter(POLICY)
    checkpoint = newest_checkpoint(spec.output / CHECKPOINTS_FOLDER)
    try:
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        interrupt.check()
    except Stopped:
        trainer.save_now()
        raise
    if not all(bool(p.isfinite().all()) for p in trainer.model.parameters() if p.requires_grad):
        raise Refused(
            "Training diverged: weights are no finite numbers any more. Lower `method.learning_rate` (it is "
            f"{method.learning_rate:g})."
        )
    _save(spec, trainer, tokenizer, events)


class GroupProgress(TrainingProgress):
    """Tells TRL's figures by the names of a ppo run and in its units, so that they are drawn alike, and guards it.

    What the watch remembers is of this start of the run alone: after a resume its windows fill anew.

    Args:
        events: where they go.
        interrupt: asked after each step.
        method: the settings.
        rewards: what independent scorers said of the last rollout.
    """

    def __init__(
        self, events: Events, interrupt: Interrupt, method: PpoMethod, rewards: GroupRewards
    ) -> None:
        super().__init__(events, interrupt)
        self._method = method
        self._rewards = rewards
        self._length = math.nan
        self._watched = Progress(coefficient=method.kl_coefficient)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        values = self.renamed(logs or {})
        if "score" in values:  # a rollout was drawn before this step
            self._watched.rollout += 1
            values |= watch(self._watched, self._method, values, self._rewards.independent, self._events)
            keep_to_budget(self._watched, self._method, values.get("kl", 0.0), self._events)
        super().on_log(args, state, control, values, **kwargs)
        if self._watched.over:
            control.should_training_stop = control.should_save = True
        if not math.isfinite(values.get("grad_norm", 0.0)):
            control.should_training_stop = True  # the weights are no numbers now, and `run` says so

    def renamed(self, logs: Mapping[str, float]) -> dict[str, float]:
        """Return figures under other names: responses are described where a rollout was drawn alone, which is not at
        every step."""
        told = {NAMES.get(name, name): value for name, value in logs.items()}
        self._length = told.get("length", self._length)
        if CUT in told:
            cut = told.pop(CUT)
            penalty = self._method.missing_end_penalty
            told |= {"ended": 1 - cut, "score": told[f"rewards/{REWARD}/mean"] + penalty * cut}
        if "kl" in told:
            told["kl"] *= self._length  # TRL's is a token's
        return told


class GroupRewards:
    """Scores completions for TRL's trainers, and tells samples.

    Args:
        spec: the run.
        tasks: its prompts, by their number.
        ends: tokens that end a reply.
        events: told some completions of a rollout, from best to worst.
    """

    judge: Judge
    """Set once reward models lie on the policy's base, which TRL wraps."""
    wrapped: Any = None
    """PEFT's hold on the policy, whose adapter is switched on again after scoring."""
    independent: dict[str, float]
    """Mean scores of the last rollout by independent scorers, over all processes."""
    __name__ = REWARD

    def __init__(self, spec: Spec, tasks: Sequence[Task], ends: Sequence[int], events: Events) -> None:
        self._spec = spec
        self._tasks = tasks
        self._ends = ends
        self._events = events
        self._rollouts = 0

    def __call__(
        self, *, completion_ids: Sequence[Sequence[int]], task: Sequence[int], **others: Any
    ) -> list[float]:
        """Return each completion's score, less the penalty where it was cut."""
        method: PpoMethod = self._spec.method
        ends = self._ends
        episodes = [
            Episode(number, tuple(ids) or (ends[0],), not ids or ids[-1] in ends)
            for number, ids in zip(task, completion_ids, strict=True)
        ]
        with self._judging(), torch.no_grad():
            scores_B = self.judge.scores(self._tasks, episodes)
            self.independent = self.judge.independent(self._tasks, episodes)
        ended_B = torch.tensor([each.ended for each in episodes])
        self._show(episodes, scores_B)
        return (scores_B - method.missing_end_penalty * ~ended_B).tolist()

    @contextmanager
    def _judging(self) -> Iterator[None]:
        """Lend the policy's base to the reward adapters, which would drop out in the mode that TRL trains it in."""
        if self.wrapped is None:
            yield
            return
        trains = self.wrapped.training
        self.wrapped.eval()
        yield
        self.wrapped.set_adapter(POLICY)
        self.wrapped.train(trains)

    def _show(self, episodes: Sequence[Episode], scores_B: torch.Tensor) -> None:
        self._rollouts += 1
        if self._rollouts % Cadence.of(self._spec.method).sample:
            return
        ranked = sorted(zip(scores_B.tolist(), episodes, strict=True), key=lambda each: -each[0])
        for number in evenly(len(ranked), self._spec.method.shown):
            score, episode = ranked[number]
            self._events.sample(
                list(self._tasks[episode.task].messages),
                self.judge.text(episode),
                step=self._rollouts * self._spec.method.epochs,
                scores={"score": score, "length": float(len(episode.tokens))},
            )


def arguments(spec: Spec, processes: Processes) -> Any:
    """Return the configuration of TRL's trainer for a spec."""
    method: PpoMethod = spec.method
    on_gpu = processes.device.type == "cuda"
    assert spec.model is not None
    common: dict[str, Any] = {
        "output_dir": str(spec.output / CHECKPOINTS_FOLDER),
        "seed": spec.seed,
        "learning_rate": method.learning_rate,
        "lr_scheduler_type": method.scheduler,
        "max_grad_norm": method.max_grad_norm,
        "max_steps": method.rollouts * method.epochs,
        "per_device_train_batch_size": method.batch_size // processes.world,
        "gradient_accumulation_steps": 1,
        "num_generations": method.samples,
        "num_iterations": method.epochs,
        "max_completion_length": method.max_tokens,
        "temperature": method.temperature,
        "beta": method.kl_coefficient,
        "epsilon": method.clip,
        "use_cpu": not on_gpu,
        "bf16": on_gpu and spec.model.dtype != "float32",
        "activation_checkpointing": recomputes(method, processes.device),
        "logging_steps": 1,
        "save_strategy": "steps",
        # Between rollouts, since TRL keeps a rollout's responses in memory alone.
        "save_steps": Cadence.of(method).save * method.epochs,
        "report_to": "none",
        "disable_tqdm": True,
        "disable_dropout": True,
    }
    return RLOOConfig(**common) if method.algorithm == "rloo" else GRPOConfig(**common)


def _save(spec: Spec, trainer: Any, tokenizer: PreTrainedTokenizerBase, events: Events) -> None:
    method: PpoMethod = spec.method
    state = trainer.state
    model = trainer.accelerator.unwrap_model(trainer.model)
    if not trainer.is_world_process_zero():
        return
    counts = {
        "responses learned from": float(method.rollouts * method.batch_size),
        "optimizer steps": float(state.global_step),
    }
    card = TrainingCard(spec, title=TITLES[method.algorithm], counts=counts, log=state.log_history)
    leave_policy(spec, events, tokenizer, card, model)
