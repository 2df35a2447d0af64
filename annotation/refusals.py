"""How this room says no: one exception, with a sentence for people and a code for programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from django.db import IntegrityError
from rest_framework.exceptions import ParseError

from config.api_parsing import check_storable

Code = Literal["invalid", "forbidden", "not_found", "conflict", "lease_lost", "closed"]


@dataclass(frozen=True, slots=True)
class LineError:
    """What is wrong in one line (of JSONL or CSV) or row (of Parquet), counted from 1."""

    line: int
    field: str
    reason: str


class Refusal(Exception):
    """A request that was refused and changed nothing.

    Args:
        code: what kind of no. ``invalid``: the input is wrong; ``forbidden``: not this person; ``not_found``: no such
            thing; ``conflict``: it clashes with what is there; ``lease_lost``: the place is no longer theirs;
            ``closed``: the batch takes no more answers.
        sentence: what, where, and what to do, for people.
        field: the input's field that is wrong, if it is one.
        lines: every bad line, where the input was a file.
    """

    def __init__(
        self, code: Code, sentence: str, *, field: str = "", lines: Iterable[LineError] = ()
    ) -> None:
        super().__init__(sentence)
        self.code: Code = code
        self.sentence = sentence
        self.field = field
        self.lines = list(lines)


@contextmanager
def refusing_taken(sentences: Mapping[str, str], *, field: str) -> Iterator[None]:
    """Refuse, with the code ``conflict``, what somebody else took between a check and the write.

    The transaction around it is broken then, so it must end with the refusal.

    Args:
        sentences: by unique constraint's name, what to tell.
        field: the input's field that is taken.
    """
    try:
        yield
    except IntegrityError as error:
        diagnosis = getattr(error.__cause__, "diag", None)
        sentence = sentences.get(getattr(diagnosis, "constraint_name", None) or "")
        if sentence is None:
            raise
        raise Refusal("conflict", sentence, field=field) from error


def require_storable(value: Any, what: str, *, field: str = "") -> None:
    """Refuse what holds text that a database cannot: NUL characters and halves of surrogate pairs.

    Args:
        value: text, or lists and objects of it, as JSON has them.
        what: the value's name at the start of a sentence.
    """
    try:
        check_storable(value, what)
    except ParseError as error:
        raise Refusal("invalid", f"{error.detail} Take it out.", field=field) from error
