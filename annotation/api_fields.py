"""Input fields that take what the schema says and nothing that merely resembles it."""

from __future__ import annotations

import uuid
from typing import Any, NoReturn

from rest_framework import serializers
from rest_framework.exceptions import ValidationError


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
