"""What annotators said besides the ranking, as reviewers and managers read it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from alignment.datasets import build_dataset
from annotation.models import Batch, Project, Ranking, User
from annotation.submitting import submit
from tests.frontend.ranking import answer_to, held

AsRole = Callable[[str], Client]
Compose = Callable[..., Batch]


@pytest.fixture
def say(project: Project, people: dict[str, User]) -> Callable[..., Ranking]:
    """Lets the annotator rank their next task and say something of it."""

    def say(**said: Any) -> Ranking:
        place = held(project, people)
        return submit(annotator=people["annotator"], assignment_id=place.pk, **answer_to(place, **said))

    return say


def address_of(project: Project, batch: Batch) -> str:
    return f"/projects/{project.slug}/batches/{batch.pk}/remarks/"


def test_flags_better_responses_and_reasons_are_read_and_chosen(
    project: Project, as_role: AsRole, compose: Compose, say: Callable[..., Ranking]
) -> None:
    batch = compose(3)
    say(flags=[{"number": 0, "kind": "other", "note": "It flatters."}])
    say(demonstrations=[{"number": 1, "text": "Eight, **covered**."}, {"number": None, "text": "Nine."}])
    say(rationale="Short is right.")
    client, address = as_role("reviewer"), address_of(project, batch)

    page = client.get(address).content.decode()
    assert page.count('class="card remark"') == 3
    assert "It flatters." in page and "Short is right." in page
    assert "Eight, <strong>covered</strong>." in page and "written anew" in page and "edited" in page
    assert "zebrafinch" not in page, "a reviewer may be one of the annotators"

    flagged = client.get(address, {"of": "other"}).content.decode()
    assert flagged.count('class="card remark"') == 1 and "It flatters." in flagged
    written = client.get(address, {"of": "demonstrations"}).content.decode()
    assert written.count('class="card remark"') == 1 and "Nine." in written


def test_a_batch_says_how_much_was_said_of_it_one_click_away(
    project: Project, as_role: AsRole, compose: Compose, say: Callable[..., Ranking]
) -> None:
    batch = compose(2)
    client, page = as_role("manager"), f"/projects/{project.slug}/batches/{batch.pk}/"
    assert "said-title" not in client.get(page).content.decode()

    say(flags=[{"number": 0, "kind": "wrong_language"}, {"number": 1, "kind": "wrong_language"}])

    shown = client.get(page).content.decode()
    assert "Flagged: wrong language" in shown
    assert (
        f'href="{address_of(project, batch)}?of=wrong_language" aria-label="2 flagged wrong language"'
        in shown
    )


def test_remarks_open_for_reviewers_and_managers_of_the_project_alone(
    project: Project, as_role: AsRole, compose: Compose
) -> None:
    address = address_of(project, compose())
    answers = {
        role: as_role(role).get(address).status_code
        for role in ("manager", "reviewer", "annotator", "outsider")
    }
    assert answers == {"manager": 200, "reviewer": 200, "annotator": 403, "outsider": 404}
    assert as_role("manager").get(f"/projects/{project.slug}/batches/987654/remarks/").status_code == 404


def test_a_batch_without_remarks_and_a_remark_that_there_is_not_say_so(
    project: Project, as_role: AsRole, compose: Compose, say: Callable[..., Ranking]
) -> None:
    batch = compose(1)
    client, address = as_role("manager"), address_of(project, batch)
    assert "Nothing was said besides the rankings" in client.get(address).content.decode()
    say(rationale="Short.")
    page = client.get(address, {"of": "rude"}).content.decode()
    assert "A remark is one of unsafe" in page and "Short." in page


def test_what_annotators_wrote_is_rendered_as_hostile(
    project: Project, as_role: AsRole, compose: Compose, say: Callable[..., Ranking]
) -> None:
    batch = compose(1)
    hostile = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    say(
        flags=[{"number": 0, "kind": "other", "note": hostile}],
        demonstrations=[{"number": None, "text": hostile}],
        rationale=hostile,
    )
    page = as_role("manager").get(address_of(project, batch)).content.decode()
    assert "<script>alert" not in page and "<img src=x" not in page


def test_remarks_have_pages_that_cost_no_query_a_row(
    project: Project,
    as_role: AsRole,
    compose: Compose,
    say: Callable[..., Ranking],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch = compose(6)
    for _ in range(6):
        say(
            flags=[{"number": 0, "kind": "unsafe"}],
            demonstrations=[{"number": None, "text": "Nine."}],
        )
    client, address = as_role("manager"), address_of(project, batch)
    client.get(address)  # what a process reads once is read
    statements = []
    for size in (2, 4):
        monkeypatch.setattr("frontend.views.remarks.A_PAGE", size)
        with CaptureQueriesContext(connection) as captured:
            pages = [client.get(address, {"page": 1}).content.decode()]
        statements.append(len(captured))
    assert statements[0] == statements[1]
    pages.append(client.get(address, {"page": 2}).content.decode())
    assert [page.count('class="card remark"') for page in pages] == [4, 2]


def test_a_datasets_page_shows_what_was_written_and_how_much_was_flagged(
    project: Project,
    as_role: AsRole,
    compose: Compose,
    say: Callable[..., Ranking],
    settings: Any,
    tmp_path: Path,
) -> None:
    settings.RANKLOOP_HOME = tmp_path
    batch = compose(1)
    said = say(
        flags=[{"number": 0, "kind": "wrong_language"}],
        demonstrations=[{"number": None, "text": "Nine, **covered**."}],
    )
    dataset = build_dataset(project=project, batches=[batch])

    page = as_role("manager").get(
        f"/projects/{project.slug}/datasets/{dataset.version}/", {"split": said.task.prompt.split}
    )

    shown = page.content.decode()
    assert "1 better response, written by annotators" in shown and "Nine, <strong>covered</strong>." in shown
    assert "wrong language: 1" in shown and "1 demonstration<" in shown
