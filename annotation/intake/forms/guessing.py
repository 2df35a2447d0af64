"""Which of a file's fields is probably which, by the names that people give them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

PROMPTS = (
    "prompt",
    "instruction",
    "question",
    "query",
    "input",
    "messages",
    "conversation",
    "context",
    "text",
)
RESPONSES = re.compile(r"(response|reply|answer|completion|generation|output|result|candidate|text)", re.I)
SIDES = re.compile(r"(left|right)", re.I)
NOT_TEXT = re.compile(r"(model|source|score|rank|rating|token|length|_id\b|\bid\b|author|time|date)", re.I)


def first_named(columns: Sequence[str], names: Iterable[str]) -> str:
    """The column of the first of ``names`` that there is, however it is written; "" without any."""
    plain = {re.sub(r"[\s-]+", "_", column.strip().lower()): column for column in reversed(columns)}
    return next((plain[name] for name in names if name in plain), "")


def prompt_among(columns: Sequence[str]) -> str:
    return first_named(columns, PROMPTS)


def responses_among(columns: Sequence[str]) -> list[str]:
    """The columns that seem to hold responses, in their order."""
    texts = [name for name in columns if name != prompt_among(columns) and not NOT_TEXT.search(name)]
    named = [name for name in texts if RESPONSES.search(name)]
    return named if len(named) > 1 else [name for name in texts if SIDES.search(name)] or named


def is_of(kind: type | tuple[type, ...], values: Iterable[Any]) -> bool:
    """Whether there are values, and all are of this type."""
    there = list(values)
    return bool(there) and all(isinstance(value, kind) for value in there)
