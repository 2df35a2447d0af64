"""Where a project's pages are, and who sees which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from annotation.models import Membership, Project, User
from annotation.review_queue import waiting_count
from frontend.access import may

Role = Membership.Role


@dataclass(frozen=True, slots=True)
class Section:
    """A page of the navigation: ``view`` is the URL's name, ``role`` the least role that sees it, ``count`` says how
    many things wait there for somebody."""

    label: str
    icon: str
    view: str
    role: Role
    count: Callable[..., int] | None = None


SECTIONS = (
    Section("Home", "house", "project_home", Role.ANNOTATOR),
    Section("Rank", "list-ordered", "rank", Role.ANNOTATOR),
    Section("History", "clock", "rank_history", Role.ANNOTATOR),
    Section("Review", "circle-check", "review", Role.REVIEWER, waiting_count),
    Section("Rounds", "refresh-cw", "rounds", Role.REVIEWER),
    Section("Prompts", "message-square", "prompts", Role.REVIEWER),
    Section("Imports", "upload", "imports", Role.REVIEWER),
    Section("Sources", "cpu", "sources", Role.MANAGER),
    Section("Batches", "layers", "batches", Role.REVIEWER),
    Section("Quality", "gauge", "quality", Role.REVIEWER),
    Section("Leaderboard", "trophy", "leaderboard", Role.REVIEWER),
    Section("Judges", "monitor", "judges", Role.REVIEWER),
    Section("Datasets", "database", "datasets", Role.REVIEWER),
    Section("Models", "box", "models", Role.REVIEWER),
    Section("Runs", "activity", "runs", Role.REVIEWER),
    Section("Members", "users", "members", Role.MANAGER),
    Section("Settings", "settings", "project_settings", Role.MANAGER),
)


@dataclass(frozen=True, slots=True)
class Link:
    label: str
    icon: str
    url: str
    current: bool
    count: int = 0


def links(*, project: Project, user: User, role: Role, path: str) -> list[Link]:
    """The navigation of ``project`` for ``user``, who is of ``role`` in it and at ``path``."""
    shown = [
        (section, reverse(section.view, args=[project.slug]))
        for section in SECTIONS
        if may(role, section.role)
    ]
    # The home's address begins every other one, so the longest that fits is where the reader is.
    here = max((url for _, url in shown if path.startswith(url)), key=len, default="")
    return [
        Link(
            section.label,
            section.icon,
            url,
            url == here,
            section.count(project=project, reviewer=user) if section.count else 0,
        )
        for section, url in shown
    ]


def page(request: HttpRequest) -> dict[str, Any]:
    """Context processor: what the frame of every page needs."""
    theme = request.COOKIES.get("theme", "")
    return {"theme": theme if theme in ("light", "dark") else "system"}
