"""A manager makes a webhook, tries it, and reads what came of it, at a desk and on a phone."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from alignment.webhooks import pause_webhook
from annotation.models import Project, User
from tests.alignment.receiver import receiver
from tests.browser.conftest import Visit

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
Picture = Callable[[Page, str], None]


def test_a_webhook_from_its_making_to_its_log(
    visit: Visit, project: Project, people: dict[str, User], picture: Picture, settings: Any
) -> None:
    settings.RANKLOOP_WEBHOOK_NETWORKS = [ipaddress.ip_network("127.0.0.0/8")]
    page = visit(f"/projects/{project.slug}/settings/", people["manager"])
    page.get_by_role("link", name="Webhooks").click()
    expect(page.locator(".empty")).to_be_visible()
    picture(page, "webhooks-empty")
    with receiver() as other_side:
        other_side.status, other_side.body = 500, b"<p>" + b"not today " * 150
        page.get_by_label("Name").fill("Builds")
        page.get_by_label("Address").fill(other_side.url)
        page.get_by_label("A dataset is frozen").uncheck()
        page.get_by_role("button", name="Make the webhook").click()
        expect(page.get_by_role("heading", name="Copy the secret of Builds now")).to_be_visible()
        picture(page, "webhooks-made")
        page.get_by_role("link", name="Builds").click()
        page.get_by_role("button", name="Send a test").click()
        expect(page.get_by_text("The test failed.")).to_be_visible()
    page.get_by_text("Attempts", exact=True).click()
    expect(page.get_by_text("a status from 200 to 299").last).to_be_visible()
    picture(page, "webhook")
    pause_webhook(project.webhooks.get())
    page.reload()
    expect(page.get_by_role("heading", name="Paused since")).to_be_visible()
    picture(page, "webhook-paused")
