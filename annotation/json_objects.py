"""JSON in which an object that names a key twice is found, which Python's own reader takes the last one of."""

from __future__ import annotations

import json
from typing import Any


class Reader:
    """Reads values. ``repeated`` is a key that an object of the last one named twice; empty: there was none."""

    def __init__(self) -> None:
        self.repeated = ""
        self._decoder = json.JSONDecoder(object_pairs_hook=self._made)

    def read(self, text: str) -> Any:
        """Return the value that is the whole text. Raises what `json.loads` does."""
        self.repeated = ""
        return self._decoder.decode(text)

    def read_from(self, text: str, start: int) -> tuple[Any, int]:
        """Return the value that starts there, and where it ends. Raises what `json.JSONDecoder.raw_decode` does."""
        self.repeated = ""
        return self._decoder.raw_decode(text, start)

    @property
    def fault(self) -> str:
        """What is wrong with the last value: words for the end of a sentence; empty where nothing is."""
        return f"names {self.repeated!r:.60} more than once in one object" if self.repeated else ""

    def _made(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            self.repeated = next(name for name in names if names.count(name) > 1)
        return found
