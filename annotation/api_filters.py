"""Filters of lists: ``?split=train&ordering=-created_at``. A value that no filter understands is refused."""

from __future__ import annotations

from typing import Any

from django import forms
from django.db.models import Exists, OuterRef, QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework.exceptions import ValidationError
from rest_framework.filters import BaseFilterBackend
from rest_framework.request import Request

from annotation.drift import MOST_STRETCHES
from annotation.habits import Pattern
from annotation.models import (
    Assignment,
    Batch,
    Demonstration,
    Flag,
    Import,
    Prompt,
    Ranking,
    Response,
    Review,
    Task,
)
from annotation.remarks import tasks_with_flag, with_flag
from annotation.returning import returned_rankings
from annotation.review_queue import Reason
from annotation.submitting import current_rankings
from annotation.task_figures import ANY_FLAG, TaskChoice, TaskOrder

LARGEST_ID = 2**63 - 1


@extend_schema_field({"type": "integer", "minimum": 1, "maximum": LARGEST_ID})
class IdFilter(filters.Filter):
    """A row's number."""

    field_class = forms.IntegerField

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=1, max_value=LARGEST_ID, **kwargs)


@extend_schema_field({"type": "integer", "minimum": 1, "maximum": MOST_STRETCHES})
class StretchFilter(filters.Filter):
    """The number of a stretch of agreement over time."""

    field_class = forms.IntegerField

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=1, max_value=MOST_STRETCHES, **kwargs)


@extend_schema_field(OpenApiTypes.DATETIME)
class MomentFilter(filters.IsoDateTimeFilter):
    """A time with its zone."""


@extend_schema_field(OpenApiTypes.BOOL)
class FlagFilter(filters.TypedChoiceFilter):
    """``true`` or ``false``."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(choices=[("true", "true"), ("false", "false")], coerce="true".__eq__, **kwargs)


class Filters(filters.DjangoFilterBackend):
    """``?name=value`` for the filters of a view's ``filterset_class``; a value left empty is refused, but for text."""

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        declared = getattr(getattr(view, "filterset_class", None), "base_filters", {})
        empty = [
            name
            for name, declaration in declared.items()
            if request.query_params.get(name) == "" and not isinstance(declaration, filters.CharFilter)
        ]
        if empty:
            raise ValidationError(dict.fromkeys(empty, "Give a value, or leave the filter out."))
        return super().filter_queryset(request, queryset, view)


class Ordering(BaseFilterBackend):
    """``?ordering=NAME`` or ``-NAME``, for the names in a view's ``ordering_fields``."""

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        given = request.query_params.get("ordering")
        allowed = self._allowed(view)
        if given is None or not allowed:
            return queryset
        if given not in allowed:
            raise ValidationError({"ordering": f"One of {', '.join(allowed)}."})
        return queryset.order_by(given, "-pk" if given.startswith("-") else "pk")

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        allowed = self._allowed(view)
        if not allowed:
            return []
        return [{"name": "ordering", "in": "query", "schema": {"type": "string", "enum": allowed}}]

    @staticmethod
    def _allowed(view: Any) -> list[str]:
        names = getattr(view, "ordering_fields", ())
        return [sign + name for name in names for sign in ("", "-")]


class PromptFilters(filters.FilterSet):
    split = filters.ChoiceFilter(choices=Prompt.Split.choices)
    key = filters.CharFilter()
    language = filters.CharFilter()
    retired = FlagFilter(field_name="retired_at", lookup_expr="isnull", exclude=True)
    tag = filters.CharFilter(method="with_tag", help_text="Prompts that carry this tag.")
    text = filters.CharFilter(
        field_name="messages", lookup_expr="icontains", help_text="Prompts that hold this text, in any case."
    )

    class Meta:
        model = Prompt
        fields = ["split", "key", "language"]

    def with_tag(self, prompts: QuerySet[Prompt], name: str, value: str) -> QuerySet[Prompt]:
        return prompts.filter(tags__contains=[value])


class ResponseFilters(filters.FilterSet):
    prompt = IdFilter(field_name="prompt_id")
    source = IdFilter(field_name="source_id")
    drawn_by = filters.UUIDFilter(help_text="The sample run or import that brought it.")
    ended = FlagFilter()

    class Meta:
        model = Response
        fields = ["prompt", "source", "drawn_by", "ended"]


class BatchFilters(filters.FilterSet):
    state = filters.ChoiceFilter(choices=Batch.State.choices)
    kind = filters.ChoiceFilter(choices=Batch.Kind.choices)

    class Meta:
        model = Batch
        fields = ["state", "kind"]


class ImportFilters(filters.FilterSet):
    state = filters.ChoiceFilter(choices=Import.State.choices)

    class Meta:
        model = Import
        fields = ["state"]


class TaskFilters(filters.FilterSet):
    batch = IdFilter(field_name="batch_id")
    prompt = IdFilter(field_name="prompt_id")
    flag = filters.ChoiceFilter(
        choices=Flag.Kind.choices,
        method="flagged",
        help_text="Tasks of which a ranking's latest revision flags a response so.",
    )

    class Meta:
        model = Task
        fields = ["batch", "prompt"]

    def flagged(self, tasks: QuerySet[Task], name: str, value: str) -> QuerySet[Task]:
        return tasks_with_flag(tasks, value)


class AssignmentFilters(filters.FilterSet):
    state = filters.ChoiceFilter(choices=Assignment.State.choices)
    batch = IdFilter(field_name="batch_id")
    task = IdFilter(field_name="task_id")
    annotator = filters.CharFilter(field_name="annotator__username")

    class Meta:
        model = Assignment
        fields = ["state", "batch", "task"]


class RankingFilters(filters.FilterSet):
    batch = IdFilter(field_name="task__batch_id")
    task = IdFilter(field_name="task_id")
    annotator = filters.CharFilter(field_name="annotator__username")
    current = FlagFilter(method="only_current", help_text="true: only the latest revision of each.")
    flag = filters.ChoiceFilter(
        choices=Flag.Kind.choices, method="flagged", help_text="Rankings that flag a response so."
    )
    demonstrated = FlagFilter(
        method="with_demonstration", help_text="Whether they hold a better response that the annotator wrote."
    )
    returned = FlagFilter(
        method="only_returned", help_text="true: only those that wait for their annotator to amend them."
    )

    class Meta:
        model = Ranking
        fields = ["batch", "task"]

    def flagged(self, rankings: QuerySet[Ranking], name: str, value: str) -> QuerySet[Ranking]:
        return with_flag(rankings, value)

    def with_demonstration(self, rankings: QuerySet[Ranking], name: str, value: bool) -> QuerySet[Ranking]:
        written = Exists(Demonstration.objects.filter(ranking=OuterRef("pk")))
        return rankings.filter(written if value else ~written)

    def only_current(self, rankings: QuerySet[Ranking], name: str, value: bool) -> QuerySet[Ranking]:
        return current_rankings(rankings) if value else rankings

    def only_returned(self, rankings: QuerySet[Ranking], name: str, value: bool) -> QuerySet[Ranking]:
        return returned_rankings(rankings) if value else rankings


class ReviewQueueFilters(filters.FilterSet):
    batch = IdFilter(field_name="batch_id")
    # Reasons are found, not stored: the view leaves out the tasks without this one.
    reason = filters.ChoiceFilter(
        choices=[(reason.value, reason.value) for reason in Reason], method="any_task"
    )

    class Meta:
        model = Task
        fields = ["batch"]

    def any_task(self, tasks: QuerySet[Task], name: str, value: str) -> QuerySet[Task]:
        return tasks


class PairFilters(filters.FilterSet):
    """Of what is computed: the view filters it itself."""

    annotator = filters.CharFilter(method="as_it_is", help_text="Pairs that this annotator is one of.")

    class Meta:
        model = Batch
        fields: list[str] = []

    def as_it_is(self, batches: QuerySet[Batch], name: str, value: object) -> QuerySet[Batch]:
        return batches


class QualityTaskFilters(filters.FilterSet):
    """What `TaskChoice` takes. Some of it is computed, so the view chooses itself."""

    order = filters.ChoiceFilter(
        choices=[(each.value, each.value) for each in TaskOrder],
        method="as_it_is",
        help_text="By default those on which annotators disagree most come first.",
    )
    annotator = filters.CharFilter(method="as_it_is", help_text="Tasks that this annotator ranked.")
    other = filters.CharFilter(method="as_it_is", help_text="And this one.")
    pattern = filters.ChoiceFilter(
        choices=[(each.value, each.value) for each in Pattern],
        method="as_it_is",
        help_text="Tasks that a suspicious pattern rests on; with `annotator`, of that one's.",
    )
    flag = filters.ChoiceFilter(
        choices=[(ANY_FLAG, "any flag"), *Flag.Kind.choices],
        method="as_it_is",
        help_text="Tasks with a response that was flagged so, or at all.",
    )
    aspect = filters.CharFilter(method="as_it_is", help_text="Tasks of which this aspect was rated.")
    source = IdFilter(method="as_it_is", help_text="Tasks with a response of this source.")
    against = IdFilter(method="as_it_is", help_text="And with one of this source.")
    skipped = FlagFilter(method="as_it_is", help_text="true: tasks that somebody skipped.")
    gold = FlagFilter(method="as_it_is", help_text="true: tasks with a known answer.")
    measures = FlagFilter(
        method="as_it_is",
        help_text="true: tasks that gold accuracy rests on, those of the project's gold batches.",
    )
    twice = FlagFilter(
        method="as_it_is",
        help_text="true: tasks that two annotators compared, so that agreement rests on them.",
    )
    tied = FlagFilter(
        method="as_it_is",
        help_text="true: tasks of which a ranking ties responses; with `annotator`, that one's.",
    )
    since = MomentFilter(method="as_it_is", help_text="Tasks of which a ranking came from then on.")
    until = MomentFilter(method="as_it_is", help_text="Tasks of which a ranking came before then.")
    verdict = filters.ChoiceFilter(
        choices=Review.Verdict.choices,
        method="as_it_is",
        help_text="Tasks on which a reviewer gave this verdict.",
    )
    stretch = StretchFilter(
        method="as_it_is",
        help_text="Tasks of one stretch of the agreement over time, numbered from 1.",
    )

    class Meta:
        model = Batch
        fields: list[str] = []

    def as_it_is(self, batches: QuerySet[Batch], name: str, value: object) -> QuerySet[Batch]:
        return batches

    def told(self) -> tuple[TaskChoice, TaskOrder]:
        """What is asked for, as far as it is understood."""
        given = {name: value for name, value in self.form.cleaned_data.items() if value not in (None, "")}
        order = TaskOrder(given.pop("order", TaskOrder.DISAGREEMENT))
        return TaskChoice(**given), order
