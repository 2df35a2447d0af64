"""What a round may be told: recipes, their settings, and where each default comes from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from alignment.consensus_records import ConsensusSettings
from alignment.dataset_filters import Filters
from alignment.models import ModelVersion, Round
from alignment.settings_refusals import refusal_of
from annotation.models import CONTROL_SHARE, MAX_CONTROL_SHARE
from annotation.refusals import Refusal
from training.engine.methods import DpoMethod, RewardMethod, SftMethod, TrainingMethod
from training.engine.ppo_settings import PpoMethod
from training.engine.records import Ranking, comparisons, imitated
from training.engine.refusal import Refused
from training.engine.settings import check_settings, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSettings(ConsensusSettings):
    """What a round's dataset is made of, and how its consensus is found."""

    batches: Literal["round", "all"] = setting("round")
    """round: the round's own rankings, drawn from the model that is trained; all: those of every closed
    batch of the project, imported ones among them."""
    filters: Filters = Filters()  # noqa: RUF009 - frozen, so it may be shared
    """What is left out of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSettings:
    """How a candidate is measured against the model version it was made of."""

    prompts: int | None = setting(None, at_least=1)
    """How many held-out prompts; none: all of them."""
    responses: int = setting(4, at_least=1, at_most=16)
    """Responses a prompt of each model where an oracle judges; people compare one of each."""
    overlap: int | None = setting(None, at_least=1, at_most=100)
    """How many people compare each pair; none: as many as rank the round's tasks."""
    pair_accuracy: bool = setting(True)
    """Whether it is also measured how many preferences of the held-out rankings each model tells right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotationSettings:
    """How the round's tasks are handed out, and whether it waits for their review."""

    order: Literal["oldest", "uncertainty"] = setting("oldest")
    """Which tasks of the round come first: the oldest, or those on which reward models and, once two have ranked a
    task, people disagree most. Comparisons of new with old always come oldest first: closed early, those in another
    order would be of the divided prompts only, and their win rate too near one half."""
    control_share: float = setting(CONTROL_SHARE, at_least=0, at_most=MAX_CONTROL_SHARE)
    """With the order uncertainty: the share of places that chance draws beside it, to tell what the order is worth."""
    reward_models: int = setting(4, at_least=0, at_most=8)
    """With the order uncertainty: so many of the project's newest reward models score the responses before anybody
    ranks them, see `alignment.round_scoring`. 0: none does. 4: between the 3 of Christiano et al. 2017 ("Deep
    reinforcement learning from human preferences") and the 5 of Coste et al. 2024 ("Reward model ensembles help
    mitigate overoptimization")."""
    max_per_annotator: int | None = setting(None, at_least=1, at_most=2**31 - 1)
    """The most tasks of each of its batches that one person is given. None: no limit."""
    priority: int = setting(0, at_least=-1000, at_most=1000)
    """Of its batches: those of higher priority are handed out first."""
    review: Literal["none", "flagged", "all"] = setting("none")
    """What of the batch's review queue the round waits for before it builds its dataset. none: it does not wait;
    flagged: tasks with flagged responses; all: whatever the queue holds. Where it waits, it also waits for returned
    rankings, and for the review of those that were amended."""


def annotation_settings(round: Round) -> AnnotationSettings:
    """Return how a round is annotated; rounds from before there were such settings have the defaults."""
    return AnnotationSettings(**round.settings.get("annotation", {}))


def _refuse_impossible_sharding(where: str, method: TrainingMethod, processes: int) -> None:
    """Raise `Refused` where the engine would, but before people have ranked for it."""
    if method.sharding == "fsdp" and (processes == 1 or method.parameters.kind != "full"):
        raise Refused(
            f"`{where}.sharding` fsdp divides a whole model that is trained among several processes: set "
            f"`settings.processes` to a worker's GPUs and `{where}.parameters.kind` to full, or `sharding` to none."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SftRecipe:
    """Instruction tuning: imitate what annotators wrote, or else the best response of each ranking."""

    annotation: AnnotationSettings = AnnotationSettings()
    dataset: DatasetSettings = DatasetSettings()
    training: SftMethod = SftMethod()  # noqa: RUF009 - frozen, so it may be shared
    evaluation: EvaluationSettings = EvaluationSettings()
    processes: int = setting(1, at_least=1, at_most=64)
    """Processes that train together, one a GPU of the worker's machine."""

    def __post_init__(self) -> None:
        _refuse_impossible_sharding("settings.training", self.training, self.processes)


@dataclass(frozen=True, slots=True, kw_only=True)
class DpoRecipe:
    """Direct preference optimization on the round's consensus."""

    annotation: AnnotationSettings = AnnotationSettings()
    dataset: DatasetSettings = DatasetSettings()
    training: DpoMethod = DpoMethod()  # noqa: RUF009 - frozen, so it may be shared
    evaluation: EvaluationSettings = EvaluationSettings()
    processes: int = setting(1, at_least=1, at_most=64)
    """Processes that train together, one a GPU of the worker's machine."""

    def __post_init__(self) -> None:
        _refuse_impossible_sharding("settings.training", self.training, self.processes)


@dataclass(frozen=True, slots=True, kw_only=True)
class PpoEvaluation(EvaluationSettings):
    """The same, beside what the reward model gives without any training of the policy."""

    best_of: int | None = setting(4, at_least=2, at_most=64)
    """Best-of-n sampling from the model before training is measured beside the candidate, with this n; see
    `training.engine.best_of`. None: it is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PpoRecipe:
    """Reinforcement learning from a reward model that is trained on the round's consensus."""

    annotation: AnnotationSettings = AnnotationSettings()
    dataset: DatasetSettings = DatasetSettings()
    reward: RewardMethod = RewardMethod()  # noqa: RUF009 - frozen, so it may be shared
    """How the reward model is trained. One that an earlier round trained alike, on the same dataset and model and with
    the same `seed` of the round, is taken over."""
    reward_models: int = setting(1, at_least=1, at_most=8)
    """Reward models, each of a seed of its own, that score together: see `ensemble_penalty` of `training`."""
    watch: bool = setting(False)
    """Whether one more is trained, which the policy does not learn from: where its opinion falls while the reward
    rises, the policy exploits the reward model, and the run says so. An oracle that judges the round watches in any
    case."""
    training: PpoMethod = PpoMethod()  # noqa: RUF009 - frozen, so it may be shared
    """How the policy learns, on all prompts of the training split that are in use."""
    evaluation: PpoEvaluation = PpoEvaluation()
    processes: int = setting(1, at_least=1, at_most=64)
    """Processes that train together, one a GPU of the worker's machine."""

    def __post_init__(self) -> None:
        _refuse_impossible_sharding("settings.reward", self.reward, self.processes)
        # What the engine would refuse of the policy's run, when people have ranked and the reward model is trained.
        policy, whole = self.training, self.reward.parameters.kind == "full"
        if policy.value == "head" and whole:
            raise Refused(
                "`settings.training.value` head is a head on a reward model's adapter: set "
                "`settings.reward.parameters.kind` to lora or qlora, or `settings.training.value` to adapter."
            )
        if policy.algorithm != "ppo" and policy.parameters.kind == "full" and not whole:
            raise Refused(
                f"`settings.training.algorithm` {policy.algorithm} that trains every weight takes whole reward models: "
                "set `settings.reward.parameters.kind` to full as well, or `settings.training.parameters.kind` to lora."
            )
        if policy.algorithm != "ppo" and policy.batch_size % self.processes:
            raise Refused(
                f"`settings.training.batch_size` {policy.batch_size} must be a multiple of `settings.processes` "
                f"{self.processes}."
            )


@dataclass(frozen=True, slots=True)
class Recipe:
    """A way to train: the kind of the run that makes the candidate, its settings' form, and what people read about
    it."""

    kind: str
    title: str
    settings: type
    methods: Mapping[str, type]
    """The parts of the settings that a run is told as its method."""
    teaches: Callable[[Ranking], bool]
    """Whether there is anything to learn from a ranking."""
    lack: str
    """What the rankings do where none of them teaches anything."""


RECIPES = {
    "dpo": Recipe(
        kind="dpo",
        title="Direct preference optimization",
        settings=DpoRecipe,
        methods={"training": DpoMethod},
        teaches=lambda ranking: bool(comparisons(ranking)),
        lack="prefer no response to another",
    ),
    "sft": Recipe(
        kind="sft",
        title="Instruction tuning",
        settings=SftRecipe,
        methods={"training": SftMethod},
        teaches=lambda ranking: bool(imitated(ranking)),
        lack="have no best response to imitate",
    ),
    "ppo": Recipe(
        kind="ppo",
        title="Reinforcement learning from a reward model",
        settings=PpoRecipe,
        methods={"reward": RewardMethod, "training": PpoMethod},
        teaches=lambda ranking: bool(comparisons(ranking)),
        lack="prefer no response to another",
    ),
}

SMALL_MODEL_TRAINING: dict[str, Any] = {"batch_size": 4, "learning_rate": 1e-3}
"""What moved a model of 135 million parameters with a hundred rankings in rehearsals: few steps, so small ones at a
high rate. Other rates and steps were not compared side by side."""


def suggested_training(version: ModelVersion | None) -> dict[str, Any]:
    """Return the training settings to suggest for a model version that differ from its method's defaults: a model in an
    installed package is a small one, to try Rankloop with."""
    while version is not None and version.parent is not None:
        version = version.parent
    small = version is not None and version.location.startswith("package:")
    return dict(SMALL_MODEL_TRAINING) if small else {}


# The model learns under the system prompt and the context that it is sampled with, so these come from the source that
# samples it. Its few-shot examples stay out of training: they would lengthen every sequence by all of them, and what
# they show, the preferred responses teach. The evaluation, and the candidate's own source, decode with them all the
# same: a candidate is measured as it will be used, against what is in use now. Whether the model has outgrown its
# examples is measured by giving it a source without them.
#
# A policy that learns by answering, answers at the length that it is sampled with. An oracle is code that workers run,
# so it is named in one place, where only an administrator may.
_SOURCE = "the source that samples the model; set it there"
FOLLOWS = {
    "system_prompt": _SOURCE,
    "give_context": _SOURCE,
    "max_tokens": _SOURCE,
    "watch_oracle": "the oracle that judges the round; name it there",
}
"""Settings of a method that are no part of a recipe, and what they follow from."""


def check_recipe(recipe: str, settings: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a recipe's settings complete with their defaults, as JSON takes them.

    Args:
        recipe: a key of `RECIPES`.
        settings: ``{"annotation": {…}, "dataset": {…}, "training": {…}, "evaluation": {…}, "processes": 1}``, for ppo
            also ``"reward"``, ``"reward_models"`` and ``"watch"``; each part as far as it differs from its defaults.
            What follows from elsewhere is no part of it: see `FOLLOWS`.

    Raises:
        Refusal: the recipe or a setting is unknown, of the wrong type or out of range; the sentence names it.
    """
    if recipe not in RECIPES:
        raise Refusal(
            "invalid", f"The recipe must be one of {', '.join(RECIPES)}, not {recipe!r:.80}.", field="recipe"
        )
    given = settings or {}
    chosen = RECIPES[recipe]
    if isinstance(given, dict):
        for part, method in chosen.methods.items():
            _check_method(method, given.get(part, {}), f"settings.{part}")
    try:
        complete = dataclasses.asdict(check_settings(chosen.settings, given, "settings"))
    except Refused as refused:
        raise refusal_of(refused, method="settings.training") from refused
    for part in chosen.methods:
        complete[part] = {name: value for name, value in complete[part].items() if name not in FOLLOWS}
    return complete


def _check_method(method: type, given: Any, where: str) -> None:
    names = {field.name for field in dataclasses.fields(method)}
    for name, whence in FOLLOWS.items():
        if name in names and isinstance(given, dict) and name in given:
            raise Refusal("invalid", f"`{where}.{name}` follows from {whence}.", field=f"{where}.{name}")
    try:
        check_settings(method, given, where)
    except Refused as refused:
        raise refusal_of(refused, method=where) from refused
