"""AI judges: their list, making one, one with its figures and its work, and its answers."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, Q
from django.forms import Form
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from alignment.judges.figures import judge_figures, work_of
from alignment.judges.judging import start_judging
from alignment.judges.making import (
    archive_judge,
    bring_judge_back,
    create_endpoint_judge,
    create_reward_judge,
    reward_runs,
)
from alignment.judges.models import Judge
from annotation.refusals import Refusal
from frontend.access import ProjectRequest, Role, may, project_page
from frontend.forms import refuse
from frontend.forms_judges import EndpointJudgeForm, JudgingForm, RewardJudgeForm

A_PAGE = 50


@project_page(Role.REVIEWER)
def judges(request: ProjectRequest) -> HttpResponse:
    found = request.project.judges.annotate(
        tasks=Count("judgements__task", distinct=True),
        faults=Count("judgements", filter=Q(judgements__tiers__isnull=True), distinct=True),
    )
    context = {"judges": found, "has_reward_models": reward_runs(request.project).exists()}
    return render(request, "judges/list.html", context)


@project_page(Role.MANAGER)
def new_endpoint_judge(request: ProjectRequest) -> HttpResponse:
    form = EndpointJudgeForm(request.POST or None, project=request.project, user=request.user)

    def create() -> Judge:
        return create_endpoint_judge(project=request.project, created_by=request.user, **form.given())

    return _new(
        request, form, create, "A model that judges", "Any server that speaks OpenAI's chat completions."
    )


@project_page(Role.MANAGER)
def new_reward_judge(request: ProjectRequest) -> HttpResponse:
    form = RewardJudgeForm(request.POST or None, project=request.project)

    def create() -> Judge:
        return create_reward_judge(project=request.project, created_by=request.user, **form.cleaned_data)

    return _new(request, form, create, "A reward model that judges", "It scores each response by itself.")


@project_page(Role.REVIEWER)
def judge(request: ProjectRequest, judge_id: int) -> HttpResponse:
    shown = get_object_or_404(request.project.judges.select_related("reward_run"), pk=judge_id)
    form = None
    if may(request.role, Role.MANAGER) and shown.archived_at is None:
        form = JudgingForm(request.POST or None, project=request.project)
        if request.method == "POST" and form.is_valid():
            try:
                started = start_judging(judge=shown, created_by=request.user, **form.cleaned_data)
            except Refusal as refusal:
                refuse(form, refusal)
            else:
                messages.success(request, f"{shown.name} is asked {started.asked:,} times.")
                return redirect("judge", request.project.slug, shown.pk)
    context = {
        "judge": shown,
        "form": form,
        "work": work_of(shown.judgements.all()),
        "figures": judge_figures(shown).figures,
        "judgings": shown.judgings.select_related("batch", "run").annotate(
            answers=Count("judgements"), faults=Count("judgements", filter=Q(judgements__tiers__isnull=True))
        ),
    }
    return render(
        request, "judges/judge.html", context, status=422 if form is not None and form.errors else 200
    )


@project_page(Role.REVIEWER)
def judgements(request: ProjectRequest, judge_id: int) -> HttpResponse:
    shown = get_object_or_404(request.project.judges, pk=judge_id)
    faulty = request.GET.get("faulty") == "true"
    rows = shown.judgements.select_related("task__prompt", "task__batch").order_by("-pk")
    if faulty:
        rows = rows.filter(tiers__isnull=True)
    page = Paginator(rows, A_PAGE).get_page(request.GET.get("page"))
    return render(request, "judges/answers.html", {"judge": shown, "page": page, "faulty": faulty})


@require_POST
@project_page(Role.MANAGER)
def change_judge(request: ProjectRequest, judge_id: int, change: str) -> HttpResponse:
    shown = get_object_or_404(request.project.judges, pk=judge_id)
    archives = change == "archive"
    try:
        (archive_judge if archives else bring_judge_back)(shown)
    except Refusal as refusal:
        messages.error(request, refusal.sentence)
    else:
        said = "archived: it is asked nothing from now on" if archives else "in use again"
        messages.success(request, f"{shown.name} is {said}.")
    return redirect("judge", request.project.slug, shown.pk)


def _new(
    request: ProjectRequest, form: Form, create: Callable[[], Judge], title: str, text: str
) -> HttpResponse:
    if request.method == "POST" and form.is_valid():
        try:
            made = create()
        except Refusal as refusal:
            refuse(form, refusal)
        else:
            messages.success(request, f"{made.name} is there.")
            return redirect("judge", request.project.slug, made.pk)
    context = {"form": form, "title": title, "text": text}
    return render(request, "judges/new.html", context, status=422 if form.errors else 200)
