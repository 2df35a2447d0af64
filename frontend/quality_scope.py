"""What a quality page is of: one batch, or all annotation batches of a project."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.urls import reverse

from annotation.models import Batch
from annotation.quality import batches_of
from frontend.access import ProjectRequest


@dataclass(frozen=True, slots=True)
class Scope:
    """``batch`` is None for the project's. ``page`` and ``tasks`` are addresses, that end in a slash."""

    batch: Batch | None
    batches: QuerySet[Batch]
    page: str
    tasks: str


def scope_of(request: ProjectRequest, batch_id: int | None) -> Scope:
    """The batch of the project with this number, or all of its annotation batches."""
    slug = request.project.slug
    if batch_id is None:
        batches = request.project.batches.filter(kind=Batch.Kind.ANNOTATION)
        return Scope(None, batches, reverse("quality", args=[slug]), reverse("quality_tasks", args=[slug]))
    batch = get_object_or_404(request.project.batches, pk=batch_id)
    return Scope(
        batch,
        batches_of(batch),
        reverse("batch_quality", args=[slug, batch_id]),
        reverse("batch_tasks", args=[slug, batch_id]),
    )
