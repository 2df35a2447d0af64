"""What sft, reward and dpo runs have in common, from the data to the artifact.

A run that is killed at any step and started again ends, on a CPU, in the same weights bit for bit.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments

from training.engine.artifacts import save_artifacts
from training.engine.batches import Examples
from training.engine.checkpoints import CHECKPOINTS_FOLDER, newest_checkpoint
from training.engine.estimate import FAMILIAR_EXAMPLES
from training.engine.events import Events
from training.engine.examples import Example, Reading, read_examples
from training.engine.interrupt import Interrupt, Stopped
from training.engine.layout_check import choose_layout
from training.engine.methods import RankingMethod, TrainingMethod
from training.engine.models import choose_device, load_config, load_tokenizer, model_fingerprint
from training.engine.needs import Setup
from training.engine.objectives import Objective
from training.engine.packing import Layout
from training.engine.parameters import (
    Task,
    load_for_training,
    refuse_qlora_if_impossible,
    with_adapters,
)
from training.engine.policy_measures import Answers, ForwardKL, Retention, general_examples
from training.engine.preflight import Preflight
from training.engine.progress import TrainingProgress
from training.engine.ranking_trainer import RankingTrainer, diverged
from training.engine.reference import add_references
from training.engine.refusal import Refused
from training.engine.spec import Spec
from training.engine.step_plan import Cadence, StepPlan
from training.engine.stopping import EarlyStopping, stopped_early
from training.engine.work import estimate_work


@dataclass(frozen=True, slots=True)
class Learner:
    """What one kind of training run is."""

    title: str
    """The method in words."""
    objective: Objective
    task: Task
    """What the model is for, in PEFT's words."""
    make_network: Callable[[PreTrainedModel], PreTrainedModel]
    """Makes what is trained of a causal language model: the policy itself, or a reward model with a new head."""
    has_references: bool
    """Whether the loss compares with the model before training."""
    describe: Callable[[TrainingRun], Mapping[str, str]] = lambda run: {}
    """Returns files to leave beside the weights, as names to texts, when training is over."""


def train(spec: Spec, events: Events, interrupt: Interrupt, learner: Learner) -> None:
    """Train `spec.model` on `spec.data`; it leaves ``adapter/`` or ``weights/``, and ``merged/`` if wanted.

    Raises:
        Refused: data, model or settings cannot be used, or training diverged.
        Unavailable: a checkpoint cannot be written.
        Stopped: a checkpoint is kept that the next start goes on from.
    """
    method: TrainingMethod = spec.method
    refuse_other_world(spec)
    refuse_impossible_sharding(spec)
    if method.parameters.kind == "qlora":
        refuse_qlora_if_impossible()
    assert spec.model is not None, "a training run has a model"
    tokenizer = load_tokenizer(spec.model)
    train_set, held_out_set = read_data(spec, tokenizer, events)
    interrupt.check()
    examples, held_out = train_set.examples, held_out_set.examples
    arguments = training_arguments(spec, examples=len(examples), measure=bool(held_out))
    checkpoint = newest_checkpoint(spec.output / CHECKPOINTS_FOLDER)
    resumed = checkpoint is not None
    with Preflight(spec, events, arguments, examples, held_out, resumed=resumed) as preflight:
        run = TrainingRun(
            spec, events, interrupt, learner, tokenizer, examples, held_out, arguments, preflight
        )
        trainer = run.trainer
        try:
            if checkpoint is not None:
                trainer.catch_up(checkpoint)
            if checkpoint is not None and stopped_early(checkpoint, method.patience):
                trainer.go_to(checkpoint)
            else:
                trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
            interrupt.check()
        except Stopped:
            trainer.save_now()
            raise
    refuse_divergence(trainer)
    preflight.record(trainer.state.global_step)
    if method.keep_best:
        trainer.load_best()
    files = learner.describe(run)
    save_artifacts(
        spec, trainer, tokenizer, learner.title, train_set, held_out_set, events, learner.make_network, files
    )


def read_data(spec: Spec, tokenizer: PreTrainedTokenizerBase, events: Events) -> tuple[Reading, Reading]:
    """Return what is trained on and what is measured on (maybe nothing), and log what was left out.

    Raises:
        Refused: a file cannot be read, or there is nothing to learn from; the sentence names file and count.
    """
    method: TrainingMethod = spec.method
    held_out_path = spec.data.held_out
    if method.patience is not None and held_out_path is None:
        raise Refused(
            "`method.patience` goes by the loss on held-out data, and `data.held_out` names none: name a file of them, "
            "or leave `patience` out."
        )
    readings = [read_examples(spec.data.train, "data.train", method, tokenizer)]
    if held_out_path is None:
        readings.append(Reading("data.held_out", spec.output, method.max_length))
    else:
        readings.append(read_examples(held_out_path, "data.held_out", method, tokenizer))
    refuse_empty(readings[0], method)
    for reading in readings:
        refuse_foreign_tokens(reading, spec, tokenizer)
        refuse_beyond_positions(reading, spec)
        if reading.sentence():
            events.log(reading.sentence())
    if held_out_path is not None and not readings[1].examples:
        events.log(
            f"`data.held_out` holds nothing to learn from ({readings[1].records} records), so nothing is "
            "measured while training"
            + (", and nothing stops it early." if method.patience is not None else ".")
        )
    return readings[0], readings[1]


def refuse_empty(reading: Reading, method: TrainingMethod) -> None:
    """Raise `Refused` if there is no example, with the reason and the counts."""
    if reading.examples:
        return
    if not reading.records:
        raise Refused(
            f"`{reading.where}`: {reading.path} holds no record; build the dataset from more rankings."
        )
    if reading.silent == reading.records:
        if isinstance(method, RankingMethod):
            raise Refused(
                f"`{reading.where}`: none of the {reading.records} rankings in {reading.path} prefers one response "
                "to another (all are tied, unranked, equal in text or of weight 0); collect some with two tiers."
            )
        raise Refused(
            f"`{reading.where}`: none of the {reading.records} records in {reading.path} has a response to imitate "
            "(nothing is ranked, or all weights are 0)."
        )
    raise Refused(
        f"`{reading.where}`: nothing of the {reading.records} records in {reading.path} can be learned from. "
        f"{reading.sentence()} Raise `method.max_length`, or shorten the prompts."
    )


def refuse_foreign_tokens(reading: Reading, spec: Spec, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise `Refused` if the tokenizer makes tokens that the model does not have."""
    assert spec.model is not None
    known = load_config(spec.model).get_text_config().vocab_size
    foreign = sum(
        any(token >= known for tokens in (example.prompt, *example.responses) for token in tokens)
        for example in reading.examples
    )
    if foreign:
        raise Refused(
            f"`model`: its tokenizer does not fit it: {foreign} of the {len(reading.examples)} examples of "
            f"`{reading.where}` have tokens beyond the {known} that the model knows (the tokenizer makes "
            f"{len(tokenizer)}). Take the tokenizer that the model was trained with."
        )


def refuse_beyond_positions(reading: Reading, spec: Spec) -> None:
    """Raise `Refused` if data are longer than the model has positions for: learned ones end there with an error in the
    middle of a run, and others were never trained beyond."""
    assert spec.model is not None
    positions = getattr(load_config(spec.model).get_text_config(), "max_position_embeddings", None)
    if positions is None:
        return
    longest = [len(e.prompt) + max(map(len, e.responses)) for e in reading.examples]
    beyond = sum(length > positions for length in longest)
    if beyond:
        raise Refused(
            f"`{reading.where}`: {beyond} of the {len(longest)} examples of {reading.path} are longer than the "
            f"{positions} tokens that the model takes (the longest has {max(longest)}). Set `method.max_length` to "
            f"{positions}, and say with `method.too_long` whether to cut them or to leave_out those responses."
        )


def refuse_other_world(spec: Spec) -> None:
    """Raise `Refused` unless as many processes run as the spec says: ``accelerate launch`` on a CPU starts one process
    whatever it is asked for, without a word."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world != spec.processes:
        raise Refused(
            f"`processes` is {spec.processes}, but {world} run (WORLD_SIZE). Start the run with `torchrun "
            f"--nproc_per_node {spec.processes} -m training.engine SPEC.json`, or set `processes` to {world}."
        )


def refuse_impossible_sharding(spec: Spec) -> None:
    """Raise `Refused` where a model is to be divided and there are no GPUs to divide it among, or where it has
    adapters: that a packed pass reads a base right that accelerate divided below them was never shown."""
    world = spec.processes
    if spec.method.sharding == "fsdp" and spec.method.parameters.kind != "full" and world > 1:
        raise Refused(
            "`method.sharding` fsdp divides a model of which every weight is trained; with adapters the base lies "
            "whole on each GPU. Set it to none, or `method.parameters.kind` to full."
        )
    if spec.method.sharding == "fsdp" and (world == 1 or not torch.cuda.is_available()):
        raise Refused(
            "`method.sharding` fsdp divides a model among several GPUs; here there is "
            + ("one process" if world == 1 else "no GPU")
            + ". Set it to none."
        )


def refuse_divergence(trainer: RankingTrainer) -> None:
    """Raise `Refused` if a trained weight is no finite number."""
    model: Any = trainer.model
    if not all(bool(p.isfinite().all()) for p in model.parameters() if p.requires_grad):
        raise diverged("weights are no finite numbers any more", trainer.args)


class TrainingRun:
    """The parts of one training run, put together.

    Args:
        spec: the run.
        events: where it tells what happens.
        interrupt: when it must stop.
        learner: the method.
        tokenizer: the model's.
        train: what is learned from.
        held_out: what is measured on; may be empty.
        arguments: the Trainer's.
        preflight: tries out the largest pass.
    """

    def __init__(
        self,
        spec: Spec,
        events: Events,
        interrupt: Interrupt,
        learner: Learner,
        tokenizer: PreTrainedTokenizerBase,
        train: Sequence[Example],
        held_out: Sequence[Example],
        arguments: TrainingArguments,
        preflight: Preflight,
    ) -> None:
        assert spec.model is not None
        self.spec = spec
        self.events = events
        self.interrupt = interrupt
        self.method: TrainingMethod = spec.method
        self.tokenizer = tokenizer
        self.examples = train
        self.arguments = arguments
        self.device = self.arguments.device
        network, _ = load_for_training(spec.model, self.method.parameters, self.device)
        torch.manual_seed(spec.seed)
        network = learner.make_network(network)
        learner.objective.extend(network)
        interrupt.check()
        self.work = estimate_work(network)
        self.layout = self._checked_layout(network, train)
        if self.layout != self.method.layout:
            preflight.estimate_again(self.layout)
        model = with_adapters(network, self.method.parameters, learner.task)
        examples = self._set(train)
        plan = self._plan(train, shuffle=True, batch_size=self.method.batch_size)
        self.arguments.gradient_accumulation_steps = plan.passes
        preflight.try_out(model, examples, learner.objective)
        held = self._measured(held_out) if held_out else None
        # Spread over the file, whose order may mean something.
        count = min(FAMILIAR_EXAMPLES, len(held_out), len(train))
        alike = [number * len(train) // count for number in range(count)]
        familiar = self._measured([train[number] for number in alike]) if held_out else None
        retention = self._retention(network) if held_out and learner.task == "CAUSAL_LM" else None
        if learner.has_references:
            self._add_references(model, [examples, *([held[0]] if held else [])])
            if familiar is not None and examples.references is not None:
                familiar[0].references = [examples.references[number] for number in alike]
        self.trainer = RankingTrainer(
            model=model,
            args=self.arguments,
            objective=learner.objective,
            train=examples,
            plan=plan,
            held_out=held,
            familiar=familiar,
            tokenizer=tokenizer,
        )
        self.trainer.add_callback(TrainingProgress(events, interrupt))
        if self.method.patience is not None:
            self.trainer.add_callback(EarlyStopping(self.method.patience))
        if retention is not None:
            self._add_references(model, [retention[0]])
            self.trainer.measures.append(Retention(self.trainer, *retention))
        if held_out and learner.task == "CAUSAL_LM" and self.method.eval_samples:
            self._measure_answers(model, held_out[: self.method.eval_samples])

    def values(self, examples: Sequence[Example]) -> list[list[float]]:
        """Return the value that the objective orders responses by, for each of some examples; the same in every
        process."""
        return self.trainer.values(*self._measured(examples))

    def _checked_layout(self, network: Any, train: Sequence[Example]) -> Layout:
        layout, reason = choose_layout(network, [example.branching for example in train], self.method.layout)
        if reason:
            self.events.log(reason)
        return layout

    def _set(self, examples: Sequence[Example]) -> Examples:
        padding: Any = self.tokenizer.pad_token_id
        return Examples(examples, self.work, self.layout, padding)

    def _plan(self, examples: Sequence[Example], *, shuffle: bool, batch_size: int) -> StepPlan:
        return StepPlan(
            [example.branching for example in examples],
            batch_size=batch_size,
            tokens_at_once=Setup.of(self.method, self.device).tokens_at_once,
            work=self.work,
            layout=self.layout,
            epochs=math.ceil(self.method.epochs),
            seed=self.spec.seed,
            rank=self.arguments.process_index,
            world=self.arguments.world_size,
            shuffle=shuffle,
        )

    def _measured(self, examples: Sequence[Example]) -> tuple[Examples, StepPlan]:
        """Return examples with passes that take them all as one step, whose mean loss is that of them all."""
        return self._set(examples), self._plan(examples, shuffle=False, batch_size=max(1, len(examples)))

    def _retention(self, network: Any) -> tuple[Examples, StepPlan] | None:
        if not self.method.retention:
            return None
        limit = getattr(network.config.get_text_config(), "max_position_embeddings", None)
        return self._measured(general_examples(self.tokenizer, limit))

    def _add_references(self, model: Any, sets: Sequence[Examples]) -> None:
        assert self.spec.model is not None
        fingerprint = [
            *model_fingerprint(self.spec.model),
            self.method.parameters.kind,
            f"autocast {self.arguments.bf16}",
            f"layout {self.layout}, attention {self.work.attention}",
            f"{self.device.type}, {torch.get_num_threads()} threads, torch {torch.__version__}",
        ]
        # In the precision that training computes in, so that rounding is alike in both terms of a ratio.
        precision = torch.autocast(self.device.type, torch.bfloat16, enabled=self.arguments.bf16)
        for examples in sets:
            with precision:
                add_references(
                    model.to(self.device),
                    examples,
                    self._plan(examples.examples, shuffle=False, batch_size=max(1, len(examples))),
                    fingerprint=[*fingerprint, str(model.dtype)],
                    device=self.device,
                    processes=self.arguments.world_size,
                    first=self.arguments.process_index == 0,
                    events=self.events,
                    interrupt=self.interrupt,
                )

    def _measure_answers(self, model: Any, examples: Sequence[Example]) -> None:
        answers = Answers(
            model=model,
            tokenizer=self.tokenizer,
            prompts=examples,
            seed=self.spec.seed,
            layout_work=self.work,
            events=self.events,
            # One of several processes that left alone would keep the others waiting; they leave at the next pass.
            interrupt=self.interrupt if self.arguments.world_size == 1 else Interrupt(None),
        )
        self.trainer.measures.append(answers)
        if self.method.parameters.kind != "full":
            return
        # Adapters can be switched off at any time; what every weight was is known before training only.
        pairs = zip(examples, answers.draw(), strict=True)
        told = self._measured([Example(e.prompt, (tuple(row),), messages=e.messages) for e, row in pairs])
        self._add_references(model, [told[0]])
        self.trainer.measures.append(ForwardKL(self.trainer, *told))


def training_arguments(spec: Spec, *, examples: int, measure: bool) -> TrainingArguments:
    """Return the Trainer's configuration for a spec and so many examples; with `measure` it evaluates on the way."""
    method: TrainingMethod = spec.method
    cadence = Cadence.of(method, examples)
    on_gpu = torch.cuda.is_available()
    sharded: dict[str, Any] = {}
    if method.sharding == "fsdp":
        sharded = {"fsdp": True, "fsdp_config": {"fsdp_version": 2, "state_dict_type": "FULL_STATE_DICT"}}
    assert spec.model is not None
    return TrainingArguments(
        output_dir=str(spec.output / CHECKPOINTS_FOLDER),
        seed=spec.seed,
        learning_rate=method.rate,
        lr_scheduler_type=method.scheduler,
        warmup_steps=int(method.warmup_ratio * cadence.steps),
        weight_decay=method.weight_decay,
        max_grad_norm=method.max_grad_norm,
        num_train_epochs=method.epochs,
        per_device_train_batch_size=method.batch_size,
        use_cpu=not on_gpu,
        bf16=on_gpu and spec.model.dtype != "float32",
        gradient_checkpointing=Setup.of(method, choose_device()).checkpointing,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,
        logging_steps=method.log_steps,
        logging_nan_inf_filter=False,
        eval_strategy="steps" if measure else "no",
        eval_steps=cadence.measure,
        save_strategy="steps",
        save_steps=cadence.save,
        metric_for_best_model="eval_loss" if measure else None,
        greater_is_better=False,
        report_to="none",
        disable_tqdm=True,
        **sharded,
    )
