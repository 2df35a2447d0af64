"""A dataset's uploads to the Hugging Face Hub."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from alignment.pushing import ask_push
from annotation.refusals import Refusal
from frontend.access import ProjectRequest, Role, project_page
from frontend.forms import refuse
from frontend.forms_hub import HubPushForm

SHOWN = 20


@project_page(Role.MANAGER)
def hub(request: ProjectRequest, version: int) -> HttpResponse:
    dataset = get_object_or_404(request.project.datasets.select_related("project"), version=version)
    form = HubPushForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            push = ask_push(dataset, created_by=request.user, **form.cleaned_data)
        except Refusal as refusal:
            refuse(form, refusal)
        else:
            messages.success(request, f"It is on its way to {push.repository}.")
            return redirect("dataset_hub", request.project.slug, dataset.version)
    context = {
        "dataset": dataset,
        "parent": f"Dataset version {dataset.version}",
        "form": form,
        "pushes": dataset.hub_pushes.select_related("created_by").order_by("-pk")[:SHOWN],
    }
    return render(request, "datasets/hub.html", context, status=422 if form.errors else 200)
