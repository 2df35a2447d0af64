"""Telling what two answers have in common from what they differ in, and numbers of rows that shine through."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

from django.db import connection

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?")
LETTER = re.compile(r"\b[A-I]\b")
TOKEN = re.compile(r"\b[A-Za-z0-9]{64}\b")
"""Against forged requests; another one each time."""
# By what a place, a task or a batch could be told from others: rows made together have numbers near each other.
NUMBERED = ("assignment", "batch", "task", "taskresponse", "prompt", "response")


def number_rows_tellingly() -> None:
    """From here to the test's end, rows get numbers that nothing else looks like: 7000001 and on, 7100001 and on, …"""
    with connection.cursor() as cursor:
        # Deferred constraints of what was made so far stand in the way of altering its tables.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")
        for place, table in enumerate(NUMBERED):
            cursor.execute(
                f"ALTER TABLE annotation_{table} ALTER COLUMN id RESTART WITH {7_000_001 + 100_000 * place}"
            )


def numbers_of_rows(text: str) -> list[str]:
    """The numbers of rows, as of ``number_rows_tellingly``, that stand in an answer."""
    return re.findall(r"(?<![\w.])7[0-5]00\d\d\d(?!\w)", UUID.sub("", text))


def shape(value: Any) -> Any:
    """What is left of an answer without what every task has of its own: texts, order, ids, times."""
    if isinstance(value, dict):
        return {name: shape_of_html(each) if name == "html" else shape(each) for name, each in value.items()}
    if isinstance(value, list):
        return [shape(each) for each in value]
    return shape_of_text(value) if isinstance(value, str) else type(value).__name__


def shape_of_text(text: str) -> str:
    for pattern, name in ((UUID, "UUID"), (TIME, "TIME")):
        if pattern.fullmatch(text):
            return name
    return "text" if text else "empty"


def shape_of_html(html: str) -> list[tuple[str, ...]]:
    """Its elements with their attributes, whose numbers, letters of responses and ids are left out."""
    return _Elements(html).found


class _Elements(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, ...]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, *(f"{name}={_plain(value or '')}" for name, value in attrs)))


def _plain(value: str) -> str:
    value = TOKEN.sub("TOKEN", TIME.sub("TIME", UUID.sub("UUID", value)))
    return LETTER.sub("X", re.sub(r"\d+(\.\d+)?", "#", value))
