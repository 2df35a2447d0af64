"""What a *ppo* run may be told: data and method, what each setting means, and where its default comes from."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from training.engine.methods import ParametersSpec
from training.engine.refusal import Refused
from training.engine.settings import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class PpoData:
    """What to answer, and what judges the answers."""

    prompts: str = setting()
    """A JSONL file of prompts, see `training.engine.prompts`."""
    rewards: tuple[str, ...] = setting()
    """Folders that reward runs left: an ``adapter`` trained on the very model that is trained here shares its weights;
    ``weights`` or ``merged`` of any architecture are a model of their own in memory. Several are an ensemble."""
    watch: str | None = setting(None)
    """The folder of an independent reward model (another seed, other rankings), to watch for over-optimisation."""


ONLY_PPO = frozenset({
    "minibatches", "generator", "value_learning_rate", "discount", "decay", "value_clip", "value", "value_start",
    "whiten_advantages", "whiten_rewards", "kl_estimator", "kl_target", "kl_gain", "on_kl_budget",
    "truncated", "value_rank", "layout",
})  # fmt: skip
"""Settings that `algorithm` ppo alone takes notice of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PpoMethod:
    """Reinforcement learning from a reward model: draw responses, score them, and make the better ones likelier.

    N+ is Huang et al. 2024, "The N+ implementation details of RLHF with PPO".
    """

    algorithm: Literal["ppo", "rloo", "grpo"] = setting("ppo")
    """ppo: with a value function (Schulman et al. 2017); rloo: against the mean of the prompt's other responses
    (Ahmadian et al. 2024); grpo: against their mean and spread (Shao et al. 2024). The last two are TRL's trainers, and
    take the settings below that say so."""
    episodes: int = setting(1024, at_least=1)
    """Responses that are learned from, in all; rounded up to whole rollouts. 1024: under an hour of a small model's
    time on two cores; N+ takes 1,000,000. All three algorithms."""
    batch_size: int = setting(32, at_least=2)
    """Responses a rollout, over all processes. 32: what two cores draw together in seconds; N+ takes 512. All three."""
    samples: int = setting(1, at_least=1, at_most=64)
    """Responses a prompt and rollout. Several share the prompt's computation. rloo and grpo need 2 at least. All
    three."""
    epochs: int = setting(4, at_least=1, at_most=64)
    """Passes over a rollout. 4: N+. All three."""
    minibatches: int = setting(1, at_least=1)
    """Optimizer steps a pass over a rollout. 1: N+. ppo."""
    max_tokens: int = setting(64, at_least=1, at_most=131_072)
    """Longest response in tokens. 64: as a sample run's. All three."""
    generator: Literal["own", "vllm"] = setting("own")
    """What draws: the engine's own loop, or vLLM on the same GPU, where that is installed; then one process. ppo."""
    temperature: float = setting(1.0, above=0, at_most=10)
    """Logits are divided by it, where tokens are drawn and where they are scored (N+). 1.0: the policy itself. All
    three."""
    learning_rate: float = setting(5e-5, above=0, at_most=1)
    """The policy's. 5e-5 suits LoRA; N+ takes 3e-6 for every weight. All three."""
    value_learning_rate: float | None = setting(None, above=0, at_most=1)
    """The value function's. It has parameters, moments and clipping of its own, so this takes the place of a weight in
    the loss, which Adam would cancel. None: as `learning_rate`, and ten times that for a head alone. ppo."""
    scheduler: Literal["linear", "cosine", "constant"] = setting("linear")
    """Course of the rates over the run, to 0 at its end. linear: N+. All three."""
    max_grad_norm: float = setting(1.0, at_least=0)
    """Gradients beyond this norm are scaled down to it, the policy's and the value function's each by itself; 0 leaves
    them. 1.0: transformers' default. All three."""
    discount: float = setting(1.0, at_least=0, at_most=1)
    """γ. 1.0: N+. ppo."""
    decay: float = setting(0.95, at_least=0, at_most=1)
    """λ of generalised advantage estimation. 0.95: N+. ppo."""
    clip: float = setting(0.2, above=0, at_most=10)
    """How far the ratio to the rollout's policy may go from 1. 0.2: Schulman et al. 2017. All three."""
    value_clip: float = setting(0.2, above=0)
    """How far a value may go from the rollout's. 0.2: N+. ppo."""
    value: Literal["adapter", "head"] = setting("adapter")
    """What of the value function learns. adapter: an adapter with a head (N+ trains a whole network); head: a head
    alone on the hidden states of the first reward adapter, computed once a rollout and kept until the next: it
    saves almost half of the run's work, and takes a number a token and hidden dimension of memory. ppo."""
    value_start: Literal["fitted", "reward"] = setting("fitted")
    """How the value function starts. reward: as the reward model (N+); fitted: as that, its head scaled and shifted
    to what the first rollout came to. A reward model is trained at ends of responses alone, and what it says of their
    beginnings may be far off; values then take long to come back, by steps that `value_clip` keeps small. ppo."""
    whiten_advantages: bool = setting(True)
    """Whether advantages have mean 0 and spread 1 over a rollout's tokens (N+). ppo."""
    whiten_rewards: bool = setting(False)
    """Whether tokens' rewards are divided by their spread. TRL's default is not to. ppo."""
    kl_coefficient: float = setting(0.05, at_least=0)
    """β, the price of a nat of KL from the model before training. 0.05: N+. All three."""
    kl_estimator: Literal["k1", "k3"] = setting("k1")
    """How a token's KL is estimated (Schulman 2020). k1: N+. ppo."""
    kl_target: float | None = setting(None, above=0)
    """Nats a response that an adaptive β steers for (Ziegler et al. 2019, section 2.2). None: β is fixed. ppo."""
    kl_gain: float = setting(0.1, above=0, at_most=1)
    """How fast an adaptive β moves. 0.1: Ziegler et al. ppo."""
    kl_budget: float | None = setting(None, above=0)
    """Nats a response beyond which `on_kl_budget` says what happens. None: no limit. All three."""
    on_kl_budget: Literal["stop", "slow"] = setting("stop")
    """stop: the run ends with the policy it has; slow: the rates are halved at each rollout beyond the budget. ppo."""
    missing_end_penalty: float = setting(1.0, at_least=0)
    """Taken from the score of a response that was cut before it ended, as in TRL; N+ gives such responses −1. All
    three."""
    truncated: Literal["score", "bootstrap"] = setting("score")
    """What comes after a response that was cut. score: nothing, it has the score of what there is, less the penalty;
    bootstrap: the value of going on, in place of score and penalty (Pardo et al. 2018, "Time limits in reinforcement
    learning"). ppo."""
    normalise_rewards: bool = setting(True)
    """Whether rewards are shifted and divided by the mean and spread that the reward run found on its own responses, so
    that they start near mean 0 and spread 1 (N+; Ziegler et al. 2019, section 2.1). All three."""
    reward_clip: float = setting(5.0, above=0)
    """Rewards are cut to within ± this. 5.0: beyond what a normalised reward takes on responses like those it was
    trained on. All three."""
    ensemble_penalty: float = setting(0.0, at_least=0)
    """Several rewards count as their mean less this times their spread (Coste et al. 2023). 0: the mean. All three."""
    watch_oracle: str | None = setting(None)
    """``module:function`` as an independent scorer, in place of `data.watch` or beside it. All three."""
    watch_window: int = setting(8, at_least=2)
    """Rollouts on each side of the watch's comparison. All three."""
    on_alarm: Literal["tell", "stop"] = setting("tell")
    """What happens where an independent scorer falls while the reward rises. All three."""
    parameters: ParametersSpec = setting(ParametersSpec())  # noqa: RUF009  (frozen, so it may be shared)
    """Of the policy; without dropout. qlora and lora share one frozen base with value and reward; full needs a second
    copy of the model for the reference. All three."""
    value_rank: int | None = setting(None, at_least=1, at_most=1024)
    """Rank of the value function's adapters where it does not start from a reward model's. None: `parameters.rank`.
    ppo."""
    tokens_at_once: int | None = setting(None, at_least=8)
    """Most tokens of a forward pass, padding included. None: 512 on a CPU, and 16,384 on a GPU. ppo; of rloo and grpo
    the passes that score."""
    layout: Literal["auto", "tree", "separate"] = setting("auto")
    """How responses to one prompt lie in a forward pass, see `training.engine.methods.TrainingMethod.layout`. ppo."""
    activation_checkpointing: bool | None = setting(None)
    """Compute activations again in the backward pass in place of keeping them. None: on a GPU only. All three."""
    save_rollouts: int | None = setting(None, at_least=1)
    """Rollouts between checkpoints, which is what a crash can cost. None: a tenth of the run, 10 at most."""
    sample_rollouts: int | None = setting(None, at_least=1)
    """Rollouts between samples that are shown. None: a tenth of the run."""
    shown: int = setting(6, at_least=0, at_most=100)
    """Responses shown each time, from best to worst."""
    merged: bool = setting(False)
    """Whether the whole model with the adapter merged into it is left beside the adapter, as ``merged/``."""
    preflight: bool = setting(True)
    """Whether a run that would not fit in memory by its estimate is refused. ppo."""
    give_context: bool = setting(True)
    """Whether the source passages are shown to the model."""
    system_prompt: str = setting("")
    """Put before each conversation."""

    def __post_init__(self) -> None:
        if self.parameters.dropout:
            raise Refused(
                "`method.parameters.dropout` must be 0 for ppo: with dropout the policy that is scored is not the one "
                "that drew the responses."
            )
        if self.batch_size % self.samples:
            raise Refused(
                f"`method.batch_size` {self.batch_size} must be a multiple of `method.samples` {self.samples}."
            )
        if self.minibatches > self.batch_size:
            raise Refused(
                f"`method.minibatches` {self.minibatches} is more than the {self.batch_size} responses of a rollout "
                "(`method.batch_size`)."
            )
        if self.algorithm == "ppo":
            return
        if self.samples < 2:
            raise Refused(
                f"`method.algorithm` {self.algorithm} compares the responses to a prompt with each other: set "
                "`method.samples` to 2 at least."
            )
        if self.kl_budget is not None and not self.kl_coefficient:
            raise Refused(
                f"`method.kl_budget`: TRL's trainer of {self.algorithm} measures the KL only where it has a price: set "
                "`method.kl_coefficient` above 0."
            )
        ignored = [
            each.name
            for each in fields(self)
            if each.name in ONLY_PPO and getattr(self, each.name) != each.default
        ]
        if ignored:
            raise Refused(
                f"`method.algorithm` {self.algorithm} is TRL's trainer, which takes no notice of "
                f"{', '.join(f'`method.{name}`' for name in ignored)}: leave that out, or set `method.algorithm` to "
                "ppo."
            )

    @property
    def prompts_a_rollout(self) -> int:
        """Prompts that a rollout answers."""
        return self.batch_size // self.samples

    @property
    def rollouts(self) -> int:
        """Rollouts of the run."""
        return -(-self.episodes // self.batch_size)
