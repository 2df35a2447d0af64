"""Figures that people compare, drawn: intervals of shares, and shares as percentages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from alignment.boards import BoardRow
from alignment.judgements import Rate
from alignment.models import Scorecard
from alignment.reliability import Reliability
from alignment.scorecards import WinRate
from annotation.habits import Leaning
from annotation.quality import Times
from annotation.ratios import Ratio
from frontend.time_scale import TimeScale, in_words
from training.models import Run

register = template.Library()
WIDTH, EDGE = 160, 7  # of the line, and of the room beside it for half a dot
KINDS = {
    Run.Kind.SAMPLE: "Sampling",
    Run.Kind.SFT: "Instruction tuning",
    Run.Kind.REWARD: "Reward model training",
    Run.Kind.DPO: "DPO training",
    Run.Kind.PPO: "PPO training",
    Run.Kind.EVALUATE: "Evaluation",
    Run.Kind.SCORE: "Scoring",
}


@register.filter
def titled(run: Run) -> str:
    """A run's name for people: what it does, and the beginning of its id."""
    return f"{KINDS[Run.Kind(run.kind)]} {str(run.pk)[:8]}"


@register.filter
def took(run: Run) -> str:
    """How long an ended run went on; a dash if it never began."""
    if run.started_at is None or run.ended_at is None:
        return "–"
    seconds = round((run.ended_at - run.started_at).total_seconds())
    if seconds < 1:
        return "less than a second"
    if seconds < 90:
        return f"{seconds} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


NOT_MEASURED = "not measured"
NOTHING = SafeString('<span class="muted">–</span>')


@register.filter
def percent(share: float | None, digits: int = 0) -> str:
    """A share from 0 to 1 as a percentage; a dash for None."""
    return "–" if share is None else f"{100 * share:.{digits}f} %"


@register.filter
def points(difference: float) -> str:
    """A difference of two shares in percentage points, with its sign."""
    number = round(100 * difference, 1) + 0.0  # no negative zero
    return f"{number:+.1f} points".replace("-", "\N{MINUS SIGN}") if number else "0.0 points"


@register.filter
def duration(seconds: float) -> str:
    """A time as people say it."""
    return in_words(seconds)


@register.filter
def other_share(share: float) -> float:
    """What a share leaves of the whole."""
    return 1 - share


@register.filter
def decimals(figure: float | None) -> str:
    """A coefficient from −1 to 1, with two decimals; a dash for None."""
    if figure is None:
        return "–"
    return f"{round(figure, 2) + 0.0:.2f}".replace("-", "\N{MINUS SIGN}")  # no negative zero


@register.filter
def signed(figure: float) -> str:
    """A score with two decimals and its sign."""
    return f"{round(figure, 2) + 0.0:+.2f}".replace("-", "\N{MINUS SIGN}")


@register.simple_tag
def worth(row: BoardRow, rows: Sequence[BoardRow]) -> SafeString:
    """A source's score with its 95% interval, on a line that all rows share; its middle is their mean.

    The drawing is stretched to its cell.
    """
    reach = max((max(abs(each.low), abs(each.high)) for each in rows), default=1.0) or 1.0
    left, at, right = (round(500 + 490 * figure / reach, 1) for figure in (row.low, row.score, row.high))
    tone = "good" if row.low > 0 else "danger" if row.high < 0 else "even"
    return format_html(
        '<svg class="board__line board__line--{tone}" viewBox="0 0 1000 20" preserveAspectRatio="none" role="img" '
        'aria-label="{words}"><line class="board__axis" x1="0" y1="10" x2="1000" y2="10"/>'
        '<line class="board__mean" x1="500" y1="0" x2="500" y2="20"/>'
        '<line class="board__range" x1="{left}" y1="10" x2="{right}" y2="10"/>'
        '<path class="board__value" d="M{at} 10h0"/></svg>',
        tone=tone,
        words=f"Score {signed(row.score)}, 95% interval {signed(row.low)} to {signed(row.high)}",
        left=left,
        at=at,
        right=right,
    )


@register.simple_tag
def win_rate(measured: Scorecard | WinRate | Rate | str | None, label: str = "Win rate") -> SafeString:
    """A win rate with its 95% interval, drawn on a line whose middle is one half, the tie.

    ``measured`` is empty where a template found no scorecard.
    """
    if not measured or isinstance(measured, str):
        return format_html('<span class="muted">{}</span>', NOT_MEASURED)
    low, value, high = measured.win_rate_low, measured.win_rate, measured.win_rate_high
    if low is None or value is None or high is None:
        return format_html('<span class="muted">{}</span>', NOT_MEASURED)
    tone = "good" if low > 0.5 else "danger" if high < 0.5 else "even"
    return _interval(low, value, high, label, tone)


@register.simple_tag
def leaning(measured: Leaning, label: str, mean: Leaning | None = None) -> SafeString:
    """A leaning with its 95% interval, drawn on a line whose middle is none; it is neither good nor bad by itself.

    ``mean`` is everybody's, which a mark on the line stands for.
    """
    low, value, high = measured.win_rate_low, measured.win_rate, measured.win_rate_high
    if value is None:
        return format_html('<span class="muted">{}</span>', "nothing to tell it by")
    if low is None or high is None:
        return format_html(
            '<span class="nowrap">{} <span class="muted">of {}</span></span>', percent(value), measured.pairs
        )
    return _interval(low, value, high, label, "even", mean.win_rate if mean else None)


@register.simple_tag
def share(measured: Ratio, label: str, mean: Ratio | None = None) -> SafeString:
    """A share with its 95% interval, drawn on a line from none to all; a mark stands for everybody's ``mean``."""
    if measured.value is None:
        return NOTHING
    if measured.low is None or measured.high is None:
        return format_html(
            '<span class="nowrap">{} <span class="muted">of {}</span></span>',
            percent(measured.value),
            measured.of,
        )
    return _interval(measured.low, measured.value, measured.high, label, "even", mean.value if mean else None)


@register.simple_tag
def times(measured: Times | None, scale: TimeScale, everybody: Times | None = None) -> SafeString:
    """How long somebody takes: a line from the 10th to the 90th percentile, a bar over the middle half, a dot at the
    median; a mark stands for everybody's median. Written beside it: the median, and the middle half."""
    if measured is None:
        return NOTHING
    p10, p25, median, p75, p90 = (
        round(EDGE + WIDTH * scale.at(each), 1)
        for each in (measured.p10, measured.p25, measured.median, measured.p75, measured.p90)
    )
    written = (in_words(measured.median), in_words(measured.p25), in_words(measured.p75))
    words = "Median {}, half of them from {} to {}".format(*written)
    mark = SafeString("")
    if everybody is not None:
        mark = _mark(scale.at(everybody.median))
        words += f"; everybody’s median {in_words(everybody.median)}"
    line = format_html('<line class="interval__reach" x1="{}" y1="10" x2="{}" y2="10"/>', p10, p90)
    return _drawn("even", words, line, (p25, median, p75), mark, written)


@register.simple_tag
def adherence(measured: Reliability | None) -> SafeString:
    """A reliability with its 95% interval, drawn on a line from 0 to twice the average annotator's."""
    if measured is None:
        return NOTHING
    low, value, high = (min(one / 2, 1.0) for one in (measured.low, measured.value, measured.high))
    tone = "danger" if measured.high < 1 else "good" if measured.low > 1 else "even"
    return _interval(
        low,
        value,
        high,
        "",
        tone,
        words=f"Reliability {measured.value:.2f}, 95% interval {measured.low:.2f} to {measured.high:.2f}",
        written=(f"{measured.value:.2f}", f"{measured.low:.2f}", f"{measured.high:.2f}"),
    )


@register.simple_tag
def spread(counts: Sequence[int]) -> SafeString:
    """How often each rating was given, as small bars from 1 up."""
    most, wide = max(counts, default=0) or 1, WIDTH / max(len(counts), 1)
    drawn = format_html_join(
        "",
        '<rect class="spread__bar" x="{}" y="{}" width="{}" height="{}"/>',
        (
            (
                round(n * wide + wide * 0.1, 1),
                round(24 - 24 * count / most, 1),
                round(wide * 0.8, 1),
                round(max(24 * count / most, 0.5), 1),
            )
            for n, count in enumerate(counts)
        ),
    )
    words = ", ".join(f"{count:,} × {step}" for step, count in enumerate(counts, start=1))
    return format_html(
        '<svg class="spread" viewBox="0 0 {} 24" role="img" aria-label="{}">{}</svg>', WIDTH, words, drawn
    )


@register.filter
def signed_count(count: int, sign: str = "") -> str:
    """A count with a sign before it, unless it is 0: ``sign`` of what is taken away, whose negative was added."""
    if not sign or not count:
        return f"{count:,}".replace("-", "\N{MINUS SIGN}")
    return f"{sign if count > 0 else '+'}{abs(count):,}"


@register.filter
def of_key(mapping: Mapping[str, object], key: str) -> object:
    """What a mapping has under a key that a variable holds; None where it has nothing."""
    return mapping.get(key)


def _interval(
    low: float,
    value: float,
    high: float,
    label: str,
    tone: str,
    mean: float | None = None,
    *,
    words: str = "",
    written: tuple[str, str, str] | None = None,
) -> SafeString:
    """A figure from 0 to 1 with its interval, on a line with its middle marked; ``mean`` has a mark of its own."""
    written = written or (percent(value), f"{100 * low:.0f}", percent(high))
    words = words or f"{label} {percent(value)}, 95% interval {percent(low)} to {percent(high)}".strip()
    mark = SafeString("")
    if mean is not None:
        mark = _mark(mean)
        words += f"; everybody {percent(mean)}"
    half = format_html('<line class="interval__half" x1="{0}" y1="1" x2="{0}" y2="19"/>', EDGE + WIDTH / 2)
    left, middle, right = (round(EDGE + WIDTH * part, 1) for part in (low, value, high))
    return _drawn(tone, words, half, (left, middle, right), mark, written)


def _mark(at: float) -> SafeString:
    return format_html(
        '<line class="interval__mean" x1="{0}" y1="2" x2="{0}" y2="18"/>', round(EDGE + WIDTH * at, 1)
    )


def _drawn(
    tone: str,
    words: str,
    behind: SafeString,
    bar: tuple[float, float, float],
    mark: SafeString,
    written: tuple[str, str, str],
) -> SafeString:
    """A bar with a dot on a line, drawn and written. ``bar``: where it begins, its dot, where it ends."""
    left, middle, right = bar
    figure, from_, to = written
    return format_html(
        '<span class="interval interval--{tone}">'
        '<svg viewBox="0 0 {whole} 20" role="img" aria-label="{words}">'
        '<line class="interval__axis" x1="{edge}" y1="10" x2="{end}" y2="10"/>{behind}'
        '<rect class="interval__range" x="{left}" y="6" width="{span}" height="8" rx="4"/>{mark}'
        '<circle class="interval__value" cx="{middle}" cy="10" r="5"/></svg>'
        '<span class="nowrap" aria-hidden="true"><strong>{value}</strong> '
        '<span class="muted">{low}–{high}</span></span></span>',
        tone=tone,
        whole=WIDTH + 2 * EDGE,
        edge=EDGE,
        end=EDGE + WIDTH,
        words=words,
        behind=behind,
        left=left,
        span=max(2, round(right - left, 1)),
        mark=mark,
        middle=middle,
        value=figure,
        low=from_,
        high=to,
    )
