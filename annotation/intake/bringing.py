"""A file's rows, read by their form, staged and settled: all of them, or, where any is bad, none unless told so."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction

from annotation.intake.bad_lines import BadLines
from annotation.intake.forms import Form, Mapping
from annotation.intake.items import Item, check_item
from annotation.intake.settling import Settled, settle
from annotation.intake.staging import Stage
from annotation.models import Batch, Project
from annotation.refusals import LineError, Refusal
from annotation.rows import MOST_ERRORS_LISTED, BadField, Row

ROWS_A_WORD = 1_000

Tell = Callable[[str, int], None]
"""Told what is being done, and how far: rows read, or steps of ``settling.STEPS``."""


def _silent(phase: str, done: int) -> None:
    return None


class LinesWrong(Refusal):
    """Nothing was kept because of bad lines; ``bad`` has all of them, ``lines`` the first."""

    def __init__(self, sentence: str, bad: BadLines) -> None:
        super().__init__(
            "invalid", sentence, field="file", lines=sorted(bad.listed, key=lambda error: error.line)
        )
        self.bad = bad


@dataclass(frozen=True, slots=True)
class Brought:
    """What an import did, in numbers, which lines it left out, and the batch of its new rankings, if there were any."""

    rows: int
    report: dict[str, Any]
    bad: BadLines
    batch: Batch | None


@transaction.atomic
def bring_in(
    *,
    project: Project,
    name: str,
    rows: Iterable[tuple[int, Row]],
    form: Form,
    mapping: Mapping,
    drawn_by: UUID,
    skip_bad: bool = False,
    tell: Tell = _silent,
) -> Brought:
    """Bring prompts, responses and rankings in, in one transaction. What is there already is not doubled.

    Args:
        name: of the batch of the rankings, and of the source of responses whose form names none.
        rows: line number and row each, as ``reading.read_rows`` gives them.
        mapping: of the form's fields to the file's; ``form.check`` found it fit.
        drawn_by: names this import in its responses.
        skip_bad: leave bad lines out, rather than refuse the file for them.

    Raises:
        LinesWrong: lines are bad, or, where those are left out, all of them.
        Refusal: there are none.
    """
    stage, bad, seen = Stage(project, name), BadLines(), 0
    for line, row in rows:
        seen += 1
        if seen % ROWS_A_WORD == 0:
            tell("Reading", seen)
        found = items_of(line, row, form, mapping)
        if isinstance(found, LineError):
            bad.add(found)
        elif skip_bad or not bad.count:
            # Once a line was bad nothing will be kept; the rest is checked all the same.
            for item in found:
                stage.add(line, item)
    tell("Reading", seen)
    if not seen:
        raise Refusal("invalid", "The file holds no rows.", field="file")
    if bad.count and (not skip_bad or bad.count == seen):
        raise _refusal_of(bad, seen)
    stage.flush()
    settled = settle(project=project, name=name, drawn_by=drawn_by, tell=lambda step: tell("Storing", step))
    for error in settled.errors:
        bad.add(error)
    if settled.errors and not skip_bad:
        raise _refusal_of(bad, seen)
    return Brought(seen, _report(seen, bad, stage, settled), bad, settled.batch)


def items_of(line: int, row: Row, form: Form, mapping: Mapping) -> list[Item] | LineError:
    """What a row says, each item fit to be kept, or what is wrong with the row."""
    if isinstance(row, LineError):
        return row
    try:
        items = list(form.read(row, mapping))
        for item in items:
            check_item(item)
    except BadField as bad:
        return LineError(line, bad.field, bad.reason)
    except RecursionError:
        return LineError(line, "", "is nested too deeply")
    return items


def _refusal_of(bad: BadLines, seen: int) -> LinesWrong:
    first = min(bad.listed, key=lambda error: error.line)
    where = f"{first.field}: " if first.field else ""
    listed = f" The first {MOST_ERRORS_LISTED:,} are listed." if bad.count > len(bad.listed) else ""
    return LinesWrong(
        f"{bad.count:,} of {seen:,} lines {'is' if bad.count == 1 else 'are'} wrong, so nothing was imported. "
        f"Line {first.line:,}: {where}{first.reason}.{listed}",
        bad,
    )


COUNTS = (
    "prompts",
    "prompts_held_out",
    "prompts_existing",
    "responses",
    "responses_existing",
    "tasks",
    "rankings",
    "rankings_existing",
    "annotators",
    "sources",
    "ratings",
)


def _report(seen: int, bad: BadLines, stage: Stage, settled: Settled) -> dict[str, Any]:
    counts = {name: getattr(settled, name) for name in COUNTS}
    return {"rows": seen, "bad": bad.count, **counts, "ratings_left_out": dict(stage.left_out)}
