"""Figures of batches, remembered: many people look at a page that follows its batch, and it must not cost each time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import perf_counter
from typing import Any, Generic, TypeVar

from django.core.cache import cache
from django.db.models import QuerySet
from django.utils import timezone

from annotation.answer_columns import stamp_of
from annotation.models import Batch

Figures = TypeVar("Figures")

QUICK_SECONDS = 0.3
"""Figures that take no longer are computed whenever anything was ranked."""
REST = 20
"""Others are kept for so many times as long as they took, so that they never take more than a twentieth of a
processor a batch, however fast rankings come in."""
LONGEST_SECONDS = 600
QUICK_RANKINGS = 10_000
"""Of so many, figures are had while somebody waits."""


@dataclass(frozen=True, slots=True)
class Remembered(Generic[Figures]):
    """Figures, and ``as_of`` when they were computed. ``stamp`` names the answers that they rest on."""

    figures: Figures
    as_of: datetime
    stamp: str
    seconds: float


def remembered(
    name: str, batches: QuerySet[Batch], compute: Callable[[QuerySet[Batch]], Figures]
) -> Remembered[Figures]:
    """The figures ``compute(batches)``, from the cache where they are fresh enough.

    They are as long as nothing was ranked since, and at most for ten minutes; see `REST` for what takes long.

    Args:
        name: of the figures; those of one name have one type.
    """
    key, stamp = _key(name, batches), stamp_of(batches)
    known: Remembered[Figures] | None = cache.get(key)
    if known is not None and _is_fresh(known, stamp):
        return known
    began = perf_counter()
    figures = compute(batches)
    found = Remembered(figures, timezone.now(), stamp, perf_counter() - began)
    cache.set(key, found, LONGEST_SECONDS)
    return found


def at_hand(name: str, batches: QuerySet[Batch]) -> bool:
    """Whether `remembered` answers at once: the rankings are few, or the figures are known."""
    stamp = stamp_of(batches)
    if int(stamp.split(".")[0]) <= QUICK_RANKINGS:
        return True
    known: Remembered[object] | None = cache.get(_key(name, batches))
    return known is not None and _is_fresh(known, stamp)


def _is_fresh(known: Remembered[Any], stamp: str) -> bool:
    if known.stamp == stamp:
        return True
    rests = timedelta(seconds=REST * known.seconds)
    return known.seconds > QUICK_SECONDS and timezone.now() - known.as_of < rests


def _key(name: str, batches: QuerySet[Batch]) -> str:
    keys = ",".join(str(pk) for pk in batches.order_by("pk").values_list("pk", flat=True))
    return f"quality:{name}:{hashlib.sha256(keys.encode()).hexdigest()[:32]}"
