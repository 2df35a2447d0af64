"""One scale for how long annotators take, so that their pictures compare."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from annotation.quality import Times

SHORTEST = 0.5
"""Seconds. Nothing shorter is told apart."""


@dataclass(frozen=True, slots=True)
class TimeScale:
    """From ``low`` to ``high`` seconds. Equal steps multiply, since times of minutes and of seconds stand on one."""

    low: float
    high: float

    def at(self, seconds: float) -> float:
        """Where a time stands, from 0 to 1."""
        along = math.log(max(seconds, self.low) / self.low) / math.log(self.high / self.low)
        return min(along, 1.0)


def time_scale(times: Iterable[Times | None]) -> TimeScale:
    """The scale that holds all pictures of ``times``."""
    told = [each for each in times if each is not None]
    low = max(SHORTEST, min((each.p10 for each in told), default=SHORTEST))
    return TimeScale(low, max(2 * low, max((each.p90 for each in told), default=0)))


def in_words(seconds: float) -> str:
    """A time as people say it: ``58 s``, ``1:38 min``, ``25 min``, ``2 h``."""
    whole = round(seconds)
    if whole < 90:
        return f"{whole} s"
    if whole < 10 * 60:
        return f"{whole // 60}:{whole % 60:02} min"
    return f"{seconds / 60:.0f} min" if whole < 90 * 60 else f"{seconds / 3600:.0f} h"
