"""What this room refuses, with a sentence for people and a code for programs."""

from __future__ import annotations

from typing import ClassVar, Literal

Code = Literal["invalid", "not_found", "conflict"]


class Refusal(Exception):
    """Something asked for that cannot be done as it is; nothing was changed.

    Args:
        code: what kind of no. ``invalid``: the input is wrong; ``not_found``: no such thing; ``conflict``: it clashes
            with the state that the run is in.
        sentence: what, where, and what to do, for people.
        field: the input's field that is wrong, if it is one.
    """

    lines: ClassVar[list[object]] = []
    """This room takes no files, so no line of one is ever at fault; rooms that do list them here."""

    def __init__(self, code: Code, sentence: str, *, field: str = "") -> None:
        super().__init__(sentence)
        self.code: Code = code
        self.sentence = sentence
        self.field = field
