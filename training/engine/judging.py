"""What responses are worth: the reward models' scores, and independent ones to hold against them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from training.engine.actor_critic import RewardRole
from training.engine.conversation import render
from training.engine.methods import SampleMethod, ScoreMethod
from training.engine.models import closing_tokens, encode_prompt
from training.engine.oracles import Oracle
from training.engine.packing import Tokens
from training.engine.ppo_losses import Total, aggregate
from training.engine.prompts import Prompt
from training.engine.rollout import Episode, PassMaker, Task

WATCH = "reward_model"
ORACLE = "oracle"
"""Names of independent scorers."""


def no_check() -> None:
    """Nothing asks a short scoring to stop."""


def task_of(prompt: Prompt, method: SampleMethod | ScoreMethod, tokenizer: PreTrainedTokenizerBase) -> Task:
    """Return a prompt as a method has it shown."""
    shown = render(
        prompt.messages,
        context=prompt.context,
        system_prompt=method.system_prompt,
        few_shot=method.few_shot,
        give_context=method.give_context,
    )
    return Task(prompt.id, tuple(prompt.messages), tuple(shown), tuple(encode_prompt(tokenizer, shown)))


def episode_of(task: int, text: str, tokenizer: PreTrainedTokenizerBase) -> Episode:
    """Return a text as a response to the task of a number, to be scored: read as if it had ended, since the closing
    tokens are the judge's to add."""
    padding: Any = tokenizer.pad_token_id
    return Episode(task, (*tokenizer.encode(text, add_special_tokens=False), padding), True)


@dataclass(frozen=True)
class Judge:
    """Scores whole responses.

    A reward model reads a response as a reward run showed it rankings: with all that the chat template puts after a
    reply, and the reward is read at the last of these tokens. A response that was cut is read the same way: what it
    lacks is the trainer's to punish.

    Args:
        tokenizer: the policy's.
        rewards: the ensemble.
        watch: an independent reward model.
        oracle: an independent function.
        pass_maker: lays out passes of the policy's network; a whole reward model reads each response in a row of its
            own.
        device: where they are computed.
        clip: normalised rewards are cut to within ± this.
        penalty: see `training.engine.ppo_losses.aggregate`.
        total: sums over processes.
    """

    tokenizer: PreTrainedTokenizerBase
    rewards: Sequence[RewardRole]
    watch: RewardRole | None
    oracle: Oracle | None
    pass_maker: PassMaker
    device: torch.device
    clip: float
    penalty: float
    total: Total

    def scores(
        self, tasks: Sequence[Task], episodes: Sequence[Episode], check: Callable[[], None] = no_check
    ) -> torch.Tensor:
        """Return the score of each response: rewards normalised and clipped member by member, then put together.

        Args:
            tasks: the prompts.
            episodes: the responses to them.
            check: called before each pass; may raise to stop.

        Returns:
            float32, on the CPU. Shape: ``(responses,)``.
        """
        members_MB = self.members(tasks, episodes, check).clamp(-self.clip, self.clip)
        return aggregate(members_MB, self.penalty)

    @torch.no_grad()
    def members(
        self, tasks: Sequence[Task], episodes: Sequence[Episode], check: Callable[[], None] = no_check
    ) -> torch.Tensor:
        """Return each reward model's own score of each response, normalised and not clipped; arguments as of `scores`.

        Returns:
            float32, on the CPU. Shape: ``(models, responses)``.
        """
        return torch.stack([self._rewards(each, tasks, episodes, check) for each in self.rewards])

    @torch.no_grad()
    def independent(self, tasks: Sequence[Task], episodes: Sequence[Episode]) -> dict[str, float]:
        """Return the mean score of the responses by each independent scorer, over all processes."""
        found: dict[str, float] = {}
        if self.watch is not None:
            found[WATCH] = self._mean(self._rewards(self.watch, tasks, episodes, no_check))
        if self.oracle is not None:
            scores = [self.oracle(list(tasks[e.task].messages), self.text(e)) for e in episodes]
            found[ORACLE] = self._mean(torch.tensor(scores))
        return found

    def text(self, episode: Episode) -> str:
        """Return a response's text."""
        return str(self.tokenizer.decode(list(episode.text_tokens), skip_special_tokens=True))

    def _rewards(
        self,
        reward: RewardRole,
        tasks: Sequence[Task],
        episodes: Sequence[Episode],
        check: Callable[[], None],
    ) -> torch.Tensor:
        prompts, responses = self._read(reward, tasks, episodes)
        rewards_B = torch.zeros(len(episodes))
        # How the policy's rows are laid out was tried on its network alone.
        pass_maker = (
            replace(self.pass_maker, layout="alone") if reward.role.wrapped is None else self.pass_maker
        )
        with reward.role.active():
            for each in pass_maker.passes(prompts, responses, range(len(episodes))):
                check()
                packed = each.packed.to(self.device)
                rewards_B[each.rows_S] = reward.role.values(packed, packed.ends_S).cpu()
        return (rewards_B - reward.mean) / reward.std

    def _read(
        self, reward: RewardRole, tasks: Sequence[Task], episodes: Sequence[Episode]
    ) -> tuple[list[Tokens], list[Tokens]]:
        """Return prompts and responses as the reward model's tokens."""
        tokenizer: Any = reward.tokenizer
        if tokenizer is None:
            closing = tuple(closing_tokens(self.tokenizer))
            return [tasks[e.task].tokens for e in episodes], [(*e.text_tokens, *closing) for e in episodes]
        closing = tuple(closing_tokens(tokenizer))
        prompts = [tuple(encode_prompt(tokenizer, task.shown)) for task in tasks]
        texts = [tokenizer.encode(self.text(e), add_special_tokens=False) for e in episodes]
        return [prompts[e.task] for e in episodes], [(*text, *closing) for text in texts]

    def _mean(self, scores_B: torch.Tensor) -> float:
        count, amount = self.total(
            torch.tensor([float(len(scores_B)), float(scores_B.double().sum())], dtype=torch.float64)
        ).tolist()
        return amount / count
