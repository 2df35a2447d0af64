"""Who is given what, on the pages: members' standing, batches of known answers, qualification and pauses."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from annotation.assigning import next_assignment
from annotation.gold import set_known_answer
from annotation.models import Assignment, Batch, Membership, Project, Prompt, Ranking, User
from annotation.standing import lift_pause, pause_member, set_limits, set_qualified
from tests.frontend.content import fill_known

AsRole = Callable[[str], Client]
Compose = Callable[..., Batch]


def said(client: Client, address: str) -> str:
    return client.get(address).content.decode()


def submit(client: Client, project: Project, place: Assignment, tiers: list[list[int]] | None) -> Any:
    return client.post(
        f"/projects/{project.slug}/rank/{place.public_id}/submit/",
        json.dumps({"lease": str(place.lease), "key": str(uuid.uuid4()), "tiers": tiers}),
        content_type="application/json",
    )


def held(project: Project, people: dict[str, User]) -> Assignment:
    place = next_assignment(annotator=people["annotator"], project=project)
    assert place is not None
    return place


def test_a_qualification_task_says_what_it_is_and_answers_with_how_it_went(
    project: Project, people: dict[str, User], as_role: AsRole, compose: Compose
) -> None:
    compose()
    fill_known(project, people["manager"])
    client = as_role("annotator")
    assert "Qualify first" in said(client, f"/projects/{project.slug}/")
    page = said(client, f"/projects/{project.slug}/rank/")
    assert "part of your qualification" in page and "data-qualification" in page
    place = held(project, people)
    assert place.task.gold_tiers is not None
    first, second, third = (tier[0] for tier in place.task.gold_tiers)

    told = submit(client, project, place, [[first], [third], [second]]).json()["html"]

    assert "2 of 3 pairs as is known" in told and "task 1 of 2" in told
    assert "two minutes leave them raw" in told
    assert "data-workbench" not in told and "data-look-again" in told
    place = held(project, people)
    ended = submit(client, project, place, place.task.gold_tiers).json()["html"]
    assert "All as is known" in ended and "You are qualified" in ended and "83 %" in ended
    asked = client.post(f"/projects/{project.slug}/rank/next/", "{}", content_type="application/json")
    next_one = asked.json()["html"]
    assert "data-workbench" in next_one and "qualification" not in next_one
    assert "Cooks" not in told + ended


def test_a_qualification_ranking_is_not_changed_in_the_history(
    project: Project, people: dict[str, User], as_role: AsRole
) -> None:
    fill_known(project, people["manager"])
    client, place = as_role("annotator"), held(project, people)
    submit(client, project, place, place.task.gold_tiers)
    assert f"/history/{place.public_id}/" not in said(client, f"/projects/{project.slug}/history/")
    assert client.get(f"/projects/{project.slug}/history/{place.public_id}/").status_code == 302
    assert Ranking.objects.get().revision == 1


def test_a_paused_annotator_is_told_why_and_the_manager_is_told_and_lifts_it(
    project: Project, people: dict[str, User], as_role: AsRole, compose: Compose
) -> None:
    compose()
    pause_member(project=project, user=people["annotator"], reason="Ranks too fast.")
    annotator, manager = as_role("annotator"), as_role("manager")
    members = f"/projects/{project.slug}/members/"
    for address in ("", "rank/"):
        page = said(annotator, f"/projects/{project.slug}/{address}")
        assert "You are paused" in page and "Ranks too fast." in page and "ask a manager" in page
    assert "is paused and gets no tasks" in said(manager, f"/projects/{project.slug}/")
    assert "is paused and gets" not in said(as_role("reviewer"), f"/projects/{project.slug}/")
    assert "Ranks too fast." in said(manager, members)

    lifted = manager.post(f"{members}{people['annotator'].pk}/lift/", follow=True)

    assert "gets tasks again" in lifted.content.decode()
    assert "data-workbench" in said(annotator, f"/projects/{project.slug}/rank/")


def test_since_when_somebody_is_measured_is_apart_from_whether_they_qualified(
    project: Project, people: dict[str, User], as_role: AsRole
) -> None:
    page = f"/projects/{project.slug}/members/{people['annotator'].pk}/"
    assert "Measured since" not in said(as_role("manager"), page)
    pause_member(project=project, user=people["annotator"])
    lift_pause(project=project, user=people["annotator"])
    shown = said(as_role("manager"), page)
    assert "Measured since" in shown and "not asked for" in shown and "Ask to qualify again" not in shown


def test_a_manager_sets_what_a_member_is_given(
    project: Project, people: dict[str, User], as_role: AsRole
) -> None:
    manager, annotator = as_role("manager"), people["annotator"]
    page = f"/projects/{project.slug}/members/{annotator.pk}/"

    saved = manager.post(f"{page}limits/", {"languages": "en, FR ,, ", "tags": "law"}, follow=True)

    member = Membership.objects.get(user=annotator)
    assert "Saved." in saved.content.decode()
    assert (member.languages, member.tags) == (["en", "fr"], ["law"])
    assert 'value="en, fr"' in said(manager, page)
    refused = manager.post(f"{page}limits/", {"languages": "x" * 200, "tags": ""})
    assert refused.status_code == 422 and "1 to 100 characters" in refused.content.decode()
    member.refresh_from_db()
    assert member.languages == ["en", "fr"]


@pytest.mark.parametrize("change", ["pause", "lift", "qualify", "ask"])
def test_only_managers_change_a_members_standing(
    project: Project, people: dict[str, User], as_role: AsRole, change: str
) -> None:
    address = f"/projects/{project.slug}/members/{people['annotator'].pk}/{change}/"
    for role, status in (("annotator", 403), ("reviewer", 403), ("outsider", 404), ("manager", 302)):
        assert as_role(role).post(address).status_code == status
    assert as_role("manager").get(address).status_code == 405
    outsider = f"/projects/{project.slug}/members/{people['outsider'].pk}/{change}/"
    assert as_role("manager").post(outsider).status_code == 404


def test_a_manager_qualifies_by_hand_and_asks_again(
    project: Project, people: dict[str, User], as_role: AsRole
) -> None:
    fill_known(project, people["manager"])
    manager, page = as_role("manager"), f"/projects/{project.slug}/members/{people['annotator'].pk}/"
    assert "Qualify by hand" in said(manager, page)
    assert "qualifying" in said(manager, f"/projects/{project.slug}/members/")
    assert "is qualified." in manager.post(f"{page}qualify/", follow=True).content.decode()
    assert "is asked to qualify first" in manager.post(f"{page}ask/", follow=True).content.decode()
    assert Membership.objects.get(user=people["annotator"]).qualified_at is None


def test_who_must_qualify_and_cannot_is_told_and_the_manager_is_told_wherever_they_look(
    project: Project, people: dict[str, User], as_role: AsRole, compose: Compose
) -> None:
    compose()
    exam = fill_known(project, people["manager"])
    annotator, manager = as_role("annotator"), as_role("manager")
    home, members = f"/projects/{project.slug}/", f"/projects/{project.slug}/members/"
    member, batch = f"{members}{people['annotator'].pk}/", f"/projects/{project.slug}/batches/{exam.pk}/"
    told = {
        home: "must qualify and has no task to qualify by",
        members: "no open qualification has a task for them, since none that is new to them is tagged tax",
        member: "must qualify and cannot",
        batch: "must qualify and has no task to qualify by, in this batch or another open one",
    }
    for address, sentence in told.items():
        assert sentence not in said(manager, address)
    Prompt.objects.filter(tasks__batch=exam).update(tags=["law"])
    set_limits(project=project, user=people["annotator"], tags=["tax"])

    for address, sentence in told.items():
        assert sentence in said(manager, address)
    assert "must qualify and has" not in said(as_role("reviewer"), home)
    assert "must qualify and has" in said(as_role("reviewer"), batch)
    for address in (home, f"{home}rank/"):
        page = said(annotator, address)
        assert "You cannot qualify yet" in page and "Tell a manager of the project" in page
        assert "tagged tax" not in page and "Qualify first" not in page
    set_qualified(project=project, user=people["annotator"], qualified=True)
    assert "data-workbench" in said(annotator, f"{home}rank/")
    for address, sentence in told.items():
        assert sentence not in said(manager, address)


def test_the_page_of_a_qualification_counts_no_places_that_nobody_waits_for(
    project: Project, people: dict[str, User], as_role: AsRole, compose: Compose
) -> None:
    exam = fill_known(project, people["manager"])
    page = said(as_role("manager"), f"/projects/{project.slug}/batches/{exam.pk}/")
    assert "places as they are needed" in page and "0 of 0" in page


def test_a_manager_releases_tasks_whose_answer_is_known(
    project: Project, people: dict[str, User], as_role: AsRole, compose: Compose
) -> None:
    manager, page = as_role("manager"), f"/projects/{project.slug}/batches/new/gold/"
    task = compose().tasks.get()
    assert "No task has a known answer yet" in said(manager, page)
    set_known_answer(task=task, tiers=[[0], [1], [2], [3]], by=people["reviewer"])
    assert f"Task {task.pk}: How long do I boil egg" in said(manager, page)
    body = {"name": "Measure", "kind": "gold", "tasks": [task.pk], "overlap": 30}

    released = manager.post(page, body, follow=True)

    batch = Batch.objects.get(name="Measure")
    assert "1 task with known answers released" in released.content.decode()
    assert (batch.kind, batch.overlap, batch.tasks.get().prompt) == ("gold", 30, task.prompt)
    assert "1 other task with the same responses will not be handed out any more" in released.content.decode()
    for wrong, sentence in (
        ({"overlap": 1001}, "at most 1000"),
        ({"overlap": ""}, "how many annotators can rank each gold task"),
        ({"tasks": []}, "This is needed"),
        ({"name": "Measure"}, "has a batch named Measure already"),
    ):
        refused = manager.post(page, {**body, "name": "Other", **wrong})
        assert refused.status_code == 422 and sentence in refused.content.decode()
    exam = {**body, "name": "Begin", "kind": "qualification", "overlap": ""}
    assert manager.post(page, exam).status_code == 302, "it has a place for everybody"
    assert as_role("reviewer").get(page).status_code == 403


def test_a_gold_batch_counts_nowhere_as_work_to_be_done(
    project: Project, people: dict[str, User], as_role: AsRole
) -> None:
    gold = fill_known(project, people["manager"], kind="gold")
    annotator, manager = as_role("annotator"), as_role("manager")
    assert "Ranking is open" not in said(annotator, "/")
    assert "Nothing to rank yet" in said(annotator, f"/projects/{project.slug}/")
    assert "Nothing to rank yet" in said(annotator, f"/projects/{project.slug}/rank/")
    assert "Start ranking" not in said(manager, f"/projects/{project.slug}/")
    page = said(manager, f"/projects/{project.slug}/batches/{gold.pk}/")
    assert "its rankings are in no dataset" in page and "Rank tasks" not in page


def test_a_batch_in_the_order_of_uncertainty_says_what_the_order_is_worth(
    project: Project, people: dict[str, User], as_role: AsRole, compose: Compose
) -> None:
    batch = compose(2, overlap=2, order="uncertainty", max_per_annotator=5)
    page = said(as_role("reviewer"), f"/projects/{project.slug}/batches/{batch.pk}/")
    assert "What the order is worth" in page and "most uncertain first" in page
    assert "at most 5 an annotator" in page
    assert "20 % of the tasks are drawn by chance" in page and "not enough to compare yet" in page
    none = compose(2, overlap=2, order="uncertainty", control_share=0.0)
    page = said(as_role("reviewer"), f"/projects/{project.slug}/batches/{none.pk}/")
    assert "No task of this batch is drawn by chance" in page
    assert "What the order is worth" not in said(
        as_role("reviewer"), f"/projects/{project.slug}/batches/{compose().pk}/"
    )


def test_a_manager_sets_how_annotators_are_measured(project: Project, as_role: AsRole) -> None:
    manager, page = as_role("manager"), f"/projects/{project.slug}/settings/"
    body = {
        "name": project.name,
        "held_out_share": 0.2,
        "lease_minutes": 30,
        "allow_ties": "on",
        "gold_share": "0.25",
        "gold_bar": "0.7",
        "review_share": "0.05",
    }
    assert manager.post(page, body).status_code == 302
    project.refresh_from_db()
    assert (project.gold_share, project.gold_bar) == (0.25, 0.7)
    refused = manager.post(page, {**body, "gold_share": "0.9"})
    assert refused.status_code == 422 and "at most 0.5" in refused.content.decode()
