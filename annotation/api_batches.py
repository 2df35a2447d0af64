"""REST: batches and tasks, for those who run a project."""

from __future__ import annotations

import dataclasses
from typing import Any

from django.db.models import Count, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from annotation import batching, order_worth, pacing, uncertainty
from annotation.api_access import ProjectViewSet
from annotation.api_fields import Choice, Input, Integer, Number, Text
from annotation.api_filters import LARGEST_ID, BatchFilters, PromptFilters, TaskFilters
from annotation.api_quality import ProgressOut
from annotation.lettering import LETTER_HELP, letter_of
from annotation.models import (
    MAX_CONTROL_SHARE,
    MAX_RESPONSES,
    MIN_RESPONSES,
    Batch,
    Project,
    Prompt,
    Source,
    Task,
    TaskResponse,
)
from annotation.quality import batches_of
from annotation.refusals import Refusal
from annotation.retiring import prompts_in_use


class BatchOut(serializers.ModelSerializer):
    tasks = serializers.IntegerField(source="task_count")

    class Meta:
        model = Batch
        fields = [
            "id",
            "name",
            "kind",
            "overlap",
            "priority",
            "max_per_annotator",
            "order",
            "control_share",
            "state",
            "tasks",
            "created_at",
            "closed_at",
        ]


class PromptChoice(Input):
    ids = serializers.ListField(
        child=Integer(min_value=1, max_value=LARGEST_ID), required=False, max_length=100_000
    )
    split = Choice(choices=Prompt.Split.choices, required=False)
    tag = Text(required=False)


def most_per_annotator() -> Integer:
    """The field of a batch's limit."""
    return Integer(
        required=False,
        allow_null=True,
        min_value=1,
        max_value=2**31 - 1,
        help_text="The most tasks of it that one annotator is given; null: no limit.",
    )


class BatchIn(Input):
    name = Text(max_length=200)
    sources = serializers.ListField(
        child=Integer(min_value=1, max_value=LARGEST_ID), min_length=1, max_length=100
    )
    prompts = PromptChoice(required=False, help_text="Which prompts; all of the project unless given.")
    responses_per_task = Integer(min_value=MIN_RESPONSES, max_value=MAX_RESPONSES)
    overlap = Integer(min_value=1, max_value=batching.MOST_ANNOTATORS)
    kind = Choice(
        choices=[(kind.value, kind.label) for kind in batching.COMPOSED],
        required=False,
        help_text="Batches of tasks with known answers are made at `gold-batches`.",
    )
    order = Choice(
        choices=Batch.Order.choices,
        required=False,
        help_text="`uncertainty`: tasks on which annotators disagree, or that were given a high number, come first.",
    )
    control_share = Number(
        required=False,
        min_value=0,
        max_value=MAX_CONTROL_SHARE,
        help_text="In that order: the share of places drawn by chance beside them, to tell what it is worth.",
    )
    max_per_annotator = most_per_annotator()
    seed = Integer(required=False, min_value=0, max_value=2**32 - 1)
    priority = Integer(required=False, min_value=-1000, max_value=1000)


class NewBatchOut(serializers.Serializer):
    batch = BatchOut()
    tasks = serializers.IntegerField()
    left_out = serializers.DictField(
        child=serializers.IntegerField(), help_text="Prompts that became no task, by reason."
    )


class UncertainTask(Input):
    task = Integer(min_value=1, max_value=LARGEST_ID)
    uncertainty = Number(min_value=0, max_value=uncertainty.LARGEST, help_text="Only the order counts.")


class UncertaintyIn(Input):
    tasks = serializers.ListField(child=UncertainTask(), min_length=1, max_length=100_000)


class UncertaintyOut(serializers.Serializer):
    places = serializers.IntegerField(help_text="Open places that have their task's number now.")


class DepthOut(serializers.Serializer):
    """Rankings of tasks that had as many when their places were chosen."""

    depth = serializers.IntegerField(help_text="How many rankings the task had.")
    chosen = serializers.IntegerField(help_text="Rankings of places chosen as most uncertain.")
    control = serializers.IntegerField(help_text="Rankings of places drawn by chance.")
    moved = serializers.FloatField(
        allow_null=True,
        help_text="How far each of the chosen moved the shares of opinions on a pair, on average (total variation).",
    )
    moved_by_chance = serializers.FloatField(allow_null=True)
    enough = serializers.BooleanField(help_text="Whether there are enough of both to be compared.")


class OrderWorthOut(serializers.Serializer):
    """How much further a chosen place moved the consensus than one drawn by chance at the same depth."""

    depths = DepthOut(many=True)
    difference = serializers.FloatField(allow_null=True, help_text="Null: no depth has enough of both.")
    low = serializers.FloatField(allow_null=True, help_text="Of its 95 % interval.")
    high = serializers.FloatField(allow_null=True)
    compared = serializers.IntegerField(help_text="How many chosen places it rests on.")


class OrderOut(serializers.Serializer):
    order = serializers.ChoiceField(choices=Batch.Order.choices)
    control_share = serializers.FloatField()
    worth = OrderWorthOut(allow_null=True, help_text="Null for a batch whose oldest tasks come first.")


class TaskResponseOut(serializers.Serializer):
    number = serializers.IntegerField(source="position")
    letter = serializers.SerializerMethodField(help_text=LETTER_HELP)
    response = serializers.IntegerField(source="response_id")
    source = serializers.IntegerField(source="response.source_id")  # type: ignore[assignment]
    text = serializers.CharField(source="response.text", allow_blank=True)

    def get_letter(self, shown: TaskResponse) -> str:
        return letter_of(shown.position)


class TaskOut(serializers.ModelSerializer):
    responses = TaskResponseOut(many=True, source="task_responses")
    gold_tiers = serializers.ListField(
        child=serializers.ListField(child=serializers.IntegerField()), allow_null=True
    )

    class Meta:
        model = Task
        fields = ["id", "batch", "prompt", "overlap", "responses", "gold_tiers", "created_at"]


class BatchesViewSet(ProjectViewSet):
    queryset = Batch.objects.annotate(task_count=Count("tasks")).select_related("project").order_by("-pk")
    serializer_class = BatchOut
    filterset_class = BatchFilters
    ordering_fields = ("created_at", "priority", "name")

    def list(self, request: Request, project: str) -> Response:
        """The project's batches, newest first."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(request=BatchIn, responses={201: NewBatchOut})
    def create(self, request: Request, project: str) -> Response:
        """Compose a batch from responses that are there: one task a prompt, the sources mixed evenly."""
        given = BatchIn(data=request.data)
        given.is_valid(raise_exception=True)
        chosen = dict(given.validated_data)
        sources = sources_of(self.project, chosen.pop("sources"))
        prompts = self._prompts(chosen.pop("prompts", {}))
        report = batching.compose_batch(project=self.project, prompts=prompts, sources=sources, **chosen)
        batch = self.get_queryset().get(pk=report.batch.pk)
        body = {"batch": batch, "tasks": report.tasks, "left_out": report.left_out}
        return Response(NewBatchOut(body).data, status.HTTP_201_CREATED)

    def retrieve(self, request: Request, pk: int) -> Response:
        """One batch."""
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(request=None)
    def pause(self, request: Request, pk: int) -> Response:
        """Hand out no more places. What is leased may still be submitted."""
        return self._changed(batching.pause_batch(self.get_object()))

    @extend_schema(request=None)
    def reopen(self, request: Request, pk: int) -> Response:
        """Hand out the places of a paused batch again."""
        return self._changed(batching.reopen_batch(self.get_object()))

    @extend_schema(request=None)
    def close(self, request: Request, pk: int) -> Response:
        """Take no more rankings and no amendments, for good."""
        return self._changed(batching.close_batch(self.get_object()))

    @extend_schema(responses=ProgressOut)
    def progress(self, request: Request, pk: int) -> Response:
        """How many of the batch's places are where, how fast rankings come in, and when the last may be there.

        The forecast draws days to come from the latest fourteen whole days, empty ones among them; it takes three with
        rankings, and knows nothing of holidays.
        """
        batch = self.get_object()
        pace = dataclasses.asdict(pacing.pace_of(batches_of(batch)))
        places = dataclasses.asdict(batching.batch_progress(batch))
        return Response(ProgressOut({**pace, **places, "complete": batching.is_complete(batch)}).data)

    @extend_schema(request=UncertaintyIn, responses=UncertaintyOut)
    def uncertainty(self, request: Request, pk: int) -> Response:
        """Say how uncertain tasks are, such as how far reward models differ on them: in a batch whose most uncertain
        tasks come first, the highest numbers do. Once two annotators have ranked a task, their disagreement counts."""
        given = UncertaintyIn(data=request.data)
        given.is_valid(raise_exception=True)
        numbers = {row["task"]: row["uncertainty"] for row in given.validated_data["tasks"]}
        places = uncertainty.set_uncertainty(self.get_object(), numbers)
        return Response(UncertaintyOut({"places": places}).data)

    @extend_schema(responses=OrderOut)
    def order(self, request: Request, pk: int) -> Response:
        """What it was worth to hand out the most uncertain tasks first: how much further their rankings moved the
        consensus than those of tasks that were drawn by chance and had as many rankings."""
        batch = self.get_object()
        worth = order_worth.order_worth(batch)
        told = {"order": batch.order, "control_share": batch.control_share, "worth": worth}
        return Response(OrderOut(told).data)

    def _changed(self, batch: Batch) -> Response:
        return Response(self.get_serializer(self.get_queryset().get(pk=batch.pk)).data)

    def _prompts(self, chosen: dict[str, Any]) -> QuerySet[Prompt]:
        prompts = prompts_in_use(self.project).order_by("pk")
        if "ids" in chosen:
            prompts = prompts.filter(pk__in=chosen["ids"])
        rest = {name: chosen[name] for name in ("split", "tag") if name in chosen}
        return PromptFilters(rest, prompts).qs


class TasksViewSet(ProjectViewSet):
    queryset = (
        Task.objects.prefetch_related("task_responses__response")
        .select_related("batch__project")
        .order_by("pk")
    )
    serializer_class = TaskOut
    filterset_class = TaskFilters
    project_path = "batch__project"

    def list(self, request: Request, project: str) -> Response:
        """The project's tasks, with where each response came from."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    def retrieve(self, request: Request, pk: int) -> Response:
        """One task."""
        return Response(self.get_serializer(self.get_object()).data)


def sources_of(project: Project, ids: list[int]) -> list[Source]:
    """The project's sources ``ids``, each once, in this order. Raises Refusal where it has not all of them."""
    found = project.sources.in_bulk(ids)
    if missing := [pk for pk in ids if pk not in found]:
        raise Refusal("invalid", f"The project has no source {missing[0]}.", field="sources")
    return [found[pk] for pk in dict.fromkeys(ids)]
