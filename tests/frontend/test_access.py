"""Every page opens for the roles that it is for, and for nobody else."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import cache
from django.core.mail import EmailMessage
from django.test import Client

from annotation.batching import close_batch
from annotation.importing import import_prompts
from annotation.models import Batch, Project, User
from config.mail import mail_server
from tests.frontend.conftest import PASSWORD

AsRole = Callable[[str], Client]

# The least role that each page opens for.
PAGES = {
    "": "annotator",
    "rank/": "annotator",
    "history/": "annotator",
    "review/": "reviewer",
    "prompts/": "reviewer",
    "leaderboard/": "reviewer",
    "leaderboard.csv": "reviewer",
    "judges/": "reviewer",
    "judges/new/": "manager",
    "judges/new/reward/": "manager",
    "prompts/upload/": "manager",
    "imports/": "reviewer",
    "imports/new/": "manager",
    "prompts/template.jsonl": "manager",
    "prompts/template.csv": "manager",
    "members/": "manager",
    "settings/": "manager",
    "webhooks/": "manager",
}
ROLES = ("annotator", "reviewer", "manager")


@pytest.mark.parametrize("page", PAGES)
def test_a_project_page_opens_for_its_roles_alone(page: str, project: Project, as_role: AsRole) -> None:
    address = f"/projects/{project.slug}/{page}"

    for role in ROLES:
        expected = 200 if ROLES.index(role) >= ROLES.index(PAGES[page]) else 403
        assert as_role(role).get(address).status_code == expected, role
    assert as_role("outsider").get(address).status_code == 404
    answer = as_role("").get(address)
    assert (answer.status_code, answer["Location"]) == (302, f"/accounts/login/?next={address}")


def test_a_refused_member_is_told_which_role_the_page_needs(project: Project, as_role: AsRole) -> None:
    page = as_role("annotator").get(f"/projects/{project.slug}/settings/").content.decode()

    assert "This needs the role of manager in Kitchen answers; yours is annotator." in page


def test_the_navigation_shows_a_person_only_what_opens_for_them(project: Project, as_role: AsRole) -> None:
    for role in ROLES:
        client = as_role(role)
        home = client.get(f"/projects/{project.slug}/").content.decode()
        navigation = home[home.index('<nav class="nav"') : home.index("</nav>")]
        shown = re.findall(r'href="([^"]+)"', navigation)
        for address in shown:
            assert client.get(address).status_code == 200, (role, address)
        assert (f"/projects/{project.slug}/settings/" in shown) == (role == "manager")


def test_a_project_of_others_is_not_listed(project: Project, as_role: AsRole) -> None:
    assert project.name in as_role("annotator").get("/").content.decode()
    assert project.name not in as_role("outsider").get("/").content.decode()


@pytest.mark.parametrize("role", ["annotator", "reviewer", "outsider", ""])
def test_changes_are_a_managers_alone(
    role: str, project: Project, as_role: AsRole, people: dict[str, User]
) -> None:
    client = as_role(role)
    user_id = people["annotator"].pk
    import_prompts(project=project, rows=[(1, {"prompt": "How long should tea steep?"})])
    prompt = project.prompts.get(messages__0__content="How long should tea steep?")

    for address in (
        "settings/",
        "webhooks/",
        "members/",
        f"members/{user_id}/role/",
        f"members/{user_id}/remove/",
        "prompts/upload/",
        f"prompts/{prompt.pk}/retire/",
        f"prompts/{prompt.pk}/bring-back/",
    ):
        answer = client.post(f"/projects/{project.slug}/{address}", {"name": "Mine", "role": "manager"})
        assert answer.status_code in (302, 403, 404), address
        assert answer.get("Location", "/accounts/login/").startswith("/accounts/login/")

    project.refresh_from_db()
    prompt.refresh_from_db()
    assert project.name == "Kitchen answers" and prompt.retired_at is None
    assert dict(project.memberships.values_list("user__username", "role")) == {
        "annotator": "annotator",
        "reviewer": "reviewer",
        "manager": "manager",
    }


def test_a_page_runs_under_a_strict_content_security_policy(project: Project, as_role: AsRole) -> None:
    answer = as_role("manager").get(f"/projects/{project.slug}/")

    policy = answer["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy
    assert " style=" not in answer.content.decode()
    assert "<script>" not in answer.content.decode()


@pytest.mark.parametrize("address", ["/no-such-page/", "/projects/no-such-project/", "/projects/Bad Slug/"])
def test_an_address_that_is_none_says_so_in_the_pages_look(address: str, as_role: AsRole) -> None:
    answer = as_role("manager").get(address)

    assert answer.status_code == 404
    assert "There is nothing here" in answer.content.decode()


def test_a_broken_page_says_what_is_kept(
    project: Project, as_role: AsRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(**_: object) -> None:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr("frontend.views.projects.next_step", broken)
    client = as_role("manager")
    client.raise_request_exception = False

    answer = client.get(f"/projects/{project.slug}/")

    assert answer.status_code == 500
    assert "What you had saved is kept" in answer.content.decode()
    assert "disk" not in answer.content.decode()


def test_a_form_without_its_token_is_refused_with_a_page(people: dict[str, User]) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(people["manager"])

    answer = client.post("/projects/new/", {"name": "Forged"})

    assert answer.status_code == 403
    assert "The form was out of date" in answer.content.decode()
    assert not Project.objects.filter(name="Forged").exists()


def test_a_manager_retires_a_prompt_and_brings_it_back(project: Project, as_role: AsRole) -> None:
    import_prompts(project=project, rows=[(1, {"prompt": "word " * 2000})])
    prompt = project.prompts.latest("pk")
    client, address = as_role("manager"), f"/projects/{project.slug}/prompts/{prompt.pk}/"

    shown = client.post(f"{address}retire/", follow=True).content.decode()
    assert "no new round or batch takes it" in shown and "Bring back" in shown
    assert ">retired<" in client.get(f"/projects/{project.slug}/prompts/").content.decode()
    shown = client.post(f"{address}bring-back/", follow=True).content.decode()
    assert "no new round or batch takes it" not in shown
    assert "Retire</button>" not in as_role("reviewer").get(address).content.decode()


def test_what_waits_to_be_ranked_hides_its_source_until_one_asks(
    project: Project, as_role: AsRole, compose: Callable[..., Batch]
) -> None:
    """Managers may rank as well, and look at a prompt in between."""
    batch = compose(1)
    prompt = project.prompts.get()
    address = f"/projects/{project.slug}/prompts/{prompt.pk}/"
    page = as_role("manager").get(address).content.decode()
    assert "<h3>zebrafinch" not in page and page.count("<summary>") == 4
    close_batch(batch)
    page = as_role("manager").get(address).content.decode()
    assert page.count("<h3>zebrafinch") == 4 and "<summary>Being ranked" not in page


def test_too_many_wrong_passwords_are_told_in_a_page_of_our_own(
    people: dict[str, User], settings: Any
) -> None:
    settings.ACCOUNT_RATE_LIMITS = {"login": "1/m/ip"}
    cache.clear()
    wrong = {"login": "manager", "password": "wrong"}
    answers = [Client().post("/accounts/login/", wrong) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert "wait a minute" in answers[1].content.decode()
    cache.clear()


def test_a_link_for_a_forgotten_password_is_mailed_where_mail_is_sent(
    people: dict[str, User], as_role: AsRole, settings: Any, mailoutbox: list[EmailMessage]
) -> None:
    offered = "/accounts/password/reset/"
    settings.EMAIL_BACKEND = mail_server("", "").backend
    assert offered not in as_role("").get("/accounts/login/").content.decode()
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    settings.DEFAULT_FROM_EMAIL = "rankloop@example.org"
    assert offered in as_role("").get("/accounts/login/").content.decode()

    as_role("").post(offered, {"email": people["annotator"].email})

    (letter,) = mailoutbox
    assert (letter.to, letter.from_email) == ([people["annotator"].email], "rankloop@example.org")
    link = re.search(r"https?://testserver(/accounts/password/reset/key/\S+)", letter.body)
    assert link is not None and as_role("").get(link[1], follow=True).status_code == 200


def test_messages_of_accounts_are_in_the_words_of_the_pages(people: dict[str, User]) -> None:
    client = Client()
    log_in = {"login": "annotator", "password": PASSWORD}
    assert "Logged in as annotator." in client.post("/accounts/login/", log_in, follow=True).content.decode()
    assert "Logged out." in client.post("/accounts/logout/", follow=True).content.decode()


def test_a_page_that_refuses_a_member_keeps_their_navigation(project: Project, as_role: AsRole) -> None:
    refused = as_role("annotator").get(f"/projects/{project.slug}/settings/")

    page = refused.content.decode()
    assert refused.status_code == 403 and "Your role does not open this page" in page
    assert f'href="/projects/{project.slug}/rank/"' in page and "Your account, annotator" in page
    assert f'href="/projects/{project.slug}/members/"' not in page


def test_an_annotators_navigation_stands_at_the_same_place_on_every_page(
    project: Project, as_role: AsRole
) -> None:
    for address in ("", "rank/", "history/"):
        page = as_role("annotator").get(f"/projects/{project.slug}/{address}").content.decode()
        assert "shell--sided" not in page
    assert "shell--sided" in as_role("manager").get(f"/projects/{project.slug}/").content.decode()
