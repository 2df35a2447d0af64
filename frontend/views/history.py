"""What an annotator ranked, and changing it: the ranking page again, with the answer that was given."""

from __future__ import annotations

import json

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from annotation import submitting
from annotation.models import Batch, Ranking
from annotation.refusals import Refusal
from annotation.showing import blind_view
from frontend.access import ProjectRequest, Role, project_page
from frontend.views.ranking import body_of, refused, task_html

A_PAGE = 50


@require_GET
@never_cache
@project_page(Role.ANNOTATOR)
def history(request: ProjectRequest) -> HttpResponse:
    own = Ranking.objects.filter(annotator=request.user, task__batch__project=request.project)
    found = (
        submitting.current_rankings(own)
        .select_related("task__prompt", "task__batch")
        .order_by("-submitted_at", "-pk")
    )
    return render(
        request, "ranking/history.html", {"page": Paginator(found, A_PAGE).get_page(request.GET.get("page"))}
    )


@require_GET
@never_cache
@project_page(Role.ANNOTATOR)
def change(request: ProjectRequest, assignment_id: int) -> HttpResponse:
    """The ranking page with the annotator's present answer, in the order that they were shown."""
    ranking = _own(request, assignment_id)
    if ranking.task.batch.state == Batch.State.CLOSED:
        messages.error(request, "The batch of this task was closed, so its rankings stay as they are.")
        return redirect("rank_history", request.project.slug)
    if ranking.task.batch.kind == Batch.Kind.QUALIFICATION:
        messages.error(request, "You were told the answer of this qualification task, so your ranking stays.")
        return redirect("rank_history", request.project.slug)
    context = {
        "project": request.project,
        "view": blind_view(ranking.assignment),
        "earlier": ranking,
        "draft": json.dumps(_draft(ranking)),
    }
    return render(request, "ranking/page.html", {"task": task_html(request, context), "amending": True})


@require_POST
@project_page(Role.ANNOTATOR)
def amend(request: ProjectRequest, assignment_id: int) -> HttpResponse:
    """Take ``{key, tiers, ratings, rationale, seconds}``; answer with the page to go to."""
    ranking = _own(request, assignment_id)
    try:
        answer = body_of(request)
        submitting.amend(
            annotator=request.user,
            assignment_id=ranking.assignment_id,
            key=answer.get("key", ""),
            tiers=answer.get("tiers", []),
            ratings=answer.get("ratings"),
            rationale=answer.get("rationale", ""),
            seconds=answer.get("seconds"),
        )
    except Refusal as refusal:
        return refused(refusal)
    messages.success(request, "Your ranking is changed.")
    return JsonResponse({"url": reverse("rank_history", args=[request.project.slug])})


def _own(request: ProjectRequest, assignment_id: int) -> Ranking:
    own = Ranking.objects.filter(
        assignment=assignment_id, annotator=request.user, task__batch__project=request.project
    )
    return get_object_or_404(
        submitting.current_rankings(own).select_related("assignment", "task__batch", "task__prompt")
    )


def _draft(ranking: Ranking) -> dict[str, object]:
    """The answer in the form in which the page keeps drafts; the time goes on from what it took so far."""
    ratings: dict[str, dict[int, int]] = {}
    for rating in ranking.aspect_ratings.select_related("aspect"):
        ratings.setdefault(rating.aspect.name, {})[rating.position] = rating.rating
    return {
        "tiers": {number: tier for tier, numbers in enumerate(ranking.tiers, start=1) for number in numbers},
        "ratings": ratings,
        "rationale": ranking.rationale,
        "seconds": ranking.seconds or 0,
    }
