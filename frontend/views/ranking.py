"""The annotators' page: one task after the other.

The page is whole at the first load; afterwards each answer brings the next task with it as a piece of HTML, so that
there is one request a task and nothing to wait for in between.
"""

from __future__ import annotations

import json
from itertools import zip_longest
from typing import Any

from django.contrib import messages
from django.http import HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from annotation import assigning, submitting
from annotation.batching import open_work
from annotation.models import Assignment, Batch, Ranking
from annotation.qualifying import feedback_on
from annotation.refusals import Refusal, require_storable
from annotation.showing import blind_view
from frontend.access import ProjectRequest, Role, project_page

STATUS = {
    "invalid": 422,
    "forbidden": 403,
    "not_found": 404,
    "conflict": 409,
    "lease_lost": 409,
    "closed": 409,
}


@require_GET
@never_cache
@project_page(Role.ANNOTATOR)
def rank(request: ProjectRequest) -> HttpResponse:
    return render(request, "ranking/page.html", {"task": _next_task(request)})


@require_POST
@project_page(Role.ANNOTATOR)
def next_task(request: ProjectRequest) -> HttpResponse:
    return JsonResponse({"html": _next_task(request)})


@require_POST
@project_page(Role.ANNOTATOR)
def submit(request: ProjectRequest, assignment_id: int) -> HttpResponse:
    """Take ``{lease, key, tiers, ratings, rationale, seconds}``; answer with the next task, or with how the annotator
    did where that is told."""
    try:
        answer = body_of(request)
        ranking = submitting.submit(
            annotator=request.user,
            assignment_id=assignment_id,
            lease=answer.get("lease", ""),
            key=answer.get("key", ""),
            tiers=answer.get("tiers", []),
            ratings=answer.get("ratings"),
            rationale=answer.get("rationale", ""),
            seconds=answer.get("seconds"),
        )
        return JsonResponse({"html": _feedback(request, ranking) or _next_task(request)})
    except Refusal as refusal:
        return refused(refusal)


@require_POST
@project_page(Role.ANNOTATOR)
def skip(request: ProjectRequest, assignment_id: int) -> HttpResponse:
    """Take ``{lease, reason}``; answer with the next task."""
    try:
        body = body_of(request)
        assigning.skip(
            assignment=_place(request, assignment_id),
            annotator=request.user,
            lease=body.get("lease", ""),
            reason=str(body.get("reason", "")),
        )
        return JsonResponse({"html": _next_task(request)})
    except Refusal as refusal:
        return refused(refusal)


@require_POST
@project_page(Role.ANNOTATOR)
def give_back(request: ProjectRequest, assignment_id: int) -> HttpResponse:
    """Take ``{lease}``; answer with the page to go to, since the next task could well be this one."""
    try:
        assigning.return_lease(
            assignment=_place(request, assignment_id),
            annotator=request.user,
            lease=body_of(request).get("lease", ""),
        )
    except Refusal as refusal:
        return refused(refusal)
    messages.success(request, "Given back: somebody else can rank it, or you, later.")
    return JsonResponse({"url": reverse("project_home", args=[request.project.slug])})


@require_POST
@project_page(Role.ANNOTATOR)
def renew(request: ProjectRequest, assignment_id: int) -> HttpResponse:
    """Take ``{lease}``; answer with ``{leased_until}``."""
    try:
        place = assigning.renew_lease(
            assignment=_place(request, assignment_id),
            annotator=request.user,
            lease=body_of(request).get("lease", ""),
        )
    except Refusal as refusal:
        return refused(refusal)
    return JsonResponse({"leased_until": place.leased_until})


def _next_task(request: ProjectRequest) -> str:
    """The HTML of the annotator's next task, or of there being none."""
    project, annotator = request.project, request.user
    try:
        assignment = assigning.next_assignment(annotator=annotator, project=project)
    except Refusal as refusal:
        paused = {"project": project, "sentence": refusal.sentence}
        return render_to_string("ranking/paused.html", paused, request)
    places = Assignment.objects.filter(annotator=annotator, task__batch__project=project)
    context: dict[str, Any] = {
        "project": project,
        "role": request.role,
        "ranked": places.filter(state=Assignment.State.SUBMITTED).count(),
    }
    if assignment is None:
        context["open_batches"] = open_work(project).exists()
        return render_to_string("ranking/nothing.html", context, request)
    context["view"] = blind_view(assignment)
    context["renew_within"] = project.lease_minutes * 60
    return task_html(request, context)


def _feedback(request: ProjectRequest, ranking: Ranking) -> str:
    """The HTML of how the annotator did on a qualification task; empty after any other."""
    assignment = ranking.assignment
    if assignment.batch.kind != Batch.Kind.QUALIFICATION:
        return ""
    feedback = feedback_on(assignment=assignment, annotator=request.user)
    view = blind_view(assignment)
    responses = lettered(view["responses"])
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
    responses = lettered(context["view"]["responses"])
    return render_to_string(
        "ranking/task.html",
        {**context, "responses": responses, "tiers": range(1, len(responses) + 1)},
        request,
    )


def lettered(responses: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The responses with their names. Digits name tiers, so these are letters, in the order on the page."""
    return [{"letter": chr(ord("A") + index), **response} for index, response in enumerate(responses)]


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


def _place(request: ProjectRequest, assignment_id: int) -> Assignment:
    try:
        return Assignment.objects.get(pk=assignment_id, task__batch__project=request.project)
    except Assignment.DoesNotExist:
        raise Refusal("not_found", "There is no such task in this project. Take the next task.") from None


def refused(refusal: Refusal) -> JsonResponse:
    """The refusal as the page's script reads it."""
    return JsonResponse({"code": refusal.code, "sentence": refusal.sentence}, status=STATUS[refusal.code])
