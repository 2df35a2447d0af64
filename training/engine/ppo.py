"""A *ppo* run: a policy learns, from a reward model, to write what people prefer.

    repeat:  draw responses to a batch of prompts
             score them: reward, value of each token, log-probabilities under policy and reference
             work out each token's advantage
             for some epochs, in minibatches: make good tokens likelier, within bounds; mend the value function

This file is the algorithm from top to bottom. Its arithmetic is in `training.engine.ppo_losses`, where the papers are
cited; the models are `training.engine.actor_critic`'s. N+ is Huang et al. 2024, "The N+ implementation details of RLHF
with PPO: a case study on TL;DR summarization". A run that is killed anywhere and started again ends, on a CPU, in the
same weights bit for bit: see `training.engine.ppo_checkpoints`.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property

import torch

from training.engine.actor_critic import ActorCritic
from training.engine.drawing import Request
from training.engine.events import Events
from training.engine.interrupt import Interrupt, Stopped
from training.engine.judging import Judge
from training.engine.optimising import Optimiser
from training.engine.ppo_checkpoints import Checkpoints, Progress
from training.engine.ppo_figures import figures_of
from training.engine.ppo_guards import (
    Diverged,
    check_finite,
    check_gradients,
    check_ratio,
    keep_to_budget,
    tell_if_none_ended,
    watch,
)
from training.engine.ppo_losses import (
    adapted_coefficient,
    best_line,
    final_scores,
    generalised_advantages,
    kl_estimates,
    policy_losses,
    token_rewards,
    value_losses,
    whiten,
)
from training.engine.ppo_results import refuse_diverged, save_policy, show_samples
from training.engine.ppo_settings import PpoMethod
from training.engine.ppo_setup import Setup, prepare
from training.engine.processes import Processes
from training.engine.rollout import Episode, Experience, ForwardPass, Task, mask_of, minibatches, uniforms
from training.engine.spec import Spec


def run(spec: Spec, events: Events, interrupt: Interrupt) -> None:
    """Train `spec.model` on `spec.data.prompts` against `spec.data.rewards`.

    It leaves ``adapter/`` or ``weights/``, and ``merged/`` if wanted.

    Raises:
        Refused: prompts, models or settings cannot be used, or training diverged: then the policy of the last good
            checkpoint is left, if there is one.
        Unavailable: a checkpoint cannot be written.
        Stopped: a checkpoint is kept that the next start goes on from.
    """
    if spec.method.algorithm != "ppo":
        importlib.import_module("training.engine.group_policy").run(spec, events, interrupt)
        return
    with prepare(spec, events, interrupt) as setup:
        trainer = PpoRun(setup)
        try:
            trainer.carry_out()
        except Stopped:
            trainer.save()
            raise
        except Diverged as failure:
            # What failed is the very weights of this step: a checkpoint of them is none to go back to.
            good = trainer.checkpoints.restore(trainer.optimiser, before=trainer.steps_done)
            if good is not None:
                save_policy(setup, good)
            raise refuse_diverged(spec, failure, good) from failure
        save_policy(setup, trainer.progress)


class PpoRun:
    """One run, from its newest checkpoint on.

    Args:
        setup: models, prompts and what else was made ready.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.method: PpoMethod = setup.spec.method
        self.seed: int = setup.spec.seed
        self.events: Events = setup.events
        self.interrupt: Interrupt = setup.interrupt
        self.processes: Processes = setup.processes
        self.models: ActorCritic = setup.models
        self.judge: Judge = setup.judge
        self.optimiser = Optimiser(self.models.trained, self.method, self.processes)
        self.checkpoints = Checkpoints(setup.spec.output, self.processes)
        self.progress, self.experience = Progress(coefficient=self.method.kl_coefficient), None
        resumed = self.checkpoints.restore(self.optimiser)
        if resumed is not None:
            self.progress, self.experience = resumed, self.checkpoints.experience(resumed)
        self._layouts: dict[tuple[int, ...], list[ForwardPass]] = {}
        self._seconds: dict[str, float] = {}

    def carry_out(self) -> None:
        """Go from rollout to rollout."""
        progress, method = self.progress, self.method
        while progress.rollout < method.rollouts and not progress.over:
            self.events.progress(progress.rollout, method.rollouts, "ppo")
            self._layouts, self._seconds = {}, {}
            self.stop_if_asked()
            if self.experience is None:
                self.experience = self.roll_out()
            self.learn(self.experience)
            self.finish_rollout(self.experience)
        self.events.progress(progress.rollout, method.rollouts, "ppo")

    # ---- rollout ----

    def roll_out(self) -> Experience:
        """Draw responses, score them, and work out advantages."""
        tasks = self.tasks
        with self.timed("generation"):
            episodes = self.draw(tasks)
        with self.timed("scoring"), torch.no_grad(), self.setup.precision():
            experience = self.score(tasks, episodes)
        check_finite(experience, self.processes.total)
        self.estimate_advantages(experience)
        return experience

    @property
    def places(self) -> range:
        """Where the prompts that this process answers in the rollout are in the stream: each world-th of its part."""
        count, rank, world = self.method.prompts_a_rollout, self.processes.rank, self.processes.world
        first = self.progress.rollout * count
        return range(first + rank, first + count, world)

    @property
    def tasks(self) -> list[Task]:
        """These prompts."""
        return [self.setup.tasks[self.setup.stream.at(place)] for place in self.places]

    def draw(self, tasks: Sequence[Task]) -> list[Episode]:
        """Return responses to each prompt, cut at the first token that ends a reply, prompt by prompt."""
        method, generator = self.method, self.setup.generator
        with self.models.policy.active(), self.setup.precision():
            generator.refresh(self.steps_done)
            drawn = generator.draw(
                Request(
                    prompts=[task.tokens for task in tasks],
                    uniforms=[
                        uniforms(self.seed, place, method.samples, method.max_tokens) for place in self.places
                    ],
                    temperature=method.temperature,
                    top_p=1.0,  # the whole distribution: it is the one whose gradient is taken
                    interrupt=self.interrupt if self.processes.world == 1 else Interrupt(None),
                )
            )
        return [
            Episode(number, tuple(row), row[-1] in generator.ends)
            for number, rows in enumerate(drawn)
            for row in rows
        ]

    def score(self, tasks: Sequence[Task], episodes: list[Episode]) -> Experience:
        """Return what each model says of the responses. The policy's log-probabilities are computed anew, in the very
        passes of the first epoch, since generation rounds otherwise (N+, logprobs from training's forward pass)."""
        mask_BT = mask_of(episodes)
        log_probs_BT, reference_BT, values_BT = (torch.zeros(mask_BT.shape) for _ in range(3))
        value, final_values_B = self.models.value, torch.zeros(len(episodes))
        hidden = value.head.in_features if value.head_only and value.head else 0
        features_BTD = torch.zeros(*mask_BT.shape, hidden)
        passes = [each for part in self.parts_of_epoch(0, tasks, episodes) for each in part]
        for role, into_BT in ((self.models.policy, log_probs_BT), (self.models.reference, reference_BT)):
            with role.active():
                for each in passes:
                    self.stop_between_passes()
                    each.put(into_BT, mask_BT, role.log_probs(each.packed))
        with value.active():
            for each in passes:
                self.stop_between_passes()
                places = torch.cat([each.packed.sources_N, each.packed.ends_S])
                hidden_ND = value.hidden(each.packed, places)
                tokens = len(each.packed.sources_N)
                values_N = value.values_of(hidden_ND)
                each.put(values_BT, mask_BT, values_N[:tokens])
                final_values_B[each.rows_S] = values_N[tokens:].cpu()
                if hidden:
                    each.put(features_BTD, mask_BT, hidden_ND[:tokens].float())
        scores_B = self.judge.scores(tasks, episodes, self.stop_between_passes)
        empty_BT = torch.zeros_like(values_BT)
        return Experience(
            episodes,
            log_probs_BT,
            reference_BT,
            values_BT,
            final_values_B,
            scores_B,
            advantages_BT=empty_BT,
            returns_BT=empty_BT,
            features_BTD=features_BTD,
        )

    def estimate_advantages(self, experience: Experience) -> None:
        """Fill in advantages and returns."""
        method, mask_BT, total = self.method, experience.mask_BT, self.processes.total
        bootstrap = method.truncated == "bootstrap"
        if bootstrap:
            tell_if_none_ended(experience, total, self.events)
        scores_B = final_scores(
            experience.scores_B,
            experience.ended_B,
            penalty=method.missing_end_penalty,
            bootstrap=bootstrap,
        )
        kl_BT = kl_estimates(experience.log_probs_BT, experience.reference_BT, method.kl_estimator)
        rewards_BT = token_rewards(kl_BT, scores_B, mask_BT, self.progress.coefficient)
        if method.whiten_rewards:
            rewards_BT = whiten(rewards_BT, mask_BT, keep_mean=True, total=total)
        if self.steps_done == 0 and method.value_start == "fitted":
            self.fit_values(experience, rewards_BT)
        goes_on_B = ~experience.ended_B & bootstrap
        advantages_BT, experience.returns_BT = generalised_advantages(
            rewards_BT,
            experience.values_BT,
            mask_BT,
            experience.final_values_B.where(goes_on_B, 0.0),
            discount=method.discount,
            decay=method.decay,
        )
        if method.whiten_advantages:
            advantages_BT = whiten(advantages_BT, mask_BT, total=total)
        experience.advantages_BT = advantages_BT

    def fit_values(self, experience: Experience, rewards_BT: torch.Tensor) -> None:
        """Scale and shift the first values, and the value function's head, to what followed each token."""
        mask_BT, nothing_B = experience.mask_BT, torch.zeros_like(experience.final_values_B)
        _, followed_BT = generalised_advantages(
            rewards_BT,
            torch.zeros_like(rewards_BT),
            mask_BT,
            nothing_B,
            discount=self.method.discount,
            decay=1.0,
        )
        slope, intercept = best_line(experience.values_BT, followed_BT, mask_BT, total=self.processes.total)
        self.models.value.scale_head(slope, intercept)
        experience.values_BT = (slope * experience.values_BT + intercept).masked_fill(~mask_BT, 0)
        experience.final_values_B = slope * experience.final_values_B + intercept

    # ---- optimisation ----

    def learn(self, experience: Experience) -> None:
        """Take the optimizer's steps on a rollout, from the one on that a checkpoint left off at."""
        progress, tasks = self.progress, self.tasks
        with self.timed("optimisation"), self.models.checkpointing(self.setup.checkpointing):
            while progress.step < self.steps_a_rollout:
                epoch, number = divmod(progress.step, self.method.minibatches)
                self.take_step(experience, self.parts_of_epoch(epoch, tasks, experience.episodes)[number])
                progress.step += 1
                if progress.step < self.steps_a_rollout:
                    self.stop_if_asked()

    def take_step(self, experience: Experience, passes: Sequence[ForwardPass]) -> None:
        """Learn from one minibatch. The loss is the mean over its real tokens, whatever passes and processes they are
        in; policy and value function share no trained weight, so each has its own gradient, clipped by itself."""
        method, mask_BT, tally = self.method, experience.mask_BT, self.progress.tally
        mine = sum(len(each.packed.targets_N) for each in passes)
        tokens = float(self.processes.total(torch.tensor(float(mine), device=self.setup.device)))
        found = dict.fromkeys(("policy_loss", "clip_fraction", "policy_change", "ratio"), 0.0)
        found |= dict.fromkeys(("value_loss", "value_clip_fraction"), 0.0)
        furthest = 0.0
        with self.models.policy.active():
            for each in passes:
                old_N = each.pick(experience.log_probs_BT, mask_BT)
                with self.setup.precision():
                    log_probs_N = self.models.policy.log_probs(each.packed)
                losses_N, clipped_N = policy_losses(
                    log_probs_N, old_N, each.pick(experience.advantages_BT, mask_BT), method.clip
                )
                (losses_N.sum() / tokens).backward()
                gap_N = (log_probs_N - old_N).detach()
                furthest = max(furthest, float(gap_N.expm1().abs().max()))
                found["policy_loss"] += float(losses_N.detach().sum())
                found["clip_fraction"] += float(clipped_N.sum())
                found["policy_change"] += float((gap_N.expm1() - gap_N).sum())  # k3 of old against new
                found["ratio"] += float(gap_N.exp().sum())
        if self.progress.step == 0:
            check_ratio(furthest)
        with self.models.value.active():
            for each in passes:
                with self.setup.precision():
                    values_N = self.values_of(each, experience)
                losses_N, clipped_N = value_losses(
                    values_N,
                    each.pick(experience.values_BT, mask_BT),
                    each.pick(experience.returns_BT, mask_BT),
                    method.value_clip,
                )
                (losses_N.sum() / tokens).backward()
                found["value_loss"] += float(losses_N.detach().sum())
                found["value_clip_fraction"] += float(clipped_N.sum())
        share = self.steps_done / (self.steps_a_rollout * method.rollouts)
        norms = self.optimiser.step(share, self.progress.rate_factor)
        check_gradients(norms)
        sums = self.processes.total(torch.tensor(list(found.values()), dtype=torch.float64))
        measured = dict(zip(found, (sums / tokens).tolist(), strict=True))
        measured |= {"grad_norm": norms["policy"], "value_grad_norm": norms["value"]}
        for name, value in measured.items():
            tally[name] = tally.get(name, 0.0) + value / self.steps_a_rollout

    def values_of(self, part: ForwardPass, experience: Experience) -> torch.Tensor:
        """Return the value before each token of a pass: by the head alone, where hidden states do not change."""
        value = self.models.value
        if value.head_only:
            return value.values_of(part.pick(experience.features_BTD, experience.mask_BT))
        return value.values(part.packed, part.packed.sources_N)

    # ---- after a rollout ----

    def finish_rollout(self, experience: Experience) -> None:
        """Tell what came of the rollout, look out for what can go wrong, and save."""
        progress, method, tasks = self.progress, self.method, self.tasks
        values = self.measure(experience)
        progress.rollout += 1
        independent = self.judge.independent(tasks, experience.episodes)
        values |= watch(progress, method, values, independent, self.events)
        keep_to_budget(progress, method, values["kl"], self.events)
        if method.kl_target is not None:
            progress.coefficient = adapted_coefficient(
                progress.coefficient, values["kl"], method.kl_target, method.kl_gain
            )
        self.events.metric(progress.rollout, values)
        progress.last = {name: value for name, value in values.items() if not name.startswith("seconds/")}
        if progress.rollout % self.setup.cadence.sample == 0 or progress.rollout == method.rollouts:
            show_samples(self.setup, tasks, experience, progress.rollout)
        progress.step, progress.tally = 0, {}
        self.experience = None
        last = progress.rollout == method.rollouts or bool(progress.over)
        if progress.rollout % self.setup.cadence.save == 0 or last:
            self.save()

    def measure(self, experience: Experience) -> dict[str, float]:
        """Return the rollout's figures over all processes."""
        return {
            **figures_of(experience, self.method, self.progress.coefficient, self.processes.total),
            "learning_rate": self.optimiser.rate,
            **self.progress.tally,
            **{f"seconds/{name}": value for name, value in self._seconds.items()},
        }

    # ---- what the parts above share ----

    @cached_property
    def steps_a_rollout(self) -> int:
        """Optimizer steps on each rollout."""
        return self.method.epochs * self.method.minibatches

    @property
    def steps_done(self) -> int:
        """Optimizer steps of the run so far."""
        return self.progress.rollout * self.steps_a_rollout + self.progress.step

    def parts_of_epoch(
        self, epoch: int, tasks: Sequence[Task], episodes: Sequence[Episode]
    ) -> list[list[ForwardPass]]:
        """Return the passes of each minibatch of an epoch over this process's episodes."""
        method, world, rank = self.method, self.processes.world, self.processes.rank
        prompts = [tasks[each.task].tokens for each in episodes]
        responses = [each.tokens for each in episodes]
        parts = []
        for chosen in minibatches(
            self.seed, self.progress.rollout, epoch, method.batch_size, method.minibatches
        ):
            mine = [divmod(number, method.samples) for number in sorted(chosen)]
            rows = tuple(
                place // world * method.samples + sample for place, sample in mine if place % world == rank
            )
            if rows not in self._layouts:
                made = self.setup.pass_maker.passes(prompts, responses, rows)
                self._layouts[rows] = [each.to(self.setup.device) for each in made]
            parts.append(self._layouts[rows])
        return parts

    def stop_if_asked(self) -> None:
        """Raise `Stopped` if this run must stop, in all processes at the same place."""
        if self.processes.world == 1 or self.processes.stop_together(self.interrupt):
            self.interrupt.check()

    def stop_between_passes(self) -> None:
        """Raise `Stopped` if this run must stop. Of several processes each has its own number of passes, so there is no
        same place within them: those go on to the end of the phase."""
        if self.processes.world == 1:
            self.interrupt.check()

    def save(self) -> None:
        """Write a checkpoint of this very place, if there is none yet."""
        self.checkpoints.save(self.optimiser, self.progress, self.experience, self.steps_done)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Count the seconds of a block."""
        began = time.perf_counter()
        yield
        self._seconds[name] = time.perf_counter() - began
