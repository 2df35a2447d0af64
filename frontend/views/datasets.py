"""Datasets: building one, its card, a look inside, and its files."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render

from alignment.api_exports import send_export
from alignment.dataset_lineage import withdrawn_from
from alignment.dataset_warnings import warnings_of
from alignment.datasets import build_dataset, draft_dataset, preview
from alignment.exporting import FORMATS, SHAPES
from alignment.held_out_lock import lock_of, measured_prompts
from alignment.models import Dataset
from alignment.narrowing import LABELS, SPLITS, Narrowed
from annotation.refusals import Refusal
from annotation.remarks import flag_name
from frontend.access import ProjectRequest, Role, project_page
from frontend.dataset_pictures import pictures_of
from frontend.forms import refuse
from frontend.forms_alignment import DatasetForm
from training.engine.records import Ranking

A_LOOK = 5


@project_page(Role.REVIEWER)
def datasets(request: ProjectRequest) -> HttpResponse:
    context = {
        "datasets": request.project.datasets.select_related("created_by"),
        "lock": lock_of(request.project),
        "measured": measured_prompts(request.project).count(),
        "withdrawals": request.project.withdrawals.filter(ended_at=None).count(),
        "can_build": request.project.batches.filter(tasks__rankings__isnull=False).exists(),
    }
    return render(request, "datasets/list.html", context)


@project_page(Role.MANAGER)
def new_dataset(request: ProjectRequest) -> HttpResponse:
    form, drawn = DatasetForm(request.POST or None, project=request.project), None
    if request.method == "POST" and form.is_valid():
        asked: dict[str, Any] = {
            "project": request.project,
            "batches": form.cleaned_data["batches"],
            "settings": form.settings(),
            "filters": form.filters(),
        }
        try:
            if "preview" in request.POST:
                drawn = draft_dataset(**asked).narrowed
            else:
                dataset = build_dataset(**asked, created_by=request.user)
                messages.success(request, f"Frozen as version {dataset.version}.")
                return redirect("dataset", request.project.slug, dataset.version)
        except Refusal as refusal:
            refuse(form, refusal)
    context = {"form": form, "draft": drawn, "steps": steps_of(drawn) if drawn else []}
    return render(request, "datasets/new.html", context, status=422 if form.errors else 200)


def steps_of(drawn: Narrowed) -> list[dict[str, object]]:
    """What each filter leaves out, as rows: its label, and the amounts of both splits."""
    return [
        {"label": LABELS[step.name], "train": step.by_split["train"], "held_out": step.by_split["held_out"]}
        for step in drawn.left_out
    ]


@project_page(Role.REVIEWER)
def dataset(request: ProjectRequest, version: int) -> HttpResponse:
    shown = _dataset(request, version)
    split = request.GET.get("split", SPLITS[0])
    if split not in SPLITS:
        split = SPLITS[0]
    size = shown.train_rankings if split == SPLITS[0] else shown.held_out_rankings
    asked = request.GET.get("from") or "0"
    offset, problem, records = 0, "", []
    if asked.isascii() and asked.isdecimal() and len(asked) < 10 and (int(asked) < size or asked == "0"):
        offset = int(asked)
    else:
        problem = f"This split has no tasks from {asked:.40} on: it has {size:,}. Here are the first."
    try:
        records = preview(shown, split=split, offset=offset, limit=A_LOOK)
    except Refusal as refusal:
        problem = refusal.sentence
    context = {
        "dataset": shown,
        "title": f"Dataset version {shown.version}",
        "card": shown.card,
        "warnings": warnings_of(shown.card),
        "filters": filters_of(shown),
        "pictures": pictures_of(shown.card),
        "earlier": shown.project.datasets.filter(version__lt=shown.version).first(),
        "withdrawn": withdrawn_from(shown),
        "flags": [(flag_name(kind), count) for kind, count in shown.card.get("flags", {}).items()],
        "problem": problem,
        "split": split,
        "splits": SPLITS,
        "shapes": SHAPES,
        "formats": FORMATS,
        "records": [_by_tier(record, offset + place) for place, record in enumerate(records, 1)],
        "before": offset - A_LOOK if offset >= A_LOOK else None,
        "after": offset + A_LOOK if offset + A_LOOK < size else None,
        "size": size,
        "models": shown.model_versions.all(),
        "address": request.build_absolute_uri("/").rstrip("/"),
    }
    return render(request, "datasets/dataset.html", context)


@project_page(Role.REVIEWER)
def download(request: ProjectRequest, version: int) -> HttpResponseBase:
    shown = _dataset(request, version)
    try:
        return send_export(
            request,
            shown,
            shape=request.GET.get("shape", "pairs"),
            split=request.GET.get("split", SPLITS[0]),
            format=request.GET.get("format", "jsonl"),
            compression=request.GET.get("compression", ""),
            which=request.GET.get("which", "all"),
        )
    except Refusal as refusal:
        messages.error(request, refusal.sentence)
        return redirect("dataset", request.project.slug, shown.version)


def filters_of(dataset: Dataset) -> list[tuple[str, str]]:
    """The filters that a dataset was built with, as its form calls them."""
    given = dict(dataset.settings.get("filters", {}))
    if "sources" in given:
        names = dict(dataset.project.sources.filter(pk__in=given["sources"]).values_list("pk", "name"))
        given["sources"] = ", ".join(names[pk] for pk in given["sources"] if pk in names)
    if "flags" in given:
        given["flags"] = ", ".join(flag_name(kind) for kind in given["flags"])
    labels = {
        name: field.label or name.replace("_", " ").capitalize()
        for name, field in DatasetForm.base_fields.items()
    }
    return [(str(labels[name]), "yes" if value is True else str(value)) for name, value in given.items()]


def _dataset(request: ProjectRequest, version: int) -> Dataset:
    return get_object_or_404(request.project.datasets, version=version)


def _by_tier(record: Ranking, number: int) -> dict[str, object]:
    """A ranking record as the page shows it: responses in the order of the consensus, those unranked last."""
    rows = [
        {"place": place, "text": record.responses[index], "score": record.scores[index]}
        for place, tier in enumerate(record.tiers, 1)
        for index in sorted(tier, key=lambda index: -record.scores[index])
    ]
    ranked = {index for tier in record.tiers for index in tier}
    rows += [
        {"place": None, "text": text, "score": None}
        for index, text in enumerate(record.responses)
        if index not in ranked
    ]
    return {
        "number": number,
        "task": record.meta.get("task"),
        "prompt": record.prompt,
        "rows": rows,
        "demonstrations": record.demonstrations,
    }
