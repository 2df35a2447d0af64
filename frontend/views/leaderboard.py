"""How the project's sources stand: the page, its figures alone, and a file."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.shortcuts import render

from alignment.api_leaderboard import as_file
from alignment.boards import BoardChoice, board_at_hand, board_of
from alignment.judges.hearing import judges_in_use
from annotation.refusals import Refusal
from frontend.access import ProjectRequest, Role, project_page
from frontend.forms import refuse
from frontend.forms_judges import BoardForm


@project_page(Role.REVIEWER)
def leaderboard(request: ProjectRequest) -> HttpResponse:
    """The page; of very many rankings, which take some seconds, the figures follow."""
    form, choice = _asked(request)
    context: dict[str, Any] = {
        "form": form,
        "filtered": any(request.GET.get(name) for name in form.fields),
        "query": request.GET.urlencode(),
        "has_judges": judges_in_use(request.project).exists(),
    }
    if form.errors or board_at_hand(request.project, choice):
        context |= {"found": board_of(request.project, choice)}
    return render(request, "leaderboard/page.html", context, status=422 if form.errors else 200)


@project_page(Role.REVIEWER)
def leaderboard_figures(request: ProjectRequest) -> HttpResponse:
    """The table of the page, without its frame."""
    _, choice = _asked(request)
    context = {"found": board_of(request.project, choice), "query": request.GET.urlencode()}
    return render(request, "leaderboard/board.html", context)


@project_page(Role.REVIEWER)
def leaderboard_file(request: ProjectRequest) -> HttpResponse:
    """The table as CSV."""
    _, choice = _asked(request)
    return as_file(board_of(request.project, choice).figures)


def _asked(request: ProjectRequest) -> tuple[BoardForm, BoardChoice]:
    """The form, and what it chooses; where something is wrong, the form says so, and all rankings are chosen."""
    form = BoardForm(request.GET or None, project=request.project)
    choice = form.choice()
    if form.errors:
        return form, BoardChoice()
    try:
        board_at_hand(request.project, choice)
    except Refusal as refusal:
        refuse(form, refusal)
        return form, BoardChoice()
    return form, choice
