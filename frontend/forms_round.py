"""The form that starts a round."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from django import forms
from django.db import models

from alignment.archiving import sources_in_use, versions_in_use
from alignment.model_versions import current_version
from alignment.models import ModelVersion, Round
from alignment.recipes import RECIPES, DpoRecipe, PpoRecipe, suggested_training
from alignment.sources import default_sources
from annotation.models import MAX_RESPONSES, MIN_RESPONSES, Project, Source, User
from frontend.forms_annotation import AnnotationFields

DEFAULTS = DpoRecipe()
POLICY_DEFAULTS = PpoRecipe()
TASKS = 40
USUAL_RATE = "Empty: the usual rate, 0.0001 for adapters, and a fifth to a hundredth of it for every weight."
# The part of a recipe's settings that learns from rankings, which most of the form is about.
LEARNS_FROM_RANKINGS = {
    name: "reward" if "reward" in recipe.methods else "training" for name, recipe in RECIPES.items()
}
# What this part may be told.
KNOWN = {
    name: {field.name for field in dataclasses.fields(RECIPES[name].methods[part])}
    for name, part in LEARNS_FROM_RANKINGS.items()
}
# Fields of a policy that learns from a reward model, and its settings' names.
POLICY = {
    "algorithm": "algorithm",
    "episodes": "episodes",
    "rollout": "batch_size",
    "samples": "samples",
    "policy_rate": "learning_rate",
    "kl_coefficient": "kl_coefficient",
}
FOR_POLICIES = {*POLICY, "watch"}


@dataclass(frozen=True, slots=True)
class Group:
    """Settings that belong together, and the recipes that they are for."""

    title: str
    fields: list[forms.BoundField]
    recipes: list[str]


def _sentences(choices: type[models.TextChoices]) -> list[tuple[str, str]]:
    return [(value, label[0].upper() + label[1:]) for value, label in choices.choices]


class RoundForm(AnnotationFields):
    """What a manager says of a round; the recipe's settings are folded away, with the recipe's own defaults."""

    start_from = forms.ModelChoiceField(
        label="Model to improve", queryset=ModelVersion.objects.none(), empty_label=None
    )
    sources = forms.ModelMultipleChoiceField(
        queryset=Source.objects.none(),
        widget=forms.CheckboxSelectMultiple,
        help_text="Their responses are mixed, blind. With the last model and its predecessor, people measure the last "
        "round again while they do this one.",
    )
    tasks = forms.IntegerField(
        min_value=1,
        required=False,
        initial=TASKS,
        help_text="How many prompts. Empty: all.",
    )
    responses_per_task = forms.IntegerField(
        min_value=MIN_RESPONSES,
        max_value=MAX_RESPONSES,
        initial=4,
        help_text=f"{MIN_RESPONSES} to {MAX_RESPONSES}.",
    )
    overlap = forms.IntegerField(
        min_value=1,
        max_value=100,
        initial=3,
        help_text="How many people rank each task.",
    )
    recipe = forms.ChoiceField(
        choices=[(name, recipe.title) for name, recipe in RECIPES.items()],
        help_text="Preference optimization learns from all that a ranking says; instruction tuning imitates its best "
        "response; reinforcement learning trains a reward model first, and then a policy that answers on and on.",
    )
    decision = forms.ChoiceField(
        label="Who decides", choices=_sentences(Round.Decision), initial=Round.Decision.MANAGER
    )
    judge = forms.ChoiceField(
        label="Who compares new with old", choices=_sentences(Round.Judge), initial=Round.Judge.PEOPLE
    )
    oracle = forms.CharField(
        max_length=200,
        required=False,
        help_text="<code>module:function</code>, where an oracle judges. It is code that the workers run.",
    )
    seed = forms.IntegerField(min_value=0, max_value=2**32 - 1, initial=0)

    parameters = forms.ChoiceField(
        label="Trained parameters",
        choices=[
            ("lora", "Adapters (LoRA)"),
            ("qlora", "On 4 bits (QLoRA)"),
            ("full", "Every weight"),
        ],
        initial=DEFAULTS.training.parameters.kind,
        help_text="Adapters need little memory; on a model in 4 bits, least.",
    )
    rank = forms.IntegerField(
        label="Rank of the adapters",
        min_value=1,
        max_value=1024,
        initial=DEFAULTS.training.parameters.rank,
        help_text="Higher can learn more, and takes more memory.",
    )
    processes = forms.IntegerField(
        label="GPUs",
        min_value=1,
        max_value=64,
        initial=DEFAULTS.processes,
        help_text="Of the machine that trains; they share each step.",
    )
    learning_rate = forms.FloatField(
        min_value=0,
        required=False,
        initial=DEFAULTS.training.learning_rate,
        help_text=USUAL_RATE,
    )
    epochs = forms.FloatField(
        min_value=0,
        initial=DEFAULTS.training.epochs,
        help_text="How often it goes through all rankings.",
    )
    batch_size = forms.IntegerField(
        label="Rankings a step",
        min_value=1,
        initial=DEFAULTS.training.batch_size,
        help_text="More make fewer and steadier steps.",
    )
    objective = forms.ChoiceField(
        label="Learn from",
        choices=[
            ("pairs", "Comparisons"),
            ("plackett_luce", "The whole order"),
            ("top_choice", "The best alone"),
        ],
        initial=DEFAULTS.training.objective,
        help_text="The three settings after it are for comparisons only.",
    )
    pairs = forms.ChoiceField(
        label="Comparisons of a ranking",
        choices=[
            ("all", "All in different tiers"),
            ("adjacent", "Neighbouring tiers"),
            ("best_worst", "Best and worst"),
        ],
        initial=DEFAULTS.training.pairs,
        help_text="All cost hardly more than a few.",
    )
    margin_scale = forms.FloatField(
        min_value=0,
        initial=DEFAULTS.training.margin_scale,
        help_text="Above 0: the surer people are, the further a response must lead.",
    )
    soft_labels = forms.BooleanField(
        label="Soft labels",
        required=False,
        initial=DEFAULTS.training.soft_labels,
        help_text="Where people are divided, aim for their odds rather than for certainty.",
    )
    beta = forms.FloatField(
        label="β",
        min_value=0,
        initial=DEFAULTS.training.beta,
        help_text="The pull to the model that training starts from: lower moves further.",
    )
    label_smoothing = forms.FloatField(
        min_value=0,
        max_value=0.499,
        initial=DEFAULTS.training.label_smoothing,
        help_text="The share of comparisons that may be wrong. 0 trusts them all.",
    )
    nll_weight = forms.FloatField(
        label="Weight of imitation",
        min_value=0,
        initial=DEFAULTS.training.nll_weight,
        help_text="Above 0, it also imitates the best response (an NLL term); 0.2 is usual.",
    )
    length_normalised = forms.BooleanField(
        label="Length-normalised",
        required=False,
        initial=DEFAULTS.training.length_normalised,
        help_text="Score by the token, so that length earns nothing. β must then be larger: Tülu 3 takes 5.",
    )
    algorithm = forms.ChoiceField(
        label="Algorithm",
        choices=[("ppo", "PPO"), ("rloo", "RLOO"), ("grpo", "GRPO")],
        initial=POLICY_DEFAULTS.training.algorithm,
        help_text="RLOO and GRPO do without a value function: they compare a prompt's responses, so they need two.",
    )
    episodes = forms.IntegerField(
        min_value=1,
        initial=POLICY_DEFAULTS.training.episodes,
        help_text="Responses that it draws and learns from, in all.",
    )
    rollout = forms.IntegerField(
        label="Responses a rollout",
        min_value=2,
        initial=POLICY_DEFAULTS.training.batch_size,
        help_text="Drawn together, then learned from. A multiple of the responses a prompt.",
    )
    samples = forms.IntegerField(
        label="Responses a prompt",
        min_value=1,
        max_value=64,
        initial=POLICY_DEFAULTS.training.samples,
        help_text="In each rollout.",
    )
    policy_rate = forms.FloatField(
        label="The policy's learning rate",
        min_value=0,
        initial=POLICY_DEFAULTS.training.learning_rate,
        help_text="That under Steps is the reward model's.",
    )
    kl_coefficient = forms.FloatField(
        label="Price of KL",
        min_value=0,
        initial=POLICY_DEFAULTS.training.kl_coefficient,
        help_text="What moving away from the model before costs: higher stays nearer.",
    )
    watch = forms.BooleanField(
        label="Watch for over-optimisation",
        required=False,
        initial=POLICY_DEFAULTS.watch,
        help_text="Trains a second reward model, which tells when the policy exploits the first.",
    )
    patience = forms.IntegerField(
        label="Stop early after",
        min_value=1,
        required=False,
        initial=DEFAULTS.training.patience,
        help_text="So many measurements in a row without a lower held-out loss. Empty: never.",
    )
    layout = forms.ChoiceField(
        label="Layout",
        choices=[
            ("auto", "Automatic"),
            ("tree", "Prompt once"),
            ("separate", "Prompt repeated"),
        ],
        initial=DEFAULTS.training.layout,
        help_text="Of a ranking in memory: it changes the speed alone.",
    )
    keep_best = forms.BooleanField(
        label="Keep the best checkpoint",
        required=False,
        initial=DEFAULTS.training.keep_best,
        help_text="The one with the lowest held-out loss, rather than the last.",
    )

    GROUPS = (
        ("What is trained", ("parameters", "rank", "processes")),
        ("Steps", ("learning_rate", "epochs", "batch_size")),
        ("What a ranking teaches", ("objective", "pairs", "margin_scale", "soft_labels")),
        ("How far the model may move", ("beta", "label_smoothing", "nll_weight", "length_normalised")),
        ("When it ends, and how it runs", ("patience", "layout", "seed", "keep_best")),
        (
            "What the policy learns from the reward model",
            ("algorithm", "episodes", "rollout", "samples", "policy_rate", "kl_coefficient", "watch"),
        ),
    )
    FOR_ADMINISTRATORS = ("judge", "oracle")

    def __init__(self, *args: Any, project: Project, user: User, **kwargs: Any) -> None:
        version = current_version(project)
        preselected = default_sources(project) if version is not None else []
        initial = {
            "start_from": version,
            "sources": preselected,
            **suggested_training(version),
            **kwargs.pop("initial", {}),
        }
        super().__init__(*args, **{**kwargs, "initial": initial})
        self.fields["start_from"].queryset = versions_in_use(project)  # type: ignore[attr-defined]
        self.fields["sources"].queryset = sources_in_use(project)  # type: ignore[attr-defined]
        if rate := suggested_training(version).get("learning_rate"):
            self.fields["learning_rate"].help_text = (
                f"{rate:g} suits the small model that Rankloop brings along: at the usual rate it learns little from "
                f"few rankings. {USUAL_RATE}"
            )
        if not user.is_superuser:
            for name in self.FOR_ADMINISTRATORS:
                del self.fields[name]

    @property
    def advanced(self) -> list[Group]:
        return [
            Group(
                title,
                [self[name] for name in names],
                [recipe for recipe in RECIPES if not self._foreign(recipe) & set(names)],
            )
            for title, names in self.GROUPS
        ]

    @property
    def advanced_is_wrong(self) -> bool:
        return bool(self.non_field_errors()) or any(
            field.errors for group in self.advanced for field in group.fields
        )

    @property
    def fields_of_settings(self) -> dict[str, str]:
        """Fields that go by another name than their setting, by where the recipe has it: `frontend.forms.refuse`."""
        if LEARNS_FROM_RANKINGS.get(self.cleaned_data.get("recipe", "")) != "reward":
            return {}
        return {f"settings.training.{setting}": field for field, setting in POLICY.items()}

    def clean(self) -> dict[str, Any]:
        """What the recipe does not take may hold anything."""
        for name in self._foreign(self.cleaned_data.get("recipe", "")):
            self.errors.pop(name, None)
        return self.cleaned_data

    def arguments(self) -> dict[str, Any]:
        """What `alignment.rounds.start_round` takes; of the recipe's settings, those that it has."""
        given = self.cleaned_data
        names = (
            "start_from",
            "sources",
            "tasks",
            "responses_per_task",
            "overlap",
            "recipe",
            "decision",
            "judge",
            "oracle",
            "seed",
        )
        recipe = given["recipe"]
        parameters = {"kind": given["parameters"], "rank": given["rank"]}
        learns = {name: given[name] for name in KNOWN[recipe] if name in self.fields}
        settings: dict[str, Any] = {
            LEARNS_FROM_RANKINGS[recipe]: learns | {"parameters": parameters},
            "annotation": self.annotation(),
            "processes": given["processes"],
        }
        if recipe == "ppo":
            policy = {setting: given[name] for name, setting in POLICY.items()}
            settings |= {"training": policy | {"parameters": parameters}, "watch": given["watch"]}
        return {name: given[name] for name in names if name in given} | {"settings": settings}

    @staticmethod
    def _foreign(recipe: str) -> set[str]:
        """The fields that other recipes have settings for, and this one has not."""
        every = set().union(*KNOWN.values())
        return (every - KNOWN.get(recipe, every)) | (set() if recipe == "ppo" else FOR_POLICIES)
