"""Rankings as columns: what each says of every pair of its task's responses, for array operations over very many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

UNRANKED = -1
MOST_COUPLES = 1_000_000
"""Of rankings of the same task, to be compared with each other."""

Tiers = Sequence[Sequence[int]]


@dataclass(frozen=True, eq=False)
class Opinions:
    """Rankings, one a row, those of a task side by side.

    Attributes:
        task: which task each is of, from 0, ascending. Shape: ``(rankings,)``.
        tier: the tier of each response, 0 the best, `UNRANKED` where it is in none. Shape: ``(rankings, responses)``.
        tasks: how many tasks there are; one may have no ranking.
    """

    task: np.ndarray
    tier: np.ndarray
    tasks: int

    @classmethod
    def of(cls, rankings_by_task: Sequence[Sequence[Tiers]]) -> Opinions:
        """The opinions of rankings given as tiers of response numbers, task by task."""
        rankings = [tiers for of_task in rankings_by_task for tiers in of_task]
        sizes = [len(of_task) for of_task in rankings_by_task]
        width = 1 + max((number for tiers in rankings for tier in tiers for number in tier), default=0)
        return cls(
            np.repeat(np.arange(len(sizes)), sizes), tier_table(rankings, width), tasks=len(rankings_by_task)
        )

    def __len__(self) -> int:
        return len(self.task)

    @cached_property
    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """The numbers i < j of each pair of responses. Shape of both: ``(pairs,)``."""
        first, second = np.triu_indices(self.tier.shape[1], 1)
        return first, second

    @cached_property
    def ordered(self) -> np.ndarray:
        """Whether the ranking says anything of the pair. Shape: ``(rankings, pairs)``."""
        ranked = self.tier != UNRANKED
        first, second = self.pairs
        return np.asarray(ranked[:, first] & ranked[:, second])

    @cached_property
    def opinion(self) -> np.ndarray:
        """What it says: −1 where i is over j, 1 where under, 0 where tied; 0 too where nothing.

        Shape: ``(rankings, pairs)``.
        """
        first, second = self.pairs
        return np.sign(self.tier[:, first] - self.tier[:, second]) * self.ordered

    @cached_property
    def sizes(self) -> np.ndarray:
        """How many rankings each task has. Shape: ``(tasks,)``."""
        return np.bincount(self.task, minlength=self.tasks)

    @cached_property
    def counts(self) -> np.ndarray:
        """How many rankings of the task say −1, 0 and 1 of the pair. Shape: ``(tasks, pairs, 3)``."""
        found = np.zeros((self.tasks, len(self.pairs[0]), 3), np.int32)
        for n, said in enumerate((-1, 0, 1)):
            found[:, :, n] = self.by_task((self.ordered & (self.opinion == said)).astype(np.int32))
        return found

    def by_task(self, rows: np.ndarray) -> np.ndarray:
        """Sums of the rankings' rows over each task. Shape: ``(rankings, …)`` to ``(tasks, …)``."""
        found = np.zeros((self.tasks, *rows.shape[1:]), rows.dtype)
        there = np.flatnonzero(self.sizes)
        if len(there):
            starts = np.cumsum(self.sizes) - self.sizes
            found[there] = np.add.reduceat(rows, starts[there], axis=0)
        return found

    def couples(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Every two rankings of the same task, as rows of the first and of the second, in some portions.

        Where they are more than `MOST_COUPLES`, each ranking is paired with the next ones of its task only, as many as
        keep to that.
        """
        given = 0
        for apart in range(1, int(self.sizes.max(initial=0))):
            first = np.flatnonzero(self.task[apart:] == self.task[:-apart])
            if given and given + len(first) > MOST_COUPLES:
                return
            given += len(first)
            yield first, first + apart

    def chosen(self, rows: np.ndarray) -> Opinions:
        """Some of the rankings, of the same tasks. Shape of ``rows``: ``(rankings,)``, booleans."""
        return Opinions(self.task[rows], self.tier[rows], self.tasks)


def tier_table(rankings: Sequence[Tiers], width: int) -> np.ndarray:
    """The tier of each of ``width`` responses in each ranking; `UNRANKED` where it is in none."""
    table = np.full((len(rankings), width), UNRANKED, np.int8)
    for row, tiers in zip(table, rankings, strict=True):
        for place, tier in enumerate(tiers):
            row[list(tier)] = place
    return table
