"""The annotators' page: one task after the other.

The page is whole at the first load. Afterwards it holds one task ahead, as a piece of HTML: each answer that it sends
brings the task after the one that it shows by then, so that there is one request a task and nothing to wait for.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime
from itertools import zip_longest
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.utils.timezone import is_aware
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from annotation import assigning, submitting
from annotation.batching import open_work
from annotation.models import Assignment, Batch, Ranking
from annotation.progress import progress_of
from annotation.qualifying import Qualification, feedback_on, qualifications_of, stranded_sentence
from annotation.refusals import Refusal, require_storable
from annotation.returning import returned_to
from annotation.showing import blind_view, seconds_left
from annotation.standing import standing_of
from frontend.access import ProjectRequest, Role, project_page

STATUS = {
    "invalid": 422,
    "forbidden": 403,
    "not_found": 404,
    "conflict": 409,
    "lease_lost": 409,
    "closed": 409,
}
MOST_BESIDES = 100


@require_GET
@never_cache
@project_page(Role.ANNOTATOR)
def rank(request: ProjectRequest) -> HttpResponse:
    done = progress_of(request.user, request.project).done
    context = {
        "task": _next_task(request, done),
        "done": done,
        "returned": returned_to(request.user, request.project).count(),
    }
    return render(request, "ranking/page.html", context)


@require_POST
@project_page(Role.ANNOTATOR)
def next_task(request: ProjectRequest) -> HttpResponse:
    """Take ``{besides, since}`` or nothing; answer as ``Onwards`` says."""
    try:
        return JsonResponse(Onwards(request, body_of(request) if request.body else {}).answer())
    except Refusal as refusal:
        return refused(refusal)


@require_POST
@project_page(Role.ANNOTATOR)
def submit(request: ProjectRequest, place_id: UUID) -> HttpResponse:
    """Take ``{lease, key}``, ``parts_of`` an answer, and what ``Onwards`` takes; answer as it says. Where they are
    told how they did, that comes in place of the task."""
    try:
        answer = body_of(request)
        onwards = Onwards(request, answer)
        ranking = submitting.submit(
            annotator=request.user,
            assignment_id=place_id,
            lease=answer.get("lease", ""),
            key=answer.get("key", ""),
            **parts_of(answer),
        )
        return JsonResponse(onwards.answer(told=_feedback(request, ranking)))
    except Refusal as refusal:
        return refused(refusal)


@require_POST
@project_page(Role.ANNOTATOR)
def skip(request: ProjectRequest, place_id: UUID) -> HttpResponse:
    """Take ``{lease, reason}``, and what ``Onwards`` takes; answer as it says."""
    try:
        body = body_of(request)
        onwards = Onwards(request, body)
        assigning.skip(
            assignment=_place(request, place_id),
            annotator=request.user,
            lease=body.get("lease", ""),
            reason=str(body.get("reason", "")),
        )
        return JsonResponse(onwards.answer())
    except Refusal as refusal:
        return refused(refusal)


@require_POST
@project_page(Role.ANNOTATOR)
def give_back(request: ProjectRequest, place_id: UUID) -> HttpResponse:
    """Take ``{lease}``; answer with the page to go to, since the next task could well be this one. With ``ahead``,
    nobody has seen it: the page gives it back by itself, and nothing is said."""
    try:
        body = body_of(request)
        assigning.return_lease(
            assignment=_place(request, place_id),
            annotator=request.user,
            lease=body.get("lease", ""),
        )
    except Refusal as refusal:
        return refused(refusal)
    if body.get("ahead"):
        return JsonResponse({})
    messages.success(request, "Given back: somebody else can rank it, or you, later.")
    return JsonResponse({"url": reverse("project_home", args=[request.project.slug])})


@require_POST
@project_page(Role.ANNOTATOR)
def renew(request: ProjectRequest, place_id: UUID) -> HttpResponse:
    """Take ``{lease}``; answer with ``{seconds_left}``."""
    try:
        place = assigning.renew_lease(
            assignment=_place(request, place_id),
            annotator=request.user,
            lease=body_of(request).get("lease", ""),
        )
    except Refusal as refusal:
        return refused(refusal)
    return JsonResponse({"seconds_left": seconds_left(place.leased_until)})


class Onwards:
    """What the page asks for beside an answer, and is given: ``{html, progress}``.

    Of the request's JSON: ``besides``, the assignments that the page has already, so that the task after them comes as
    ``html`` (none: the next one; null: no task is wanted, and no ``html`` comes); ``since``, the start of the
    annotator's day, for ``progress.lately`` beside ``progress.done``; ``annotator``, whose the answer is.

    Raises:
        Refusal: one of them is wrong, or somebody else logged in since.
    """

    def __init__(self, request: ProjectRequest, body: dict[str, Any]) -> None:
        if body.get("annotator", request.user.pk) != request.user.pk:
            raise Refusal(
                "forbidden",
                f"This browser is logged in as {request.user} now, and this answer is somebody else's. "
                "It is kept here: it is sent once they log in again.",
            )
        self.request = request
        self.besides = _checked_besides(body.get("besides", []))
        self.since = _checked_since(body.get("since"))

    def answer(self, told: str = "") -> dict[str, Any]:
        """``told`` is HTML to be read before any other task is leased."""
        progress = progress_of(self.request.user, self.request.project, self.since)
        answer: dict[str, Any] = {"progress": {"done": progress.done, "lately": progress.lately}}
        if told:
            answer["html"] = told
        elif self.besides is not None:
            answer["html"] = _next_task(self.request, progress.done, self.besides)
        return answer


def _checked_besides(besides: Any) -> list[UUID] | None:
    if besides is None:
        return None
    if isinstance(besides, list) and len(besides) <= MOST_BESIDES:
        try:
            return [UUID(one) for one in besides]
        except (AttributeError, TypeError, ValueError):
            pass
    raise Refusal(
        "invalid",
        f"besides must be a list of at most {MOST_BESIDES} assignments, each a UUID, or null.",
        field="besides",
    )


def _checked_since(since: Any) -> datetime | None:
    if since is None:
        return None
    try:
        time = parse_datetime(since)
        if time is not None and is_aware(time):
            return time
    except (TypeError, ValueError):
        pass
    raise Refusal(
        "invalid",
        f"since must be a time with its zone, like 2026-01-31T00:00:00Z, not {since!r:.40}.",
        field="since",
    )


def _next_task(request: ProjectRequest, done: int, besides: Collection[UUID] = ()) -> str:
    """The HTML of the annotator's next task besides those, or of there being none."""
    project, annotator = request.project, request.user
    try:
        assignment = assigning.next_assignment(annotator=annotator, project=project, besides=besides)
    except Refusal as refusal:
        paused = {"project": project, "sentence": refusal.sentence}
        return render_to_string("ranking/paused.html", paused, request)
    context: dict[str, Any] = {"project": project, "role": request.role, "ranked": done}
    if assignment is None:
        context["open_batches"] = open_work(project).exists()
        context["stranded"] = _stranded(request)
        return render_to_string("ranking/nothing.html", context, request)
    context["view"] = blind_view(assignment)
    context["renew_within"] = project.lease_minutes * 60
    return task_html(request, context)


def _stranded(request: ProjectRequest) -> str:
    """The sentence for somebody who must qualify and cannot; empty for others."""
    member = standing_of(request.user, request.project)
    found = qualifications_of(request.project, [member])[member.user_id]
    return stranded_sentence(member) if found == Qualification.STRANDED else ""


def _feedback(request: ProjectRequest, ranking: Ranking) -> str:
    """The HTML of how the annotator did on a qualification task; empty after any other."""
    assignment = ranking.assignment
    if assignment.batch.kind != Batch.Kind.QUALIFICATION:
        return ""
    feedback = feedback_on(assignment=assignment, annotator=request.user)
    view = blind_view(assignment)
    responses = view["responses"]
    letters = {response["number"]: response["letter"] for response in responses}
    orders = [
        [sorted(letters[number] for number in tier) for tier in tiers]
        for tiers in (feedback.tiers, feedback.known_tiers)
    ]
    context = {
        "feedback": feedback,
        "asked": view["prompt"][-1]["content"],
        "rows": [(tier, *row) for tier, row in enumerate(zip_longest(*orders, fillvalue=()), start=1)],
        "responses": responses,
    }
    return render_to_string("ranking/feedback.html", context, request)


def task_html(request: ProjectRequest, context: dict[str, Any]) -> str:
    """The HTML of the task of ``context["view"]``."""
    responses = context["view"]["responses"]
    return render_to_string(
        "ranking/task.html",
        {**context, "responses": responses, "tiers": range(1, len(responses) + 1)},
        request,
    )


def body_of(request: ProjectRequest) -> dict[str, Any]:
    """The JSON object that the page sent. Raises Refusal where it is none."""
    try:
        body = json.loads(request.body)
        for name, value in body.items() if isinstance(body, dict) else ():
            require_storable(name, "A name in what the page sent")
            require_storable(value, f"The {name:.40}", field=name)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise Refusal(
            "invalid", "The page sent something that is not a JSON object. Reload the page and try again."
        )
    return body


def parts_of(answer: dict[str, Any]) -> dict[str, Any]:
    """What the annotator says of the task in what the page sent, as ``submitting`` takes it."""
    return {
        "tiers": answer.get("tiers", []),
        "strengths": answer.get("strengths"),
        "ratings": answer.get("ratings"),
        "flags": answer.get("flags"),
        "demonstrations": answer.get("demonstrations"),
        "rationale": answer.get("rationale", ""),
        "seconds": answer.get("seconds"),
    }


def _place(request: ProjectRequest, place_id: UUID) -> Assignment:
    try:
        return Assignment.objects.get(public_id=place_id, task__batch__project=request.project)
    except Assignment.DoesNotExist:
        raise Refusal("not_found", "There is no such task in this project. Take the next task.") from None


def refused(refusal: Refusal) -> JsonResponse:
    """The refusal as the page's script reads it."""
    return JsonResponse({"code": refusal.code, "sentence": refusal.sentence}, status=STATUS[refusal.code])
