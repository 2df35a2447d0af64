"""What a rehearsal shows: a live line, a table for people, and a line of JSON for machines."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence

from django.core.management.base import OutputWrapper

from alignment.rehearsing import Moment, Rehearsal, RoundFigures

SECONDS_A_LINE = 10.0
COLUMNS = [
    "round",
    "rankings",
    "agreement",
    "consensus accuracy",
    "training loss",
    "win rate against base (95 %)",
    "against the model before (95 %)",
    "oracle base → new",
    "seconds",
]
# Of rounds whose policy learned from a reward model.
BESIDE = ["best of n against the model before (95 %)", "DPO against the model before (95 %)"]


class LiveProgress:
    """One line that is written over and over on a terminal; elsewhere a line when the phase changes and
    every ten seconds."""

    def __init__(self, stream: OutputWrapper) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._began = self._phase_began = time.monotonic()
        self._phase = ("", 0)
        self._told = 0.0
        self._width = 0

    def __call__(self, moment: Moment) -> None:
        now = time.monotonic()
        new_phase = (moment.phase, moment.round) != self._phase
        if new_phase:
            self.end_line()
            self._phase, self._phase_began = (moment.phase, moment.round), now
        if not (new_phase or now - self._told > (0.2 if self._terminal else SECONDS_A_LINE)):
            return
        self._told = now
        minutes, seconds = divmod(int(now - self._began), 60)
        line = f"{minutes:02}:{seconds:02}  round {moment.round}  {moment.phase}"
        if moment.total:
            line += f"  {moment.done}/{moment.total}"
        if moment.loss is not None:
            line += f"  loss {moment.loss:.4f}"
        if self._terminal:
            self._stream.write("\r" + line.ljust(self._width), ending="")
            self._width = len(line)
        else:
            self._stream.write(line)
        self._stream.flush()

    def end_line(self) -> None:
        """Leave the line that is being written over."""
        if self._terminal and self._width:
            self._stream.write("")
            self._width = 0


def as_table(rounds: Sequence[RoundFigures]) -> str:
    """Return the figures as aligned columns, and a sentence on each round."""
    beside = any(each.best_of is not None or each.dpo_win_rate is not None for each in rounds)
    rows = [
        COLUMNS + BESIDE * beside,
        *(_cells(each) + list(_beside(each)) * beside for each in rounds),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    lines.insert(1, "  ".join("─" * width for width in widths))
    return "\n".join([*lines, "", *(verdict(each) for each in rounds)])


def as_json(rehearsal: Rehearsal, rounds: Sequence[RoundFigures]) -> str:
    """Return one line of JSON with the settings and the same figures."""
    return json.dumps(
        {
            "rehearsal": dataclasses.asdict(rehearsal),
            "rounds": [
                {name: _rounded(value) for name, value in dataclasses.asdict(each).items()} for each in rounds
            ],
        },
        ensure_ascii=False,
    )


def verdict(figures: RoundFigures) -> str:
    """Return the sentences that say whether the round made a better model."""
    if figures.reason:
        return figures.reason
    start = f"Round {figures.round}: "
    if figures.win_rate is None or figures.win_rate_low is None or figures.win_rate_high is None:
        return start + "nothing was measured on held-out prompts, so nothing can be said of the new model."
    interval = (
        f"{figures.win_rate:.1%} of comparisons ({figures.win_rate_low:.1%} to {figures.win_rate_high:.1%})"
    )
    if figures.win_rate_low > 0.5:
        found = f"the new model is better than the base: it wins {interval}, clear of 50 %."
    elif figures.win_rate_high < 0.5:
        found = f"the new model is WORSE than the base: it wins {interval}."
    else:
        found = f"NOT shown to be better than the base: the new model wins {interval}, not clear of 50 %."
    against_base, before = _win_rates(figures)
    if before != against_base:
        found += f" Against the model before, it wins {before}."
    best_of, dpo = _beside(figures)
    if figures.best_of is not None:
        found += (
            f" Of the same {figures.rankings} rankings, against the model before: best of {figures.best_of} by the "
            f"reward model wins {best_of}, DPO wins {dpo}."
        )
    return start + found + f" It was {figures.state}."


def _win_rates(figures: RoundFigures) -> tuple[str, str]:
    """Return the win rates with their intervals: against the base, and against the model before."""
    return (
        _interval(figures.win_rate, figures.win_rate_low, figures.win_rate_high),
        _interval(figures.win_rate_previous, figures.win_rate_previous_low, figures.win_rate_previous_high),
    )


def _beside(figures: RoundFigures) -> tuple[str, str]:
    """Return the win rates, with their intervals, of best-of-n and DPO against the model before."""
    return (
        _interval(figures.best_of_win_rate, figures.best_of_win_rate_low, figures.best_of_win_rate_high),
        _interval(figures.dpo_win_rate, figures.dpo_win_rate_low, figures.dpo_win_rate_high),
    )


def _interval(rate: float | None, low: float | None, high: float | None) -> str:
    return "–" if rate is None else f"{_percent(rate)} ({_percent(low)} to {_percent(high)})"


def _cells(figures: RoundFigures) -> list[str]:
    return [
        str(figures.round),
        str(figures.rankings),
        _percent(figures.agreement),
        _percent(figures.consensus_accuracy),
        f"{_number(figures.loss_first)} → {_number(figures.loss_last)}",
        *_win_rates(figures),
        f"{_number(figures.oracle_before)} → {_number(figures.oracle_after)}",
        f"{figures.seconds:.0f}",
    ]


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _rounded(value: object) -> object:
    return round(value, 6) if isinstance(value, float) else value
