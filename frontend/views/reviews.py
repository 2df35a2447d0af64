"""The reviewers' pages: what awaits a review, and one task of it after the other."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from annotation import review_queue
from annotation.gold import LONGEST_REVIEW_NOTE
from annotation.models import Project, Task
from annotation.refusals import Refusal
from annotation.review_queue import Reason
from annotation.reviewing import require_reviewable, review_task
from annotation.showing_reviews import review_view
from frontend.access import ProjectRequest, Role, project_page
from frontend.reviews import drawn
from frontend.views.ranking import body_of, refused

A_PAGE = 50
DONE = {
    "accepted": "Accepted.",
    "returned": "Returned: its annotator is told, and the task comes back once they have amended it.",
    "adjudicated": "Your order counts as the right one.",
}


@require_GET
@never_cache
@project_page(Role.REVIEWER)
def queue(request: ProjectRequest) -> HttpResponse:
    reason = request.GET.get("reason", "")
    waiting = review_queue.most_urgent(project=request.project, reviewer=request.user)
    shown = [each for each in waiting if reason not in list(Reason) or reason in each.reasons]
    page = Paginator(shown, A_PAGE).get_page(request.GET.get("page"))
    tasks = Task.objects.select_related("prompt", "batch").in_bulk([each.task for each in page])
    context = {
        "page": page,
        "rows": [(each, tasks[each.task]) for each in page if each.task in tasks],
        "waiting": len(waiting),
        "cut": len(waiting) >= review_queue.MOST_KEPT,
        "reason": reason,
        "reasons": list(Reason),
    }
    return render(request, "review/queue.html", context)


@require_GET
@never_cache
@project_page(Role.REVIEWER)
def next_task(request: ProjectRequest) -> HttpResponse:
    """Go to the most urgent task that nobody else has open."""
    return redirect(_next_address(request))


@require_GET
@never_cache
@project_page(Role.REVIEWER)
def task(request: ProjectRequest, task_id: int) -> HttpResponse:
    """A task and what its annotators made of it, blind, to be judged."""
    shown = _task(request.project, task_id)
    try:
        require_reviewable(shown, request.user)
    except Refusal as refusal:
        messages.error(request, refusal.sentence)
        return redirect("review", request.project.slug)
    view = review_view(shown)
    context: dict[str, Any] = {
        "view": view,
        **drawn(view),
        "waiting": review_queue.waiting_for(shown),
        "theirs": not review_queue.claim(request.project, shown.pk, request.user),
        "longest_note": LONGEST_REVIEW_NOTE,
    }
    return render(request, "review/task.html", context)


@require_POST
@project_page(Role.REVIEWER)
def verdict(request: ProjectRequest, task_id: int) -> HttpResponse:
    """Take ``{version, verdict, ranking, tiers, note}``; answer with the page to go to, which has the next task."""
    judged = _task(request.project, task_id)
    try:
        given = body_of(request)
        review = review_task(
            reviewer=request.user,
            task_id=judged.pk,
            version=str(given.get("version", "")),
            verdict=given.get("verdict", ""),
            ranking_id=_number(given.get("ranking")),
            tiers=given.get("tiers"),
            note=given.get("note", ""),
        )
    except Refusal as refusal:
        return refused(refusal)
    messages.success(request, DONE[review.verdict])
    return JsonResponse({"url": _next_address(request)})


@require_POST
@project_page(Role.REVIEWER)
def pass_by(request: ProjectRequest, task_id: int) -> HttpResponse:
    """Put the task last for this reviewer; answer with the page to go to."""
    passed = _task(request.project, task_id)
    review_queue.pass_by(project=request.project, task=passed.pk, reviewer=request.user)
    address = _next_address(request)
    if address == reverse("review_task", args=[request.project.slug, passed.pk]):
        messages.info(request, "No other task awaits your review now.")
    return JsonResponse({"url": address})


def _next_address(request: ProjectRequest) -> str:
    found = review_queue.next_task(project=request.project, reviewer=request.user)
    if found is None:
        return reverse("review", args=[request.project.slug])
    return reverse("review_task", args=[request.project.slug, found])


def _task(project: Project, task_id: int) -> Task:
    return get_object_or_404(
        Task.objects.select_related("batch__project", "prompt"), pk=task_id, batch__project=project
    )


def _number(value: Any) -> int | None:
    """The id that the page sent; None where it is none, which the verdict then says."""
    return value if type(value) is int else None
