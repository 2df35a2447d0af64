"""Rounds: the list, starting one, watching it, deciding on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.http import require_POST

from alignment import rounds as activity
from alignment.answers import JUDGED, Answers
from alignment.archiving import sources_in_use, versions_in_use
from alignment.dataset_warnings import warnings_of
from alignment.models import Round, Scorecard
from alignment.recipes import RECIPES, annotation_settings
from alignment.reliability import batch_win_rates
from alignment.round_reviews import review_awaited
from alignment.scorecards import baseline_of
from annotation.batching import batch_progress
from annotation.models import Project
from annotation.quality import batches_of
from annotation.refusals import Refusal
from annotation.retiring import prompts_in_use
from frontend.access import ProjectRequest, Role, project_page
from frontend.forms import refuse
from frontend.forms_round import RoundForm
from frontend.next_step import Step
from training.refusals import Refusal as TrainingRefusal

State = Round.State
ANSWERS_AT_FIRST, ANSWERS_A_PAGE = 3, 20
STAGES = (
    (State.SAMPLING, "Sample"),
    (State.ANNOTATING, "Annotate"),
    (State.BUILDING, "Build dataset"),
    (State.REWARDING, "Reward model"),
    (State.TRAINING, "Train"),
    (State.EVALUATING, "Evaluate"),
    (State.JUDGING, "Compare"),
    (State.DECIDING, "Decide"),
)
SAYS = {
    State.SAMPLING: "Each source is drawing its share of the responses. Ranking opens by itself when they are there.",
    State.ANNOTATING: "People are ranking. The round goes on when every place is ranked, or when you close the batch.",
    State.BUILDING: "The consensus of the rankings is being frozen into a dataset.",
    State.REWARDING: "A reward model is learning from the dataset to tell good responses from bad ones.",
    State.TRAINING: "A new model version is learning from the dataset.",
    State.EVALUATING: "The new model and the one it was made of are answering the held-out prompts.",
    State.JUDGING: "People are comparing the two models' answers to the held-out prompts, blind.",
    State.DECIDING: "The new model is measured. Promote it, and the next round starts from it; or reject it.",
}
REVIEWING = (
    "All is ranked. The round goes on when the review that it waits for is done, or when you go on without."
)
ACTIONS = {
    "close-annotation": (
        activity.close_annotation,
        "The batch is closed; the round goes on with what is ranked.",
    ),
    "waive-review": (activity.waive_review, "The round goes on without the review."),
    "retry": (activity.retry_round, "Trying again."),
    "cancel": (activity.cancel_round, "The round is cancelled. What it made stays."),
    "promote": (activity.promote, "Promoted: the next round starts from it."),
    "reject": (activity.reject, "Rejected: the next round starts from where this one did."),
}


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of a round as the page draws it: ``standing`` is done, now, failed or empty."""

    label: str
    standing: str


@project_page(Role.REVIEWER)
def rounds(request: ProjectRequest) -> HttpResponse:
    found = request.project.rounds.select_related("scorecard", "candidate", "start_from")
    latest = found.first()
    context = {"rounds": found, "may_start": latest is None or latest.state in Round.ENDED}
    return render(request, "rounds/list.html", context)


@project_page(Role.MANAGER)
def new_round(request: ProjectRequest) -> HttpResponse:
    form = RoundForm(request.POST or None, project=request.project, user=request.user)
    if request.method == "POST" and form.is_valid():
        try:
            started = activity.start_round(
                project=request.project, created_by=request.user, **form.arguments()
            )
        except Refusal as refusal:
            refuse(form, refusal)
        else:
            messages.success(request, f"Round {started.number} is under way.")
            return redirect("round", request.project.slug, started.number)
    newest = request.project.datasets.first()
    context = {
        "form": form,
        "warnings": warnings_of(newest.card) if newest else [],
        "warned": f"Of dataset version {newest.version}, the newest" if newest else "",
        "prompts": request.project.prompts.count(),
        "missing": missing_for_a_round(request.project),
    }
    return render(request, "rounds/new.html", context, status=422 if form.errors else 200)


def missing_for_a_round(project: Project) -> Step | None:
    """What the project needs before a round can be started in it, if anything, and where it is added."""

    def page(name: str) -> str:
        return reverse(name, args=[project.slug])

    if not prompts_in_use(project).exists():
        text = "A round draws responses to the project's prompts."
        return Step("Upload prompts first", text, page("upload_prompts"), "Upload prompts")
    if not versions_in_use(project).exists():
        text = "A round improves a model, and this project has none in use."
        return Step("Add a model first", text, page("new_model"), "Add a base model")
    if not sources_in_use(project).exists():
        text = "A round draws its responses from sources: a model version with its sampling settings, or an endpoint."
        return Step("Add a source first", text, page("new_source"), "Add a model source")
    return None


@project_page(Role.REVIEWER)
def round(request: ProjectRequest, number: int) -> HttpResponse:
    shown = _round(request, number)
    card = getattr(shown, "scorecard", None)
    context = _live(shown) | {
        "stages": stages(shown),
        "warnings": warnings_of(shown.dataset.card, shown.recipe) if shown.dataset else [],
        "settings": shown.settings,
        "annotation": annotation_settings(shown),
        "sources": shown.sources.all(),
        "win_rates": batch_win_rates(batches_of(shown.batch)).figures
        if shown.batch and shown.sources.count() > 1
        else [],
        "card": card,
        "baseline": baseline_of(card) if card is not None else None,
        "doubt": _doubt(card),
    }
    if request.role == Role.MANAGER and shown.state in JUDGED:
        context |= _answers(shown, 1, ANSWERS_AT_FIRST)
    return render(request, "rounds/round.html", context)


def _doubt(card: Scorecard | None) -> str:
    """What speaks against a promotion, as far as the win rate tells; empty where it speaks for it."""
    if card is None or card.win_rate_low is None or card.win_rate_high is None:
        return "No win rate was measured."
    if card.win_rate_low > 0.5:
        return ""
    if card.win_rate_high < 0.5:
        return "The new model is worse: the whole interval of its win rate lies below one half."
    return "It cannot be told which model is better: the interval of the win rate holds one half."


@project_page(Role.MANAGER)
def round_answers(request: ProjectRequest, number: int) -> HttpResponse:
    """All that both models answered to held-out prompts, once nobody compares them blind any more."""
    shown = _round(request, number)
    context = {"round": shown, "judged": shown.state in JUDGED}
    return render(
        request, "rounds/answers.html", context | _answers(shown, request.GET.get("page", 1), ANSWERS_A_PAGE)
    )


def _answers(shown: Round, number: int | str, a_page: int) -> dict[str, Any]:
    try:
        answers = Answers(shown)
    except TrainingRefusal:
        return {"answers_are_gone": True}
    page = Paginator(answers.prompts, a_page).get_page(number)
    return {"page": page, "answers": answers.to(list(page.object_list))}


@project_page(Role.REVIEWER)
def round_live(request: ProjectRequest, number: int) -> HttpResponse:
    """The parts of the page that move; a round that came into another state has the whole page drawn anew."""
    shown = _round(request, number)
    context = _live(shown) | {"apart": True}
    if request.GET.get("state") != context["phase"]:
        return HttpResponse(headers={"HX-Refresh": "true"})
    parts = [render_to_string(f"rounds/{part}.html", context, request) for part in ("live", "runs")]
    return HttpResponse("".join(parts))


@require_POST
@project_page(Role.MANAGER)
def change_round(request: ProjectRequest, number: int, action: str) -> HttpResponse:
    shown = _round(request, number)
    do, said = ACTIONS[action]
    try:
        do(round=shown, by=request.user)
    except Refusal as refusal:
        messages.error(request, refusal.sentence)
    else:
        messages.success(request, said)
    return redirect("round", request.project.slug, shown.number)


def stages(shown: Round) -> list[Stage]:
    """The way of the round, and how far along it is."""
    not_on_it = set()
    if shown.judge != Round.Judge.PEOPLE:
        not_on_it.add(State.JUDGING)
    if "reward" not in RECIPES[shown.recipe].methods:
        not_on_it.add(State.REWARDING)
    way = [(state, label) for state, label in STAGES if state not in not_on_it]
    states = [state for state, _ in way]
    at = State(shown.failed_in) if shown.state == State.FAILED else State(shown.state)
    if at in (State.PROMOTED, State.REJECTED):
        reached = len(way)
    else:
        reached = states.index(at) if at in states else -1
    standing = {reached: "failed" if shown.state == State.FAILED else "now"}
    return [
        Stage(label, "done" if place < reached else standing.get(place, ""))
        for place, (_, label) in enumerate(way)
    ]


def _live(shown: Round) -> dict[str, Any]:
    batch = {State.ANNOTATING: shown.batch, State.JUDGING: shown.evaluation_batch}.get(State(shown.state))
    step = shown.failed_in or shown.state
    review = review_awaited(shown, live=False)
    return {
        "round": shown,
        # The page is another one while a round waits for reviews, though its state is the same.
        "phase": "reviewing" if review else shown.state,
        "review": review,
        "says": REVIEWING if review else SAYS.get(State(shown.state), ""),
        "ended": shown.state in Round.ENDED or shown.state == State.FAILED,
        "awaited": batch,
        "progress": batch_progress(batch) if batch is not None else None,
        "runs": shown.round_runs.select_related("run", "source"),
        "step_runs": shown.round_runs.filter(step=step).select_related("run", "source"),
    }


def _round(request: ProjectRequest, number: int) -> Round:
    found = request.project.rounds.select_related(
        "start_from",
        "candidate",
        "batch",
        "evaluation_batch",
        "dataset",
        "scorecard",
        "created_by",
        "review_waived_by",
    )
    return get_object_or_404(found, number=number)
