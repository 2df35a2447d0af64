"""The elements of a JSON array, one after the other, without holding the file."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import IO

from annotation.json_objects import Reader
from annotation.refusals import LineError
from annotation.rows import Row
from config.api_parsing import fault_of_json

PIECE = 2**16
_BETWEEN = re.compile(r"[ \t\r\n]*")


def read_json_array(file: IO[bytes], longest: int) -> Iterator[tuple[int, Row]]:
    """Yield the array's objects with their numbers, from 1. Where the JSON is broken, the last is a LineError: what
    follows cannot be told apart.

    Args:
        file: at the array's opening bracket, or at white space before it.
        longest: bytes that one element may have.
    """
    text = _Text(file)
    number = 0
    try:
        text.skip("[")
        while not text.at("]"):
            number += 1
            if number > 1:
                text.skip(",")
            element = text.element(longest)
            if text.json.fault:
                yield number, LineError(number, "", text.json.fault)
            elif isinstance(element, dict):
                yield number, element
            else:
                yield number, LineError(number, "", f"must be an object, not {element!r:.60}")
        text.skip("]")
        if text.rest():
            yield number + 1, LineError(number + 1, "", "more follows what is complete already")
    except _Broken as broken:
        yield number, LineError(number, "", f"{broken}; nothing after it can be read")


class _Broken(ValueError):
    pass


class _Text:
    """The file as text, as far as it is read and not yet taken."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self.json = Reader()
        self.text = ""
        self.position = 0
        self.ended = False

    def element(self, longest: int) -> object:
        while True:
            self._pass_space()
            try:
                found, end = self.json.read_from(self.text, self.position)
            except RecursionError:
                raise _Broken("is nested too deeply") from None
            except ValueError as error:
                # Cut off by the piece's end, or wrong: more of it tells.
                if len(self.text) - self.position > longest:
                    raise _Broken(f"is longer than {longest // 2**20} MiB, or is not JSON") from error
                if not self._more():
                    raise _Broken(f"is not JSON: {fault_of_json(self._placed(error))}") from error
            else:
                self.position = end
                return found

    def _placed(self, error: ValueError) -> ValueError:
        """The error with its place counted within the element."""
        if not isinstance(error, json.JSONDecodeError):
            return error
        return json.JSONDecodeError(error.msg, self.text[self.position :], max(error.pos - self.position, 0))

    def at(self, sign: str) -> bool:
        self._pass_space()
        return self.text.startswith(sign, self.position)

    def skip(self, sign: str) -> None:
        if not self.at(sign):
            there = (
                "the file ends" if self.position >= len(self.text) else f"{self.text[self.position]!r} stands"
            )
            raise _Broken(f"{there} where {sign!r} should be")
        self.position += 1

    def rest(self) -> bool:
        self._pass_space()
        return self.position < len(self.text)

    def _pass_space(self) -> None:
        while True:
            match = _BETWEEN.match(self.text, self.position)
            assert match is not None
            self.position = match.end()
            if self.position < len(self.text) or not self._more():
                return

    def _more(self) -> bool:
        if self.ended:
            return False
        # At least as much again as is held, so that a long element is not begun anew a hundred times.
        piece = self.file.read(max(PIECE, len(self.text) - self.position))
        self.ended = not piece
        try:
            self.text = self.text[self.position :] + self.decode(piece, final=self.ended)
        except UnicodeDecodeError:
            raise _Broken("is not UTF-8; save the file as UTF-8") from None
        self.position = 0
        return True
