"""REST: datasets, their cards and previews, and their export in every shape."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from django.http.response import HttpResponseBase, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from alignment import datasets
from alignment.api_exports import CONTENT_TYPES, ExportQuery, send_export
from alignment.api_files import send_file
from alignment.api_filters import DatasetFilters
from alignment.comparing import changes, count_changes
from alignment.dataset_lineage import withdrawn_from
from alignment.dataset_warnings import warnings_of
from alignment.models import Dataset
from annotation.api_access import ProjectViewSet
from annotation.api_fields import Choice, Input, Integer, Number, Text
from annotation.api_fields import Flag as IsTrue
from annotation.api_filters import LARGEST_ID
from annotation.api_prompts import MessageOut, PassageOut
from annotation.models import Flag, Prompt
from annotation.refusals import Refusal
from config.api_negotiation import AnyAccept


class DatasetOut(serializers.ModelSerializer):
    class Meta:
        model = Dataset
        fields = ["id", "version", "sha256", "batches", "train_rankings", "held_out_rankings", "created_at"]


class WarningOut(serializers.Serializer):
    code = serializers.CharField()
    sentence = serializers.CharField()


class DatasetDetailOut(DatasetOut):
    settings = serializers.DictField(help_text="Batches, filters and estimator that it was built with.")
    card = serializers.DictField(help_text="What the data say of themselves: counts, agreement, reliability.")
    warnings = serializers.SerializerMethodField(help_text="What speaks against training on its preferences.")
    withdrawn_rankings = serializers.SerializerMethodField(
        help_text="Of the rankings that it holds, those that were withdrawn since."
    )

    class Meta(DatasetOut.Meta):
        fields = [*DatasetOut.Meta.fields, "settings", "card", "warnings", "withdrawn_rankings"]

    def get_withdrawn_rankings(self, dataset: Dataset) -> int:
        return withdrawn_from(dataset)

    @extend_schema_field(WarningOut(many=True))
    def get_warnings(self, dataset: Dataset) -> Any:
        return WarningOut(warnings_of(dataset.card), many=True).data


class FiltersIn(Input):
    aspect = Text(
        required=False, max_length=40, help_text="Learn the ratings of this aspect, not the rankings."
    )
    ranked_from = Text(required=False, max_length=10, help_text="The first day, as 2026-03-31, in UTC.")
    ranked_until = Text(required=False, max_length=10, help_text="The last day.")
    min_reliability = Number(
        required=False, min_value=0, max_value=10, help_text="Of annotators; 1 is the average."
    )
    sources = serializers.ListField(
        child=Integer(min_value=1, max_value=LARGEST_ID),
        required=False,
        max_length=1000,
        help_text="Only responses of these.",
    )
    flags = serializers.ListField(
        child=Choice(choices=Flag.Kind.choices),
        required=False,
        max_length=5,
        help_text="Responses flagged so are left out.",
    )
    min_rating_of = Text(required=False, max_length=40, help_text="An aspect, with `min_rating`.")
    min_rating = Number(
        required=False, min_value=1, max_value=10, help_text="Lowest mean rating of a response."
    )
    apart_from_held_out = IsTrue(
        required=False, help_text="Leave out training tasks whose prompts nearly repeat a held-out one."
    )
    reviewed_only = IsTrue(required=False, help_text="Only tasks that a review accepted or adjudicated.")
    min_agreement = Number(required=False, min_value=0, max_value=1, help_text="Of a task's annotators.")
    min_margin = Number(
        required=False,
        min_value=0,
        max_value=20,
        help_text="Log-worth between a task's best and worst response.",
    )


class DatasetIn(Input):
    batches = serializers.ListField(
        child=Integer(min_value=1, max_value=LARGEST_ID),
        required=False,
        min_length=1,
        max_length=1000,
        help_text="All batches that are complete unless given.",
    )
    settings = serializers.DictField(
        required=False, help_text="prior, tie_margin: where they differ from defaults."
    )
    filters = FiltersIn(required=False, help_text="What is left out; nothing unless given.")


class AmountOut(serializers.Serializer):
    tasks = serializers.IntegerField()
    rankings = serializers.IntegerField()
    responses = serializers.IntegerField()
    pairs = serializers.IntegerField(help_text="Preferences of the consensus.")


class AmountsOut(serializers.Serializer):
    train = AmountOut()
    held_out = AmountOut()


class LeftOutOut(serializers.Serializer):
    filter = serializers.CharField(source="name")
    splits = AmountsOut(source="by_split")


class DatasetDraftOut(serializers.Serializer):
    before = AmountsOut()
    left_out = LeftOutOut(many=True, help_text="What each filter takes of what those before it left.")
    after = AmountsOut()


class CountsOut(serializers.Serializer):
    added = serializers.IntegerField()
    removed = serializers.IntegerField()
    changed = serializers.IntegerField()
    same = serializers.IntegerField()


class ComparisonOut(serializers.Serializer):
    train = CountsOut()
    held_out = CountsOut()


class ComparisonQuery(serializers.Serializer):
    before = serializers.IntegerField(
        min_value=1, max_value=LARGEST_ID, help_text="The dataset to compare with, by its id."
    )


class RecordOut(serializers.Serializer):
    """A ranking record: the consensus of a task's rankings."""

    prompt = MessageOut(many=True)
    context = PassageOut(many=True)  # type: ignore[assignment]
    responses = serializers.ListField(child=serializers.CharField(allow_blank=True))
    tiers = serializers.ListField(child=serializers.ListField(child=serializers.IntegerField()))
    scores = serializers.ListField(child=serializers.FloatField())
    weight = serializers.FloatField()
    meta = serializers.DictField()
    demonstrations = serializers.ListField(
        child=serializers.CharField(), help_text="Better replies that annotators wrote; `sft` imitates them."
    )


class DatasetPreviewOut(serializers.Serializer):
    records = RecordOut(many=True)


class PreviewQuery(serializers.Serializer):
    split = Choice(choices=Prompt.Split.choices, required=False, default="train")
    offset = serializers.IntegerField(required=False, default=0, min_value=0, max_value=2**31 - 1)
    limit = serializers.IntegerField(required=False, default=20, min_value=1, max_value=100)


class DatasetsViewSet(ProjectViewSet):
    queryset = Dataset.objects.select_related("project").prefetch_related("batches").order_by("-version")
    serializer_class = DatasetOut
    filterset_class = DatasetFilters
    ordering_fields = ("version", "created_at")

    def list(self, request: Request, project: str) -> Response:
        """The project's datasets, newest first."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(request=DatasetIn, responses={201: DatasetDetailOut, 200: DatasetDetailOut})
    def create(self, request: Request, project: str) -> Response:
        """Freeze the consensus of batches' rankings. The same rankings and settings give the dataset there is
        (200)."""
        chosen = self._chosen(request)
        known = set(self.project.datasets.values_list("pk", flat=True))
        dataset = datasets.build_dataset(project=self.project, created_by=self.caller, **chosen)
        is_new = dataset.pk not in known
        return Response(
            DatasetDetailOut(dataset).data, status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
        )

    @extend_schema(responses=DatasetDetailOut)
    def retrieve(self, request: Request, pk: int) -> Response:
        """One dataset, with its settings and card."""
        return Response(DatasetDetailOut(self.get_object()).data)

    @extend_schema(request=DatasetIn, responses=DatasetDraftOut)
    def draft(self, request: Request, project: str) -> Response:
        """What a dataset would hold, and what each filter leaves out. Nothing is frozen."""
        drawn = datasets.draft_dataset(project=self.project, **self._chosen(request)).narrowed
        return Response(DatasetDraftOut(drawn).data)

    def _chosen(self, request: Request) -> dict[str, Any]:
        given = DatasetIn(data=request.data)
        given.is_valid(raise_exception=True)
        chosen: dict[str, Any] = dict(given.validated_data)
        if "batches" in chosen:
            found = self.project.batches.in_bulk(chosen["batches"])
            if missing := [pk for pk in chosen["batches"] if pk not in found]:
                raise Refusal("invalid", f"The project has no batch {missing[0]}.", field="batches")
            chosen["batches"] = list(found.values())
        return chosen

    @extend_schema(parameters=[ComparisonQuery], responses=ComparisonOut)
    def comparison(self, request: Request, pk: int) -> Response:
        """How many tasks were added, removed and changed since another version."""
        dataset = self.get_object()
        return Response(ComparisonOut(count_changes(_earlier(request, dataset), dataset)).data)

    @extend_schema(parameters=[PreviewQuery], responses=DatasetPreviewOut)
    def preview(self, request: Request, pk: int) -> Response:
        """Some of the dataset's ranking records, in the file's order."""
        asked = PreviewQuery(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        return Response(
            DatasetPreviewOut({"records": datasets.preview(self.get_object(), **asked.validated_data)}).data
        )


class DatasetFilesViewSet(ProjectViewSet):
    queryset = Dataset.objects.select_related("project")
    serializer_class = DatasetOut
    throttle_scope = "files"
    content_negotiation_class = AnyAccept

    @extend_schema(
        parameters=[ExportQuery],
        responses={(200, content_type): OpenApiTypes.BINARY for content_type in CONTENT_TYPES},
    )
    def export(self, request: Request, pk: int) -> HttpResponseBase:
        """A split as one file, with a strong ETag and byte ranges, as `datasets.load_dataset` and TRL take it.

        Where `Accept-Encoding` names zstd or gzip, JSON lines and CSV are sent in it; with `compression` the file
        itself is compressed, and stays so.
        """
        asked = ExportQuery(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        return send_export(request, self.get_object(), **asked.validated_data)

    @extend_schema(parameters=[ComparisonQuery], responses={(200, "application/jsonl"): OpenApiTypes.BINARY})
    def changes(self, request: Request, pk: int) -> HttpResponseBase:
        """Each task that was added, removed or changed since another version, as JSON lines, streamed."""
        dataset = self.get_object()
        found = changes(_earlier(request, dataset), dataset)
        lines = (json.dumps(change.to_json(), ensure_ascii=False) + "\n" for change in found)
        return StreamingHttpResponse(lines, content_type="application/jsonl")

    @extend_schema(responses={(200, "text/markdown"): OpenApiTypes.STR})
    def card(self, request: Request, pk: int) -> HttpResponseBase:
        """The dataset's card, in Markdown."""
        path = datasets.card_file(self.get_object())
        return send_file(
            request,
            path,
            name="README.md",
            content_type="text/markdown; charset=utf-8",
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        )


def _earlier(request: Request, dataset: Dataset) -> Dataset:
    asked = ComparisonQuery(data=request.query_params.dict())
    asked.is_valid(raise_exception=True)
    found = dataset.project.datasets.filter(pk=asked.validated_data["before"]).first()
    if found is None:
        raise Refusal(
            "invalid", f"The project has no dataset {asked.validated_data['before']}.", field="before"
        )
    return found
