"""Which endpoints a person may have workers talk to, and with which key."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from annotation.models import User
from annotation.refusals import Refusal

# A source may name a key by its variable only: other secrets of the server are out of its reach.
KEY_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*_API_KEY")
SEGMENTS_THAT_LEAD_ELSEWHERE = re.compile(r"(^|/)(\.|%2e){1,2}(/|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ListedEndpoint:
    """An address that managers may sample, with everything below it."""

    url: str
    key_variable: str = ""

    def covers(self, url: str) -> bool:
        return url == self.url or url.startswith(f"{self.url}/")


def listed_endpoints() -> list[ListedEndpoint]:
    """Return what ``RANKLOOP_ENDPOINTS`` lists.

    Raises:
        ImproperlyConfigured: an entry is no address, or its variable does not end in ``_API_KEY``.
    """
    listed = []
    entries = filter(None, (part.strip() for part in settings.RANKLOOP_ENDPOINTS.split(",")))
    for number, entry in enumerate(entries, 1):
        url, _, variable = entry.partition("=")
        try:
            listed.append(ListedEndpoint(checked_address(url.strip()), checked_variable(variable.strip())))
        except Refusal:  # which shows the address, and with it a password
            raise ImproperlyConfigured(
                f"Entry {number} of RANKLOOP_ENDPOINTS must be a plain address, as https://api.example.org/v1, and, if "
                "it needs a key, behind an = the key's variable, in capitals and ending in _API_KEY."
            ) from None
    return listed


def checked_address(url: str) -> str:
    """Return the address of an endpoint without a slash at its end, scheme and host in small letters.

    Raises:
        Refusal: it is no plain http or https address: without a host, or with a password, query, fragment or dots
            that lead out of its path.
    """
    try:
        parts = urlsplit(url)
        plain = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        plain = False
    if not plain or re.search(r"[\s\\@?#]", url) or SEGMENTS_THAT_LEAD_ELSEWHERE.search(parts.path):
        raise Refusal(
            "invalid",
            "The address must be a plain one that begins with http:// or https://, such as http://localhost:8000/v1, "
            f"not {url!r:.80}.",
            field="url",
        )
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path}".rstrip("/")


def checked_variable(key_variable: str) -> str:
    """Return the name of a key's variable, or "" for none.

    Raises:
        Refusal: it is not in capitals or does not end in ``_API_KEY``.
    """
    if key_variable and not KEY_VARIABLE.fullmatch(key_variable):
        raise Refusal(
            "invalid",
            "The key's variable must be in capitals and end in _API_KEY, such as OPENAI_API_KEY, "
            f"not {key_variable!r:.80}.",
            field="key_variable",
        )
    return key_variable


def granted_key(*, url: str, key_variable: str, user: User) -> str:
    """Return the variable of the key that goes to the address ``url`` (a checked one) if ``user`` names it.

    An administrator's choice stands. For others the longest listed address that covers ``url`` says which key.

    Raises:
        Refusal: ``forbidden``: the address is not listed, or the key is not the one that the list gives to it.
    """
    if user.is_superuser and user.is_active:
        return key_variable
    listed = [each for each in listed_endpoints() if each.covers(url)]
    if not listed:
        choices = ", ".join(each.url for each in listed_endpoints())
        raise Refusal(
            "forbidden",
            f"The address {url:.80} is not one that managers may use. "
            + (f"Use one of {choices}, or ask" if choices else "Ask")
            + " an administrator, who can add it or list it in RANKLOOP_ENDPOINTS.",
            field="url",
        )
    entry = max(listed, key=lambda each: len(each.url))
    if key_variable not in ("", entry.key_variable):
        raise Refusal(
            "forbidden",
            f"The key for {entry.url} is {entry.key_variable or 'none'} and not {key_variable:.80}: only "
            "administrators choose keys. Leave it empty.",
            field="key_variable",
        )
    return entry.key_variable
