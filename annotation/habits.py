"""What an annotator's rankings say of the annotator: leanings that have nothing to do with an answer's worth, and
patterns that no careful reader shows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import factorial

import numpy as np
from django.db.models import BooleanField, ExpressionWrapper, Q
from django.db.models.functions import Length
from scipy.stats import poisson

from annotation.agreement import order_of, ratio_interval
from annotation.models import Batch, Ranking, TaskResponse, User
from annotation.submitting import current_rankings

# Lists, headings, tables, code and bold words in Markdown, for PostgreSQL.
MARKUP = r"(^|\n)\s*([-*+] |[0-9]+[.)] |#{1,6} |[|]|```)|[*][*]"
FASTEST_READER = 100
"""Characters a second: a thousand English words a minute, while people scan for single words at some 600 (Carver 1992,
"Reading rate: Theory, research, and practical implications")."""
FEWEST_CASES = 5
CHANCE = 0.001
"""How seldom a pattern may come about by chance, for any one annotator of the batch."""


@dataclass(frozen=True, slots=True)
class Leaning:
    """How often the response with a property was put above one without it, ties left out: 0.5 is no leaning.

    ``low`` and ``high`` are its 95 % interval (a bootstrap over rankings), None where they are too few or too alike.
    """

    win_rate: float | None
    win_rate_low: float | None
    win_rate_high: float | None
    pairs: int


@dataclass(frozen=True, slots=True)
class Habits:
    """One annotator's leanings in a batch, or everybody's, where ``annotator`` is None.

    Attributes:
        tied_share: of the pairs that they ranked, how many they tied.
        first_shown: how often the response that stood further up on the page won.
        longer: how often the longer one won.
        formatted: how often one with lists, tables, headings, code or bold words won against one without.
    """

    annotator: User | None
    rankings: int
    tied_share: float | None
    first_shown: Leaning
    longer: Leaning
    formatted: Leaning


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A pattern of an annotator's rankings that is worth a look, and the evidence as a sentence."""

    annotator: User
    pattern: str
    evidence: str
    tasks: list[int]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What an annotator saw of a response."""

    place: int
    length: int
    formatted: bool


Seen = dict[int, _Seen]
Property = Callable[[_Seen, _Seen], int]
"""1 where the first response has it and the second has not, −1 the other way round, 0 where it tells neither."""


class BatchHabits:
    """The rankings of a batch that count, read once."""

    def __init__(self, batch: Batch) -> None:
        texts: dict[int, dict[int, tuple[int, bool]]] = defaultdict(dict)
        rows = TaskResponse.objects.filter(task__batch=batch).annotate(
            length=Length("response__text"),
            formatted=ExpressionWrapper(Q(response__text__regex=MARKUP), output_field=BooleanField()),
        )
        for task, number, length, formatted in rows.values_list("task_id", "position", "length", "formatted"):
            texts[task][number] = (length, formatted)
        self._rankings: list[tuple[Ranking, Seen]] = [
            (
                ranking,
                {n: _Seen(ranking.shown_order.index(n), *text) for n, text in texts[ranking.task_id].items()},
            )
            for ranking in current_rankings(batch).select_related("annotator").order_by("pk")
        ]

    def everybody(self) -> Habits:
        """The batch's own leanings, which each annotator's are read against."""
        return _habits(None, self._rankings)

    def of_annotators(self) -> list[Habits]:
        """Each annotator's, the most rankings first."""
        each = [_habits(annotator, rankings) for annotator, rankings in self._by_annotator().items()]
        return sorted(
            each, key=lambda habits: (-habits.rankings, habits.annotator.pk if habits.annotator else 0)
        )

    def suspicions(self) -> list[Suspicion]:
        """Patterns that are worth a look: one order whatever the responses say, no time to have read them, and all
        tied again and again."""
        by_annotator = self._by_annotator()
        found = []
        for annotator, rankings in by_annotator.items():
            found += [
                *_one_order(annotator, rankings, CHANCE / len(by_annotator)),
                *_too_fast(annotator, rankings),
                *_all_tied(annotator, rankings),
            ]
        return found

    def _by_annotator(self) -> dict[User, list[tuple[Ranking, Seen]]]:
        by_annotator: dict[User, list[tuple[Ranking, Seen]]] = defaultdict(list)
        for ranking, seen in self._rankings:
            by_annotator[ranking.annotator].append((ranking, seen))
        return by_annotator


def _habits(annotator: User | None, rankings: Sequence[tuple[Ranking, Seen]]) -> Habits:
    opinions = [opinion for ranking, _ in rankings for opinion in order_of(ranking.tiers).values()]
    return Habits(
        annotator=annotator,
        rankings=len(rankings),
        tied_share=opinions.count(0) / len(opinions) if opinions else None,
        first_shown=_leaning(rankings, lambda one, other: _sign(other.place - one.place)),
        longer=_leaning(rankings, lambda one, other: _sign(one.length - other.length)),
        formatted=_leaning(rankings, lambda one, other: one.formatted - other.formatted),
    )


def _leaning(rankings: Sequence[tuple[Ranking, Seen]], has: Property) -> Leaning:
    counts = []
    for ranking, seen in rankings:
        won = told = 0
        for (one, other), opinion in order_of(ranking.tiers).items():
            side = has(seen[one], seen[other])
            if opinion and side:
                told += 1
                won += side == -opinion  # −1 says that the first was put above the second
        if told:
            counts.append((won, told))
    if not counts:
        return Leaning(None, None, None, 0)
    wins, pairs = np.array(counts, dtype=np.float64).T
    low, high = ratio_interval(wins, pairs)
    return Leaning(float(wins.sum() / pairs.sum()), low, high, int(pairs.sum()))


def _one_order(
    annotator: User, rankings: Sequence[tuple[Ranking, Seen]], chance: float
) -> Iterator[Suspicion]:
    for pattern, step in (("as they were shown", 1), ("the other way round", -1)):
        alike = [
            ranking
            for ranking, _ in rankings
            if ranking.tiers == [[number] for number in ranking.shown_order[::step]]
        ]
        expected = sum(1 / factorial(len(ranking.shown_order)) for ranking, _ in rankings)
        if len(alike) >= FEWEST_CASES and poisson.sf(len(alike) - 1, expected) < chance:
            yield Suspicion(
                annotator,
                f"ranks responses {pattern}",
                f"{len(alike)} of {len(rankings)} rankings are the order of the page, {pattern}; chance gives "
                f"{expected:.1f}.",
                [ranking.task_id for ranking in alike],
            )


def _too_fast(annotator: User, rankings: Sequence[tuple[Ranking, Seen]]) -> Iterator[Suspicion]:
    timed = [(ranking, seen) for ranking, seen in rankings if ranking.seconds is not None]
    fast = [
        ranking
        for ranking, seen in timed
        if sum(one.length for one in seen.values()) > FASTEST_READER * (ranking.seconds or 0)
    ]
    if _often(fast, len(timed) / 10):
        yield Suspicion(
            annotator,
            "is too fast to have read",
            f"{len(fast)} of {len(timed)} rankings took less time than reading them at a thousand words a minute.",
            [ranking.task_id for ranking in fast],
        )


def _all_tied(annotator: User, rankings: Sequence[tuple[Ranking, Seen]]) -> Iterator[Suspicion]:
    tied = [ranking for ranking, _ in rankings if len(ranking.tiers) == 1 and len(ranking.tiers[0]) > 1]
    if _often(tied, len(rankings) / 2):
        yield Suspicion(
            annotator,
            "ties everything",
            f"{len(tied)} of {len(rankings)} rankings say that all responses are equally good.",
            [ranking.task_id for ranking in tied],
        )


def _often(cases: Sequence[Ranking], share: float) -> bool:
    return len(cases) >= FEWEST_CASES and len(cases) > share


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)
