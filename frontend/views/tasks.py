"""One task with all that was said of it, for reviewers and managers."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.cache import never_cache

from alignment.task_consensus import consensus_tiers
from annotation.models import Task
from annotation.task_answers import answers_to, lettered, responses_of
from frontend.access import ProjectRequest, Role, project_page


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
