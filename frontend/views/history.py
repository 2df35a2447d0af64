"""What an annotator ranked, and changing it: the ranking page again, with the answer that was given."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any, cast
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import F
from django.db.models.lookups import IsNull
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from annotation import submitting
from annotation.amending import with_closed
from annotation.models import Batch, Ranking
from annotation.refusals import Refusal
from annotation.returning import returned_note, returned_to, with_returned_note
from annotation.showing import blind_view
from frontend.access import ProjectRequest, Role, project_page
from frontend.views.ranking import Onwards, body_of, parts_of, refused, task_html

A_PAGE = 50


@require_GET
@never_cache
@project_page(Role.ANNOTATOR)
def history(request: ProjectRequest) -> HttpResponse:
    own = Ranking.objects.filter(annotator=request.user, task__batch__project=request.project)
    found = (
        with_closed(with_returned_note(submitting.current_rankings(own)))
        .select_related("assignment", "task__prompt", "task__batch")
        .order_by(IsNull(F("returned_note"), True), "-submitted_at", "-pk")
    )
    context = {
        "page": Paginator(found, A_PAGE).get_page(request.GET.get("page")),
        "returned": returned_to(request.user, request.project).count(),
    }
    return render(request, "ranking/history.html", context)


@require_GET
@never_cache
@project_page(Role.ANNOTATOR)
def change(request: ProjectRequest, place_id: UUID) -> HttpResponse:
    """The ranking page with the annotator's present answer, in the order that they were shown."""
    ranking = _own(request, place_id)
    if fixed := _why_fixed(ranking):
        messages.error(request, fixed.sentence)
        return redirect("rank_history", request.project.slug)
    shown = {
        "task": _answered_html(request, ranking),
        "amending": True,
        "returned_note": returned_note(ranking),
    }
    return render(request, "ranking/page.html", shown)


@require_GET
@never_cache
@project_page(Role.ANNOTATOR)
def change_in_place(request: ProjectRequest, place_id: UUID) -> HttpResponse:
    """The same as ``{html}``, for the ranking page to show without leaving the task that waits there."""
    ranking = _own(request, place_id)
    if fixed := _why_fixed(ranking):
        return refused(fixed)
    return JsonResponse({"html": _answered_html(request, ranking)})


@require_POST
@project_page(Role.ANNOTATOR)
def amend(request: ProjectRequest, place_id: UUID) -> HttpResponse:
    """Take ``{key}`` and ``parts_of`` an answer; answer with the page to go to. Where ``besides`` is among them, it is
    changed in place, on the ranking page: the answer is as ``Onwards`` says."""
    ranking = _own(request, place_id)
    try:
        answer = body_of(request)
        onwards = Onwards(request, answer)
        submitting.amend(
            annotator=request.user,
            assignment_id=ranking.assignment_id,
            key=answer.get("key", ""),
            **parts_of(answer),
        )
    except Refusal as refusal:
        return refused(refusal)
    if "besides" in answer:
        return JsonResponse(onwards.answer())
    messages.success(request, "Your ranking is changed.")
    return JsonResponse({"url": reverse("rank_history", args=[request.project.slug])})


def _why_fixed(ranking: Ranking) -> Refusal | None:
    """Why the annotator cannot change it, if they cannot."""
    if cast(Any, ranking).closed:
        return Refusal("closed", "The batch of this task was closed, so its rankings stay as they are.")
    if ranking.task.batch.kind == Batch.Kind.QUALIFICATION:
        return Refusal(
            "conflict", "You were told the answer of this qualification task, so your ranking stays."
        )
    return None


def _own(request: ProjectRequest, place_id: UUID) -> Ranking:
    own = Ranking.objects.filter(
        assignment__public_id=place_id, annotator=request.user, task__batch__project=request.project
    )
    current = with_closed(submitting.current_rankings(own))
    return get_object_or_404(current.select_related("assignment", "task__batch", "task__prompt"))


def _answered_html(request: ProjectRequest, ranking: Ranking) -> str:
    context = {
        "project": request.project,
        "view": blind_view(ranking.assignment),
        "earlier": ranking,
        "draft": json.dumps(_draft(ranking)),
    }
    return task_html(request, context)


def _draft(ranking: Ranking) -> dict[str, object]:
    """The answer in the form in which the page keeps drafts; the time goes on from what it took so far."""
    ratings: dict[str, dict[int, int]] = {}
    for rating in ranking.aspect_ratings.select_related("aspect"):
        ratings.setdefault(rating.aspect.name, {})[rating.position] = rating.rating
    flags: dict[int, dict[str, str]] = {}
    for flag in ranking.flags.all():
        flags.setdefault(flag.position, {})[flag.kind] = flag.note
    # The page knows a strength by the two tiers that it is of, as their numbers: it goes when they change.
    between = [
        ">".join(",".join(map(str, sorted(tier))) for tier in pair) for pair in pairwise(ranking.tiers)
    ]
    strengths = {
        pair: step for pair, step in zip(between, ranking.strengths or [], strict=False) if step is not None
    }
    return {
        "tiers": {number: tier for tier, numbers in enumerate(ranking.tiers, start=1) for number in numbers},
        "strengths": strengths,
        "ratings": ratings,
        "flags": flags,
        "demonstrations": {
            "anew" if each.position is None else each.position: each.text
            for each in ranking.demonstrations.all()
        },
        "rationale": ranking.rationale,
        "seconds": ranking.seconds or 0,
    }
