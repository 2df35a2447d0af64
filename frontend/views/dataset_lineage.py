"""What changed between datasets, what a record rests on, withdrawing, and locking the held-out set."""

from __future__ import annotations

import json
from itertools import islice
from typing import Any

from django.contrib import messages
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_POST

from alignment.comparing import changes, count_changes
from alignment.dataset_lineage import behind
from alignment.held_out_lock import lock_held_out
from alignment.models import Dataset
from alignment.withdrawing import consequences_of, end_withdrawal, withdraw
from annotation.models import Prompt, User
from annotation.refusals import Refusal
from frontend.access import ProjectRequest, Role, project_page
from frontend.forms import refuse
from frontend.forms_alignment import WithdrawalForm

CHANGES_SHOWN = 20


@project_page(Role.REVIEWER)
def compare(request: ProjectRequest, version: int) -> HttpResponse:
    shown = get_object_or_404(request.project.datasets, version=version)
    others = request.project.datasets.exclude(pk=shown.pk)
    earlier = _chosen(request, shown)
    problem, counts, found = "", {}, []
    if earlier is not None:
        try:
            counts = dict(count_changes(earlier, shown))
            found = list(islice(changes(earlier, shown), CHANGES_SHOWN))
        except Refusal as refusal:
            problem = refusal.sentence
    total = sum(each.added + each.removed + each.changed for each in counts.values())
    context = {
        "dataset": shown,
        "parent": f"Dataset version {version}",
        "earlier": earlier,
        "others": others,
        "counts": counts,
        "changes": found,
        "total": total,
        "problem": problem,
    }
    return render(request, "datasets/compare.html", context)


@project_page(Role.REVIEWER)
def changes_file(request: ProjectRequest, version: int) -> HttpResponseBase:
    """Every change, as JSON lines, while it is found."""
    shown = get_object_or_404(request.project.datasets, version=version)
    earlier = _chosen(request, shown)
    try:
        found = changes(earlier or shown, shown)
    except Refusal as refusal:
        messages.error(request, refusal.sentence)
        return redirect("compare_datasets", request.project.slug, version)
    name = f"{request.project.slug}-v{(earlier or shown).version}-to-v{version}.jsonl"
    return StreamingHttpResponse(
        (json.dumps(change.to_json(), ensure_ascii=False) + "\n" for change in found),
        content_type="application/jsonl",
        headers={"Content-Disposition": content_disposition_header(True, name) or "attachment"},
    )


@project_page(Role.REVIEWER)
def record(request: ProjectRequest, version: int, task_id: int) -> HttpResponse:
    shown = get_object_or_404(request.project.datasets.select_related("project"), version=version)
    try:
        found = behind(shown, task_id)
    except Refusal as refusal:
        messages.error(request, refusal.sentence)
        return redirect("dataset", request.project.slug, version)
    context = {
        "dataset": shown,
        "behind": found,
        "title": f"Behind task {task_id}",
        "parent": f"Dataset version {version}",
    }
    return render(request, "datasets/record.html", context)


@project_page(Role.REVIEWER)
def withdrawals(request: ProjectRequest) -> HttpResponse:
    found = request.project.withdrawals.select_related("annotator", "prompt", "created_by")
    return render(request, "datasets/withdrawals.html", {"withdrawals": found})


@project_page(Role.MANAGER)
def withdraw_annotator(request: ProjectRequest, user_id: int) -> HttpResponse:
    annotator = get_object_or_404(
        User.objects.filter(rankings__task__batch__project=request.project).distinct(), pk=user_id
    )
    return _withdraw(request, {"annotator": annotator}, annotator.username)


@project_page(Role.MANAGER)
def withdraw_prompt(request: ProjectRequest, prompt_id: int) -> HttpResponse:
    prompt = get_object_or_404(Prompt, pk=prompt_id, project=request.project)
    return _withdraw(request, {"prompt": prompt}, str(prompt))


@require_POST
@project_page(Role.MANAGER)
def end(request: ProjectRequest, withdrawal_id: int) -> HttpResponse:
    end_withdrawal(get_object_or_404(request.project.withdrawals, pk=withdrawal_id))
    messages.success(request, "New datasets may hold it again. Those that are there stay as they are.")
    return redirect("withdrawals", request.project.slug)


@require_POST
@project_page(Role.MANAGER)
def lock(request: ProjectRequest) -> HttpResponse:
    try:
        locked = lock_held_out(project=request.project, by=request.user)
    except Refusal as refusal:
        messages.error(request, refusal.sentence)
    else:
        messages.success(request, f"Locked: models are measured on these {locked.prompts.count():,} prompts.")
    return redirect("datasets", request.project.slug)


def _withdraw(request: ProjectRequest, of: dict[str, Any], name: str) -> HttpResponse:
    form = WithdrawalForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            outcome = withdraw(
                project=request.project, by=request.user, reason=form.cleaned_data["reason"], **of
            )
        except Refusal as refusal:
            refuse(form, refusal)
        else:
            said = "Withdrawn: no dataset holds it from now on."
            if outcome.dataset:
                said += f" Version {outcome.dataset.version} is the newest dataset without it."
            messages.success(request, f"{said} {outcome.why}".strip())
            return redirect("withdrawals", request.project.slug)
    context = {"form": form, "name": name, "found": consequences_of(request.project, **of), **of}
    return render(request, "datasets/withdraw.html", context, status=422 if form.errors else 200)


def _chosen(request: ProjectRequest, shown: Dataset) -> Dataset | None:
    """The version to compare with: the one that was asked for, or else the one before."""
    asked = request.GET.get("with", "")
    datasets = request.project.datasets.exclude(pk=shown.pk)
    if asked.isascii() and asked.isdecimal() and len(asked) < 10:
        found = datasets.filter(version=int(asked)).first()
        if found is not None:
            return found
    return datasets.filter(version__lt=shown.version).first() or datasets.first()
