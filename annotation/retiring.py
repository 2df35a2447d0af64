"""Prompts that are asked no more, such as one that is too long for every model: what was said to them stays."""

from __future__ import annotations

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from annotation.models import Project, Prompt


@transaction.atomic
def retire_prompt(prompt: Prompt) -> Prompt:
    """Keep a prompt out of new rounds, evaluations and batches. Its responses, tasks and rankings stay.

    A task that is released stays released. Retiring twice is retiring once.
    """
    locked = Prompt.objects.select_for_update().get(pk=prompt.pk)
    if locked.retired_at is None:
        locked.retired_at = timezone.now()
        locked.save(update_fields=["retired_at"])
    return locked


@transaction.atomic
def bring_prompt_back(prompt: Prompt) -> Prompt:
    """Ask a retired prompt again, in the split that it always had."""
    locked = Prompt.objects.select_for_update().get(pk=prompt.pk)
    if locked.retired_at is not None:
        locked.retired_at = None
        locked.save(update_fields=["retired_at"])
    return locked


def prompts_in_use(project: Project) -> QuerySet[Prompt]:
    """Return the project's prompts that may be asked."""
    return project.prompts.filter(retired_at=None)
