"""Personal data that texts may hold, found by their form: what kind, and where. Never what it is."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from training.engine.records import Ranking

MOST_PLACES = 20
"""Places that are listed of each kind."""

_CARD = re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-])")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b")
_PHONE = re.compile(
    r"(?<![\w.+/-])(?:\+\d{1,3}[ .-]?(?:\(0\))?|\(?0)\d{1,4}\)?(?:[ ./-]?\d{2,4}){2,5}(?![\w-])"
)
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[A-Za-z]{2,24}\b")
_IP4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.]*\d)")
_IP6 = re.compile(r"(?<![\w:])(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{0,4}(?![\w:])")


def _luhn(number: str) -> bool:
    """Whether a card's number has the right check digit (ISO/IEC 7812-1, annex B)."""
    digits = [int(c) for c in number if c.isdigit()][::-1]
    doubled = sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return len(set(digits)) > 1 and (sum(digits[::2]) + doubled) % 10 == 0


def _is_iban(text: str) -> bool:
    """Whether an IBAN has the right check digits (ISO 13616)."""
    plain = text.replace(" ", "")
    return 15 <= len(plain) <= 34 and int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1


def _is_address(text: str) -> bool:
    """Whether it is an Internet address of somebody: none of a loopback, a documentation or a private network."""
    try:
        return ip_address(text).is_global
    except ValueError:
        return False


def _is_phone(text: str) -> bool:
    """Whether it has as many digits as telephone numbers have (ITU-T E.164: at most 15)."""
    return 8 <= sum(c.isdigit() for c in text) <= 15


PATTERNS: dict[str, tuple[re.Pattern[str], Callable[[str], bool]]] = {
    "e-mail address": (_EMAIL, lambda text: True),
    "payment card": (_CARD, _luhn),
    "IBAN": (_IBAN, _is_iban),
    "telephone number": (_PHONE, _is_phone),
    "IP address": (_IP4, _is_address),
    "IPv6 address": (_IP6, _is_address),
}
"""By kind, in the order in which a text is searched: what one kind has taken is none of a later one."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something of a kind stands: the task, and which of its texts."""

    task: str
    text: str


def kinds_in(text: str) -> dict[str, int]:
    """Return how many of each kind there are in a text, of those that there are."""
    found: dict[str, int] = {}
    for kind, (pattern, holds) in PATTERNS.items():
        taken = [match for match in pattern.finditer(text) if holds(match[0])]
        if taken:
            found[kind] = len(taken)
            for match in reversed(taken):
                text = f"{text[: match.start()]} {text[match.end() :]}"
    return found


def personal_data(records: Iterable[Ranking]) -> dict[str, Any]:
    """Return, by kind, how many were ``found`` in how many ``texts``, and the first ``places``."""
    found: dict[str, int] = defaultdict(int)
    places: dict[str, list[Place]] = defaultdict(list)
    for record in records:
        for name, text in _texts(record):
            for kind, count in kinds_in(text).items():
                found[kind] += count
                places[kind].append(Place(record.meta["task"], name))
    return {
        kind: {
            "found": found[kind],
            "texts": len(places[kind]),
            "places": [{"task": place.task, "text": place.text} for place in places[kind][:MOST_PLACES]],
        }
        for kind in PATTERNS
        if kind in found
    }


def _texts(record: Ranking) -> Iterator[tuple[str, str]]:
    yield "prompt", "\n".join(message["content"] for message in record.prompt)
    for number, passage in enumerate(record.context, start=1):
        yield f"passage {number}", passage.get("text", "")
    for number, text in enumerate(record.responses):
        yield f"response {number}", text
    for number, text in enumerate(record.demonstrations, start=1):
        yield f"written response {number}", text
