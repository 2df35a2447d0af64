"""Bringing a file in, as a manager sees it: upload, mapping, progress by itself, report."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from annotation.intake.carrying_out import carry_out
from annotation.models import Import, Project, User
from tests.browser.conftest import Visit

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
Picture = Callable[[Page, str], None]

TABLE = "question,first,second,best,who\n" + "".join(
    f"How long should egg {n} boil?,Six minutes.,Until the water is gone.,{'first' if n % 3 else 'tie'},cook {n % 4}\n"
    for n in range(30)
)


def test_a_table_is_uploaded_mapped_and_brought_in(
    visit: Visit, project: Project, people: dict[str, User], picture: Picture, tmp_path: Path
) -> None:
    file = tmp_path / "eggs.csv"
    file.write_text(TABLE + "What then?,a,b,nobody,cook 1\n", encoding="utf-8")
    page = visit(f"/projects/{project.slug}/imports/new/", people["manager"])
    picture(page, "import-new")
    page.get_by_label("File", exact=True).set_input_files(file)
    page.get_by_role("button", name="Upload and look").click()
    expect(page.get_by_role("heading", name="How it is read")).to_be_visible()
    page.get_by_label("Responses", exact=True).fill("first, second")
    page.get_by_label("Prompt", exact=True).select_option("question")
    page.get_by_label("Winner").select_option("best")
    page.get_by_label("Annotator").select_option("who")
    page.get_by_role("button", name="Look again").click()
    expect(page.get_by_role("heading", name="What would come in")).to_be_visible()
    expect(page.locator(".figures").last).to_contain_text("30")
    picture(page, "import-draft")

    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_text("It waits for a worker.")).to_be_visible()
    job = Import.objects.get()
    Import.objects.update(
        state="running",
        phase="Reading",
        done=job.file_bytes // 3,
        lease_until=timezone.now() + timedelta(hours=1),
    )
    expect(page.get_by_role("progressbar", name="Reading")).to_be_visible()  # by itself
    picture(page, "import-running")
    Import.objects.update(state="queued", lease_until=None)
    carry_out(job.pk)
    expect(page.get_by_role("button", name="Import again")).to_be_visible()  # by itself, too
    picture(page, "import-failed")

    page.get_by_label("Leave bad lines out").check()
    page.get_by_role("button", name="Import again").click()
    expect(page.get_by_text("It waits for a worker.")).to_be_visible()
    carry_out(job.pk)
    expect(page.get_by_role("link", name="eggs", exact=True)).to_be_visible()
    picture(page, "import-done")
    page.goto(f"/projects/{project.slug}/imports/")
    picture(page, "imports")
    page.goto(f"/projects/{project.slug}/batches/{project.batches.get().pk}/")
    expect(page.get_by_text("came by the file")).to_be_visible()
    picture(page, "batch-imported")
