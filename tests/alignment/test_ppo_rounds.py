"""Rounds of the recipe ppo: a reward model first, a policy that learns from it, and best-of-n beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from alignment.judgements import Rate
from alignment.model_versions import model_of
from alignment.models import ModelVersion, Round, RoundRun
from alignment.recipes import check_recipe
from alignment.rounds import cancel_round, close_annotation, reject, retry_round, start_round
from alignment.scorecards import baseline_of
from alignment.simulated_annotators import Habits, hire, work_off
from annotation.models import Project, Prompt, Source, User
from annotation.refusals import Refusal
from annotation.retiring import retire_prompt
from tests.alignment.conftest import advanced, bring_to, finish, finish_evaluation, rank_all, waiting
from training.launching import run_folder
from training.models import Run

State = Round.State
pytestmark = pytest.mark.django_db
VADER = "training.engine.oracles:vader"


@pytest.fixture
def start(project: Project, source: Source) -> Any:
    def start(**changes: Any) -> Round:
        return start_round(
            **{"project": project, "recipe": "ppo", "tasks": 12, "overlap": 1, "seed": 3, **changes}
        )

    return start


def reward_models(round: Round) -> None:
    """Let the round's reward runs succeed."""
    for run in waiting(round):
        assert run.kind == Run.Kind.REWARD
        finish(run, {"adapter": {"of": str(run.pk)}})


def adapter(run: Run) -> str:
    return str(run_folder(run) / "adapter")


def test_a_round_trains_a_reward_model_then_a_policy_on_it_then_measures_best_of_n_beside_it(
    start: Any, project: Project, home: Path
) -> None:
    settings = {
        "reward": {"epochs": 2.0},
        "training": {"episodes": 64, "kl_coefficient": 0.1},
        "evaluation": {"best_of": 8},
        "processes": 2,
    }
    round = bring_to(start(settings=settings, judge="oracle", oracle=VADER), State.REWARDING)
    (reward,) = waiting(round)
    assert reward.kind == Run.Kind.REWARD and reward.spec["data"]["train"].endswith("train.parquet")
    assert round.dataset.sha256 in reward.spec["data"]["train"]
    assert (reward.spec["method"]["epochs"], reward.spec["processes"]) == (2.0, 2)
    assert reward.spec["model"] == model_of(round.start_from)

    reward_models(round)
    assert advanced(round).state == State.TRAINING and not round.reason
    (policy,) = waiting(round)
    assert policy.kind == Run.Kind.PPO
    assert policy.spec["model"] == reward.spec["model"], "the very base that the adapter was trained on"
    assert (policy.spec["data"]["rewards"], policy.spec["data"]["watch"]) == ([adapter(reward)], None)
    method = policy.spec["method"]
    assert (method["episodes"], method["kl_coefficient"], method["max_tokens"]) == (64, 0.1, 64)
    assert method["watch_oracle"] == VADER and policy.spec["processes"] == 2

    finish(policy, {"adapter": {}})
    assert advanced(round).state == State.EVALUATING
    assert (round.candidate.name, round.candidate.run) == ("ppo-round-1", policy)
    (evaluation,) = waiting(round)
    assert evaluation.spec["method"]["rewards"] == [adapter(reward)]
    assert evaluation.spec["method"]["best_of"] == 8
    best = {"n": 8, "win_rate": 0.6, "win_rate_low": 0.5, "win_rate_high": 0.7}
    finish_evaluation(round, win_rate=0.7, win_rate_low=0.6, win_rate_high=0.8, best_of=best)
    assert advanced(round).state == State.DECIDING
    assert round.scorecard.figures["best_of"] == best


def to_judging(round: Round, text: Any = None) -> Round:
    """Bring a round that people judge to its comparison, with best-of-n drawn."""
    bring_to(round, State.EVALUATING)
    drawn = {"mean_length_tokens": 5.0, "ended_share": 1.0, "oracle_mean": None, "kl_bound": 0.64}
    finish_evaluation(round, text, best_of={"n": 4, **drawn})
    return advanced(round)


def test_people_compare_best_of_n_blind_with_new_and_old(start: Any, project: Project) -> None:
    round = to_judging(start())
    assert round.state == State.JUDGING
    held_out = project.prompts.filter(split=Prompt.Split.HELD_OUT).count()
    batch = round.evaluation_batch
    assert [task.responses.count() for task in batch.tasks.all()] == [3] * held_out
    order = ["old", "best_of", "new"]
    annotators = hire(project, 3, seed=0)
    for annotator in annotators:
        annotator.habits = Habits(noise=0, primacy=0, tie_width=0, slips=0)
    list(work_off(batch, annotators, lambda prompt, text: float(order.index(text.split()[1]))))
    assert advanced(round).state == State.DECIDING
    card, best = round.scorecard, baseline_of(round.scorecard)
    assert card.judge == "people" and card.win_rate == 1 and card.figures["judged_prompts"] == held_out
    assert best.against_old.win_rate == best.new_against.win_rate == 1
    assert best.new_against.win_rate_low <= best.new_against.win_rate <= best.new_against.win_rate_high
    assert card.figures["best_of"]["pairs"] == held_out


def test_best_of_n_that_says_what_a_model_says_ties_with_it(start: Any, project: Project) -> None:
    round = to_judging(
        start(), lambda model, prompt: f"a {'old' if model == 'best_of' else model} one to {prompt}"
    )
    assert {task.responses.count() for task in round.evaluation_batch.tasks.all()} == {2}
    rank_all(round.evaluation_batch, oracle=lambda prompt, text: 100.0 * ("new" in text))
    advanced(round)
    card, best = round.scorecard, baseline_of(round.scorecard)
    assert best.against_old.win_rate == 0.5 and best.new_against.win_rate == card.win_rate > 0.9


def test_best_of_n_without_a_judge_has_no_win_rate(start: Any, manager: User) -> None:
    round = to_judging(start())
    close_annotation(round=round, by=manager)
    advanced(round)
    best = baseline_of(round.scorecard)
    assert best.n == 4 and best.against_old == best.new_against == Rate(None, None, None)


def test_the_policy_learns_on_all_training_prompts_in_use_and_on_no_held_out_one(
    start: Any, project: Project
) -> None:
    retired = project.prompts.filter(split=Prompt.Split.TRAIN).first()
    retire_prompt(retired)
    round = bring_to(start(), State.REWARDING)
    reward_models(round)
    advanced(round)
    (policy,) = waiting(round)
    told = {line.split('"')[3] for line in Path(policy.spec["data"]["prompts"]).read_text().splitlines()}
    training = project.prompts.filter(split=Prompt.Split.TRAIN).exclude(pk=retired.pk)
    assert told == {str(pk) for pk in training.values_list("pk", flat=True)} and len(told) > 12


def test_no_baseline_is_measured_where_the_settings_want_none(start: Any) -> None:
    round = bring_to(start(settings={"evaluation": {"best_of": None}}), State.REWARDING)
    reward_models(round)
    advanced(round)
    finish(waiting(round)[0], {"adapter": {}})
    advanced(round)
    (evaluation,) = waiting(round)
    assert not {"rewards", "best_of"} & set(evaluation.spec["method"])


def test_an_ensemble_and_a_watch_are_runs_of_their_own_seeds(start: Any) -> None:
    round = bring_to(start(settings={"reward_models": 2, "watch": True}), State.REWARDING)
    runs = waiting(round)
    assert len(runs) == 3 and len({run.spec["seed"] for run in runs}) == 3
    for run in runs[:2]:
        finish(run, {"adapter": {}})
        assert advanced(round).state == State.REWARDING, "it waits for all of them"
    finish(runs[2], {"adapter": {}})
    assert advanced(round).state == State.TRAINING
    data = waiting(round)[0].spec["data"]
    assert (data["rewards"], data["watch"]) == ([adapter(runs[0]), adapter(runs[1])], adapter(runs[2]))


@pytest.fixture
def second(start: Any, manager: User, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Carries a first round to its end, and a second one, with some changes, on the same dataset past its building."""

    def carry_on(gone: bool = False, **changes: Any) -> tuple[Round, Round]:
        by_oracle = {"judge": "oracle", "oracle": VADER}
        first = bring_to(start(**by_oracle), State.DECIDING)
        reject(round=first, by=manager)
        if gone:
            (run_folder(first.round_runs.get(step=State.REWARDING).run) / "adapter").unlink()
        monkeypatch.setattr("alignment.round_steps.build_dataset", lambda **settings: first.dataset)
        second = bring_to(start(**by_oracle, **changes), State.ANNOTATING)
        rank_all(second.batch)
        return first, advanced(second)

    return carry_on


def test_a_reward_model_of_the_same_dataset_model_and_settings_is_taken_over(second: Any) -> None:
    first, round = second()
    reward = first.round_runs.get(step=State.REWARDING).run
    assert round.state == State.TRAINING and "is an earlier round's" in round.reason
    link = round.round_runs.get(step=State.REWARDING)
    assert (link.run, link.taken_over) == (reward, True)
    assert Run.objects.filter(kind=Run.Kind.REWARD).count() == 1
    assert waiting(round)[0].spec["data"]["rewards"] == [adapter(reward)]


@pytest.mark.parametrize(
    "changes",
    [{"settings": {"reward": {"epochs": 2.0}}}, {"settings": {"processes": 2}}, {"seed": 4}, {"gone": True}],
    ids=str,
)
def test_a_reward_model_that_would_differ_or_is_gone_is_trained_anew(
    second: Any, changes: dict[str, Any]
) -> None:
    _, round = second(**changes)
    assert round.state == State.REWARDING
    assert [run.kind for run in waiting(round)] == [Run.Kind.REWARD]
    assert not round.round_runs.filter(taken_over=True).exists()


def test_a_reward_model_on_another_model_is_trained_anew(second: Any, project: Project) -> None:
    base = {"form": ModelVersion.Form.BASE, "location": "org/other"}
    other = ModelVersion.objects.create(project=project, name="other", **base)
    _, round = second(start_from=other)
    assert round.state == State.REWARDING


def test_a_failed_reward_run_fails_the_round_and_a_retry_asks_for_that_one_anew(
    start: Any, manager: User
) -> None:
    round = bring_to(start(settings={"watch": True}), State.REWARDING)
    one, other = waiting(round)
    finish(one, {"adapter": {}})
    finish(other, state="failed", reason="No memory.")
    assert advanced(round).state == State.FAILED
    assert round.failed_in == State.REWARDING and "The reward run failed: No memory." in round.reason
    retry_round(round=round, by=manager)
    (anew,) = waiting(round)
    assert (anew.round_runs.get().number, anew.round_runs.get().attempt) == (1, 2)
    finish(anew, {"adapter": {}})
    assert advanced(round).state == State.TRAINING
    data = waiting(round)[0].spec["data"]
    assert (data["rewards"], data["watch"]) == ([adapter(one)], adapter(anew))


def test_cancelling_ends_the_reward_run(start: Any, manager: User) -> None:
    round = bring_to(start(), State.REWARDING)
    (run,) = waiting(round)
    cancel_round(round=round, by=manager)
    run.refresh_from_db()
    assert run.state == Run.State.CANCELLED


def test_a_run_is_asked_for_by_one_round_only(start: Any, manager: User) -> None:
    round = bring_to(start(), State.REWARDING)
    (run,) = waiting(round)
    with pytest.raises(IntegrityError), transaction.atomic():
        RoundRun.objects.create(round=round, run=run, step=State.REWARDING, number=1)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"training": {"watch_oracle": VADER}}, "`settings.training.watch_oracle` follows from the oracle"),
        ({"training": {"max_tokens": 9}}, "`settings.training.max_tokens` follows from the source"),
        ({"reward": {"system_prompt": "x"}}, "`settings.reward.system_prompt` follows from the source"),
        (
            {"reward": {"objective": "plackett_luce", "soft_labels": True}},
            "`settings.reward.objective` plackett_luce",
        ),
        ({"training": {"algorithm": "rloo"}}, "`settings.training.algorithm` rloo compares"),
        ({"training": {"beta": 0.1}}, "settings.training.beta"),
        (
            {"training": {"value": "head"}, "reward": {"parameters": {"kind": "full"}}},
            "reward model's adapter",
        ),
        (
            {"training": {"algorithm": "grpo", "samples": 2, "parameters": {"kind": "full"}}},
            "takes whole reward models",
        ),
        (
            {"training": {"algorithm": "grpo", "samples": 2}, "processes": 3},
            "multiple of `settings.processes`",
        ),
        ({"reward": 5}, "`settings.reward` must be an object"),
        ({"evaluation": {"best_of": 1}}, "settings.evaluation.best_of"),
        ({"reward_models": 0}, "settings.reward_models"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_before_anybody_ranks(given: dict[str, Any], named: str) -> None:
    with pytest.raises(Refusal) as refused:
        check_recipe("ppo", given)
    assert named in refused.value.sentence


@pytest.mark.parametrize("algorithm", ["rloo", "grpo"])
def test_a_policy_without_a_value_function_is_a_setting_of_the_recipe(start: Any, algorithm: str) -> None:
    settings = {"training": {"algorithm": algorithm, "samples": 4, "batch_size": 8}}
    round = bring_to(start(settings=settings), State.REWARDING)
    reward_models(round)
    advanced(round)
    (policy,) = waiting(round)
    assert policy.kind == Run.Kind.PPO
    assert (policy.spec["method"]["algorithm"], policy.spec["method"]["samples"]) == (algorithm, 4)
