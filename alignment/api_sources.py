"""REST: where responses come from: sources, and the model versions that they sample."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ObjectDoesNotExist
from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from alignment import model_versions, sources
from alignment.api_filters import ModelVersionFilters, SourceFilters
from alignment.models import ModelVersion
from annotation.api_access import ProjectViewSet
from annotation.api_fields import Choice, Input, Integer, Text
from annotation.api_filters import LARGEST_ID
from annotation.models import Source
from annotation.refusals import Refusal

SETTINGS_HELP = (
    "temperature, top_p, max_tokens, system_prompt, few_shot, give_context, seed; others keep defaults."
)


class SourceOut(serializers.ModelSerializer):
    settings = serializers.DictField()
    model_version = serializers.SerializerMethodField(
        help_text="Which one a source of the kind model samples."
    )

    class Meta:
        model = Source
        fields = [
            "id",
            "name",
            "kind",
            "settings",
            "model_version",
            "endpoint_url",
            "endpoint_model",
            "endpoint_key_variable",
            "created_at",
        ]

    @extend_schema_field(serializers.IntegerField(allow_null=True))
    def get_model_version(self, source: Source) -> int | None:
        try:
            return source.model_source.model_version_id
        except ObjectDoesNotExist:
            return None


class _SourceIn(Input):
    name = Text(max_length=200)


class ModelSourceIn(_SourceIn):
    kind = Choice(choices=["model"])
    model_version = Integer(min_value=1, max_value=LARGEST_ID)
    settings = serializers.DictField(required=False, help_text=SETTINGS_HELP)


class EndpointSourceIn(_SourceIn):
    kind = Choice(choices=["endpoint"])
    url = Text(
        max_length=200,
        help_text="Up to and including the version, such as http://localhost:8000/v1. Administrators name any; others "
        "one that RANKLOOP_ENDPOINTS lists.",
    )
    model = Text(max_length=200, help_text="The endpoint's name of the model.")
    key_variable = Text(
        required=False,
        allow_blank=True,
        max_length=100,
        help_text="The workers' environment variable that holds the key; ends in _API_KEY. Administrators choose it; "
        "for others it follows from RANKLOOP_ENDPOINTS.",
    )
    settings = serializers.DictField(required=False, help_text=SETTINGS_HELP)


class ImportSourceIn(_SourceIn):
    kind = Choice(choices=["import"])


SOURCE_FORMS: dict[str, type[_SourceIn]] = {
    "model": ModelSourceIn,
    "endpoint": EndpointSourceIn,
    "import": ImportSourceIn,
}


class ModelVersionOut(serializers.ModelSerializer):
    class Meta:
        model = ModelVersion
        fields = [
            "id",
            "name",
            "form",
            "location",
            "sha256",
            "parent",
            "run",
            "dataset",
            "state",
            "created_at",
        ]


class ModelVersionDetailOut(ModelVersionOut):
    lineage = serializers.SerializerMethodField(
        help_text="This version, its parent, and so on back to the base."
    )

    class Meta(ModelVersionOut.Meta):
        fields = [*ModelVersionOut.Meta.fields, "lineage"]

    @extend_schema_field(ModelVersionOut(many=True))
    def get_lineage(self, version: ModelVersion) -> Any:
        return ModelVersionOut(model_versions.lineage(version), many=True).data


class BaseModelIn(Input):
    name = Text(max_length=200)
    location = Text(
        max_length=1000,
        help_text="org/name on the Hub, package:NAME, or, for administrators, an absolute folder.",
    )


class SourcesViewSet(ProjectViewSet):
    queryset = Source.objects.select_related("model_source", "project").order_by("pk")
    serializer_class = SourceOut
    filterset_class = SourceFilters
    ordering_fields = ("name", "created_at")

    def list(self, request: Request, project: str) -> Response:
        """The project's sources."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(
        request=PolymorphicProxySerializer(
            component_name="SourceIn", serializers=dict(SOURCE_FORMS), resource_type_field_name="kind"
        ),
        responses={201: SourceOut},
    )
    def create(self, request: Request, project: str) -> Response:
        """Make a source: of a model version, of an OpenAI-compatible endpoint, or for imports."""
        kind = request.data.get("kind") if isinstance(request.data, dict) else None
        form = SOURCE_FORMS.get(kind) if isinstance(kind, str) else None
        if form is None:
            raise serializers.ValidationError({"kind": f"One of {', '.join(SOURCE_FORMS)}."})
        given = form(data=request.data)
        given.is_valid(raise_exception=True)
        fields = dict(given.validated_data)
        del fields["kind"]
        if form is ModelSourceIn:
            fields["model_version"] = version_of(self.project, fields["model_version"], "model_version")
            source = sources.create_model_source(project=self.project, **fields)
        elif form is EndpointSourceIn:
            source = sources.create_endpoint_source(project=self.project, created_by=self.caller, **fields)
        else:
            source = sources.create_import_source(project=self.project, **fields)
        return Response(self.get_serializer(source).data, status.HTTP_201_CREATED)

    def retrieve(self, request: Request, pk: int) -> Response:
        """One source."""
        return Response(self.get_serializer(self.get_object()).data)


class ModelVersionsViewSet(ProjectViewSet):
    queryset = ModelVersion.objects.select_related("project").order_by("-pk")
    serializer_class = ModelVersionOut
    filterset_class = ModelVersionFilters
    ordering_fields = ("name", "created_at")

    def list(self, request: Request, project: str) -> Response:
        """The project's model versions, newest first."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(request=BaseModelIn, responses={201: ModelVersionDetailOut})
    def create(self, request: Request, project: str) -> Response:
        """Register a base model."""
        given = BaseModelIn(data=request.data)
        given.is_valid(raise_exception=True)
        version = model_versions.register_base(
            project=self.project, may_name_folders=self.caller.is_superuser, **given.validated_data
        )
        return Response(ModelVersionDetailOut(version).data, status.HTTP_201_CREATED)

    @extend_schema(responses=ModelVersionDetailOut)
    def retrieve(self, request: Request, pk: int) -> Response:
        """One model version, with its lineage back to the base."""
        return Response(ModelVersionDetailOut(self.get_object()).data)


def version_of(project: Any, pk: int, field: str) -> ModelVersion:
    """The project's model version ``pk``. Raises Refusal, naming ``field``, where it has none."""
    version = project.model_versions.filter(pk=pk).first()
    if version is None:
        raise Refusal("invalid", f"The project has no model version {pk}.", field=field)
    return version
