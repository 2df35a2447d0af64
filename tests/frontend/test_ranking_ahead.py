"""The task ahead of the one in work, below the browser."""

from __future__ import annotations

from django.utils import timezone

from annotation.models import Assignment, Project, User
from tests.frontend.ranking import AsRole, Compose, ahead_of, answer_to, assignment_in, held, post


def test_the_task_after_the_present_one_can_be_had_ahead_and_no_further_one(
    project: Project, people: dict[str, User], as_role: AsRole, compose: Compose
) -> None:
    compose(3)
    place, client = held(project, people), as_role("annotator")

    ahead = assignment_in(ahead_of(client, project, besides=[str(place.public_id)])["html"])
    assert ahead not in (None, str(place.public_id))
    assert assignment_in(ahead_of(client, project, besides=[str(place.public_id)])["html"]) == ahead, (
        "it stays theirs"
    )
    further = ahead_of(client, project, besides=[str(place.public_id), ahead])["html"]

    assert "data-nothing" in further
    assert Assignment.objects.filter(state="leased").count() == 2


def test_an_answer_brings_the_task_ahead_of_those_that_the_page_has(
    project: Project, people: dict[str, User], as_role: AsRole, compose: Compose
) -> None:
    compose(3)
    place, client = held(project, people), as_role("annotator")
    ahead = assignment_in(ahead_of(client, project, besides=[str(place.public_id)])["html"])

    address = f"/projects/{project.slug}/rank/{place.public_id}/submit/"
    answer = post(client, address, answer_to(place, besides=[ahead])).json()

    assert assignment_in(answer["html"]) not in (None, str(place.public_id), ahead)
    assert answer["progress"] == {"done": 1, "lately": None}


def test_an_answer_of_many_that_waited_brings_no_task_and_leases_none(
    project: Project, people: dict[str, User], as_role: AsRole, compose: Compose
) -> None:
    compose(2)
    place = held(project, people)
    midnight = timezone.now().replace(hour=0, minute=0).isoformat()

    answer = post(
        as_role("annotator"),
        f"/projects/{project.slug}/rank/{place.public_id}/submit/",
        answer_to(place, besides=None, since=midnight),
    ).json()

    assert answer == {"progress": {"done": 1, "lately": 1}}
    assert not Assignment.objects.filter(state="leased").exists()


def test_a_task_ahead_is_given_back_without_a_word(
    project: Project, people: dict[str, User], as_role: AsRole, compose: Compose
) -> None:
    compose()
    place, client = held(project, people), as_role("annotator")

    response = post(
        client,
        f"/projects/{project.slug}/rank/{place.public_id}/give-back/",
        {"lease": str(place.lease), "ahead": True},
    )

    assert response.json() == {}
    assert not Assignment.objects.filter(state="leased").exists()
    assert "Given back" not in client.get(f"/projects/{project.slug}/").text
