"""Bringing a file in on the pages: upload, preview with its mapping, start, progress, report."""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import sha256

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from annotation.importing import import_prompts
from annotation.intake.carrying_out import carry_out
from annotation.models import Import, Project

pytestmark = pytest.mark.django_db

AsRole = Callable[[str], Client]
TABLE = "question,first,second,best\nRice?,<b>long</b>,short,second\nTea?,hot,cold,neither of them\n"


def upload(client: Client, project: Project, text: str = TABLE, name: str = "votes.csv") -> str:
    file = SimpleUploadedFile(name, text.encode())
    answer = client.post(reverse("new_import", args=[project.slug]), {"file": file, "name": ""})
    assert answer.status_code == 302, answer.content.decode()
    return str(answer.headers["Location"])


def said(client: Client, address: str) -> str:
    return client.get(address).content.decode()


def test_a_table_is_mapped_before_it_is_carried_out(project: Project, as_role: AsRole) -> None:
    client = as_role("manager")
    page = upload(client, project)
    first = said(client, page)
    assert "Say which of the file&#x27;s fields is" in first or "What would come in" in first
    mapping = {"map_prompt": "question", "map_responses": "first, second", "map_winner": "best"}

    answer = client.post(page, {"name": "Crowd", "form": "columns", **mapping})

    assert answer.status_code == 302
    told = said(client, page)
    assert "What would come in" in told and "All 2 rows" in told
    assert "&lt;b&gt;long&lt;/b&gt;" in told and "<b>long</b>" not in told
    assert "neither of them" in told  # the bad line, told before anything is started
    job = Import.objects.get()
    assert (job.name, job.mapping["responses"], job.state) == ("Crowd", ["first", "second"], "draft")
    assert not project.prompts.exists()


def test_another_form_starts_with_what_its_fields_suggest(project: Project, as_role: AsRole) -> None:
    client = as_role("manager")
    page = upload(client, project)
    client.post(page, {"name": "x", "form": "trl", "map_prompt": "question"})
    job = Import.objects.get()
    assert (job.form, job.mapping) == ("trl", {})
    assert "2 lines" not in said(client, page)


@pytest.mark.django_db(transaction=True)
def test_an_import_is_started_and_reported(project: Project, as_role: AsRole) -> None:
    client = as_role("manager")
    page = upload(client, project)
    job = Import.objects.get()
    mapping = {"map_prompt": "question", "map_responses": "first, second", "map_winner": "best"}
    client.post(page, {"name": "Crowd", "form": "columns", **mapping})

    client.post(f"{page}start/")
    assert "It waits for a worker" in said(client, page)
    assert 'hx-get="' in said(client, page)
    carry_out(job.pk)
    failed = said(client, page)
    assert "1 of 2 lines is wrong" in failed and "Import again" in failed
    assert client.get(f"{page}live/?state=running").headers["HX-Refresh"] == "true"
    lines = client.get(f"{page}bad-lines.csv")
    head, only = lines.getvalue().decode().splitlines()
    assert head == "line,field,reason" and only.startswith("3,best,")

    client.post(f"{page}start/", {"skip_bad": "on"})
    carry_out(job.pk)
    done = said(client, page)
    assert "The rankings are in the batch" in done and "Crowd" in done
    assert "of its 1 new prompt" in done and "Chance alone" not in done
    batch = project.batches.get()
    assert "came by the file" in said(client, reverse("batch", args=[project.slug, batch.pk]))
    assert "Crowd" in said(client, reverse("imports", args=[project.slug]))

    again = upload(client, project)
    assert "This very file was" in said(client, again)


def test_prompts_of_one_template_are_told_to_share_a_split(project: Project, as_role: AsRole) -> None:
    rows = (
        f"Sum up chapter {n} of this book for somebody who has read none of the chapters before it.,A {n},B {n},first"
        for n in range(80)
    )
    # The project has others, which are split as chance has it.
    others = ({"prompt": sha256(str(n).encode()).hexdigest()} for n in range(200))
    import_prompts(project=project, rows=enumerate(others, start=1))
    client = as_role("manager")
    page = upload(client, project, "\n".join(["question,first,second,best", *rows]))
    mapping = {"map_prompt": "question", "map_responses": "first, second", "map_winner": "best"}
    client.post(page, {"name": "Templated", "form": "columns", **mapping})
    client.post(f"{page}start/")
    carry_out(Import.objects.get().pk)
    done = said(client, page)
    assert re.search(r"(0|80) of its 80 new prompts are held out; 20 % was asked for", done)
    assert "Chance alone would not split them so" in done


def test_a_draft_is_dropped(project: Project, as_role: AsRole) -> None:
    client = as_role("manager")
    page = upload(client, project)
    assert "Dropped. Nothing was imported." in client.post(f"{page}cancel/", follow=True).content.decode()
    assert "No imports yet" in said(client, reverse("imports", args=[project.slug]))


def test_an_import_that_was_stopped_is_listed_and_can_be_started_again(
    project: Project, as_role: AsRole
) -> None:
    client = as_role("manager")
    page = upload(client, project)
    mapping = {"map_prompt": "question", "map_responses": "first, second", "map_winner": "best"}
    client.post(page, {"name": "Crowd", "form": "columns", **mapping})
    # As its worker leaves one that is cancelled while it is carried out.
    Import.objects.update(state=Import.State.CANCELLED, reason="It was cancelled; nothing was imported.")
    assert "Crowd" in said(client, reverse("imports", args=[project.slug]))
    assert f'action="{page}start/"' in said(client, page)
    client.post(f"{page}start/", {"skip_bad": "on"})
    carry_out(Import.objects.get().pk)
    assert Import.objects.get().state == Import.State.SUCCEEDED


def test_a_file_that_cannot_be_read_is_told_at_its_field(project: Project, as_role: AsRole) -> None:
    for name, sentence in (("x.pdf", "the ending .pdf is unknown"), ("x.jsonl", "The file holds no rows")):
        file = SimpleUploadedFile(name, b"\n")
        answer = as_role("manager").post(reverse("new_import", args=[project.slug]), {"file": file})
        assert answer.status_code == 422
        assert sentence in answer.content.decode()
    assert not Import.objects.exists()


def test_a_reviewer_sees_imports_and_changes_none(project: Project, as_role: AsRole) -> None:
    page = upload(as_role("manager"), project)
    client = as_role("reviewer")
    told = said(client, page)
    assert "Look again" not in told and 'type="submit"' not in told.split('id="main"')[1]
    for address in ("start/", "cancel/"):
        assert client.post(page + address).status_code == 403
    assert client.get(reverse("new_import", args=[project.slug])).status_code == 403
    assert as_role("annotator").get(page).status_code == 403
    assert as_role("outsider").get(page).status_code == 404
