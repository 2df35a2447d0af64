"""What an annotator's rankings say of the annotator: leanings that have nothing to do with an answer's worth, and
patterns that no careful reader shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from annotation.answer_columns import AnswerColumns
from annotation.page_orders import PageOrder, place_orders
from annotation.ratios import Ratio, ratios

FASTEST_READER = 100
"""Characters a second: a thousand English words a minute, while people scan for single words at some 600 (Carver 1992,
"Reading rate: Theory, research, and practical implications")."""
FEWEST_CASES = 5
CHANCE = 0.001
"""How seldom an order of the page's places may be found by chance, in any annotator of the batch."""


@dataclass(frozen=True, slots=True)
class Leaning:
    """How often the response with a property was put above one without it, ties left out: 0.5 is no leaning.

    ``low`` and ``high`` are its 95 % interval over tasks, see `annotation.ratios.ratios`; None where tasks are too few
    or too alike.
    """

    win_rate: float | None
    win_rate_low: float | None
    win_rate_high: float | None
    pairs: int


@dataclass(frozen=True, slots=True)
class Habits:
    """One annotator's leanings in a batch, or everybody's, where ``annotator`` is None.

    Attributes:
        annotator: the username.
        ties: of the pairs that they ranked, how many they tied.
        first_shown: how often the response that stood further up on the page won.
        longer: how often the longer one won.
        formatted: how often one with lists, tables, headings, code or bold words won against one without.
    """

    annotator: str | None
    rankings: int
    ties: Ratio
    first_shown: Leaning
    longer: Leaning
    formatted: Leaning


class Pattern(StrEnum):
    AS_SHOWN = PageOrder.AS_SHOWN
    REVERSED = PageOrder.REVERSED
    ONE_ORDER = PageOrder.ONE_ORDER
    TOO_FAST = "too-fast"
    ALL_TIED = "all-tied"


ONE_ORDER = {
    PageOrder.AS_SHOWN: "ranks responses as they were shown",
    PageOrder.REVERSED: "ranks responses the other way round",
    PageOrder.ONE_ORDER: "ranks by place on the page, always in one order",
}


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A pattern of an annotator's rankings that is worth a look, and the evidence as a sentence."""

    annotator: str
    kind: Pattern
    pattern: str
    evidence: str
    tasks: list[int]


class BatchHabits:
    """What the rankings of some batches say of those who gave them."""

    def __init__(self, answers: AnswerColumns) -> None:
        self._answers = answers

    def everybody(self) -> Habits:
        """The batch's own leanings, which each annotator's are read against."""
        (all_of_them,) = self._habits([None], np.zeros(len(self._answers), np.int64))
        return all_of_them

    def of_annotators(self) -> list[Habits]:
        """Each annotator's, the most rankings first."""
        each = self._habits(self._answers.names, self._answers.annotator)
        return sorted(each, key=lambda habits: -habits.rankings)

    def suspicions(self) -> list[Suspicion]:
        """Patterns that are worth a look: one order whatever the responses say, no time to have read them, and all
        tied again and again."""
        return [*self._one_order(), *self._too_fast(), *self._all_tied()]

    def _habits(self, names: list[str] | list[None], group: np.ndarray) -> list[Habits]:
        opinions, count = self._answers.opinions, len(names)
        first, second = opinions.pairs
        place, task = self._answers.place, self._answers.task
        length, formatted = self._answers.length, self._answers.formatted
        sides = (
            # 1 where the first response has it and the second has not, −1 the other way round.
            np.sign(place[:, second] - place[:, first]),
            np.sign(length[:, first] - length[:, second])[task],
            (formatted[:, first] - formatted[:, second])[task],
        )
        leanings = [self._leanings(side, group, count) for side in sides]
        tied = opinions.ordered & (opinions.opinion == 0)
        ties = ratios(tied.sum(axis=1), opinions.ordered.sum(axis=1), group, count, cluster=task)
        rankings = np.bincount(group, minlength=count)
        return [
            Habits(
                name,
                int(rankings[n]),
                ties[n],
                *(of_property[n] for of_property in leanings),
            )
            for n, name in enumerate(names)
        ]

    def _leanings(self, side: np.ndarray, group: np.ndarray, groups: int) -> list[Leaning]:
        opinion = self._answers.opinions.opinion
        told = (opinion != 0) & (side != 0)
        won = told & (side == -opinion)  # −1 says that the first was put above the second
        return [
            Leaning(each.value, each.low, each.high, each.of)
            for each in ratios(won.sum(axis=1), told.sum(axis=1), group, groups, cluster=self._answers.task)
        ]

    def _one_order(self) -> Iterator[Suspicion]:
        answers = self._answers
        found = place_orders(
            answers.opinions.tier, answers.place, answers.annotator, chance=CHANCE, fewest=FEWEST_CASES
        )
        for one in found:
            yield self._suspicion(
                one.annotator, Pattern(one.kind), ONE_ORDER[one.kind], one.evidence, one.rankings
            )

    def _too_fast(self) -> Iterator[Suspicion]:
        answers = self._answers
        read = answers.length.sum(axis=1)[answers.task]
        timed = ~np.isnan(answers.seconds)
        fast = timed & (read > FASTEST_READER * np.nan_to_num(answers.seconds))
        for n, cases, of_all in self._each(fast, timed):
            if cases >= FEWEST_CASES and cases > of_all / 10:
                yield self._suspicion(
                    n,
                    Pattern.TOO_FAST,
                    "is too fast to have read",
                    f"{cases} of {of_all} rankings took less time than reading them at a thousand words a minute.",
                    fast,
                )

    def _all_tied(self) -> Iterator[Suspicion]:
        tier = self._answers.opinions.tier
        tied = (tier.max(axis=1, initial=-1) == 0) & ((tier == 0).sum(axis=1) > 1)
        for n, cases, of_all in self._each(tied, np.ones(len(tied), bool)):
            if cases >= FEWEST_CASES and cases > of_all / 2:
                yield self._suspicion(
                    n,
                    Pattern.ALL_TIED,
                    "ties everything",
                    f"{cases} of {of_all} rankings say that all responses are equally good.",
                    tied,
                )

    def _each(self, cases: np.ndarray, among: np.ndarray) -> Iterator[tuple[int, int, int]]:
        """Each annotator's index, number of cases, and number of rankings that could be one."""
        count = len(self._answers.names)
        found = np.bincount(self._answers.annotator[cases], minlength=count)
        all_of_them = np.bincount(self._answers.annotator[among], minlength=count)
        yield from zip(range(count), found.tolist(), all_of_them.tolist(), strict=True)

    def _suspicion(
        self, annotator: int, kind: Pattern, pattern: str, evidence: str, cases: np.ndarray
    ) -> Suspicion:
        answers = self._answers
        tasks = answers.tasks[answers.task[cases & (answers.annotator == annotator)]]
        return Suspicion(answers.names[annotator], kind, pattern, evidence, tasks.tolist())
