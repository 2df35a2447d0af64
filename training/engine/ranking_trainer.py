"""transformers' Trainer on packed rankings: schedules, accumulation, clipping, checkpoints, processes are its."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerBase, TrainerState, TrainingArguments

from training.engine.batches import Batch, Examples
from training.engine.checkpoints import WholeCheckpoints
from training.engine.collecting import collect
from training.engine.held_out import Judged, figures
from training.engine.objectives import Objective, Outcome
from training.engine.refusal import Refused
from training.engine.step_plan import StepPlan

Measure = Callable[[], Mapping[str, float]]


class PassLoader(DataLoader[Batch]):
    """The passes of a plan, in its order."""

    def __init__(self, examples: Examples, plan: StepPlan) -> None:
        # What the plan yields goes to the examples whole: it is not a list of their numbers, which the types expect.
        passes: Any = plan
        collate: Any = _as_inputs
        super().__init__(examples, batch_sampler=passes, collate_fn=collate)
        self._plan = plan

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that is iterated over next."""
        self._plan.set_epoch(epoch)


class RankingTrainer(WholeCheckpoints):
    """Trains a model that takes ``packed`` (see `training.engine.packed_forward`) by an objective.

    Args:
        model: the network, or PEFT's around it.
        args: with ``gradient_accumulation_steps`` the passes of `plan`.
        objective: what is minimised.
        train: what is learned from, with references if the objective needs them.
        plan: its passes.
        held_out: what is measured on, and its passes; none: nothing is measured.
        familiar: examples of `train` measured likewise, for the gap to held-out ones, and their passes.
        tokenizer: saved with checkpoints.
    """

    # The passes' losses add up to the mean over the step.
    loss_is_scaled_for_ga = True

    def __init__(
        self,
        *,
        model: Any,
        args: TrainingArguments,
        objective: Objective,
        train: Examples,
        plan: StepPlan,
        held_out: tuple[Examples, StepPlan] | None,
        familiar: tuple[Examples, StepPlan] | None,
        tokenizer: PreTrainedTokenizerBase,
    ) -> None:
        super().__init__(
            model=model,
            args=args,
            train_dataset=train,
            eval_dataset=held_out[0] if held_out else None,
            processing_class=tokenizer,
        )
        self.objective: Objective = objective
        self.plan = plan
        self.held_out = held_out
        self.familiar = familiar
        self.measures: list[Measure] = []
        """Further figures of each measurement, called in every process."""
        self._tally = _Tally()

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return the plan's passes; they are this process's own already, so accelerate divides nothing."""
        assert isinstance(self.train_dataset, Examples)
        return PassLoader(self.train_dataset, self.plan)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the pass's share of the step's loss."""
        batch: Batch = inputs["batch"].to(self.args.device)
        outcome = self.objective.outcome(model(packed=batch.packed).float(), batch)
        if batch.share:
            self._tally.add(outcome, batch)
        # DDP and FSDP take the mean of the processes' gradients; this makes it their sum.
        loss = outcome.loss * (batch.share * self.args.world_size)
        return (loss, outcome) if return_outputs else loss

    def go_to(self, checkpoint: Path) -> None:
        """Take weights and state from a checkpoint, without training on."""
        self.state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
        self._load_from_checkpoint(str(checkpoint))

    def catch_up(self, checkpoint: Path) -> None:
        """Measure what was to be measured at a checkpoint's step, if the run was stopped before that was done: what is
        best, and when to stop early, must not depend on it."""
        state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
        due = state.global_step % self.args.eval_steps == 0 or state.global_step == state.max_steps
        if self.held_out is None or not due or measured(state):
            return
        self.go_to(checkpoint)
        self._determine_best_metric(self.evaluate(), None)
        if self.is_world_process_zero():
            self.amend_checkpoint(checkpoint)
        self.accelerator.wait_for_everyone()

    def floating_point_ops(self, inputs: Any) -> int:
        """The Trainer counts padded sequences with labels; these passes have none."""
        return 0

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log the Trainer's figures of the last steps with those of their comparisons."""
        if "loss" in logs:
            logs = {**logs, **self._tally.take(self.accelerator)}
        super().log(logs, start_time)

    def evaluate(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> dict[str, float]:
        """Measure on held-out examples, without drawing from the random state that training goes on with.

        Raises:
            Refused: the loss is no finite number, so training diverged.
        """
        assert self.held_out is not None
        model: Any = self.model
        was_training = model.training
        model.eval()
        with torch.random.fork_rng(), torch.no_grad():
            measured = self.judge(*self.held_out)
            if not math.isfinite(measured["loss"]):
                raise diverged("the held-out loss is no finite number any more", self.args)
            if self.familiar is not None and "accuracy" in measured:
                measured["gap"] = self.judge(*self.familiar)["accuracy"] - measured["accuracy"]
            for measure in self.measures:
                measured |= measure()
        model.train(was_training)
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in measured.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def judge(self, examples: Examples, plan: StepPlan) -> dict[str, float]:
        """Return loss and figures of all examples together, the same in every process."""
        loss = torch.zeros((), device=self.args.device, dtype=torch.float64)

        def values_of(batch: Batch) -> torch.Tensor:
            nonlocal loss
            outcome = self.outcome_of(batch)
            loss += outcome.loss.double() * batch.share
            return outcome.values_S

        values = self._collect(examples, plan, values_of)
        judged = [
            Judged(values_S[c.better] - values_S[c.worse], c.margin, example.aspect)
            for example, values_S in zip(examples.examples, values, strict=True)
            for c in example.comparisons
        ]
        total = self.accelerator.reduce(loss, "sum") if self.args.world_size > 1 else loss
        return {"loss": float(total), **figures(judged, calibrated=self.objective.calibrated)}

    def log_probs(self, examples: Examples, plan: StepPlan) -> list[list[float]]:
        """Return the log-probability of each response of a policy, in nats; the same in every process."""
        return self._collect(
            examples, plan, lambda batch: batch.packed.sums(self._network(packed=batch.packed).float())
        )

    def values(self, examples: Examples, plan: StepPlan) -> list[list[float]]:
        """Return the value of each response, as the objective orders them by; the same in every process."""
        model: Any = self.model
        model.eval()
        with torch.no_grad():
            return self._collect(examples, plan, lambda batch: self.outcome_of(batch).values_S)

    def outcome_of(self, batch: Batch) -> Outcome:
        """Return what comes of a batch on the trainer's device, outside of training."""
        return self.objective.outcome(self._network(packed=batch.packed).float(), batch)

    @property
    def _network(self) -> Any:
        return self.model_wrapped if self.is_fsdp_enabled else self.model

    def _collect(
        self, examples: Examples, plan: StepPlan, values_of: Callable[[Batch], torch.Tensor]
    ) -> list[list[float]]:
        def ask(done: int) -> None:
            self.control = self.callback_handler.on_prediction_step(self.args, self.state, self.control)

        return collect(
            examples,
            plan,
            values_of,
            device=self.args.device,
            processes=self.args.world_size,
            after_pass=ask,
        )


def measured(state: TrainerState) -> bool:
    """Whether held-out figures of the last step exist."""
    return any("eval_loss" in row and row["step"] == state.global_step for row in state.log_history)


def diverged(how: str, args: TrainingArguments) -> Refused:
    """Return the refusal of a run whose training diverged: starting again would end there again."""
    return Refused(f"Training diverged: {how}. Lower `method.learning_rate` (it is {args.learning_rate:g}).")


class _Tally:
    """Figures of the passes since the last log."""

    def __init__(self) -> None:
        self._sums: torch.Tensor | None = None

    def add(self, outcome: Outcome, batch: Batch) -> None:
        """Count a pass."""
        values_S = outcome.values_S.detach().double()
        leads_P = values_S[batch.better_P] - values_S[batch.worse_P]
        counts = [float(len(leads_P)), float(batch.packed.size), float(batch.packed.used)]
        sums = torch.cat(
            [torch.stack([((leads_P.sign() + 1) / 2).sum(), leads_P.sum()]), leads_P.new_tensor(counts)]
        )
        self._sums = sums if self._sums is None else self._sums + sums

    def take(self, accelerator: Any) -> dict[str, float]:
        """Return the figures over all processes and begin anew."""
        sums = torch.zeros(5, dtype=torch.float64) if self._sums is None else self._sums
        self._sums = None
        if accelerator.num_processes > 1:
            sums = accelerator.reduce(sums.to(accelerator.device), "sum")
        right, leads, pairs, computed, used = sums.tolist()
        told = {"accuracy": right / pairs, "margin": leads / pairs} if pairs else {}
        return told | ({"padding": 1 - used / computed} if computed else {})


def _as_inputs(batch: Batch) -> dict[str, Batch]:
    return {"batch": batch}
