"""What reviewers' pages draw: flags in words, and how annotators are divided."""

from __future__ import annotations

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

register = template.Library()
WIDTH, HEIGHT = 96, 10

REASONS = {
    "amended": "Amended after a return",
    "flagged": "Flagged",
    "low_agreement": "Low agreement",
    "sample": "By chance",
}


@register.filter
def reason_word(reason: str) -> str:
    return REASONS.get(str(reason), str(reason))


@register.simple_tag
def division(over: int, tied: int, under: int) -> SafeString:
    """How many put the first response over the second, tied them and put it under, as a bar; the words stand beside."""
    whole = over + tied + under
    parts, left = [], 0.0
    for kind, count in (("over", over), ("tied", tied), ("under", under)):
        width = WIDTH * count / whole
        if count:
            parts.append((kind, round(left, 1), round(width, 1)))
        left += width
    bars = format_html_join("", '<rect class="division__{}" x="{}" y="0" width="{}" height="10"/>', parts)
    return format_html(
        '<svg class="division" viewBox="0 0 {} {}" aria-hidden="true">{}</svg>', WIDTH, HEIGHT, bars
    )
