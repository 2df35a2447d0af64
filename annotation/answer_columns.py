"""The rankings of some batches by which people are compared, read once, as columns."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain
from typing import Any

import numpy as np
from django.db.models import BooleanField, Count, ExpressionWrapper, Max, Q, QuerySet, TextField
from django.db.models.functions import Cast, Length

from annotation.models import Batch, Ranking, Review, Task, TaskResponse, User
from annotation.opinions import Opinions, Tiers, tier_table
from annotation.revisions import current_rankings, independent_rankings

# Lists, headings, tables, code and bold words in Markdown, for PostgreSQL.
MARKUP = r"(^|\n)\s*([-*+] |[0-9]+[.)] |#{1,6} |[|]|```)|[*][*]"


@dataclass(frozen=True, eq=False)
class AnswerColumns:
    """The rankings of some batches, one a place and a row, those of a task side by side, the oldest first.

    Attributes:
        batches: whose rankings they are.
        tasks: the tasks with a ranking, by primary key, ascending. Shape: ``(tasks,)``.
        annotators: who ranked, by primary key, ascending. Shape: ``(annotators,)``.
        names: their usernames. Shape: ``(annotators,)``.
        ranking: primary keys. Shape: ``(rankings,)``.
        annotator: an index into ``annotators``. Shape: ``(rankings,)``.
        place: where on the page each response stood, from 0; −1 where nobody knows, and for numbers that the task has
            not.
            Shape: ``(rankings, responses)``.
        seconds: spent on it; NaN where nobody measured. Shape: ``(rankings,)``.
        submitted: seconds since 1970. Shape: ``(rankings,)``.
        opinions: what each ranking says; its ``task`` is an index into ``tasks``.
    """

    batches: QuerySet[Batch]
    tasks: np.ndarray
    annotators: np.ndarray
    names: list[str]
    ranking: np.ndarray
    annotator: np.ndarray
    place: np.ndarray
    seconds: np.ndarray
    submitted: np.ndarray
    opinions: Opinions

    def __len__(self) -> int:
        return len(self.ranking)

    @property
    def task(self) -> np.ndarray:
        """An index into ``tasks``. Shape: ``(rankings,)``."""
        return self.opinions.task

    @property
    def width(self) -> int:
        """How many numbers of responses there may be."""
        return int(self.place.shape[1])

    @property
    def length(self) -> np.ndarray:
        """Characters of each task's responses. Shape: ``(tasks, responses)``."""
        return self._responses[0]

    @property
    def formatted(self) -> np.ndarray:
        """Whether the response has lists, tables, headings, code or bold words: 1 or 0.

        Shape: ``(tasks, responses)``.
        """
        return self._responses[1]

    @property
    def source(self) -> np.ndarray:
        """The primary key of each response's source; 0 for numbers that the task has not.

        Shape: ``(tasks, responses)``.
        """
        return self._responses[2]

    @cached_property
    def prompt(self) -> np.ndarray:
        """The primary key of each task's prompt. Shape: ``(tasks,)``."""
        prompts = dict(Task.objects.filter(batch__in=self.batches).values_list("pk", "prompt_id"))
        return np.array([prompts[pk] for pk in self.tasks.tolist()], np.int64)

    @cached_property
    def _responses(self) -> np.ndarray:
        """Length, markup and source of each task's responses. Shape: ``(3, tasks, responses)``."""
        table = np.zeros((3, len(self.tasks), self.width), np.int64)
        told = _response_rows(_keys(self.batches), Task.objects.filter(batch__in=self.batches).count())
        told = told[np.isin(told[:, 0], self.tasks) & (told[:, 1] < self.width)]
        table[:, np.searchsorted(self.tasks, told[:, 0]), told[:, 1]] = told[:, 2:].T
        return table


def stamp_of(batches: QuerySet[Batch]) -> str:
    """What changes whenever something was ranked, amended or reviewed, or a task of the project's gold batches was
    ranked; it begins with how many rankings there are."""
    ranked = (
        Ranking.objects.filter(task__batch__in=batches).order_by().aggregate(n=Count("pk"), last=Max("pk"))
    )
    golden = Batch.objects.filter(kind=Batch.Kind.GOLD, project__in=batches.values("project"))
    measured = Ranking.objects.filter(task__batch__in=golden).order_by().aggregate(last=Max("pk"))
    reviewed = Review.objects.filter(task__batch__in=batches).order_by().aggregate(last=Max("pk"))
    return f"{ranked['n']}.{ranked['last'] or 0}.{measured['last'] or 0}.{reviewed['last'] or 0}"


def read_answers(batches: QuerySet[Batch]) -> AnswerColumns:
    """Read the independent rankings of ``batches`` (`annotation.revisions`); several figures of the same rankings are
    computed from one reading."""
    return _read(_keys(batches), stamp_of(batches), independent_rankings)


def read_latest_answers(batches: QuerySet[Batch]) -> AnswerColumns:
    """Read what people say by now, which is what datasets and leaderboards learn from."""
    return _read(_keys(batches), stamp_of(batches), current_rankings)


def _keys(batches: QuerySet[Batch]) -> tuple[int, ...]:
    return tuple(batches.order_by("pk").values_list("pk", flat=True))


@lru_cache(maxsize=2)
def _read(
    keys: tuple[int, ...], stamp: str, which: Callable[[QuerySet[Batch]], QuerySet[Ranking]]
) -> AnswerColumns:
    batches = Batch.objects.filter(pk__in=keys)
    return columns_of(which(batches), batches)


@lru_cache(maxsize=1)
def _response_rows(keys: tuple[int, ...], tasks: int) -> np.ndarray:
    """Task, number, length, markup and source of the responses of the batches' ``tasks``, which never change.

    Shape: ``(rows, 5)``.
    """
    has_markup = ExpressionWrapper(Q(response__text__regex=MARKUP), output_field=BooleanField())
    rows = (
        TaskResponse.objects.filter(task__batch__in=keys)
        .order_by()
        .annotate(length=Length("response__text"), formatted=has_markup)
        .values_list("task_id", "position", "length", "formatted", "response__source_id")
    )
    return np.array(list(rows), np.int64).reshape(-1, 5)


def columns_of(rankings: QuerySet[Ranking], batches: QuerySet[Batch]) -> AnswerColumns:
    """Some rankings, one an annotator of each task, all of ``batches``, as columns."""
    rows = list(
        rankings.order_by("task_id", "pk")
        .annotate(tiers_text=Cast("tiers", TextField()), shown_text=Cast("shown_order", TextField()))
        .values_list("pk", "task_id", "annotator_id", "tiers_text", "shown_text", "seconds", "submitted_at")
    )
    ranking, task, annotator, tiers, shown, seconds, submitted = (
        zip(*rows, strict=True) if rows else ((),) * 7
    )
    width = 1 + max(chain.from_iterable(map(json.loads, set(shown))), default=1)
    if "[]" in shown:
        # Where the order is not known, the tasks themselves tell how many responses they have.
        there = TaskResponse.objects.filter(task__batch__in=batches).aggregate(last=Max("position"))["last"]
        width = max(width, 1 + (there or 0))
    tasks, task_index = np.unique(np.array(task, np.int64), return_inverse=True)
    annotators, annotator_index = np.unique(np.array(annotator, np.int64), return_inverse=True)
    names = User.objects.in_bulk(annotators.tolist())
    place = _by_text(shown, width, lambda order: [[number] for number in order])
    return AnswerColumns(
        batches=batches,
        tasks=tasks,
        annotators=annotators,
        names=[names[pk].username for pk in annotators.tolist()],
        ranking=np.array(ranking, np.int64),
        annotator=annotator_index,
        place=place,
        seconds=np.array([np.nan if one is None else one for one in seconds], np.float64),
        submitted=np.array([one.timestamp() for one in submitted], np.float64),
        opinions=Opinions(task_index, _by_text(tiers, width, lambda given: given), tasks=len(tasks)),
    )


def _by_text(texts: Sequence[str], width: int, tiers_of: Callable[[Any], Tiers]) -> np.ndarray:
    """The tier table of JSON texts, each distinct one read once: people give few different orders."""
    known = {text: n for n, text in enumerate(dict.fromkeys(texts))}
    table = tier_table([tiers_of(json.loads(text)) for text in known], width)
    return table[np.array([known[text] for text in texts], np.int64)] if texts else table
