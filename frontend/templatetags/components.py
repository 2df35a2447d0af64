"""Parts of pages that templates share: icons, badges of states, the project's navigation."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from django import template
from django.forms import BoundField
from django.http import QueryDict
from django.template.context import RequestContext
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from frontend.navigation import links

register = template.Library()
ICONS = Path(__file__).resolve().parent.parent / "static/vendor/lucide-1.62.0"

# A state's tone and icon. Icon and word carry it too, so that nobody needs to see the colour.
STATES: dict[str, tuple[str, str]] = {
    # runs
    "queued": ("", "clock"),
    "running": ("info", "loader"),
    "succeeded": ("good", "check"),
    "failed": ("danger", "circle-alert"),
    "cancelled": ("", "x"),
    # imports
    "draft": ("", "pencil"),
    # rounds
    "sampling": ("info", "cpu"),
    "annotating": ("accent", "users"),
    "building": ("info", "database"),
    "rewarding": ("info", "activity"),
    "training": ("info", "activity"),
    "evaluating": ("info", "gauge"),
    "judging": ("accent", "users"),
    "deciding": ("warn", "target"),
    "promoted": ("good", "trophy"),
    "rejected": ("", "x"),
    # batches
    "open": ("accent", "play"),
    "paused": ("warn", "pause"),
    "closed": ("", "check"),
    # model versions
    "candidate": ("info", "circle-dot"),
    # assignments
    "leased": ("info", "clock"),
    "submitted": ("good", "check"),
    "skipped": ("warn", "skip-forward"),
    # splits
    "train": ("", "layers"),
    "held_out": ("info", "lock"),
    # prompts
    "retired": ("", "x"),
    # deliveries
    "pending": ("info", "clock"),
    "delivered": ("good", "check"),
    # model versions that are chosen no more
    "archived": ("", "x"),
}


@register.simple_tag
def icon(name: str, label: str = "") -> SafeString:
    """An inline icon. With a label it speaks; without one it is decoration."""
    says = format_html('role="img" aria-label="{}"', label) if label else 'aria-hidden="true"'
    return mark_safe(  # noqa: S308 (a vendored file)
        '<svg class="icon" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" '
        f'stroke-linecap="round" stroke-linejoin="round" {says}>{_shapes(name)}</svg>'
    )


@cache
def _shapes(name: str) -> str:
    drawing = (ICONS / f"{name}.svg").read_text()
    shapes = re.search(r"<svg[^>]*>(.*)</svg>", drawing, re.DOTALL)
    if shapes is None:
        raise ValueError(f"{ICONS / name}.svg is not an icon.")
    return re.sub(r"\s+", " ", shapes[1]).strip()


@register.simple_tag
def state(value: str, label: str = "") -> SafeString:
    """The badge of a state of a run, import, round, batch, model version or assignment."""
    tone, drawing = STATES.get(value, ("", "circle-dot"))
    return format_html(
        '<span class="badge{}">{}{}</span>',
        f" badge--{tone}" if tone else "",
        icon(drawing),
        label or value.replace("_", " "),
    )


@register.inclusion_tag("components/project_nav.html", takes_context=True)
def project_nav(context: RequestContext) -> dict[str, Any]:
    request = context["request"]
    return {"links": links(project=request.project, user=request.user, role=request.role, path=request.path)}


@register.simple_tag(takes_context=True)
def page_query(context: RequestContext, page: int) -> str:
    """The present query string with another page number."""
    query: QueryDict = context["request"].GET.copy()
    query["page"] = str(page)
    return f"?{query.urlencode()}"


@register.filter
def widget_kind(field: BoundField) -> str:
    """The input's type (``text``, ``checkbox``, ``file``, ``textarea``, …), which decides how a field is laid out.

    A group of check boxes is none: it has a legend, as a group of radio buttons has.
    """
    widget = field.field.widget
    if getattr(widget, "allow_multiple_selected", False):
        return type(widget).__name__.lower()
    return str(getattr(widget, "input_type", None) or type(widget).__name__.lower())


@register.filter
def steps(count: int) -> range:
    """1 to ``count``, as buttons of a rating."""
    return range(1, count + 1)
