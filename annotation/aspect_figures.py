"""What ratings of aspects say: whether people agree on them, how they spread, and whether they go with the ranking."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annotation.agreement import krippendorff_alpha, ordinal_distances
from annotation.answer_columns import AnswerColumns
from annotation.models import Aspect, AspectRating
from annotation.ratios import Ratio, ratio
from annotation.revisions import independent_rankings

ROWS_AT_ONCE = 50_000


@dataclass(frozen=True, slots=True)
class AspectFigures:
    """How one aspect was rated.

    Attributes:
        aspect: its name.
        ratings: how many ratings there are.
        counts: how often each step was given, from 1 up.
        alpha: Krippendorff's α, ordinal, over responses that two annotators rated: 1 is perfect, 0 is chance.
        with_ranking: of two responses that one annotator rated differently and ranked differently, how often the one
            rated higher was ranked above.
    """

    aspect: str
    ratings: int
    counts: list[int]
    alpha: float | None
    with_ranking: Ratio


def aspect_figures(answers: AnswerColumns) -> list[AspectFigures]:
    """The figures of each aspect that was rated, in the rubric's order."""
    ratings = AspectRating.objects.filter(ranking__in=independent_rankings(answers.batches)).order_by()
    row_of = np.argsort(answers.ranking)
    found = []
    for aspect in Aspect.objects.filter(pk__in=ratings.values("aspect")):
        told = ratings.filter(aspect=aspect).values_list("ranking_id", "position", "rating")
        rows: np.ndarray = np.fromiter(told.iterator(ROWS_AT_ONCE), np.dtype((np.int64, 3)))
        # One that came since the answers were read is not among them.
        rows = rows[np.isin(rows[:, 0], answers.ranking) & (rows[:, 1] < answers.width)]
        table = np.zeros((len(answers), answers.width), np.int64)
        table[row_of[np.searchsorted(answers.ranking[row_of], rows[:, 0])], rows[:, 1]] = rows[:, 2]
        found.append(_figures(aspect, table, answers))
    return found


def _figures(aspect: Aspect, table: np.ndarray, answers: AnswerColumns) -> AspectFigures:
    """Of ratings by ranking and response, 0 where there is none. Shape: ``(rankings, responses)``."""
    opinions = answers.opinions
    by_value = np.stack(
        [opinions.by_task((table == step).astype(np.int64)) for step in range(1, aspect.steps + 1)], axis=2
    ).reshape(-1, aspect.steps)
    several = by_value[by_value.sum(axis=1) > 1]
    first, second = opinions.pairs
    rated = (table[:, first] > 0) & (table[:, second] > 0)
    higher = np.sign(table[:, first] - table[:, second]) * rated
    told = (higher != 0) & (opinions.opinion != 0)
    above = told & (higher == -opinions.opinion)
    return AspectFigures(
        aspect=aspect.name,
        ratings=int((table > 0).sum()),
        counts=by_value.sum(axis=0).tolist(),
        alpha=krippendorff_alpha(several, ordinal_distances(several.sum(axis=0))),
        with_ranking=ratio(*(opinions.by_task(each.sum(axis=1)) for each in (above, told))),
    )
