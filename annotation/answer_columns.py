"""The rankings of some batches that count, read once, as columns."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet, TextField
from django.db.models.functions import Cast, Length

from annotation.models import Batch, Ranking, Task, TaskResponse, User
from annotation.opinions import Opinions, Tiers, tier_table
from annotation.submitting import current_rankings

# Lists, headings, tables, code and bold words in Markdown, for PostgreSQL.
MARKUP = r"(^|\n)\s*([-*+] |[0-9]+[.)] |#{1,6} |[|]|```)|[*][*]"


@dataclass(frozen=True, eq=False)
class AnswerColumns:
    """The current rankings of some batches, one a row, those of a task side by side, the oldest first.

    Attributes:
        batches: whose rankings they are.
        tasks: the tasks with a ranking, by primary key, ascending. Shape: ``(tasks,)``.
        annotators: who ranked, by primary key, ascending. Shape: ``(annotators,)``.
        names: their usernames. Shape: ``(annotators,)``.
        ranking: primary keys. Shape: ``(rankings,)``.
        annotator: an index into ``annotators``. Shape: ``(rankings,)``.
        place: where on the page each response stood, from 0; −1 for numbers that the task has not.
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

    @cached_property
    def length(self) -> np.ndarray:
        """Characters of each task's responses. Shape: ``(tasks, responses)``."""
        return self._of_responses(Length("response__text"), np.int64)

    @cached_property
    def formatted(self) -> np.ndarray:
        """Whether the response has lists, tables, headings, code or bold words. Shape: ``(tasks, responses)``."""
        has = ExpressionWrapper(Q(response__text__regex=MARKUP), output_field=BooleanField())
        return self._of_responses(has, np.int8)

    @cached_property
    def source(self) -> np.ndarray:
        """The primary key of each response's source; 0 for numbers that the task has not.

        Shape: ``(tasks, responses)``.
        """
        rows = TaskResponse.objects.filter(task__batch__in=self.batches)
        return self._table(rows.values_list("task_id", "position", "response__source_id"), np.int64)

    @cached_property
    def prompt(self) -> np.ndarray:
        """The primary key of each task's prompt. Shape: ``(tasks,)``."""
        prompts = dict(Task.objects.filter(batch__in=self.batches).values_list("pk", "prompt_id"))
        return np.array([prompts[pk] for pk in self.tasks.tolist()], np.int64)

    def _of_responses(self, expression: Any, kind: type) -> np.ndarray:
        rows = TaskResponse.objects.filter(task__batch__in=self.batches).annotate(told=expression)
        return self._table(rows.values_list("task_id", "position", "told"), kind)

    def _table(self, rows: Iterable[tuple[int, int, int]], kind: type) -> np.ndarray:
        """Values by task and number, as a table of ``tasks``."""
        table = np.zeros((len(self.tasks), self.width), kind)
        told = np.array(list(rows), np.int64).reshape(-1, 3)
        there = np.isin(told[:, 0], self.tasks) & (told[:, 1] < self.width)
        told = told[there]
        table[np.searchsorted(self.tasks, told[:, 0]), told[:, 1]] = told[:, 2]
        return table


def read_answers(batches: QuerySet[Batch]) -> AnswerColumns:
    """Read the current rankings of ``batches``."""
    return columns_of(current_rankings(batches), batches)


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
    width = max((1 + max(json.loads(order)) for order in set(shown)), default=2)
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
