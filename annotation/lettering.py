"""How people call the responses of a task: by one letter each, the same for everybody.

What somebody writes ("B is better because …") is read by others, so a letter must name the same response on every page
and in every answer, in whichever order the cards stand. It follows the response's number, which is dealt at random when
the task is made (`batching`, `gold`): it tells neither a source nor the order in which responses came.
"""

from __future__ import annotations

from collections.abc import Iterable

LETTER_HELP = "What people call it: the same letter on every page and in whatever they write. A is number 0."


def letter_of(number: int) -> str:
    """The letter of a response by its number in the task: A for number 0."""
    return chr(ord("A") + number)


def named(number: int) -> str:
    """A response as a sentence names it to people and programs alike: ``1 (B)``."""
    return f"{number} ({letter_of(number)})"


def listed(numbers: Iterable[int]) -> str:
    """Several of them: ``0 (A), 1 (B)``."""
    return ", ".join(map(named, numbers))
