"""Figures of batches, remembered: many people look at a page that follows its batch, and it must not cost each time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import perf_counter
from typing import Generic, TypeVar

from django.core.cache import cache
from django.db.models import Count, Max, QuerySet
from django.utils import timezone

from annotation.models import Batch, Ranking, Review

Figures = TypeVar("Figures")

ALWAYS_FRESH_SECONDS = 0.2
"""Figures that take no longer are computed whenever anything was ranked."""
REST = 20
"""Others are kept for so many times as long as they took, so that they never take more than a twentieth of a
processor a batch, however fast rankings come in."""
LONGEST_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Remembered(Generic[Figures]):
    """Figures, and ``as_of`` when they were computed. ``stamp`` names the answers that they rest on."""

    figures: Figures
    as_of: datetime
    stamp: str
    seconds: float


def stamp_of(batches: QuerySet[Batch]) -> str:
    """What changes whenever something was ranked, amended or reviewed."""
    ranked = (
        Ranking.objects.filter(task__batch__in=batches).order_by().aggregate(n=Count("pk"), last=Max("pk"))
    )
    reviewed = Review.objects.filter(task__batch__in=batches).order_by().aggregate(last=Max("pk"))
    return f"{ranked['n']}.{ranked['last'] or 0}.{reviewed['last'] or 0}"


def remembered(
    name: str, batches: QuerySet[Batch], compute: Callable[[QuerySet[Batch]], Figures]
) -> Remembered[Figures]:
    """The figures ``compute(batches)``, from the cache where they are fresh enough.

    They are as long as nothing was ranked since, and at most for ten minutes; see `REST` for what takes long.

    Args:
        name: of the figures; those of one name have one type.
    """
    keys = ",".join(str(pk) for pk in batches.order_by("pk").values_list("pk", flat=True))
    key = f"quality:{name}:{hashlib.sha256(keys.encode()).hexdigest()[:32]}"
    stamp = stamp_of(batches)
    known: Remembered[Figures] | None = cache.get(key)
    if known is not None and (known.stamp == stamp or _rests(known)):
        return known
    began = perf_counter()
    figures = compute(batches)
    found = Remembered(figures, timezone.now(), stamp, perf_counter() - began)
    cache.set(key, found, LONGEST_SECONDS)
    return found


def _rests(known: Remembered[Figures]) -> bool:
    if known.seconds <= ALWAYS_FRESH_SECONDS:
        return False
    return timezone.now() - known.as_of < timedelta(seconds=REST * known.seconds)
