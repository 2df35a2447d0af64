"""What annotators said of a batch besides the ranking, for those who run the project."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render

from annotation.lettering import letter_of
from annotation.models import Demonstration, Flag, Ranking
from annotation.refusals import Refusal
from annotation.remarks import DEMONSTRATIONS, RATIONALES, flag_name, remark_counts, remarked
from annotation.task_answers import lettered
from frontend.access import ProjectRequest, Role, project_page

A_PAGE = 20


@project_page(Role.REVIEWER)
def remarks(request: ProjectRequest, batch_id: int) -> HttpResponse:
    batch = get_object_or_404(request.project.batches, pk=batch_id)
    counts = remark_counts(batch)
    choices = [
        *((kind, f"flagged: {flag_name(kind)}", count) for kind, count in counts.flags.items()),
        (DEMONSTRATIONS, "better responses", counts.demonstrations),
        (RATIONALES, "reasons", counts.rationales),
    ]
    remark, problem = request.GET.get("of", ""), ""
    try:
        found = remarked(batch, remark)
    except Refusal as refusal:
        remark, problem = "", refusal.sentence
        found = remarked(batch)
    found = found.select_related("annotator", "task__prompt").prefetch_related(
        "flags", "demonstrations", "task__task_responses__response"
    )
    page = Paginator(found, A_PAGE).get_page(request.GET.get("page"))
    context = {
        "batch": batch,
        "choices": [choice for choice in choices if choice[2]],
        "remark": remark,
        "problem": problem,
        "page": page,
        "rows": [_row(ranking) for ranking in page],
    }
    return render(request, "batches/remarks.html", context)


def _row(ranking: Ranking) -> dict[str, Any]:
    texts = {each.position: each.response.text for each in ranking.task.task_responses.all()}
    place = {number: tier for tier, numbers in enumerate(ranking.tiers, start=1) for number in numbers}

    def said_of(mark: Flag | Demonstration) -> dict[str, Any]:
        return {
            "mark": mark,
            "letter": letter_of(mark.position) if mark.position is not None else "",
            "text": texts.get(mark.position, "") if mark.position is not None else "",
            "place": place.get(mark.position) if mark.position is not None else None,
        }

    return {
        "ranking": ranking,
        "tiers": lettered(ranking.tiers, ranking.strengths),
        "unranked": [letter_of(number) for number in sorted(texts.keys() - place.keys())],
        "flags": [said_of(flag) for flag in ranking.flags.all()],
        "demonstrations": [said_of(each) for each in ranking.demonstrations.all()],
    }
