"""What each kind of run may be told: data and method, what each setting means, and where its default comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from training.engine.conversation import check_context, check_prompt
from training.engine.refusal import Refused
from training.engine.settings import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A model version: a base model and the chain of what was trained on it."""

    base: str = setting()
    """``org/name`` on the Hub, a local folder (absolute), or ``package:NAME``: the GGUF file in an installed
    Python package."""
    adapters: tuple[str, ...] = setting(())
    """Folders, each merged into what came before it; a folder that holds a whole model replaces what came before it."""
    dtype: Literal["auto", "float32", "bfloat16"] = setting("auto")
    """auto: bfloat16 where the hardware computes in it (on a CPU for sampling only), else float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSpec:
    """An OpenAI-compatible endpoint to sample from."""

    url: str = setting()
    """The address up to and including the version, such as ``http://localhost:8000/v1``."""
    model: str = setting()
    """The endpoint's name of the model."""
    api_key_env: str | None = setting(None)
    """The environment variable that holds the key; a spec never holds the key itself."""
    concurrency: int = setting(8, at_least=1, at_most=256)
    """Requests in flight at once. 8: half of what vLLM batches comfortably on one small GPU, below common
    rate limits."""
    timeout: float = setting(120.0, above=0)
    """Seconds to wait for one reply. 120: a long reply of a large model takes about a minute."""
    attempts: int = setting(6, at_least=1, at_most=20)
    """How often a request is tried when the endpoint is busy or fails. 6: about a minute of waiting, doubling
    from 1 s."""
    skip_refused: bool = setting(False)
    """Whether a prompt that the endpoint refuses, as one that is too long for it, gets an empty response that says why,
    in place of ending the run. Where it refuses all, the run ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleData:
    """What to answer."""

    prompts: str = setting()
    """A JSONL file of prompts, see `training.engine.prompts`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreData:
    """What to score, and by what."""

    prompts: str = setting()
    """A JSONL file of prompts, see `training.engine.prompts`."""
    responses: str = setting()
    """A JSONL file of responses to them, see `training.engine.score`."""
    rewards: tuple[str, ...] = setting()
    """Folders that reward runs left, at least one. Adapters must have been trained on the spec's model."""

    def __post_init__(self) -> None:
        if not self.rewards:
            raise Refused("`data.rewards` must name at least one folder that a reward run left.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """What to learn from."""

    train: str = setting()
    """What to train on, Parquet or JSONL: rankings (see `training.engine.records`), or for sft also conversations
    ``{"messages": […], "weight": 1.0}``."""
    held_out: str | None = setting(None)
    """The same of the held-out split, to measure on while training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateData:
    """What to measure on."""

    prompts: str = setting()
    """A JSONL file of held-out prompts."""
    rankings: str | None = setting(None)
    """Held-out rankings for the pair accuracy, Parquet or JSONL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleMethod:
    """How responses are drawn."""

    responses: int = setting(4, at_least=1, at_most=64)
    """Responses a prompt. 4: InstructGPT (Ouyang et al. 2022, section 3.4) ranks 4 to 9 at once."""
    temperature: float = setting(1.0, at_least=0, at_most=10)
    """1.0 samples from the model itself, as InstructGPT's and DPO's theory assume; 0 always takes the
    likeliest token."""
    top_p: float = setting(1.0, above=0, at_most=1)
    """The probability mass that is kept (Holtzman et al. 2020); 1.0 keeps everything."""
    max_tokens: int = setting(64, at_least=1, at_most=131_072)
    """Longest response in tokens. 64: a short paragraph, which people rank quickly."""
    system_prompt: str = setting("")
    """Put before the conversation."""
    few_shot: tuple[Mapping[str, Any], ...] = setting(())
    """Worked examples ``{"prompt": [messages], "response": str}``, shown as earlier turns."""
    give_context: bool = setting(True)
    """Whether the source passages are shown to the model."""
    batch_size: int = setting(128, at_least=1, at_most=4096)
    """Responses generated together. 128: measured fastest on a CPU for a small model; a GPU takes more. On a CPU it is
    no more than 64 all the same, so that less is lost when a run is killed; what that costs is not measured."""

    generator: Literal["own", "vllm"] = setting("own")
    """What draws: the engine's own loop, or vLLM on a GPU, where that is installed."""

    def __post_init__(self) -> None:
        for number, example in enumerate(self.few_shot):
            where = f"`method.few_shot[{number}]`"
            if not isinstance(example, Mapping) or not isinstance(example.get("response"), str):
                raise Refused(
                    f"{where} must be an object with a `prompt` (messages) and a `response` (text)."
                )
            check_prompt(example.get("prompt"), where)
            check_context(example.get("context"), where)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateMethod(SampleMethod):
    """The new model (the spec's) against an old one, both sampled alike."""

    old: ModelSpec = setting()  # noqa: RUF009  (a field specifier, as `field` is)
    """The model to compare with."""
    oracle: str | None = setting(None)
    """``module:function`` that scores responses; None measures no win rate."""
    rewards: tuple[str, ...] = setting(())
    """Folders of reward models (see `training.engine.ppo_settings.PpoData`) for best-of-n sampling from the old model:
    the baseline that what was trained on them is compared with (Stiennon et al. 2020, "Learning to summarize from human
    feedback", section 4.3). Adapters must have been trained on the old model. None of them: no baseline."""
    best_of: int = setting(4, at_least=2, at_most=64)
    """Responses of the old model that the best is taken of. 4: as many as a sample run draws; Gao et al. 2022 go to
    1,000."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreMethod:
    """How reward models are shown the prompts whose responses they score."""

    few_shot: ClassVar[tuple[Mapping[str, Any], ...]] = ()
    """No worked examples: reward models are trained without."""
    system_prompt: str = setting("")
    """Put before the conversation, as when the reward model was trained."""
    give_context: bool = setting(True)
    """Whether the source passages are shown to the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParametersSpec:
    """Which parameters are trained."""

    kind: Literal["lora", "qlora", "full"] = setting("lora")
    """lora: low-rank adapters (Hu et al. 2021); qlora: the same on a base in 4-bit NormalFloat (Dettmers et al. 2023);
    full: every weight."""
    rank: int = setting(16, at_least=1, at_most=1024)
    """Rank of the adapters. 16: PEFT's and TRL's examples for models below 1 B parameters."""
    alpha: float = setting(32.0, above=0)
    """Scale: updates are multiplied by alpha / rank. 32: TRL's default, with the rank of 16."""
    dropout: float = setting(0.0, at_least=0, at_most=0.9)
    """Dropout of the adapters' input. 0: TRL trains DPO without, so that both terms of a ratio come from one
    network."""
    target_modules: tuple[str, ...] = setting(("all-linear",))
    """Names of the layers with adapters; all-linear: every linear layer but the head (QLoRA, section 4)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingMethod:
    """What sft, reward and dpo have in common."""

    learning_rate: float | None = setting(None, above=0, at_most=1)
    """Peak rate. None: 1e-4 with adapters, TRL's default for reward models; with every weight about a tenth of that or
    less ("LoRA Without Regret", Schulman et al. 2025): 1e-5 for reward models, 2e-5 for sft and 1e-6 for dpo, which
    are TRL's defaults for these."""
    epochs: float = setting(1.0, above=0, at_most=1000)
    """Passes over the data. 1: reward models overfit after the first (Ouyang et al. 2022, appendix C.2)."""
    batch_size: int = setting(8, at_least=1, at_most=2**16)
    """Rankings (sft: conversations) an optimizer step, over all processes. 8: with four responses each they are 48
    pairs, near the 64 of the DPO paper (Rafailov et al. 2023, appendix B)."""
    tokens_at_once: int | None = setting(None, at_least=8, at_most=2**24)
    """Most tokens of a forward pass, padding included: a step takes as many passes as that needs. None: 4,096 on a
    CPU, where more brings nothing, and 16,384 on a GPU."""
    max_length: int = setting(1024, at_least=8, at_most=2**22)
    """Longest prompt with response in tokens. 1024: TRL's default."""
    too_long: Literal["refuse", "cut", "leave_out"] = setting("refuse")
    """What happens to data beyond `max_length`. refuse: nothing is trained, and the sentence counts them; cut: the end
    of a response is cut off; leave_out: such responses are left out. A prompt that leaves no room for a response is
    left out in both."""
    parameters: ParametersSpec = setting(ParametersSpec())  # noqa: RUF009  (frozen, so it may be shared)
    layout: Literal["auto", "tree", "separate"] = setting("auto")
    """How a ranking lies in a forward pass. tree: its prompt once, then its responses side by side; separate: each
    response behind a prompt of its own; auto: the cheaper one, pass by pass, by an estimate of the work."""
    warmup_ratio: float = setting(0.1, at_least=0, at_most=0.9)
    """Share of the steps with a rising rate, rounded down: in transformers' schedules the first of them has the rate 0,
    of which a run of fewer than ten steps could not afford one. 0.1: Zephyr (Tunstall et al. 2023, appendix A)."""
    scheduler: Literal["linear", "cosine", "constant"] = setting("cosine")
    """Course of the rate after warming up. cosine: what most recipes for adapters use, QLoRA's apart."""
    weight_decay: float = setting(0.0, at_least=0, at_most=1)
    """AdamW's decay. 0: transformers' and TRL's default."""
    max_grad_norm: float = setting(1.0, at_least=0)
    """Gradients beyond this norm are scaled down to it; 0 leaves them. 1.0: transformers' default."""
    activation_checkpointing: bool | None = setting(None)
    """Compute activations again in the backward pass in place of keeping them. None: on a GPU only."""
    save_steps: int | None = setting(None, at_least=1)
    """Optimizer steps between checkpoints, which is what a crash can cost. None: a tenth of the run, 50 at most."""
    eval_saves: int | None = setting(None, at_least=1)
    """Held-out data are measured at each so-many-th checkpoint, and at the end. None: at each where `save_steps` or
    `patience` is given, else at each fifth, twice in a short run."""
    log_steps: int = setting(1, at_least=1)
    """Optimizer steps between metric events."""
    keep_best: bool = setting(True)
    """Whether the artifact is the checkpoint with the lowest held-out loss rather than the last; without held-out data
    it is the last."""
    patience: int | None = setting(None, at_least=1)
    """Stop after so many measurements in a row without a lower held-out loss (early stopping); needs held-out data.
    None: never."""
    retention: bool = setting(True)
    """Whether the perplexity of a fixed general text is measured beside held-out data, against the model before
    training: it rises when the model forgets (policies only)."""
    merged: bool = setting(False)
    """Whether the whole model with the adapter merged into it is left beside the adapter, as ``merged/``."""
    sharding: Literal["none", "fsdp"] = setting("none")
    """Over several GPUs. none: each holds the whole model (DDP); fsdp: weights, gradients and optimizer state are
    divided among them (FSDP2)."""
    preflight: bool = setting(True)
    """Whether a run that would not fit in memory by its estimate is refused, and the largest forward pass tried before
    training begins. False: the estimate is told, and the run started all the same."""
    give_context: bool = setting(True)
    """Whether the source passages are shown to the model."""
    system_prompt: str = setting("")
    """Put before each conversation."""
    eval_samples: int = setting(8, at_least=0, at_most=256)
    """Held-out prompts that are answered at each measurement, to show length and samples, and with adapters KL
    (policies only); 0 answers none. 8: a look, not a measurement: one answer of 64 tokens takes a small model a second
    on a CPU."""

    full_rate: ClassVar[float] = 1e-5
    """`rate` where every weight is trained and the settings do not say."""

    @property
    def rate(self) -> float:
        """The peak rate."""
        default = self.full_rate if self.parameters.kind == "full" else 1e-4
        return default if self.learning_rate is None else self.learning_rate


@dataclass(frozen=True, slots=True, kw_only=True)
class SftMethod(TrainingMethod):
    """Instruction tuning: imitate a reply given what came before it. Of a ranking it is what annotators wrote beside
    it, or else the best response."""

    full_rate: ClassVar[float] = 2e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingMethod(TrainingMethod):
    """What methods that learn from comparisons have in common."""

    objective: Literal["pairs", "plackett_luce", "top_choice"] = setting("pairs")
    """pairs: mean over comparisons (Bradley–Terry), equal to training on the pairs one by one; plackett_luce: the
    likelihood of the whole order (Rafailov et al. 2023, appendix A.3); top_choice: that of the best alone."""
    pairs: Literal["all", "adjacent", "best_worst"] = setting("all")
    """Which comparisons of a ranking count. all: every two responses in different tiers, as InstructGPT's reward model
    (Ouyang et al. 2022, section 3.5)."""
    soft_labels: bool = setting(False)
    """Whether a pair's target is the consensus' probability that the better one is preferred, rather than 1."""
    margin_scale: float = setting(0.0, at_least=0)
    """The better one must lead by this times the difference of consensus scores (Llama 2, Touvron et al. 2023, section
    3.2.2; for policies ODPO, Amini et al. 2024). 0: by nothing."""
    weighted: bool = setting(True)
    """Whether a ranking counts by its weight; otherwise all count alike. Rankings of weight 0 never count."""

    def __post_init__(self) -> None:
        if self.objective != "pairs" and (self.pairs != "all" or self.soft_labels or self.margin_scale):
            raise Refused(
                f"`method.objective` {self.objective} takes whole orders: leave `pairs` at all, and `soft_labels` and "
                "`margin_scale` off; they go with the objective pairs."
            )
        if self.soft_labels and self.margin_scale:
            raise Refused(
                "`method.soft_labels` and `method.margin_scale` both put the consensus' scores into the loss, and "
                "together they would count twice: choose one."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardMethod(RankingMethod):
    """A reward model: a number a response, such that the preferred one has the higher (Ouyang et al. 2022)."""

    centring: float = setting(0.0, at_least=0)
    """Weight of the squared sum of a pair's rewards, which keeps their mean near 0 (Eisenstein et al. 2023; they use
    0.01)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DpoMethod(RankingMethod):
    """Direct preference optimization (Rafailov et al. 2023)."""

    beta: float = setting(0.1, above=0)
    """Strength of the pull to the reference model. 0.1: the paper, appendix B."""
    loss: Literal["sigmoid", "ipo"] = setting("sigmoid")
    """sigmoid: the paper's; ipo: squared distance to a fixed lead (Azar et al. 2023, equation 17), here of log-ratios
    a token, as in TRL. ipo goes with the objective pairs."""
    label_smoothing: float = setting(0.0, at_least=0, at_most=0.499)
    """Assumed share of flipped preferences (robust DPO, Chowdhury et al. 2024); 0 trusts the labels, as DPO."""
    length_normalised: bool = setting(False)
    """Whether log-ratios are a token rather than a response, so that length earns nothing (Lambert et al. 2024, "Tülu
    3", section 5.1; they take a beta of 5). Off: the DPO paper's."""
    nll_weight: float = setting(0.0, at_least=0)
    """Weight of the negative log-likelihood a token of the best response (Llama 3, Dubey et al. 2024, section 4.1.4,
    takes 0.2)."""
    full_rate: ClassVar[float] = 1e-6

    def __post_init__(self) -> None:
        RankingMethod.__post_init__(self)
        if self.loss == "ipo" and (self.objective != "pairs" or self.soft_labels or self.label_smoothing):
            raise Refused(
                "`method.loss` ipo goes with `objective` pairs, without `soft_labels` and `label_smoothing`; "
                "choose sigmoid for those."
            )
        if self.loss == "ipo" and self.length_normalised:
            raise Refused(
                "`method.loss` ipo takes log-ratios a token in any case: leave `length_normalised` off."
            )
        if self.label_smoothing and (self.objective != "pairs" or self.soft_labels):
            raise Refused(
                "`method.label_smoothing` goes with `objective` pairs, and instead of `soft_labels`: both say how far "
                "labels are to be trusted."
            )
