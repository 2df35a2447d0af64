"""Input fields that take what the schema says and nothing that merely resembles it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, NoReturn

from django.core.validators import (
    BaseValidator,
    MaxLengthValidator,
    MaxValueValidator,
    MinLengthValidator,
    MinValueValidator,
)
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

# What is said of a value, by kind of field, in place of the library's words; a later kind adds to an earlier one.
SENTENCES: Mapping[type[serializers.Field], Mapping[str, str]] = {
    serializers.Field: {"required": "Is missing, and must be given.", "null": "May not be null."},
    serializers.CharField: {"invalid": "Must be text, in double quotes.", "blank": "May not be empty."},
    serializers.BooleanField: {"invalid": "Must be true or false, without quotes."},
    serializers.UUIDField: {"invalid": "Must be a UUID: 8-4-4-4-12 hexadecimal digits."},
    serializers.IntegerField: {"invalid": "Must be a whole number, without quotes."},
    serializers.FloatField: {
        "invalid": "Must be a number, without quotes.",
        "overflow": "Is too large for a number.",
    },
    serializers.ListField: {
        "not_a_list": "Must be a list, in brackets.",
        "empty": "May not be an empty list.",
    },
    serializers.DictField: {
        "not_a_dict": "Must be an object, in braces.",
        "empty": "May not be an empty object.",
    },
    serializers.ListSerializer: {
        "not_a_list": "Must be a list, in brackets.",
        "empty": "May not be an empty list.",
        "max_length": "Must hold at most {max_length}.",
        "min_length": "Must hold at least {min_length}.",
    },
    serializers.FileField: {
        "required": "Is missing: send a file, as multipart/form-data.",
        "invalid": "Must be a file, sent as multipart/form-data.",
        "no_name": "The file needs a name, whose ending says what it is.",
        "empty": "The file is empty.",
    },
    serializers.BaseSerializer: {"invalid": "Must be an object, in braces."},
}
LIMITS: Mapping[type[BaseValidator], str] = {
    MaxValueValidator: "Must be at most {limit}.",
    MinValueValidator: "Must be at least {limit}.",
    MaxLengthValidator: "Must hold at most {limit}{unit}.",
    MinLengthValidator: "Must hold at least {limit}{unit}.",
}


def _say(field: serializers.Field) -> None:
    """Give ``field``, and what it holds, Rankloop's sentences."""
    for kind, sentences in SENTENCES.items():
        if isinstance(field, kind):
            field.error_messages.update(sentences)
    unit = " characters" if isinstance(field, serializers.CharField) else ""
    for validator in field.validators:
        if isinstance(validator, BaseValidator) and (sentence := LIMITS.get(type(validator))):
            validator.message = sentence.format(limit=validator.limit_value, unit=unit)
    child = getattr(field, "child", None)
    if child is not None:
        _say(child)


class Text(serializers.CharField):
    """A JSON string, spaces and all."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("trim_whitespace", False)
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Choice(serializers.ChoiceField):
    """One of a few strings."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str):
            self.fail("invalid_choice", input=data)
        return super().to_internal_value(data)

    def fail(self, key: str, **kwargs: Any) -> NoReturn:
        if key == "invalid_choice":
            known = ", ".join(map(str, self.choices))
            raise ValidationError(f"{kwargs['input']!r:.80} is none of the choices: {known}.", code=key)
        super().fail(key, **kwargs)


class Integer(serializers.IntegerField):
    """A JSON number without a fraction. Give ``min_value`` and ``max_value``, so that it fits its column."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not (
            isinstance(data, int) or (isinstance(data, float) and data.is_integer())
        ):
            self.fail("invalid")
        return int(data)


class Number(serializers.FloatField):
    """A JSON number."""

    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, bool) or not isinstance(data, int | float):
            self.fail("invalid")
        try:
            return float(data)
        except OverflowError:
            self.fail("overflow")


class Flag(serializers.BooleanField):
    """``true`` or ``false``."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class Uuid(serializers.UUIDField):
    """A UUID as 8-4-4-4-12 hexadecimal digits."""

    def to_internal_value(self, data: Any) -> uuid.UUID:
        value = super().to_internal_value(data) if isinstance(data, str) else self.fail("invalid", value=data)
        if str(value) != data.lower():
            self.fail("invalid", value=data)
        return value


# What a request's body may hold. A field that is not declared is refused: it may be a misspelt one. (No docstring:
# drf-spectacular would put it in the place of every subclass's own.)
class Input(serializers.Serializer):
    default_error_messages = {
        "invalid": "The body must be an object, in braces, with a value for each field."
    }

    def get_fields(self) -> dict[str, serializers.Field]:
        fields: dict[str, serializers.Field] = super().get_fields()
        for field in fields.values():
            _say(field)
        return fields

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        declared = {name for name, field in self.fields.items() if not field.read_only}
        strangers = data.keys() - declared if isinstance(data, dict) else set()
        known = f"There is no such field; known here: {', '.join(sorted(declared))}."
        errors: dict[str, Any] = {name: [known] for name in sorted(strangers)}
        try:
            value = super().to_internal_value(data)
        except ValidationError as wrong:
            if isinstance(wrong.detail, dict):
                errors = {**wrong.detail, **errors}
            raise ValidationError(errors or wrong.detail) from wrong
        if errors:
            raise ValidationError(errors)
        return value
