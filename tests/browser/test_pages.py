"""The pages around ranking, as people see them: log-in, projects, prompts, members, tokens, errors."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from annotation.models import ApiToken, Project, User
from tests.browser.conftest import Visit, assert_fits
from tests.frontend.conftest import PASSWORD
from tests.frontend.content import PROMPTS, RESPONSES, fill

pytestmark = pytest.mark.browser
Picture = Callable[[Page, str], None]


def test_logging_in_leads_to_ones_projects(
    visit: Visit, project: Project, people: dict[str, User], picture: Picture
) -> None:
    page = visit("/")
    picture(page, "log-in")

    page.get_by_label("User name or e-mail").fill("annotator")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("not correct")
    picture(page, "log-in-refused")
    page.get_by_label("User name or e-mail").fill("annotator")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()

    expect(page.get_by_role("link", name=project.name)).to_be_visible()


@pytest.mark.parametrize("touch", [False, True], ids=["desk", "phone"])
def test_a_word_without_an_end_widens_no_page(
    visit: Visit, project: Project, people: dict[str, User], monkeypatch: pytest.MonkeyPatch, touch: bool
) -> None:
    endless = f"https://example.org/{'very-long_' * 20} and {'w' * 180}"
    prompts = [
        prompt | {"prompt": f"{prompt['prompt']} {endless}", "key": prompt["key"], "tags": [endless[:60]]}
        for prompt in PROMPTS
    ]
    texts = {key: [f"{text} {endless}" for text in of_prompt] for key, of_prompt in RESPONSES.items()}
    monkeypatch.setattr("tests.frontend.content.PROMPTS", prompts)
    monkeypatch.setattr("tests.frontend.content.RESPONSES", texts)
    batch = fill(project)
    root = f"/projects/{project.slug}"
    page = visit(f"{root}/prompts/", people["manager"], touch=touch)
    assert_fits(page)
    prompt, source = project.prompts.latest("pk"), project.sources.latest("pk")
    for address in (f"prompts/{prompt.pk}/", f"sources/{source.pk}/", f"batches/{batch.pk}/"):
        page.goto(f"{root}/{address}")
        assert_fits(page)


def test_a_new_project_goes_from_upload_to_a_prompt(
    visit: Visit, people: dict[str, User], picture: Picture
) -> None:
    page = visit("/", people["outsider"])
    expect(page.get_by_text("Administrators make new ones")).to_be_visible()
    picture(page, "projects-none")
    User.objects.filter(pk=people["outsider"].pk).update(is_staff=True)
    page.reload()

    page.get_by_role("link", name="Make a project").click()
    picture(page, "project-new")
    page.get_by_label("Name").fill("Travel tips")
    page.get_by_role("button", name="Make the project").click()
    expect(page.get_by_role("heading", name="Upload prompts")).to_be_visible()
    picture(page, "project-home-empty")
    page.get_by_role("link", name="Upload prompts").click()
    broken = {
        "name": "p.jsonl",
        "mimeType": "text/plain",
        "buffer": b'{"prompt": "Good?"}\n{"prompt": ""}\nnonsense\n',
    }
    page.get_by_label("File", exact=True).set_input_files(broken)
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("heading", name="What to correct")).to_be_visible()
    picture(page, "prompts-upload-refused")
    rows = b"\n".join(
        b'{"prompt": "What should I pack for day %d?", "tags": ["packing"]}' % day for day in range(60)
    )
    page.get_by_label("File", exact=True).set_input_files(
        {"name": "p.jsonl", "mimeType": "text/plain", "buffer": rows}
    )
    page.get_by_role("button", name="Upload").click()

    expect(page.get_by_text("60 prompts imported.")).to_be_visible()
    picture(page, "prompts")
    page.get_by_role("link", name="Next").click()
    page.get_by_role("link", name=re.compile("What should I pack")).last.click()
    expect(page.get_by_text("None yet. A round draws them")).to_be_visible()


def test_a_projects_pages_are_accessible_and_fit(
    visit: Visit, project: Project, people: dict[str, User], picture: Picture
) -> None:
    fill(project, overlap=2)
    page = visit("/", people["manager"])
    picture(page, "projects")
    cited = project.prompts.get(key="tides")

    for address, name in (
        ("", "project-home"),
        ("members/", "members"),
        ("settings/", "settings"),
        (f"prompts/{cited.pk}/", "prompt"),
        ("prompts/upload/", "prompts-upload"),
    ):
        page.goto(f"/projects/{project.slug}/{address}")
        picture(page, name)


def test_a_key_is_made_shown_once_and_revoked_after_asking(
    visit: Visit, people: dict[str, User], picture: Picture
) -> None:
    page = visit("/tokens/", people["reviewer"])

    page.get_by_label("Name").fill("nightly export")
    page.get_by_role("button", name="Make the token").click()
    expect(page.locator("#token")).to_have_text(re.compile(r"^rl_\S{40,}$"))
    picture(page, "token-new")
    page.goto("/tokens/")
    expect(page.locator("#token")).to_have_count(0)
    page.get_by_role("button", name="Revoke").click()
    picture(page, "token-revoke")
    page.get_by_role("button", name="Cancel").click()
    assert ApiToken.objects.count() == 1
    page.get_by_role("button", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()

    expect(page.get_by_text("nightly export no longer opens anything.")).to_be_visible()
    assert not ApiToken.objects.exists()


def test_a_manager_makes_an_account_that_its_owner_logs_in_with(
    visit: Visit, project: Project, people: dict[str, User], picture: Picture
) -> None:
    page = visit(f"/projects/{project.slug}/members/", people["manager"])
    page.get_by_label("User name or e-mail").fill("ana")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_label("User name")).to_have_value("ana")
    picture(page, "member-without-account")
    page.get_by_role("button", name="Make the account").click()
    expect(page.get_by_role("heading", name="Send this to ana now")).to_be_visible()
    picture(page, "account-made")
    password = page.locator("#password").inner_text()

    hers = visit("/")
    hers.get_by_label("User name or e-mail").fill("ana")
    hers.get_by_label("Password").fill(password)
    hers.get_by_role("button", name="Log in").click()
    expect(hers.get_by_role("link", name=project.name)).to_be_visible()
    hers.goto(f"/projects/{project.slug}/settings/")
    expect(hers.get_by_role("heading", name="Your role does not open this page")).to_be_visible()
    picture(hers, "not-for-this-role")


def test_the_theme_is_ones_own_choice_and_stays(visit: Visit, people: dict[str, User]) -> None:
    page = visit("/", people["reviewer"], color_scheme="light")
    background = "getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(background)

    page.get_by_role("button", name="Theme: system").click()
    page.get_by_role("button", name="Theme: light").click()
    dark = page.evaluate(background)
    page.reload()

    assert dark != light
    assert page.evaluate(background) == dark
    page.get_by_role("button", name="Theme: dark").click()
    assert page.evaluate(background) == light


def test_the_account_pages_have_the_same_look(
    visit: Visit, people: dict[str, User], picture: Picture
) -> None:
    page = visit("/accounts/password/change/", people["reviewer"])
    picture(page, "password")
    page.goto("/accounts/2fa/")
    picture(page, "two-factor")
    page.goto("/accounts/logout/")
    picture(page, "log-out")


def test_an_address_that_is_none_says_so(visit: Visit, people: dict[str, User], picture: Picture) -> None:
    page = visit("/nothing-here/", people["reviewer"])

    expect(page.get_by_role("heading", name="There is nothing here")).to_be_visible()
    picture(page, "not-found")


def test_the_first_tab_leads_past_the_navigation(
    visit: Visit, project: Project, people: dict[str, User]
) -> None:
    page = visit(f"/projects/{project.slug}/", people["manager"])

    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()


def test_hostile_text_neither_runs_nor_reaches_out(
    visit: Visit, project: Project, people: dict[str, User]
) -> None:
    project.guidelines = (
        "<script>document.title = 'taken'</script><img src=x onerror=\"document.title='taken'\">\n\n"
        "![x](https://evil.example/x.png) [click](javascript:document.title='taken')"
    )
    project.save()
    asked: list[str] = []
    page = visit("/", people["manager"])
    page.on("request", lambda request: asked.append(request.url))

    page.goto(f"/projects/{project.slug}/")

    expect(page.get_by_text("[image: x]")).to_be_visible()
    assert "taken" not in page.title()
    assert not [url for url in asked if "evil" in url]
    assert page.locator("main script, main img").count() == 0
