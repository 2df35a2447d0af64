"""Input that no person types: every page answers with a sentence, and nothing is changed.

NUL characters and lone surrogates, which text columns refuse; numbers beyond every column and every float; JSON
nested more deeply than a program calls itself; texts longer than any field.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from django.apps import apps
from django.forms import Form
from django.test import Client
from django.urls import URLPattern, reverse

from alignment.datasets import build_dataset
from alignment.judges.making import check_judge_settings
from alignment.judges.models import Judge
from alignment.model_versions import register_base
from alignment.rounds import advance_round, start_round
from alignment.sources import create_model_source
from alignment.webhooks import create_webhook
from alignment.withdrawing import withdraw
from annotation.answer_columns import read_answers
from annotation.assigning import next_assignment
from annotation.intake.jobs import draft_import
from annotation.models import Assignment, Batch, Project, Ranking, User
from annotation.quality import annotator_figures, batches_of
from annotation.submitting import submit
from frontend import urls

pytestmark = pytest.mark.django_db

AsRole = Callable[[str], Client]
Compose = Callable[..., Batch]

DEEP = "[" * 5_000
TEXTS = {
    "nul in words": "green\x00tea",
    "beyond 64 bits": "99999999999999999999",
    "beyond a float": "1" + "0" * 400,
    "beyond what int reads": "9" * 5_000,
    "infinite": "1e999",
    "deep": DEEP,
    "json nul": '[{"prompt": [{"role": "user", "content": "\\u0000"}], "response": "\\u0000"}]',
    "json surrogate": '[{"prompt": [{"role": "user", "content": "\\ud800"}], "response": "\\ud800"}]',
    "json infinity": '[{"prompt": [{"role": "user", "content": "x"}], "response": 1e999}]',
    "long": "x" * 100_000,
}
# What stands in an address when it is not even text.
BYTES = {"half a surrogate pair": "%ED%A0%80"}
QUERY = (
    "q",
    "page",
    "from",
    "state",
    "split",
    "reason",
    "with",
    "batch",
    "since",
    "language",
    "tag",
    "judges",
)


@pytest.fixture
def client(as_role: AsRole, people: dict[str, User]) -> Client:
    """A superuser's, who has every field of every form; a fault comes as the answer 500."""
    User.objects.filter(pk=people["manager"].pk).update(is_superuser=True, is_staff=True)
    client = as_role("manager")
    client.raise_request_exception = False
    return client


@pytest.fixture
def addresses(project: Project, people: dict[str, User], compose: Compose) -> dict[str, str]:
    """One address of every page, of a project that has something of everything."""
    Project.objects.filter(pk=project.pk).update(held_out_share=0)  # so that there is something to train on
    project.refresh_from_db()
    batch = compose(3)
    ranked = next_assignment(annotator=people["manager"], project=project)
    answer = {"lease": ranked.lease, "key": uuid.uuid4(), "tiers": [[0], [1, 2, 3]]}
    submit(annotator=people["manager"], assignment_id=ranked.pk, **answer)
    held = next_assignment(annotator=people["manager"], project=project)
    webhook = create_webhook(
        project=project, name="builds", url="https://hooks.invalid/", events=["dataset.frozen"]
    )
    dataset = build_dataset(project=project, batches=[batch])
    spare = project.prompts.exclude(tasks__rankings__isnull=False).first()
    withdrawal = withdraw(project=project, prompt=spare).withdrawal
    version = register_base(project=project, name="small", location="org/small")
    create_model_source(project=project, name="small, warm", model_version=version)
    round = start_round(project=project, created_by=people["manager"])
    advance_round(round.pk)
    run = round.round_runs.first().run
    draft, _ = draft_import(
        project=project,
        created_by=people["manager"],
        pieces=[b"question,left,right\nWhy?,a,b\n"],
        file_name="x.csv",
    )
    judge = Judge.objects.create(
        project=project,
        name="big",
        kind="endpoint",
        endpoint_url="http://localhost:8000/v1",
        endpoint_model="big",
        settings=check_judge_settings(None),
    )
    named = {
        "user_id": people["annotator"].pk,
        "prompt_id": project.prompts.first().pk,
        "source_id": project.sources.first().pk,
        "batch_id": batch.pk,
        "task_id": ranked.task_id,
        "what": "annotators",
        "version": dataset.version,
        "withdrawal_id": withdrawal.pk,
        "version_id": version.pk,
        "number": round.number,
        "run_id": run.pk,
        "place_id": held.public_id,
        "webhook_id": webhook.pk,
        "delivery_id": webhook.deliveries.get().pk,
        "judge_id": judge.pk,
        "ending": "csv",
        "import_id": draft.pk,
        "change": "pause",
        "action": "retry",
    }
    own = {
        "rank_change": {"place_id": ranked.public_id},
        "rank_change_in_place": {"place_id": ranked.public_id},
        "rank_amend": {"place_id": ranked.public_id},
        "change_model_version": {"change": "archive"},
        "change_judge": {"change": "archive"},
    }

    def address(page: URLPattern) -> str:
        names = [*page.pattern.converters, *page.pattern.regex.groupindex]
        given = {name: named[name] for name in names} | own.get(page.name, {})
        return reverse(page.name, kwargs={"slug": project.slug, **given})

    found = {page.name: address(page) for page in urls.PROJECT_PAGES}
    return found | {name: reverse(name) for name in ("home", "new_project", "tokens", "account_login")}


PROJECT_PAGES = [page.name for page in urls.PROJECT_PAGES]
READ = [*PROJECT_PAGES, "home", "new_project", "tokens", "account_login"]
FORMS = (
    "project_settings",
    "members",
    "upload_prompts",
    "new_source",
    "new_endpoint_source",
    "new_import_source",
    "source",
    "new_import",
    "import",
    "new_batch",
    "new_dataset",
    "withdraw_prompt",
    "dataset_hub",
    "new_model",
    "new_round",
    "webhooks",
    "webhook",
    "new_judge",
    "judge",
    "new_project",
    "tokens",
)
ANSWERS = ("rank_submit", "rank_skip", "rank_renew", "rank_give_back", "rank_amend")


def rows() -> dict[str, int]:
    """How much there is of everything that people make."""
    return {
        model.__name__: model.objects.count()
        for room in ("annotation", "alignment", "training")
        for model in apps.get_app_config(room).get_models()
    }


@pytest.mark.parametrize("page", READ)
def test_no_query_breaks_a_page(page: str, addresses: dict[str, str], client: Client) -> None:
    before = rows()
    hostile = {name: quote(text) for name, text in TEXTS.items() if not name.startswith("json")} | BYTES
    for parameter in QUERY:
        for what, value in hostile.items():
            answer = client.get(f"{addresses[page]}?{parameter}={value}")
            assert answer.status_code < 500, (parameter, what)
    assert rows() == before


@pytest.mark.parametrize("page", FORMS)
def test_no_field_breaks_a_form(page: str, addresses: dict[str, str], client: Client) -> None:
    form: Form = client.get(addresses[page]).context["form"]
    if form is None:
        pytest.fail(f"{page} has no form")
    sound = {name: _given(form, name) for name in form.fields}
    before = rows()
    for field in form.fields:
        for what, value in TEXTS.items():
            answer = client.post(addresses[page], {**sound, field: value})
            assert answer.status_code < 500, (field, what)
            if answer.status_code == 302:
                before = rows()
        assert rows() == before, field
    assert client.get(addresses[page], follow=True).status_code == 200


def _given(form: Form, name: str) -> Any:
    """What a browser sends of a field that nobody touched, and something where it is empty."""
    value = form[name].value()
    if getattr(form.fields[name], "queryset", None) is not None and not value:
        value = [each.pk for each in form.fields[name].queryset[:1]]
    elif hasattr(value, "__iter__") and not isinstance(value, str):
        value = [getattr(each, "pk", each) for each in value] or json.dumps(value)
    return value.pk if hasattr(value, "pk") else uuid.uuid4().hex[:8] if value in (None, "") else value


LONE = "\\ud800"
ODD = (
    '"\\u0000"',
    f'"{LONE}"',
    f'{{"{LONE}": 1}}',
    "1" + "0" * 400,
    "-1" + "0" * 400,
    "9" * 5_000,
    "1e999",
    "-1e999",
    "NaN",
    "1e308",
    "[" * 200_000,
    "[" * 900 + "]" * 900,
    f'"{"x" * 100_000}"',
    "[[1e999]]",
    "[[99999999999999999999]]",
    "[[0], [{}]]",
    '{"charm": {"0": 1}}',
    "true",
    "null",
)


@pytest.mark.parametrize("page", ANSWERS)
def test_no_answer_breaks_the_ranking_page(page: str, addresses: dict[str, str], client: Client) -> None:
    held = Assignment.objects.filter(state=Assignment.State.LEASED).get()
    sound = {
        "lease": json.dumps(str(held.lease)),
        "key": json.dumps(str(uuid.uuid4())),
        "tiers": "[[0], [1, 2, 3]]",
        "ratings": "{}",
        "rationale": '""',
        "seconds": "3",
        "reason": '""',
    }
    for field in sound:
        for value in ODD:
            said = {**sound, field: value}
            body = "{" + ", ".join(f'"{name}": {text}' for name, text in said.items()) + "}"
            answer = client.post(addresses[page], body, content_type="application/json")
            assert answer.status_code < 500, (field, value[:40])
            if answer.status_code != 200:
                assert answer.json()["sentence"].endswith("."), (field, value[:40])
    for body in ("[" * 200_000, LONE, f'"{LONE}"', "9" * 5_000, '{"lease": 1' + "0" * 400 + "}"):
        # A skip that was taken above is not refused for coming again, whatever lease it names.
        taken = {200} if page == "rank_skip" and body.startswith("{") else set()
        answer = client.post(addresses[page], body, content_type="application/json")
        assert answer.status_code in {409, 422} | taken


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"seconds": 10**400}, "seconds"),
        ({"seconds": 1e300}, "seconds"),
        ({"rationale": "\ud800"}, "rationale"),
        ({"rationale": "\x00"}, "rationale"),
    ],
)
def test_what_cannot_be_kept_of_an_answer_is_named_and_the_task_stays_theirs(
    said: dict[str, Any], field: str, addresses: dict[str, str], client: Client, project: Project
) -> None:
    held = Assignment.objects.filter(state=Assignment.State.LEASED).get()
    answer = {"lease": str(held.lease), "key": str(uuid.uuid4()), "tiers": [[0], [1, 2, 3]], **said}

    response = client.post(addresses["rank_submit"], json.dumps(answer), content_type="application/json")

    assert response.status_code == 422
    assert field in response.json()["sentence"].lower()
    held.refresh_from_db()
    assert held.state == Assignment.State.LEASED
    assert not Ranking.objects.filter(assignment=held).exists()
    assert annotator_figures(read_answers(batches_of(held.batch)))


@pytest.mark.parametrize(
    ("page", "query", "status", "sentence"),
    [
        ("prompts", "q=%00", 400, "holds a NUL character"),
        (
            "dataset",
            "from=99999999999999999999",
            200,
            "This split has no tasks from 99999999999999999999 on: it has 1.",
        ),
    ],
)
def test_a_query_that_finds_nothing_is_told_in_a_sentence(
    page: str, query: str, status: int, sentence: str, addresses: dict[str, str], client: Client
) -> None:
    answer = client.get(f"{addresses[page]}?{query}")

    assert answer.status_code == status
    assert sentence in answer.content.decode()


def test_a_cookie_cannot_break_a_page(client: Client, addresses: dict[str, str]) -> None:
    anonymous = Client(
        raise_request_exception=False, headers={"Cookie": 'sessionid="abcdefgh\\000"; theme="\\000"'}
    )

    assert anonymous.get(addresses["home"]).status_code < 500


@pytest.mark.parametrize("number", ["9" * 30, "9" * 5_000])
@pytest.mark.parametrize(
    "page", ["members/{}/role/", "prompts/{}/", "imports/{}/", "imports/{}/start/", "sources/{}/", "batches/{}/",
             "batches/{}/close/", "datasets/{}/", "datasets/{}/download/", "judges/{}/", "models/{}/", "rounds/{}/",
             "rounds/{}/live/", "rounds/{}/retry/", "rank/{}/submit/", "rank/{}/skip/", "rank/{}/renew/",
             "rank/{}/give-back/", "history/{}/", "history/{}/in-place/", "history/{}/amend/"]
)  # fmt: skip
def test_a_number_in_an_address_that_names_nothing_is_not_found(
    page: str, number: str, project: Project, client: Client
) -> None:
    address = f"/projects/{project.slug}/{page.format(number)}"
    body = {"lease": str(uuid.uuid4()), "key": str(uuid.uuid4()), "tiers": [[0], [1]]}
    answers = [client.get(address), client.post(address, json.dumps(body), content_type="application/json")]
    assert {answer.status_code for answer in answers} <= {404, 405}
    assert 404 in {answer.status_code for answer in answers}
