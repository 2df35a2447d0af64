"""What a form is: how its rows are told, which of their fields can be chosen, and how one is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from collections.abc import Mapping as ReadOnly
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from annotation.intake.items import Item
from annotation.refusals import Refusal

Mapping = ReadOnly[str, Any]
"""For each field of the form that can be chosen, the file's own name of it, or several in a list."""


def named(names: Iterable[Any]) -> list[str]:
    """Each name once, without those that no database can hold."""
    return [name for name in dict.fromkeys(map(str, names)) if "\x00" not in name and _is_text(name)]


def _is_text(name: str) -> bool:
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


@dataclass(frozen=True)
class Sample:
    """A file's first readable rows."""

    rows: list[ReadOnly[str, Any]]

    @cached_property
    def columns(self) -> list[str]:
        """The rows' fields, in the order in which they come first."""
        return named(name for row in self.rows for name in row)

    def has(self, *names: str) -> bool:
        """Whether every row has all these fields."""
        return bool(self.rows) and all(all(name in row for name in names) for row in self.rows)

    def values(self, name: str) -> list[Any]:
        return [row[name] for row in self.rows if row.get(name) is not None]


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a form that is chosen among the file's own.

    Attributes:
        several: whether it may be several of them, in their order.
    """

    name: str
    label: str
    help: str = ""
    needed: bool = False
    several: bool = False


def _nothing_to_choose(sample: Sample) -> list[str]:
    return []


def _nothing_guessed(sample: Sample) -> dict[str, Any]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A form of file.

    Attributes:
        about: where its fields are documented.
        becomes: what becomes of which of its fields, in words.
        matches: whether a file's first rows have this form.
        read: a row as items. Raises BadField where it has not the form.
        fields: what can be chosen.
        choices: among which of the file's fields.
        guess: what is chosen to begin with.
    """

    name: str
    title: str
    about: str
    becomes: tuple[tuple[str, str], ...]
    matches: Callable[[Sample], bool]
    read: Callable[[ReadOnly[str, Any], Mapping], Iterator[Item]]
    fields: tuple[Field, ...] = ()
    choices: Callable[[Sample], list[str]] = _nothing_to_choose
    guess: Callable[[Sample], dict[str, Any]] = _nothing_guessed

    def check(self, mapping: Any) -> dict[str, Any]:
        """Return a mapping that is fit to read rows by, without what chooses nothing.

        Raises:
            Refusal: it names a field that the form has not, or lacks one that is needed.
        """

        def wrong(sentence: str) -> Refusal:
            return Refusal("invalid", sentence, field="mapping")

        if not isinstance(mapping, ReadOnly):
            raise wrong("The mapping must be an object: by the form's field, the file's.")
        known = {field.name: field for field in self.fields}
        checked: dict[str, Any] = {}
        for name, value in mapping.items():
            if name not in known:
                there = ", ".join(known) or "none"
                raise wrong(f"The form {self.name} has no field {name!r:.60} to map; it has {there}.")
            if value in (None, "", []):
                continue
            several = known[name].several
            given = value if isinstance(value, list) else [value]
            if not all(isinstance(one, str) and one for one in given) or (len(given) > 1 and not several):
                what = "names of fields in a list" if several else "the name of one field"
                raise wrong(f"{name} must be {what}, not {value!r:.60}.")
            checked[name] = given if several else given[0]
        missing = [field.label for field in self.fields if field.needed and field.name not in checked]
        if missing:
            raise wrong(f"Say which of the file's fields is: {', '.join(missing)}.")
        return checked
