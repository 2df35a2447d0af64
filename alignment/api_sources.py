"""REST: where responses come from: sources, and the model versions that they sample."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from alignment import model_versions, sources
from alignment.api_filters import ModelVersionFilters, SourceFilters
from alignment.archiving import archive_version, bring_version_back
from alignment.models import ModelVersion
from annotation.api_access import ProjectViewSet
from annotation.api_fields import Choice, Flag, Input, Integer, Text
from annotation.api_filters import LARGEST_ID
from annotation.models import Source, User
from annotation.refusals import Refusal

SETTINGS_HELP = (
    "temperature, top_p, max_tokens, system_prompt, few_shot, give_context, seed; others keep defaults."
)
PASSED_OVER = "Passed over: taken so that what GET answers can be posted."


# What GET answers can be posted back: its id and date are passed over. (No docstring: drf-spectacular would put it in
# the place of every subclass's own.)
class _SourceIn(Input):
    name = Text(max_length=200)
    id = Integer(required=False, min_value=1, max_value=LARGEST_ID, help_text=PASSED_OVER)
    created_at = serializers.DateTimeField(required=False, help_text=PASSED_OVER)


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


class PersonSourceIn(_SourceIn):
    kind = Choice(choices=["person"])
    person = Text(max_length=150, help_text="The username of a member: who wrote the responses.")


SOURCE_FORMS: dict[str, type[_SourceIn]] = {
    "model": ModelSourceIn,
    "endpoint": EndpointSourceIn,
    "import": ImportSourceIn,
    "person": PersonSourceIn,
}


# A source as the form of its kind takes it; the kind is a constant, so that one form alone fits an answer. (No
# docstring, as above.)
class _SourceOut(serializers.ModelSerializer):
    class Meta:
        model = Source
        fields = ["id", "name", "kind", "created_at"]


class ModelSourceOut(_SourceOut):
    kind = serializers.ChoiceField(choices=["model"])
    model_version = serializers.IntegerField(source="model_source.model_version_id")
    settings = serializers.DictField(help_text=SETTINGS_HELP)

    class Meta(_SourceOut.Meta):
        fields = [*_SourceOut.Meta.fields, "model_version", "settings"]


class EndpointSourceOut(_SourceOut):
    kind = serializers.ChoiceField(choices=["endpoint"])
    url = serializers.CharField(source="endpoint_url")
    model = serializers.CharField(source="endpoint_model", help_text="The endpoint's name of the model.")
    key_variable = serializers.CharField(
        source="endpoint_key_variable",
        help_text="The workers' environment variable that holds the key, if any.",
    )
    settings = serializers.DictField(help_text=SETTINGS_HELP)

    class Meta(_SourceOut.Meta):
        fields = [*_SourceOut.Meta.fields, "url", "model", "key_variable", "settings"]


class ImportSourceOut(_SourceOut):
    """Responses that were brought."""

    kind = serializers.ChoiceField(choices=["import"])


class PersonSourceOut(_SourceOut):
    """Responses that a person wrote."""

    kind = serializers.ChoiceField(choices=["person"])
    person = serializers.CharField(source="person.username")

    class Meta(_SourceOut.Meta):
        fields = [*_SourceOut.Meta.fields, "person"]


SOURCE_ANSWERS: dict[str, type[_SourceOut]] = {
    "model": ModelSourceOut,
    "endpoint": EndpointSourceOut,
    "import": ImportSourceOut,
    "person": PersonSourceOut,
}
SOURCE_OUT = PolymorphicProxySerializer(
    component_name="Source", serializers=dict(SOURCE_ANSWERS), resource_type_field_name="kind"
)


def answer_of(source: Source) -> dict[str, Any]:
    return dict(SOURCE_ANSWERS[source.kind](source).data)


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
            "archived_at",
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


class ModelVersionChange(Input):
    archived = Flag(required=False, help_text="Whether new rounds and sources cannot choose it.")


class SourcesViewSet(ProjectViewSet):
    queryset = Source.objects.select_related("model_source", "person", "project").order_by("pk")
    serializer_class = _SourceOut
    filterset_class = SourceFilters
    ordering_fields = ("name", "created_at")

    @extend_schema(responses=SOURCE_OUT)
    def list(self, request: Request, project: str) -> Response:
        """The project's sources."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response([answer_of(source) for source in page or ()])

    @extend_schema(
        request=PolymorphicProxySerializer(
            component_name="SourceIn", serializers=dict(SOURCE_FORMS), resource_type_field_name="kind"
        ),
        responses={201: SOURCE_OUT},
    )
    def create(self, request: Request, project: str) -> Response:
        """Make a source: of a model version, of an OpenAI-compatible endpoint, for imports, or of a person.

        What GET answers of a source can be posted, under another name or to another project.
        """
        kind = request.data.get("kind") if isinstance(request.data, dict) else None
        form = SOURCE_FORMS.get(kind) if isinstance(kind, str) else None
        if form is None:
            raise serializers.ValidationError({"kind": f"One of {', '.join(SOURCE_FORMS)}."})
        given = form(data=request.data)
        given.is_valid(raise_exception=True)
        fields = {
            name: value
            for name, value in given.validated_data.items()
            if name not in ("kind", "id", "created_at")
        }
        if form is ModelSourceIn:
            fields["model_version"] = version_of(self.project, fields["model_version"], "model_version")
            source = sources.create_model_source(project=self.project, **fields)
        elif form is EndpointSourceIn:
            source = sources.create_endpoint_source(project=self.project, created_by=self.caller, **fields)
        elif form is PersonSourceIn:
            writer = User.objects.filter(username=fields["person"]).first()
            if writer is None:
                raise Refusal("invalid", f"There is no account {fields['person']!r:.80}.", field="person")
            source = sources.create_person_source(project=self.project, name=fields["name"], person=writer)
        else:
            source = sources.create_import_source(project=self.project, **fields)
        return Response(answer_of(source), status.HTTP_201_CREATED)

    @extend_schema(responses=SOURCE_OUT)
    def retrieve(self, request: Request, pk: int) -> Response:
        """One source, as POST takes it."""
        return Response(answer_of(self.get_object()))


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

    @extend_schema(request=ModelVersionChange, responses=ModelVersionDetailOut)
    def partial_update(self, request: Request, pk: int) -> Response:
        """Archive the model version, or bring it back. What was made of it, and with it, stays."""
        given = ModelVersionChange(data=request.data, partial=True)
        given.is_valid(raise_exception=True)
        version = self.get_object()
        if "archived" in given.validated_data:
            version = (archive_version if given.validated_data["archived"] else bring_version_back)(version)
        return Response(ModelVersionDetailOut(version).data)


def version_of(project: Any, pk: int, field: str) -> ModelVersion:
    """The project's model version ``pk``. Raises Refusal, naming ``field``, where it has none."""
    version = project.model_versions.filter(pk=pk).first()
    if version is None:
        raise Refusal("invalid", f"The project has no model version {pk}.", field=field)
    return version
