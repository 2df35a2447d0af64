"""Who is in a project, and as what."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from alignment.dataset_lineage import datasets_with
from annotation import projects, standing
from annotation.measuring import gold_result
from annotation.models import Membership, User
from annotation.qualifying import qualifications_of, why_stranded
from annotation.refusals import Refusal
from frontend.access import ProjectRequest, Role, project_page
from frontend.forms import AddMemberForm, LimitsForm, NewAccountForm, PauseForm, RoleForm, refuse


@project_page(Role.MANAGER)
def members(request: ProjectRequest) -> HttpResponse:
    form = AddMemberForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        user, role = form.cleaned_data["username"], form.cleaned_data["role"]
        try:
            projects.add_member(project=request.project, user=user, role=role)
        except Refusal as refusal:
            refuse(form, refusal)
        else:
            messages.success(request, f"{user} is in the project as {role}.")
            return redirect("members", request.project.slug)
    return _members(request, form=form, new_account=NewAccountForm.after(form) if form.errors else None)


@never_cache
@project_page(Role.MANAGER)
def make_account(request: ProjectRequest) -> HttpResponse:
    """The temporary password is shown in the answer that makes the account, and never again."""
    if request.method != "POST":
        return redirect("members", request.project.slug)
    form = NewAccountForm(request.POST)
    if form.is_valid():
        try:
            membership, password = projects.invite(
                project=request.project, by=request.user, **form.cleaned_data
            )
        except Refusal as refusal:
            refuse(form, refusal)
        else:
            context = {
                "membership": membership,
                "password": password,
                "log_in": request.build_absolute_uri(reverse("account_login")),
                "change_password": request.build_absolute_uri(reverse("account_change_password")),
            }
            return render(request, "project/account_made.html", context)
    return _members(request, new_account=form)


def _members(
    request: ProjectRequest, *, form: AddMemberForm | None = None, new_account: NewAccountForm | None = None
) -> HttpResponse:
    context = {
        "form": form,
        "new_account": new_account,
        "members": _with_standing(request),
        "roles": Role.choices,
    }
    refused = new_account is not None or (form is not None and form.errors)
    return render(request, "project/members.html", context, status=422 if refused else 200)


def _with_standing(request: ProjectRequest) -> list[Membership]:
    """The members, and of each how they stand to the qualifications."""
    found = request.project.memberships.select_related("user").order_by("-role", "user__username")
    members = list(found)
    qualifications = qualifications_of(request.project, members)
    for each in members:
        each.qualification = qualifications[each.user_id]  # type: ignore[attr-defined]
        each.why_stranded = why_stranded(each)  # type: ignore[attr-defined]
    return members


@project_page(Role.MANAGER)
def member(request: ProjectRequest, user_id: int) -> HttpResponse:
    shown = _member(request, user_id)
    return _of_member(request, shown, LimitsForm(initial={"languages": shown.languages, "tags": shown.tags}))


@require_POST
@project_page(Role.MANAGER)
def set_limits(request: ProjectRequest, user_id: int) -> HttpResponse:
    shown = _member(request, user_id)
    form = LimitsForm(request.POST)
    if form.is_valid():
        try:
            standing.set_limits(project=request.project, user=shown.user, **form.cleaned_data)
        except Refusal as refusal:
            refuse(form, refusal)
        else:
            messages.success(request, f"Saved. It holds from {shown.user}’s next task on.")
            return redirect("member", request.project.slug, user_id)
    return _of_member(request, shown, form)


Change = Callable[..., Membership]
CHANGES: dict[str, tuple[Change, str]] = {
    "pause": (standing.pause_member, "{user} is paused; what they held is open for others."),
    "lift": (standing.lift_pause, "{user} gets tasks again. Gold tasks count anew."),
    "qualify": (partial(standing.set_qualified, qualified=True), "{user} is qualified."),
    "ask": (partial(standing.set_qualified, qualified=False), "{user} is asked to qualify first."),
}


@require_POST
@project_page(Role.MANAGER)
def change_standing(request: ProjectRequest, user_id: str, change: str) -> HttpResponse:
    shown = _member(request, int(user_id))
    act, said = CHANGES[change]
    given = {"reason": request.POST.get("pause_reason", "")} if change == "pause" else {}
    try:
        act(project=request.project, user=shown.user, **given)
    except Refusal as refusal:
        messages.error(request, refusal.sentence)
    else:
        messages.success(request, said.format(user=shown.user))
    return redirect("member", request.project.slug, shown.user_id)


def _member(request: ProjectRequest, user_id: int) -> Membership:
    return get_object_or_404(request.project.memberships.select_related("user", "project"), user=user_id)


def _of_member(request: ProjectRequest, shown: Membership, form: LimitsForm) -> HttpResponse:
    tasks, result = gold_result(shown)
    context = {
        "member": shown,
        "form": form,
        "pause": PauseForm(),
        "qualification": qualifications_of(request.project, [shown])[shown.user_id],
        "why_stranded": why_stranded(shown),
        "measured": standing.is_measured(shown),
        "gold_tasks": tasks,
        "gold": result,
        "rankings": shown.user.rankings.filter(task__batch__project=request.project).exists(),
        "holding": datasets_with(request.project, annotator=shown.user),
        "withdrawn": request.project.withdrawals.filter(annotator=shown.user, ended_at=None).exists(),
    }
    return render(request, "project/member.html", context, status=422 if form.errors else 200)


@require_POST
@project_page(Role.MANAGER)
def change_role(request: ProjectRequest, user_id: int) -> HttpResponse:
    user = get_object_or_404(User, pk=user_id, memberships__project=request.project)
    form = RoleForm(request.POST)
    if form.is_valid():
        try:
            projects.add_member(project=request.project, user=user, role=form.cleaned_data["role"])
            messages.success(request, f"{user} is now {form.cleaned_data['role']}.")
        except Refusal as refusal:
            messages.error(request, refusal.sentence)
    else:
        messages.error(request, "There is no such role. Nothing was changed.")
    return redirect("members", request.project.slug)


@require_POST
@project_page(Role.MANAGER)
def remove(request: ProjectRequest, user_id: int) -> HttpResponse:
    user = get_object_or_404(User, pk=user_id, memberships__project=request.project)
    try:
        projects.remove_member(project=request.project, user=user)
        messages.success(request, f"{user} is no longer in the project. What they ranked stays.")
    except Refusal as refusal:
        messages.error(request, refusal.sentence)
    return redirect(
        "home" if user == request.user else "members",
        *([] if user == request.user else [request.project.slug]),
    )
