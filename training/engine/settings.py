"""Settings as frozen dataclasses: declared with a default and a range, read from JSON, refused by name."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, field
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from training.engine.refusal import Refused


def setting(
    default: Any = MISSING,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
) -> Any:
    """Declare a setting with its default (required if there is none) and the range of its value."""
    limits = {"at_least": at_least, "above": above, "at_most": at_most}
    metadata = {name: limit for name, limit in limits.items() if limit is not None}
    return field(metadata=metadata) if default is MISSING else field(default=default, metadata=metadata)


def check_settings(settings_class: type, record: Any, where: str) -> Any:
    """Build a dataclass of settings from a part of a spec, such as ``check_settings(SampleMethod, {...},
    "method")``.

    Raises:
        Refused: a field is unknown, missing, of the wrong type or out of range; the sentence names it below `where`.
    """
    return convert(settings_class, record, where)


def convert(kind: Any, value: Any, name: str) -> Any:
    """Return `value`, as JSON gave it, as the annotation `kind` wants it; raises as `check_settings`."""
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return None if value is None else convert(get_args(kind)[0], value, name)
    if origin is Literal:
        if value not in get_args(kind):
            raise Refused(f"`{name}` must be one of {', '.join(get_args(kind))}, not {value!r:.80}.")
        return value
    if origin is tuple:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise Refused(f"`{name}` must be a list, not {value!r:.80}.")
        return tuple(convert(get_args(kind)[0], item, f"{name}[{i}]") for i, item in enumerate(value))
    if dataclasses.is_dataclass(kind):
        return _build(kind, value, name)
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise Refused(f"`{name}` must be an object, not {value!r:.80}.")
        return value
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        wanted = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}[kind]
        raise Refused(f"`{name}` must be {wanted}, not {value!r:.80}.")
    return value


def _build(settings_class: Any, value: Any, name: str) -> Any:
    if not isinstance(value, Mapping):
        raise Refused(f"`{name}` must be an object, not {value!r:.80}.")
    fields = dataclasses.fields(settings_class)
    refuse_unknown(value, [f.name for f in fields], f"{name}.")
    hints = get_type_hints(settings_class)
    given = {}
    for each in fields:
        path = f"{name}.{each.name}"
        if each.name in value:
            given[each.name] = convert(hints[each.name], value[each.name], path)
            _check_range(given[each.name], each.metadata, path)
        elif each.default is MISSING:
            raise Refused(f"`{path}` is missing.")
    return settings_class(**given)


def _check_range(value: Any, limits: Mapping[str, float], name: str) -> None:
    words = {"at_least": "at least", "above": "above", "at_most": "at most"}
    broken = {
        "at_least": lambda limit: value < limit,
        "above": lambda limit: value <= limit,
        "at_most": lambda limit: value > limit,
    }
    if value is not None and any(broken[which](limit) for which, limit in limits.items()):
        wanted = " and ".join(f"{words[which]} {limit}" for which, limit in limits.items())
        raise Refused(f"`{name}` must be {wanted}, not {value}.")


def refuse_unknown(record: Mapping[str, Any], known: Sequence[str], prefix: str) -> None:
    """Raise `Refused` if a key of `record` is not among `known`; it is named below `prefix`."""
    unknown = sorted(set(record) - set(known))
    if unknown:
        raise Refused(f"`{prefix}{unknown[0]}` is not a setting; known here are {', '.join(known)}.")
