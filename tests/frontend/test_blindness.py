"""Nothing on an annotator's pages tells a gold task from an ordinary one: neither addresses, nor fields, nor what can
be done to the answer."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from annotation import assigning
from annotation.batching import close_batch
from annotation.gold import compose_known, set_known_answer
from annotation.models import Assignment, Batch, Project, User
from tests.frontend.blindness import number_rows_tellingly, numbers_of_rows, shape, shape_of_html
from tests.frontend.test_ranking import post

pytestmark = pytest.mark.django_db

AsRole = Callable[[str], Client]
Compose = Callable[..., Batch]
A_UUID = "[0-9a-f-]{36}"


@pytest.fixture
def mixed(
    project: Project, people: dict[str, User], compose: Compose, monkeypatch: pytest.MonkeyPatch
) -> list[Batch]:
    """A batch with tasks of four responses and a gold one whose tasks are like them; a gold task comes first."""
    number_rows_tellingly()
    adjudicated = compose(1)
    for task in adjudicated.tasks.all():
        set_known_answer(task=task, tiers=[[0], [1], [2], [3]], by=people["reviewer"], note="So it is.")
    close_batch(adjudicated)
    gold = compose_known(
        project=project,
        name="Gold",
        kind="gold",
        overlap=9,
        by=people["manager"],
        tasks=adjudicated.tasks.all(),
    ).batch
    monkeypatch.setattr(assigning, "gold_is_due", lambda *, gold, **_: bool(gold))
    return [gold, compose(3)]


def ranked(client: Client, project: Project) -> tuple[Batch, dict[str, Any]]:
    """Go through all that an annotator can do to their next task. Returns its batch, and what each answer was like."""
    base = f"/projects/{project.slug}"
    page = client.get(f"{base}/rank/").content.decode()
    place = re.search(f'data-assignment="({A_UUID})"', page)[1]
    lease = re.search(f'data-lease="({A_UUID})"', page)[1]
    numbers = [int(number) for number in re.findall(r'data-response="(\d)"', page)]
    mine, answers = f"{base}/rank/{place}", f"{base}/history/{place}"
    body = {"lease": lease, "key": str(uuid.uuid4()), "tiers": [[n] for n in numbers], "rationale": "Short."}
    amended = {"key": str(uuid.uuid4()), "tiers": [[n] for n in numbers[::-1]]}
    told = {
        "page": page,
        "renewed": post(client, f"{mine}/renew/", {"lease": lease}),
        "refused": post(client, f"{mine}/submit/", {**body, "tiers": [[9]]}),
        "submitted": post(client, f"{mine}/submit/", {**body, "besides": None}),
        "again": post(client, f"{mine}/submit/", {**body, "besides": None}),
        "renewed too late": post(client, f"{mine}/renew/", {"lease": lease}),
        "skipped too late": post(client, f"{mine}/skip/", {"lease": lease}),
        "in place": client.get(f"{answers}/in-place/"),
        "changed in place": post(client, f"{answers}/amend/", {**amended, "besides": None}),
        "change": client.get(f"{answers}/").content.decode(),
        "changed": post(client, f"{answers}/amend/", {**amended, "key": str(uuid.uuid4())}),
    }
    client.get(f"{base}/history/")  # takes the message that the answer is changed
    assert [(name, found) for name, each in told.items() if (found := numbers_of_rows(text_of(each)))] == []
    return Assignment.objects.get(public_id=place).batch, {
        name: shape_of(each) for name, each in told.items()
    }


def text_of(told: Any) -> str:
    return told if isinstance(told, str) else str(told.content.decode())


def shape_of(told: Any) -> Any:
    if isinstance(told, str):
        return shape_of_html(told)
    answer = told.json()
    # Sentences of refusals are the page's own: they are compared word by word.
    return told.status_code, answer.get("sentence"), shape(answer)


def test_whatever_is_done_to_a_gold_task_is_answered_as_it_is_of_an_ordinary_one(
    mixed: list[Batch], project: Project, as_role: AsRole
) -> None:
    client = as_role("annotator")

    (gold, of_gold), (ordinary, of_ordinary) = (ranked(client, project) for _ in range(2))

    assert [gold, ordinary] == mixed
    for name in of_gold:
        assert of_gold[name] == of_ordinary[name], name


def test_the_history_lists_a_gold_task_as_it_lists_an_ordinary_one_and_both_are_closed_together(
    mixed: list[Batch], project: Project, as_role: AsRole
) -> None:
    client, address = as_role("annotator"), f"/projects/{project.slug}/history/"
    for _ in range(2):
        ranked(client, project)
    places = Assignment.objects.filter(state="submitted")

    for closed in (False, True):
        if closed:
            close_batch(mixed[1])
        page = client.get(address).content.decode()
        assert numbers_of_rows(page) == []
        rows = [shape_of_html(row.split("</tr>")[0]) for row in page.split("<tr>")[2:4]]
        assert len(rows[0]) > 5 and rows[0] == rows[1]
        assert page.count(">Change</a>") == (0 if closed else 2)
        assert page.count(">closed</span>") == (2 if closed else 0)
    changes = [client.get(f"{address}{place.public_id}/in-place/") for place in places]
    assert [change.status_code for change in changes] == [409, 409]
    assert changes[0].json() == changes[1].json()


def test_the_home_of_an_annotator_counts_nothing_that_a_gold_task_leaves_as_it_was(
    mixed: list[Batch], project: Project, as_role: AsRole
) -> None:
    client, address = as_role("annotator"), f"/projects/{project.slug}/"
    pages = [client.get(address).content.decode()]
    for _ in range(2):
        ranked(client, project)
        pages.append(client.get(address).content.decode())

    texts = [re.sub(r"<[^>]*>", " ", page.split("What to do next")[1]) for page in pages]
    assert [re.findall(r"\d+", text) for text in texts] == [["0"], ["1"], ["2"]], "only their own"
