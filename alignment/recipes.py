"""What a round may be told: recipes, their settings, and where each default comes from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from alignment.datasets import ConsensusSettings
from alignment.models import ModelVersion
from alignment.settings_refusals import refusal_of
from annotation.refusals import Refusal
from training.engine.methods import DpoMethod, SftMethod
from training.engine.records import Ranking, best_response, comparisons
from training.engine.refusal import Refused
from training.engine.settings import check_settings, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSettings(ConsensusSettings):
    """What a round's dataset is made of, and how its consensus is found."""

    batches: Literal["round", "all"] = setting("round")
    """round: the round's own rankings, drawn from the model that is trained; all: those of every closed
    batch of the project."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSettings:
    """How a candidate is measured against the model version it was made of."""

    prompts: int | None = setting(None, at_least=1)
    """How many held-out prompts; none: all of them."""
    responses: int = setting(4, at_least=1, at_most=16)
    """Responses a prompt of each model where an oracle judges; people compare one of each."""
    overlap: int | None = setting(None, at_least=1, at_most=100)
    """How many people compare each pair; none: as many as rank the round's tasks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SftRecipe:
    """Instruction tuning: imitate the best response of each ranking."""

    dataset: DatasetSettings = DatasetSettings()
    training: SftMethod = SftMethod()  # noqa: RUF009 - frozen, so it may be shared
    evaluation: EvaluationSettings = EvaluationSettings()
    processes: int = setting(1, at_least=1, at_most=64)
    """Processes that train together, one a GPU of the worker's machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DpoRecipe:
    """Direct preference optimization on the round's consensus."""

    dataset: DatasetSettings = DatasetSettings()
    training: DpoMethod = DpoMethod()  # noqa: RUF009 - frozen, so it may be shared
    evaluation: EvaluationSettings = EvaluationSettings()
    processes: int = setting(1, at_least=1, at_most=64)
    """Processes that train together, one a GPU of the worker's machine."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A way to train: the run's kind, its settings' form, and what people read about it."""

    kind: str
    title: str
    settings: type
    teaches: Callable[[Ranking], bool]
    """Whether there is anything to learn from a ranking."""
    lack: str
    """What the rankings do where none of them teaches anything."""


RECIPES = {
    "dpo": Recipe(
        kind="dpo",
        title="Direct preference optimization",
        settings=DpoRecipe,
        teaches=lambda ranking: bool(comparisons(ranking)),
        lack="prefer no response to another",
    ),
    "sft": Recipe(
        kind="sft",
        title="Instruction tuning",
        settings=SftRecipe,
        teaches=lambda ranking: best_response(ranking) is not None,
        lack="have no best response to imitate",
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
FROM_THE_SOURCE = ("system_prompt", "give_context")


def check_recipe(recipe: str, settings: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a recipe's settings complete with their defaults, as JSON takes them.

    Args:
        recipe: a key of `RECIPES`.
        settings: ``{"dataset": {…}, "training": {…}, "evaluation": {…}, "processes": 1}``, each part as far as it
            differs from its defaults. How prompts are rendered is no part of it: see `FROM_THE_SOURCE`.

    Raises:
        Refusal: the recipe or a setting is unknown, of the wrong type or out of range; the sentence names it.
    """
    if recipe not in RECIPES:
        raise Refusal(
            "invalid", f"The recipe must be one of {', '.join(RECIPES)}, not {recipe!r:.80}.", field="recipe"
        )
    given = settings or {}
    training = given.get("training") if isinstance(given, dict) else None
    for name in FROM_THE_SOURCE:
        if isinstance(training, dict) and name in training:
            raise Refusal(
                "invalid",
                f"`settings.training.{name}` follows from the source that samples the model; set it there.",
                field=f"settings.training.{name}",
            )
    try:
        complete = dataclasses.asdict(check_settings(RECIPES[recipe].settings, given, "settings"))
    except Refused as refused:
        raise refusal_of(refused, method="settings.training") from refused
    for name in FROM_THE_SOURCE:
        del complete["training"][name]
    return complete
