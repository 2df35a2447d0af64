"""What a file would bring, told by its first rows before any of it is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from annotation.intake.bad_lines import BadLines
from annotation.intake.bringing import items_of
from annotation.intake.forms import Form, Mapping, Sample, form_named, form_of
from annotation.intake.items import Item
from annotation.intake.staging import plain, reply_key
from annotation.models import Project
from annotation.refusals import LineError, Refusal
from annotation.rows import Row
from annotation.splitting import digest_of

ROWS_PREVIEWED = 1_000
ROWS_HELD = 50
ITEMS_SHOWN = 5
ERRORS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Ranked:
    """A response of a previewed item, with its tier from 1; None: unranked, or not asked."""

    text: str
    source: str
    tier: int | None


@dataclass(frozen=True, slots=True)
class Shown:
    """A previewed item, as it would come in: responses best first."""

    line: int
    item: Item
    responses: list[Ranked]


@dataclass(slots=True)
class Preview:
    """What the first rows are and would become.

    Attributes:
        form: the one that they are read by.
        detected: the name of the one that they seem to have.
        mapping: of the form's fields to the file's.
        choices: what can be chosen in it.
        missing: what has to be chosen before anything can be read; "" where nothing is missing.
        counts: what the rows would become, by name; None where something is missing.
        rows: how many rows were looked at; ``whole`` says whether that is all of the file.
        shown: the first items.
        aspects: by the name in the file, whether the project has the aspect.
        bad: what is wrong with rows that were looked at.
    """

    form: Form
    detected: str
    mapping: dict[str, Any]
    choices: list[str]
    missing: str = ""
    rows: int = 0
    whole: bool = True
    counts: dict[str, int] | None = None
    shown: list[Shown] = field(default_factory=list)
    aspects: dict[str, bool] = field(default_factory=dict)
    bad: BadLines = field(default_factory=BadLines)


def preview(
    *,
    project: Project,
    rows: Iterable[tuple[int, Row]],
    source: str,
    form: str = "",
    mapping: Mapping | None = None,
) -> Preview:
    """Look at a file's first ``ROWS_PREVIEWED`` rows.

    Args:
        source: the name of the source of responses whose form names none.
        form: the form's name; "" for the one that the rows seem to have.
        mapping: what is chosen; None for what the fields' names suggest.

    Raises:
        Refusal: the file cannot be read or is empty, the form is unknown, or the mapping names what the form has not.
    """
    first = list(islice(rows, ROWS_PREVIEWED + 1))
    if not first:
        raise Refusal("invalid", "The file holds no rows.", field="file")
    looked_at, whole = first[:ROWS_PREVIEWED], len(first) <= ROWS_PREVIEWED
    sample = Sample([row for _, row in looked_at if not isinstance(row, LineError)][:ROWS_HELD])
    if not sample.rows:
        wrong = [row for _, row in looked_at if isinstance(row, LineError)]
        raise Refusal(
            "invalid",
            f"{_none_of(len(looked_at))} can be read. Line {wrong[0].line:,}: {wrong[0].reason}.",
            field="file",
            lines=wrong,
        )
    detected = form_of(sample)
    chosen = form_named(form) if form else detected
    choices = chosen.choices(sample)
    given = chosen.guess(sample) if mapping is None else dict(mapping)
    told = Preview(chosen, detected.name, given, choices, rows=len(looked_at), whole=whole)
    try:
        told.mapping = chosen.check(given)
    except Refusal as refusal:
        if mapping is not None and not set(mapping) <= {field.name for field in chosen.fields}:
            raise
        told.missing = refusal.sentence
        return told
    _count(told, project, looked_at, source)
    return told


def _none_of(rows: int) -> str:
    return "Nothing of its only row" if rows == 1 else f"None of the first {rows:,} rows"


def _count(told: Preview, project: Project, rows: list[tuple[int, Row]], source: str) -> None:
    counts = Counter[str](rankings=0, ties=0)
    prompts, responses, annotators, sources = set[str](), set[bytes](), set[str](), set[str]()
    aspects = {plain(aspect.name) for aspect in project.aspects.all()}
    for line, row in rows:
        found = items_of(line, row, told.form, told.mapping)
        if isinstance(found, LineError):
            told.bad.add(found)
            continue
        for item in found:
            digest = digest_of(item.messages)
            prompts.add(digest)
            responses |= {reply_key(digest, one.source or source, one.text) for one in item.candidates}
            sources |= {one.source or source for one in item.candidates}
            if item.tiers is not None:
                counts["rankings"] += 1
                counts["ties"] += any(len(tier) > 1 for tier in item.tiers)
                annotators.add(item.annotator)
            told.aspects |= {name: plain(name) in aspects for name in item.ratings}
            if len(told.shown) < ITEMS_SHOWN:
                told.shown.append(Shown(line, item, _in_order(item, source)))
    told.counts = {
        "prompts": len(prompts),
        "responses": len(responses),
        "sources": len(sources),
        "rankings": counts["rankings"],
        "ties": counts["ties"],
        "annotators": len(annotators - {""}),
    }


def _in_order(item: Item, source: str) -> list[Ranked]:
    tier_of = {number: position for position, tier in enumerate(item.tiers or (), start=1) for number in tier}
    ranked = [
        Ranked(one.text, one.source or source, tier_of.get(number))
        for number, one in enumerate(item.candidates)
    ]
    return sorted(ranked, key=lambda one: (one.tier is None, one.tier or 0))
