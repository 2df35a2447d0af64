"""JSON that PostgreSQL can hold."""

from __future__ import annotations

import io
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
        except RecursionError as error:
            raise ParseError("The JSON is nested too deeply.") from error
        return data


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
