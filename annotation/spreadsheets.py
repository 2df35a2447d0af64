"""Tables that people open in a spreadsheet."""

from __future__ import annotations

CSV = "text/csv; charset=utf-8"
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""With these a spreadsheet takes a cell for a formula (OWASP, "CSV Injection")."""


def plain_cell(text: str) -> str:
    """Return a text that people chose, so that no spreadsheet takes it for a formula."""
    return f"'{text}" if text.startswith(FORMULA) else text
