"""Hostile Markdown as safe HTML: ``{{ text|markdown }}``, ``|citing:passages`` and ``|checking:passages``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from frontend import rendering

register = template.Library()


@register.filter
def markdown(text: object) -> SafeString:
    return rendering.render(str(text or ""))


@register.filter
def beginning(text: object, length: int) -> str:
    """The first characters of ``text``, as ``markdown`` would show them, without any markup."""
    return rendering.beginning(str(text or ""), length)


@register.filter
def citing(text: object, passages: Iterable[Mapping[str, Any]]) -> SafeString:
    """As ``markdown``, with ``[id]`` linked to the passage of that id."""
    return rendering.render(str(text or ""), passages=_ids(passages))


@register.filter
def checking(text: object, passages: Iterable[Mapping[str, Any]]) -> SafeString:
    """As ``citing``, with a mark on what cites a passage that is not among them."""
    return rendering.render(str(text or ""), passages=_ids(passages), checked=True)


@register.filter
def outward(address: object) -> SafeString:
    """The address of a passage, as a link that opens apart and tells the other site nothing; without https, as text."""
    if not str(address).lower().startswith("https://"):
        return format_html("{}", address)
    return format_html(
        '<a href="{0}" target="_blank" rel="noopener noreferrer nofollow">{0}'
        '<span class="visually-hidden"> (opens in a new tab)</span></a>',
        address,
    )


def _ids(passages: Iterable[Mapping[str, Any]]) -> list[str]:
    return [str(passage.get("id", "")) for passage in passages]
