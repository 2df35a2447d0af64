"""Rendered texts, kept for whoever reads them next.

What people rank never changes, and each task is shown as often as its overlap says, within minutes. Rendering is by far
the most of what showing it costs.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

CHARACTERS = 8_000_000
"""That a process keeps of what one function made: some thousand responses, in 8 to 32 MB."""

P = ParamSpec("P")
Text = TypeVar("Text", bound=str)


class Kept(OrderedDict[tuple[bytes, str], str]):
    """What was made, by what it was made from; the least lately used leave first. Safe for threads.

    Args:
        most: characters of all of it together.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.characters = 0
        self.lock = threading.Lock()

    def find(self, key: tuple[bytes, str]) -> str | None:
        with self.lock:
            found = self.get(key)
            if found is not None:
                self.move_to_end(key)
            return found

    def keep(self, key: tuple[bytes, str], made: str) -> None:
        with self.lock:
            self.characters += len(made) - len(self.pop(key, ""))
            self[key] = made
            while self.characters > self.most:
                self.characters -= len(self.popitem(last=False)[1])


def kept(
    make: Callable[Concatenate[str, P], Text], most: int = CHARACTERS
) -> Callable[Concatenate[str, P], Text]:
    """``make``, which makes the same of the same text and arguments, and does so once while it is remembered.

    A text is remembered by its SHA-256; arguments by how they are written in Python, which must tell all of them.
    """
    made = Kept(most)

    @wraps(make)
    def remembering(text: str, *args: P.args, **kwargs: P.kwargs) -> Text:
        key = (hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest(), repr((args, kwargs)))
        found = made.find(key)
        if found is None:
            found = make(text, *args, **kwargs)
            made.keep(key, found)
        return found  # type: ignore[return-value]

    return remembering
