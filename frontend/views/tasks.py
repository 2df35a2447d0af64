"""The tasks of a batch or project by what was said of them, and one task with all of it, for reviewers and managers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib.humanize.templatetags.humanize import ordinal
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.cache import never_cache

from alignment.task_consensus import consensus_tiers
from annotation.api_filters import QualityTaskFilters
from annotation.batch_quality import quality_tasks
from annotation.habits import Pattern
from annotation.models import Flag, Ranking, Review, Task
from annotation.task_answers import answers_to, lettered, responses_of
from annotation.task_figures import ANY_FLAG, TaskChoice, TaskOrder, rows_of
from frontend.access import ProjectRequest, Role, project_page
from frontend.quality_scope import scope_of

A_PAGE = 50
ORDERS = {
    TaskOrder.DISAGREEMENT: "Most disagreement first",
    TaskOrder.NEWEST: "Newest first",
    TaskOrder.OLDEST: "Oldest first",
}
VERDICTS: dict[str, str] = {
    Review.Verdict.ACCEPTED: "accepted",
    Review.Verdict.RETURNED: "returned a ranking of",
    Review.Verdict.ADJUDICATED: "adjudicated",
}
PATTERNS: dict[str, str] = {
    Pattern.AS_SHOWN: "ranked as they were shown",
    Pattern.REVERSED: "ranked the other way round",
    Pattern.ONE_ORDER: "ranked in one order of the page’s places",
    Pattern.TOO_FAST: "ranked too fast to have read",
    Pattern.ALL_TIED: "all tied",
}


@project_page(Role.REVIEWER)
def tasks(request: ProjectRequest, batch_id: int | None = None) -> HttpResponse:
    scope = scope_of(request, batch_id)
    asked = QualityTaskFilters(request.GET)
    asked.is_valid()  # what is not understood is left out, and the form shows what is in force
    choice, order = asked.told()
    keys, disagreement = quality_tasks(scope.batches, choice, order)
    page = Paginator(keys, A_PAGE).get_page(request.GET.get("page"))
    ranked = Ranking.objects.filter(task__batch__in=scope.batches).order_by()
    context = {
        "scope": scope,
        "batch": scope.batch,
        "page": page,
        "rows": rows_of(list(page.object_list), disagreement),
        "choice": choice,
        "order": order,
        "orders": ORDERS,
        "kept": _kept(request, choice),
        "annotators": list(
            ranked.values_list("annotator__username", flat=True).distinct().order_by("annotator__username")
        ),
        "flags": [(ANY_FLAG, "any flag"), *Flag.Kind.choices],
        "aspects": request.project.aspects.values_list("name", flat=True),
        "filtered": any(request.GET.get(name) for name in asked.filters if name != "order"),
    }
    return render(request, "tasks/list.html", context)


def _kept(request: ProjectRequest, choice: TaskChoice) -> list[tuple[str, str, str]]:
    """What a figure's link chose and the form has no field for, to be kept or taken away: name, value, in words."""
    chosen = request.project.sources.filter(pk__in=[choice.source, choice.against])
    sources = dict(chosen.values_list("pk", "name"))
    words = {
        "pattern": PATTERNS.get(choice.pattern, ""),
        "source": f"with a response of {sources.get(choice.source or 0, 'another project')}",
        "against": f"and one of {sources.get(choice.against or 0, 'another project')}",
        "measures": "that gold accuracy rests on",
        "tied": "with a tie",
        "since": f"ranked from {_moment(choice.since)}",
        "until": f"ranked before {_moment(choice.until)}",
        "verdict": f"that a reviewer {VERDICTS.get(choice.verdict, '')}",
        "stretch": f"of the {ordinal(choice.stretch)} stretch of agreement" if choice.stretch else "",
    }
    return [(name, request.GET[name], text) for name, text in words.items() if getattr(choice, name)]


def _moment(at: datetime | None) -> str:
    return f"{timezone.localtime(at):%Y-%m-%d %H:%M}" if at else ""


@never_cache
@project_page(Role.REVIEWER)
def task(request: ProjectRequest, batch_id: int, task_id: int) -> HttpResponse:
    shown = get_object_or_404(
        Task.objects.select_related("batch", "prompt"),
        pk=task_id,
        batch=batch_id,
        batch__project=request.project,
    )
    return render(request, "tasks/task.html", task_context(request, shown))


def task_context(request: ProjectRequest, shown: Task) -> dict[str, Any]:
    """What ``tasks/task.html`` needs; pages that extend it add to it."""
    said = answers_to(shown, reader=request.user)
    consensus = consensus_tiers([answer.ranking.tiers for answer in said.answers])
    return {
        "task": shown,
        "batch": shown.batch,
        "responses": responses_of(shown),
        "said": said,
        "consensus": lettered(consensus) if consensus else [],
        "gold": lettered(shown.gold_tiers) if shown.gold_tiers and not said.withheld else [],
    }
