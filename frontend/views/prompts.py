"""A project's prompts: the list, one of them, and bringing them in."""

from __future__ import annotations

import csv
import io
import json

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from alignment.dataset_lineage import datasets_with
from annotation.importing import import_prompts
from annotation.models import Prompt, Response
from annotation.reading import read_rows
from annotation.refusals import LineError, Refusal
from annotation.retiring import bring_prompt_back, retire_prompt
from annotation.task_answers import with_being_ranked
from frontend.access import ProjectRequest, Role, project_page
from frontend.forms import PromptUploadForm, refuse

A_PAGE = 50
LINES_SHOWN = 100

# One of each: plain text, a conversation, and one whose reply should rest on passages.
TEMPLATE_ROWS = (
    {"key": "tea-1", "prompt": "How long should green tea steep?", "tags": ["kitchen"], "language": "en"},
    {
        "key": "tea-2",
        "messages": [
            {"role": "user", "content": "How long should green tea steep?"},
            {"role": "assistant", "content": "Two to three minutes."},
            {"role": "user", "content": "And at what temperature?"},
        ],
    },
    {
        "key": "tea-3",
        "prompt": "Why does green tea turn bitter? Cite the passages.",
        "context": [
            {"id": "1", "title": "Brewing", "text": "Hot water draws out more tannins, which taste bitter."}
        ],
    },
)


@project_page(Role.REVIEWER)
def prompts(request: ProjectRequest) -> HttpResponse:
    responses = Response.objects.filter(prompt=OuterRef("pk")).order_by().values("prompt")
    found = request.project.prompts.annotate(
        response_count=Coalesce(Subquery(responses.annotate(count=Count("pk")).values("count")), 0)
    )
    words, split = request.GET.get("q", "").strip(), request.GET.get("split", "")
    if words:
        found = found.filter(
            Q(messages__icontains=words) | Q(key__icontains=words) | Q(tags__icontains=words)
        )
    if split in Prompt.Split.values:
        found = found.filter(split=split)
    context = {
        "page": Paginator(found, A_PAGE).get_page(request.GET.get("page")),
        "words": words,
        "split": split,
        "any": bool(words or split) or request.project.prompts.exists(),
    }
    return render(request, "prompts/list.html", context)


@project_page(Role.REVIEWER)
def prompt(request: ProjectRequest, prompt_id: int) -> HttpResponse:
    shown = get_object_or_404(Prompt, pk=prompt_id, project=request.project)
    responses = with_being_ranked(shown.responses.select_related("source"))
    context = {
        "prompt": shown,
        "responses": responses,
        "holding": datasets_with(request.project, prompt=shown),
        "withdrawn": request.project.withdrawals.filter(prompt=shown, ended_at=None).exists(),
    }
    return render(request, "prompts/prompt.html", context)


@require_POST
@project_page(Role.MANAGER)
def retire(request: ProjectRequest, prompt_id: int) -> HttpResponse:
    retire_prompt(get_object_or_404(Prompt, pk=prompt_id, project=request.project))
    messages.success(request, "Retired: no new round or batch takes this prompt. What was said to it stays.")
    return redirect("prompt", request.project.slug, prompt_id)


@require_POST
@project_page(Role.MANAGER)
def bring_back(request: ProjectRequest, prompt_id: int) -> HttpResponse:
    bring_prompt_back(get_object_or_404(Prompt, pk=prompt_id, project=request.project))
    messages.success(request, "Back in use: new rounds and batches may take this prompt.")
    return redirect("prompt", request.project.slug, prompt_id)


@project_page(Role.MANAGER)
def upload(request: ProjectRequest) -> HttpResponse:
    form = PromptUploadForm(request.POST or None, request.FILES or None)
    lines: list[LineError] = []
    if request.method == "POST" and form.is_valid():
        file = form.cleaned_data["file"]
        try:
            report = import_prompts(project=request.project, rows=read_rows(file, file.name))
        except Refusal as refusal:
            lines = refusal.lines
            refuse(form, refusal)
        else:
            said = f"{report.created:,} prompt{'' if report.created == 1 else 's'} imported."
            if report.existing:
                said += f" {report.existing:,} were there already."
            if report.following:
                said += f" {report.following:,} nearly repeat another prompt and share its split."
            if report.ignored_fields:
                said += f" Not used: {', '.join(sorted(report.ignored_fields))}."
            messages.success(request, said)
            return redirect("prompts", request.project.slug)
    context = {"form": form, "lines": lines[:LINES_SHOWN], "more_lines": max(0, len(lines) - LINES_SHOWN)}
    return render(request, "prompts/upload.html", context, status=422 if form.errors else 200)


@project_page(Role.MANAGER)
def template_file(request: ProjectRequest, ending: str) -> HttpResponse:
    """A file of example rows, to fill in."""
    if ending == "jsonl":
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in TEMPLATE_ROWS)
        kind = "application/x-ndjson"
    elif ending == "csv":
        sheet = io.StringIO()
        writer = csv.DictWriter(sheet, ["key", "prompt", "messages", "context", "tags", "language"])
        writer.writeheader()
        for row in TEMPLATE_ROWS:
            writer.writerow(
                {name: value if isinstance(value, str) else json.dumps(value) for name, value in row.items()}
            )
        text, kind = sheet.getvalue(), "text/csv"
    else:
        raise Http404
    disposition = {"Content-Disposition": f'attachment; filename="prompts.{ending}"'}
    return HttpResponse(text, content_type=f"{kind}; charset=utf-8", headers=disposition)
