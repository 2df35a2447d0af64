"""What an annotator may see of a place. Blind: nothing in it tells where a response came from."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils import timezone

from annotation.lettering import letter_of
from annotation.models import Assignment, Batch, Project


def blind_view(assignment: Assignment) -> dict[str, Any]:
    """The leased (or submitted) place as plain data, fit for JSON except for ``leased_until``, a datetime.

    Returns:
        ``assignment`` (its public id) and ``lease`` (to answer with), ``state``, ``leased_until``, ``seconds_left``
        (of the lease, since a browser's clock may be wrong; None without one),
        ``project`` (``slug``, ``name``), ``guidelines`` (Markdown), ``prompt`` (messages), ``context``
        (passages), ``responses`` (``{"number", "letter", "text", "ended"}`` in the order shown; tiers are lists of
        these numbers, which were dealt at random; the letter names the response to everybody;
        ``ended`` is false where the maximum length cut the text off), ``rules`` (``ties``,
        ``partial``, ``strength``: whether to ask how much better each tier is than the next), ``aspects`` (``{"name",
        "question", "steps"}``), ``qualification`` (whether the known answer is told once it is submitted; gold tasks
        are not told from others).
    """
    task = assignment.task
    project = task.batch.project
    shown = {
        number: {"number": number, "letter": letter_of(number), "text": text, "ended": ended}
        for number, (text, ended) in task.replies.items()
    }
    return {
        "assignment": str(assignment.public_id),
        "lease": str(assignment.lease) if assignment.lease else None,
        "state": str(assignment.state),
        "leased_until": assignment.leased_until,
        "seconds_left": seconds_left(assignment.leased_until),
        "project": {"slug": project.slug, "name": project.name},
        "guidelines": project.guidelines,
        "prompt": [{"role": m["role"], "content": m["content"]} for m in task.prompt.messages],
        "context": [
            {name: passage.get(name, "") for name in ("id", "title", "text", "url")}
            for passage in task.prompt.context
        ],
        "responses": [shown[number] for number in assignment.shown_order or sorted(shown)],
        "rules": rules_of(project),
        "qualification": task.batch.kind == Batch.Kind.QUALIFICATION,
        "aspects": list(project.aspects.values("name", "question", "steps")),
    }


def seconds_left(until: datetime | None) -> float | None:
    """How long a lease holds from now, at least 0; None where there is none."""
    return None if until is None else max(0.0, (until - timezone.now()).total_seconds())


def rules_of(project: Project) -> dict[str, bool]:
    """What a ranking may be: with ``ties``, ``partial``; and whether ``strength`` is asked for."""
    return {"ties": project.allow_ties, "partial": project.allow_partial, "strength": project.ask_strength}
