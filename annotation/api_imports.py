"""REST: files of prompts, responses and preferences in the forms that people have, brought in in the background."""

from __future__ import annotations

import json
from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response as Answer

from annotation.api_access import ProjectViewSet
from annotation.api_fields import Choice, Flag, Input, Text
from annotation.api_filters import ImportFilters
from annotation.api_prompts import MessageOut
from annotation.intake import jobs
from annotation.intake.bad_lines import as_csv, bad_lines_of
from annotation.intake.forms import FORMS, Form
from annotation.intake.previewing import Preview
from annotation.models import Import, User
from annotation.refusals import Refusal, require_storable
from annotation.spreadsheets import CSV
from config.api_negotiation import AnyAccept

FORM_CHOICES = [(form.name, form.title) for form in FORMS.values()]
FILE_HELP = (
    "JSONL, a JSON array, CSV, TSV or Parquet, by its name's ending; .gz or .zst after it where it is packed."
)
FORM_HELP = "Unless given, the form that the first rows have."


@extend_schema_field(
    {
        "type": "object",
        "additionalProperties": {
            "oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]
        },
    }
)
class Mapped(serializers.DictField):
    """Of the form's fields, the file's own names."""


class ImportFile(Input):
    file = serializers.FileField(help_text=FILE_HELP, allow_empty_file=True)
    name = Text(required=False, max_length=200, help_text="Of the batch; unless given, the file's.")
    form = Choice(choices=FORM_CHOICES, required=False, help_text=FORM_HELP)
    mapping = Text(
        required=False,
        help_text="JSON: by the form's field, the file's, or several in a list. Unless given, what the names suggest.",
    )
    skip_bad = serializers.BooleanField(
        required=False, help_text="Leave bad lines out; otherwise they keep all out."
    )
    start = serializers.BooleanField(
        required=False, help_text="Carry it out at once, without a look at the preview."
    )


class ImportChange(Input):
    name = Text(required=False, max_length=200)
    form = Choice(choices=FORM_CHOICES, required=False)
    mapping = Mapped(
        required=False, help_text="With another form and no mapping, what the fields' names suggest is taken."
    )
    skip_bad = Flag(required=False)


class ImportStart(Input):
    skip_bad = Flag(required=False, help_text="Leave bad lines out. Unless given, as it was said before.")


class BadLineOut(serializers.Serializer):
    line = serializers.IntegerField(help_text="Of a JSON array the element's number, of Parquet the row's.")
    field = serializers.CharField(allow_blank=True)
    reason = serializers.CharField()


class ReportOut(serializers.Serializer):
    rows = serializers.IntegerField(help_text="In the file.")
    bad = serializers.IntegerField(help_text="Lines that were left out.")
    prompts = serializers.IntegerField(help_text="That were new.")
    prompts_held_out = serializers.IntegerField(
        required=False, help_text="Of the new ones. Imports of earlier versions did not count them."
    )
    prompts_existing = serializers.IntegerField()
    responses = serializers.IntegerField()
    responses_existing = serializers.IntegerField()
    tasks = serializers.IntegerField()
    rankings = serializers.IntegerField()
    rankings_existing = serializers.IntegerField(
        help_text="That were there already, or stood twice in the file."
    )
    annotators = serializers.IntegerField(help_text="Whose rankings were new.")
    sources = serializers.IntegerField()
    ratings = serializers.IntegerField(help_text="Of aspects.")
    ratings_left_out = serializers.DictField(child=serializers.IntegerField(), help_text="By reason.")


class ImportJobOut(serializers.ModelSerializer):
    form = serializers.ChoiceField(choices=FORM_CHOICES)
    mapping = Mapped()
    created_by: serializers.SlugRelatedField[User] = serializers.SlugRelatedField(
        slug_field="username", read_only=True, allow_null=True
    )
    report = ReportOut(allow_null=True, help_text="Once it succeeded.")
    errors = BadLineOut(  # type: ignore[assignment]
        many=True, help_text="The first 1,000 bad lines; `bad-lines` has all of them."
    )

    class Meta:
        model = Import
        fields = [
            "id",
            "name",
            "state",
            "reason",
            "form",
            "mapping",
            "skip_bad",
            "file_name",
            "file_bytes",
            "sha256",
            "phase",
            "done",
            "total",
            "report",
            "bad",
            "errors",
            "batch",
            "created_by",
            "created_at",
            "started_at",
            "ended_at",
        ]


class PreviewedResponse(serializers.Serializer):
    text = serializers.CharField(allow_blank=True)
    source = serializers.CharField()  # type: ignore[assignment]
    tier = serializers.IntegerField(allow_null=True, help_text="From 1; null: unranked.")


class PreviewedItem(serializers.Serializer):
    line = serializers.IntegerField()
    messages = MessageOut(many=True, source="item.messages")
    annotator = serializers.CharField(allow_blank=True, source="item.annotator")
    responses = PreviewedResponse(many=True)


class PreviewCounts(serializers.Serializer):
    prompts = serializers.IntegerField()
    responses = serializers.IntegerField()
    sources = serializers.IntegerField()
    rankings = serializers.IntegerField()
    ties = serializers.IntegerField(help_text="Rankings in which responses are tied.")
    annotators = serializers.IntegerField(help_text="That have a name.")


class PreviewOut(serializers.Serializer):
    form = serializers.ChoiceField(choices=FORM_CHOICES, source="form.name")
    detected = serializers.ChoiceField(choices=FORM_CHOICES, help_text="The form that the first rows have.")
    mapping = Mapped()
    choices = serializers.ListField(
        child=serializers.CharField(), help_text="The file's fields that can be mapped."
    )
    missing = serializers.CharField(
        allow_blank=True, help_text="What has to be mapped before rows can be read."
    )
    rows = serializers.IntegerField(help_text="That were looked at.")
    whole = serializers.BooleanField(help_text="Whether those are all.")
    counts = PreviewCounts(allow_null=True)
    items = serializers.SerializerMethodField(help_text="The first, as they would come in.")
    aspects = serializers.DictField(
        child=serializers.BooleanField(), help_text="That are rated, and whether the project has each."
    )
    bad = serializers.IntegerField(source="bad.count")
    errors = BadLineOut(many=True, source="bad.listed")  # type: ignore[assignment]

    @extend_schema_field(PreviewedItem(many=True))
    def get_items(self, told: Preview) -> Any:
        return PreviewedItem(told.shown, many=True).data


class DraftOut(serializers.Serializer):
    imported = ImportJobOut(help_text="The import.")
    preview = PreviewOut()


class FormFieldOut(serializers.Serializer):
    name = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    help = serializers.CharField(allow_blank=True)
    needed = serializers.BooleanField()
    several = serializers.BooleanField(help_text="Whether it takes a list.")


class BecomesOut(serializers.Serializer):
    field = serializers.CharField()
    becomes = serializers.CharField()


class FormOut(serializers.Serializer):
    name = serializers.CharField()
    title = serializers.CharField()
    about = serializers.CharField(help_text="Where the form is documented.")
    becomes = BecomesOut(many=True, help_text="What becomes of which of its fields.")
    mapped = FormFieldOut(many=True, help_text="What `mapping` maps.")


class ImportFormsViewSet(ProjectViewSet):
    queryset = Import.objects.none()
    serializer_class = FormOut
    pagination_class = None
    filter_backends = ()

    @extend_schema(responses=FormOut(many=True), filters=False)
    def list(self, request: Request, project: str) -> Answer:
        """The forms that files can have."""
        return Answer([_form_out(form) for form in FORMS.values()])


def _form_out(form: Form) -> dict[str, Any]:
    becomes = [{"field": field, "becomes": becomes} for field, becomes in form.becomes]
    return FormOut(
        {
            "name": form.name,
            "title": form.title,
            "about": form.about,
            "becomes": becomes,
            "mapped": form.fields,
        }
    ).data


class ProjectImportsViewSet(ProjectViewSet):
    queryset = Import.objects.select_related("created_by").order_by("-pk")
    serializer_class = ImportJobOut
    filterset_class = ImportFilters
    ordering_fields = ("created_at",)
    parser_classes = (MultiPartParser,)
    throttle_scope = "importing"

    def list(self, request: Request, project: str) -> Answer:
        """The project's imports, the newest first."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(request={"multipart/form-data": ImportFile}, responses={201: DraftOut})
    def create(self, request: Request, project: str) -> Answer:
        """Upload a file, and see what would come of it. Nothing is brought in before it is started."""
        sent = ImportFile(data=request.data)
        sent.is_valid(raise_exception=True)
        given = sent.validated_data
        job, told = jobs.draft_import(
            project=self.project,
            created_by=self.caller,
            pieces=given["file"].chunks(),
            file_name=given["file"].name,
            name=given.get("name", ""),
            form=given.get("form", ""),
            mapping=_mapping(given["mapping"]) if "mapping" in given else None,
            skip_bad=given.get("skip_bad", False),
        )
        if given.get("start"):
            job = jobs.start_import(job)
        job.refresh_from_db()
        return Answer(DraftOut({"imported": job, "preview": told}).data, status.HTTP_201_CREATED)


class ImportsViewSet(ProjectViewSet):
    queryset = Import.objects.select_related("project", "created_by")
    serializer_class = ImportJobOut

    def resources(self) -> QuerySet[Import]:
        return Import.objects.select_related("project", "created_by")

    def retrieve(self, request: Request, pk: int) -> Answer:
        """One import: how far it is, and how it ended."""
        return Answer(self.get_serializer(self.get_object()).data)

    @extend_schema(responses=PreviewOut)
    def preview(self, request: Request, pk: int) -> Answer:
        """What would come of its file, by the first 1,000 rows. 409 once the file is not kept any more."""
        return Answer(PreviewOut(jobs.look_at(self.get_object())).data)

    @extend_schema(request=ImportChange, responses=DraftOut)
    def partial_update(self, request: Request, pk: int) -> Answer:
        """Have the file read in another way, and see what would come of it."""
        given = ImportChange(data=request.data, partial=True)
        given.is_valid(raise_exception=True)
        job, told = jobs.change_import(self.get_object(), **given.validated_data)
        return Answer(DraftOut({"imported": job, "preview": told}).data)

    @extend_schema(request=ImportStart)
    def start(self, request: Request, pk: int) -> Answer:
        """Have it carried out, all or nothing. One that failed is carried out anew, with `skip_bad` without the bad
        lines."""
        given = ImportStart(data=request.data)
        given.is_valid(raise_exception=True)
        job = jobs.start_import(self.get_object(), skip_bad=given.validated_data.get("skip_bad"))
        job.refresh_from_db()
        return Answer(self.get_serializer(job).data)

    @extend_schema(request=None)
    def cancel(self, request: Request, pk: int) -> Answer:
        """Stop it: nothing of it is kept. A draft is dropped."""
        job = jobs.cancel_import(self.get_object())
        job.refresh_from_db()
        return Answer(self.get_serializer(job).data)


class ImportBadLinesViewSet(ProjectViewSet):
    queryset = Import.objects.select_related("project")
    serializer_class = BadLineOut
    pagination_class = None
    content_negotiation_class = AnyAccept

    @extend_schema(responses={(200, "text/csv"): OpenApiTypes.STR})
    def file(self, request: Request, pk: int) -> StreamingHttpResponse:
        """All lines of its file that are wrong, as a table (CSV) of line, field and reason. A week after it failed, the
        first 1,000 are left."""
        return StreamingHttpResponse(as_csv(bad_lines_of(self.get_object())), content_type=CSV)


def _mapping(text: str) -> dict[str, Any]:
    try:
        mapping = json.loads(text)
    except (ValueError, RecursionError):
        mapping = None
    if not isinstance(mapping, dict):
        raise Refusal(
            "invalid",
            'The mapping must be a JSON object, as in {"prompt": "question", "responses": ["left", "right"]}.',
            field="mapping",
        )
    require_storable(mapping, "The mapping", field="mapping")
    return mapping
