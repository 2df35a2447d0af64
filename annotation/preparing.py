"""Statements whose plan each connection keeps.

A long statement may take many times longer to plan than to carry out. Django binds parameters in the client, so
PostgreSQL is sent a new text each time and plans it anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import connection
from django.db.backends.utils import CursorWrapper


class _Preparing(psycopg.Cursor[Any]):
    """Prepares what it executes, on first sight."""

    def execute(self, query: Any, params: Any = None, **how: Any) -> _Preparing:
        super().execute(query, params, **how | {"prepare": True})
        return self


@contextmanager
def preparing_cursor() -> Iterator[CursorWrapper]:
    """A cursor of Django's connection, in its transaction, whose statements are planned once a connection. Their
    parameters go to PostgreSQL apart from the text, so the text must be the same each time, and of one statement."""
    connection.ensure_connection()
    cursor: Any = _Preparing(connection.connection)
    wrap = connection.make_debug_cursor if connection.queries_logged else connection.make_cursor
    with wrap(cursor) as wrapped:
        yield wrapped
