"""Bringing prompts and responses in: all or nothing, and every bad line told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from django.db import transaction

from annotation.models import Project, Prompt, Response, Source
from annotation.near_duplicates import Splitter
from annotation.refusals import Refusal
from annotation.rows import (
    PROMPT_FIELDS,
    PROMPT_NEEDS,
    RESPONSE_FIELDS,
    RESPONSE_NEEDS,
    Checking,
    Reply,
    Row,
    prompt_of,
    reply_of,
)


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did: how many rows were new, how many were there already (or stood twice in the file), and
    which fields it does not know and left out, with how often each stood there."""

    created: int
    existing: int
    ignored_fields: dict[str, int] = field(default_factory=dict)
    following: int = 0
    """Of the new prompts, those that nearly repeat another and took its split."""


@transaction.atomic
def import_prompts(*, project: Project, rows: Iterable[tuple[int, Row]]) -> ImportReport:
    """Bring prompts in: all of them, or, where any line is bad, none.

    Args:
        rows: line number and row (or what made the line unreadable), as ``reading.read_rows`` gives them. A row has
            ``prompt`` (text: one message of the user) or ``prompt`` or ``messages`` (list of ``{"role": system | user |
            assistant, "content"}`` that ends with the user's); it may have ``context`` (list of passages ``{"id",
            "title", "text", "url"}``, id and text needed), ``key`` (the importer's own name), ``tags`` (list of
            text), ``language``. Other fields are left out.

    Raises:
        Refusal: lines are bad (``lines`` lists the first 1,000), or there are none.
    """
    # Imports into a project take turns, so that what counts as existing is true; and the share stands still.
    project = Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    checking = Checking(rows, PROMPT_FIELDS, PROMPT_NEEDS)
    splitter = Splitter(project)
    created = existing = 0
    for chunk in checking.chunks(prompt_of):
        new: dict[str, Prompt] = {}
        for _, prompt in chunk:
            new.setdefault(prompt.digest, prompt)
        for digest in project.prompts.filter(digest__in=new).values_list("digest", flat=True):
            del new[digest]
        for prompt in new.values():
            prompt.project = project
        splitter.assign(list(new.values()))
        Prompt.objects.bulk_create(new.values())
        created += len(new)
        existing += len(chunk) - len(new)
    checking.require_good("prompts")
    return ImportReport(created, existing, dict(checking.ignored), splitter.following)


@transaction.atomic
def import_responses(
    *, project: Project, source: Source, rows: Iterable[tuple[int, Row]], drawn_by: UUID
) -> ImportReport:
    """Bring responses in, to prompts that the project has: all of them, or, where any line is bad, none.

    Args:
        source: of the project, of the kind *import* or *person*.
        rows: as of ``import_prompts``. A row names its prompt by ``key``, ``digest`` or ``prompt`` (or ``messages``),
            has ``text`` (or ``response``), and may have ``tokens`` (its length) and ``index`` (which response to the
            prompt it is, from 0; else they are numbered in the file's order).
        drawn_by: names this import. Importing the same rows under the same name again changes nothing.

    Raises:
        Refusal: lines are bad (``lines`` lists the first 1,000), there are none, or the source is not for imports.
    """
    if source.project_id != project.pk or source.kind not in (Source.Kind.IMPORT, Source.Kind.PERSON):
        raise Refusal(
            "invalid",
            f"{source} takes no imports: choose a source of {project} of the kind import or person.",
            field="source",
        )
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    checking = Checking(rows, RESPONSE_FIELDS, RESPONSE_NEEDS)
    created = existing = 0
    numbered: Counter[int] = Counter()
    for chunk in checking.chunks(reply_of):
        prompts = _find_prompts(project, [reply for _, reply in chunk])
        stored = _stored(source, drawn_by, prompts.values())
        fresh = []
        for line, reply in chunk:
            matches = prompts[reply.names]
            if len(matches) != 1:
                checking.refuse(line, reply.names[0], _not_one(reply, len(matches)))
                continue
            index = numbered[matches[0]] if reply.index is None else reply.index
            numbered[matches[0]] = max(numbered[matches[0]], index + 1)
            draw = (matches[0], index)
            if draw not in stored:
                stored[draw] = reply.text
                fresh.append(
                    Response(
                        prompt_id=matches[0],
                        source=source,
                        drawn_by=drawn_by,
                        index=index,
                        text=reply.text,
                        tokens=reply.tokens,
                    )
                )
            elif stored[draw] == reply.text:
                existing += 1
            else:
                checking.refuse(line, "index", f"the prompt has another response with the index {index}")
        Response.objects.bulk_create(fresh)
        created += len(fresh)
    checking.require_good("responses")
    return ImportReport(created, existing, dict(checking.ignored))


Named = tuple[str, str]


def _find_prompts(project: Project, replies: Sequence[Reply]) -> dict[Named, list[int]]:
    """Primary keys of the prompts that each name means."""
    found: dict[Named, list[int]] = {reply.names: [] for reply in replies}
    for name in ("key", "digest"):
        values = {value for by, value in found if by == name}
        for pk, value in project.prompts.filter(**{f"{name}__in": values}).values_list("pk", name):
            found[(name, value)].append(pk)
    return found


def _stored(source: Source, drawn_by: UUID, prompts: Iterable[Sequence[int]]) -> dict[tuple[int, int], str]:
    there = Response.objects.filter(
        source=source, drawn_by=drawn_by, prompt__in={pk for pks in prompts for pk in pks}
    )
    return {(prompt, index): text for prompt, index, text in there.values_list("prompt_id", "index", "text")}


def _not_one(reply: Reply, matches: int) -> str:
    by, value = reply.names
    if matches:
        return f"{matches} prompts of the project have the key {value!r:.80}; name the prompt by its messages or digest"
    return f"the project has no prompt with the {by} {value!r:.80}; import the prompts first"
