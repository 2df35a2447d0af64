"""What of the rankings goes into a dataset: its filters."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from annotation.models import Project
from annotation.refusals import Refusal
from training.engine.refusal import Refused
from training.engine.settings import check_settings, setting

FlagKind = Literal["unsafe", "hallucinated", "wrong_language", "truncated", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What a dataset leaves out. Those that are not given leave out nothing."""

    aspect: str = setting("")
    """Learn one aspect: the votes are the annotators' ratings of it, higher ones better and equal ones tied, not their
    rankings. Adjudications and written responses are of the whole, so such a dataset has neither."""
    ranked_from: str = setting("")
    """A day, as 2026-03-31, in UTC: rankings whose latest revision came before it are left out."""
    ranked_until: str = setting("")
    """The last day, likewise: later ones are left out."""
    min_reliability: float | None = setting(None, at_least=0, at_most=10)
    """The rankings of annotators who follow the consensus less are left out. 1 is the average annotator."""
    sources: tuple[int, ...] = setting(())
    """Only responses of these sources are in it."""
    flags: tuple[FlagKind, ...] = setting(())
    """Responses that an annotator flagged so are left out."""
    min_rating_of: str = setting("")
    """An aspect, with ``min_rating``."""
    min_rating: float | None = setting(None, at_least=1, at_most=10)
    """Responses whose mean rating on that aspect is lower are left out; those that nobody rated stay."""
    apart_from_held_out: bool = setting(False)
    """Training tasks are left out whose prompts nearly repeat one that is held out; see
    `annotation.near_duplicates`."""
    reviewed_only: bool = setting(False)
    """Only tasks whose latest review accepted or adjudicated them."""
    min_agreement: float | None = setting(None, at_least=0, at_most=1)
    """Tasks whose annotators ordered their pairs of responses alike less often are left out, and so are those that
    fewer than two ranked. An adjudicated task stays."""
    min_margin: float | None = setting(None, at_least=0, at_most=20)
    """Tasks whose best and worst response are closer in log-worth are left out."""

    def given(self) -> dict[str, Any]:
        """The filters that leave anything out, as JSON has them; none for a dataset of everything."""
        return {
            field.name: list(value) if isinstance(value, tuple) else value
            for field in dataclasses.fields(self)
            if (value := getattr(self, field.name)) != field.default
        }


def check_filters(project: Project, given: Mapping[str, Any] | None, *, where: str = "filters") -> Filters:
    """Return the filters in their one form: lists sorted, days as ISO 8601 writes them.

    Args:
        where: what they are called where they were given.

    Raises:
        Refusal: one is unknown, of the wrong kind or out of range, or the project has no such aspect or source.
    """
    try:
        filters: Filters = check_settings(Filters, {} if given is None else given, where)
    except Refused as refused:
        named = re.search(rf"`({where}[^`]*)`", str(refused))
        raise Refusal("invalid", str(refused), field=named[1] if named else where) from refused

    def require(sound: bool, name: str, sentence: str) -> None:
        if not sound:
            raise Refusal("invalid", f"`{where}.{name}` {sentence}", field=f"{where}.{name}")

    require(
        (filters.min_rating is None) != bool(filters.min_rating_of),
        "min_rating",
        "needs both: an aspect in `min_rating_of`, and its lowest mean in `min_rating`.",
    )
    aspects = list(project.aspects.values_list("name", flat=True))
    for name in ("aspect", "min_rating_of"):
        value = getattr(filters, name)
        there = ", ".join(aspects) or "it has none"
        require(
            not value or value in aspects,
            name,
            f"must be an aspect of the project ({there}), not {value!r:.60}.",
        )
    storable = [pk for pk in filters.sources if 0 < pk < 2**63]
    known = set(project.sources.filter(pk__in=storable).values_list("pk", flat=True))
    strangers = sorted(set(filters.sources) - known)
    require(not strangers, "sources", f"holds {strangers[:1]}: the project has no such source.")
    days = {name: _day(getattr(filters, name)) for name in ("ranked_from", "ranked_until")}
    for name, day in days.items():
        text = getattr(filters, name)
        require(bool(day) or not text, name, f"must be a day such as 2026-03-31, not {text!r:.60}.")
    first, last = days.values()
    require(
        not (first and last and first > last), "ranked_until", f"is {last}, before the first day, {first}."
    )
    return dataclasses.replace(
        filters,
        sources=tuple(sorted(set(filters.sources))),
        flags=tuple(sorted(set(filters.flags))),
        ranked_from=first.isoformat() if first else "",
        ranked_until=last.isoformat() if last else "",
    )


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        return None
