"""JSON that PostgreSQL can hold."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser


class StorableJSONParser(JSONParser):
    """JSON without NUL characters and lone surrogates, which text columns refuse, anywhere in it."""

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        body = stream.read(limit + 1)
        if len(body) > limit:
            raise RequestDataTooBig("The body exceeds DATA_UPLOAD_MAX_MEMORY_SIZE.")
        try:
            data = super().parse(io.BytesIO(body), media_type, parser_context)
            check_storable(data)
        except ParseError as error:
            # DRF's parser raises while it handles what `json` says.
            if isinstance(error.__context__, ValueError):
                raise ParseError(f"The body is not JSON: {fault_of_json(error.__context__)}.") from error
            raise
        except RecursionError as error:
            raise ParseError("The JSON is nested too deeply.") from error
        return data


# How Python's messages begin, and what a person is told in their stead. See json.decoder, json.scanner.
FAULTS = {
    "Expecting value": "a value is missing: text in double quotes, a number, true, false, null, a list or an object",
    "Expecting property name": "a name in double quotes is missing",
    "Illegal trailing comma": "a comma stands before the end of a list or an object",
    "Expecting ':'": "a colon is missing",
    "Expecting ','": "a comma, or the end of the list or object, is missing",
    "Unterminated string": "text begins whose closing quote is missing",
    "Invalid control character": "text holds a line break, a tab or another control sign, written \\n, \\t or \\u…",
    "Invalid \\": "text holds a backslash that begins no escape; a backslash itself is written twice",
    "Extra data": "more follows what is complete already",
}


def fault_of_json(error: ValueError) -> str:
    """What is wrong, and where, with a text that `json` could not read: words for the end of a sentence."""
    if isinstance(error, UnicodeDecodeError):
        return f"at byte {error.start + 1} it is not UTF-8"
    if not isinstance(error, json.JSONDecodeError):
        return "it holds a number that is infinite, none (NaN), or has thousands of digits"
    fault = next((words for begin, words in FAULTS.items() if error.msg.startswith(begin)), "it goes wrong")
    if error.pos >= len(error.doc.rstrip()):
        return f"it ends too early; {fault}"
    # What is one line is already named by its number, if it has one.
    where = (
        f"line {error.lineno}, character {error.colno}"
        if "\n" in error.doc.strip()
        else f"character {error.pos + 1}"
    )
    return f"at {where} {fault}"


def check_storable(value: Any, what: str = "The JSON") -> None:
    """Raise ParseError if a string in ``value`` cannot be stored as text. ``what`` begins the sentence."""
    match value:
        case str():
            if "\x00" in value:
                raise ParseError(f"{what} holds a NUL character (\\u0000), which cannot be stored.")
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise ParseError(f"{what} holds half of a surrogate pair, which is no character.") from error
        case dict():
            for key, inner in value.items():
                check_storable(key, what)
                check_storable(inner, what)
        case list():
            for inner in value:
                check_storable(inner, what)
