"""Pictures drawn on the server, as SVG that follows the theme: what came when, with what is to come, and bands.

A drawing has no text of its own: it is stretched to its frame, and the template writes the axes beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from annotation.drift import Stretch
from annotation.pacing import Pace, Step

WIDTH, HEIGHT = 1000.0, 100.0
MOST_BARS = 120


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing and the ends of its axes, as words."""

    drawing: SafeString
    top: str
    bottom: str
    left: str
    right: str


def bars(pace: Pace) -> Plot:
    """Rankings of each day or hour; of many, of as many as can be told apart, the latest."""
    steps = pace.steps[-MOST_BARS:]
    most = max((step.rankings for step in steps), default=0) or 1
    wide = WIDTH / max(len(steps), 1)
    drawn = format_html_join(
        "",
        '<rect class="plot__bar" x="{}" y="{}" width="{}" height="{}"/>',
        (
            (
                _r(n * wide + wide * 0.1),
                _r(HEIGHT - HEIGHT * step.rankings / most),
                _r(wide * 0.8),
                _r(HEIGHT * step.rankings / most),
            )
            for n, step in enumerate(steps)
            if step.rankings
        ),
    )
    unit = "hour" if pace.by_hour else "day"
    words = (
        f"Rankings each {unit}, from {_when(steps[0], pace)} to {_when(steps[-1], pace)}; at most {most:,}."
    )
    return Plot(_svg(drawn, words), f"{most:,}", "0", _when(steps[0], pace), _when(steps[-1], pace))


def course(pace: Pace, now: datetime) -> Plot:
    """All rankings so far against time, and the fan of the forecast up to the end."""
    start = pace.steps[0].since
    forecast = pace.forecast
    until = _end_of(forecast.latest) if forecast else now
    span = max((until - start).total_seconds(), 1.0)
    total = max(pace.submitted + pace.left, 1)

    def x(moment: datetime) -> float:
        return _r(WIDTH * min(max((moment - start).total_seconds() / span, 0.0), 1.0))

    def y(rankings: int) -> float:
        return _r(HEIGHT - HEIGHT * rankings / total)

    length = timedelta(hours=1) if pace.by_hour else timedelta(days=1)
    points = [(0.0, HEIGHT)]
    points += [(x(min(step.since + length, now)), y(step.so_far)) for step in pace.steps]
    here = points[-1]
    parts = [
        format_html('<line class="plot__goal" x1="0" y1="0" x2="{}" y2="0"/>', WIDTH),
        format_html('<polyline class="plot__line" points="{}"/>', _points(points)),
    ]
    words = f"{pace.submitted:,} of {total:,} rankings since {start:%Y-%m-%d}."
    if forecast:
        early, likely, late = (
            x(_end_of(day)) for day in (forecast.earliest, forecast.likely, forecast.latest)
        )
        fan = _points([here, (early, 0.0), (late, 0.0)])
        parts.insert(0, format_html('<polygon class="plot__band" points="{}"/>', fan))
        parts.append(
            format_html(
                '<polyline class="plot__line plot__line--guess" points="{}"/>', _points([here, (likely, 0.0)])
            )
        )
        words += (
            f" The end is likely by {forecast.likely}, between {forecast.earliest} and {forecast.latest}."
        )
    drawn = format_html_join("", "{}", ((part,) for part in parts))
    return Plot(_svg(drawn, words), f"{total:,}", "0", f"{start:%-d %b}", f"{until:%-d %b}")


def band(stretches: Sequence[Stretch]) -> Plot:
    """Agreement of each stretch with its interval."""
    shares = [one.agreement.value or 0.0 for one in stretches]
    lows = [
        low if (low := one.agreement.low) is not None else own
        for one, own in zip(stretches, shares, strict=True)
    ]
    highs = [
        high if (high := one.agreement.high) is not None else own
        for one, own in zip(stretches, shares, strict=True)
    ]
    bottom = math.floor(10 * min(lows, default=0.0)) / 10
    top = max(math.ceil(10 * max(highs, default=1.0)) / 10, bottom + 0.1)
    xs = [_r(WIDTH * (n + 0.5) / len(stretches)) for n in range(len(stretches))]

    def y(share: float) -> float:
        return _r(HEIGHT - HEIGHT * (share - bottom) / (top - bottom))

    values = [(x, y(share)) for x, share in zip(xs, shares, strict=True)]
    ends = [(x, y(low)) for x, low in zip(xs, lows, strict=True)]
    ends += [(x, y(high)) for x, high in zip(reversed(xs), reversed(highs), strict=True)]
    dots = format_html_join("", '<path class="plot__dot" d="M{} {}h0"/>', values)
    drawn = format_html(
        '<polygon class="plot__band" points="{}"/><polyline class="plot__line" points="{}"/>{}',
        _points(ends),
        _points(values),
        dots,
    )
    words = (
        f"Agreement of {len(stretches)} stretches of tasks: {100 * shares[0]:.0f} % in the first, "
        f"{100 * shares[-1]:.0f} % in the last."
    )
    return Plot(
        _svg(drawn, words),
        f"{100 * top:.0f} %",
        f"{100 * bottom:.0f} %",
        f"{stretches[0].since:%-d %b %H:%M}",
        f"{stretches[-1].until:%-d %b %H:%M}",
    )


def histogram(
    counts: Sequence[int], edges: Sequence[float], *, of: str, written: Callable[[float], str]
) -> Plot:
    """How many values fall in each of equally wide bins.

    Args:
        counts: of each bin.
        edges: of the bins, one more than counts.
        of: what is counted, for who hears the drawing, such as ``responses by words``.
        written: an edge as people read it.
    """
    most, wide = max(counts, default=0) or 1, WIDTH / max(len(counts), 1)
    drawn = format_html_join(
        "",
        '<rect class="plot__bar" x="{}" y="{}" width="{}" height="{}"/>',
        (
            (
                _r(n * wide + wide * 0.05),
                _r(HEIGHT - HEIGHT * count / most),
                _r(wide * 0.9),
                _r(HEIGHT * count / most),
            )
            for n, count in enumerate(counts)
            if count
        ),
    )
    fullest = max(range(len(counts)), key=lambda n: counts[n])
    words = (
        f"{sum(counts):,} {of}, from {written(edges[0])} to {written(edges[-1])}; most of them, {most:,}, between "
        f"{written(edges[fullest])} and {written(edges[fullest + 1])}."
    )
    return Plot(_svg(drawn, words), f"{most:,}", "0", written(edges[0]), written(edges[-1]))


def _svg(drawn: SafeString, words: str) -> SafeString:
    return format_html(
        '<svg viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>',
        f"{WIDTH:g}",
        f"{HEIGHT:g}",
        words,
        drawn,
    )


def _when(step: Step, pace: Pace) -> str:
    since = timezone.localtime(step.since)
    return f"{since:%-d %b %H:%M}" if pace.by_hour else f"{since:%-d %b}"


def _end_of(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.max))


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)


def _r(number: float) -> float:
    return round(number, 1)
