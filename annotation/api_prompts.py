"""REST: prompts and responses, one by one and by the file."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response as Answer

from annotation.api_access import ProjectViewSet
from annotation.api_fields import Choice, Flag, Input, Text
from annotation.api_filters import PromptFilters, ResponseFilters
from annotation.importing import ImportReport, import_prompts, import_responses
from annotation.models import Prompt, Response
from annotation.reading import read_rows
from annotation.refusals import Refusal
from annotation.retiring import bring_prompt_back, retire_prompt
from annotation.rows import ROLES
from annotation.splitting import digest_of

MESSAGE_ROLES = [(role, role) for role in ROLES]
FILE_HELP = "JSONL, CSV or Parquet; its name's ending says which."


class MessageOut(serializers.Serializer):
    role = serializers.ChoiceField(choices=MESSAGE_ROLES)
    content = serializers.CharField(allow_blank=True)


class PassageOut(serializers.Serializer):
    id = serializers.CharField()
    title = serializers.CharField(required=False, allow_blank=True)
    text = serializers.CharField()
    url = serializers.CharField(required=False, allow_blank=True)


class PromptOut(serializers.ModelSerializer):
    messages = MessageOut(many=True)
    context = PassageOut(many=True)  # type: ignore[assignment]
    tags = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = Prompt
        fields = [
            "id",
            "key",
            "messages",
            "context",
            "tags",
            "language",
            "digest",
            "split",
            "retired_at",
            "created_at",
        ]


class MessageIn(Input):
    role = Choice(choices=MESSAGE_ROLES)
    content = Text(allow_blank=True)


class PassageIn(Input):
    id = Text(max_length=200)
    title = Text(required=False, allow_blank=True)
    text = Text()
    url = Text(required=False, allow_blank=True)


class PromptIn(Input):
    messages = MessageIn(many=True, help_text="The conversation; its last message is the user's.")
    context = PassageIn(  # type: ignore[assignment]
        many=True, required=False, help_text="Passages that the reply should rest on."
    )
    tags = serializers.ListField(child=Text(), required=False)
    key = Text(required=False, allow_blank=True, max_length=200, help_text="Your own name for it.")
    language = Text(required=False, allow_blank=True, max_length=20)


class PromptChange(Input):
    retired = Flag(required=False, help_text="Whether new rounds, evaluations and batches leave it out.")


class ResponseOut(serializers.ModelSerializer):
    class Meta:
        model = Response
        fields = ["id", "prompt", "source", "drawn_by", "index", "text", "tokens", "ended", "created_at"]


class PromptFile(Input):
    file = serializers.FileField(help_text=FILE_HELP, allow_empty_file=True)


class ResponseFile(PromptFile):
    source = serializers.IntegerField(  # type: ignore[assignment]
        min_value=1, max_value=2**63 - 1, help_text="Number of a source of the kind import or person."
    )
    drawn_by = serializers.UUIDField(
        required=False, help_text="Names this import. Unless given it follows from the file and its source."
    )


class ImportOut(serializers.Serializer):
    created = serializers.IntegerField(help_text="Rows that were new.")
    existing = serializers.IntegerField(help_text="Rows that were there already, or stood twice in the file.")
    following = serializers.IntegerField(
        help_text="Of the new prompts, those that nearly repeat another and are in its split, whatever their hash says."
    )
    ignored_fields = serializers.DictField(
        child=serializers.IntegerField(),
        help_text="Fields that were left out, and how often they stood there.",
    )


class PromptsViewSet(ProjectViewSet):
    queryset = Prompt.objects.order_by("pk")
    serializer_class = PromptOut
    filterset_class = PromptFilters
    ordering_fields = ("created_at", "key")

    def list(self, request: Request, project: str) -> Answer:
        """The project's prompts."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(request=PromptIn, responses={200: PromptOut, 201: PromptOut})
    def create(self, request: Request, project: str) -> Answer:
        """Add one prompt. 200: the project had it already, and it stays as it is."""
        given = PromptIn(data=request.data)
        given.is_valid(raise_exception=True)
        try:
            report = import_prompts(project=self.project, rows=[(1, given.validated_data)])
        except Refusal as refusal:
            wrong = refusal.lines[0] if refusal.lines else None
            if wrong is None:
                raise
            raise Refusal(
                refusal.code, f"The prompt is wrong: {wrong.reason}. Nothing was added.", field=wrong.field
            ) from refusal
        prompt = self.get_queryset().get(digest=digest_of(given.validated_data["messages"]))
        answer = status.HTTP_201_CREATED if report.created else status.HTTP_200_OK
        return Answer(self.get_serializer(prompt).data, answer)

    def retrieve(self, request: Request, pk: int) -> Answer:
        """One prompt."""
        return Answer(self.get_serializer(self.get_object()).data)

    @extend_schema(request=PromptChange)
    def partial_update(self, request: Request, pk: int) -> Answer:
        """Retire the prompt, or bring it back. What was said to it and ranked stays."""
        given = PromptChange(data=request.data, partial=True)
        given.is_valid(raise_exception=True)
        prompt = self.get_object()
        if "retired" in given.validated_data:
            prompt = (retire_prompt if given.validated_data["retired"] else bring_prompt_back)(prompt)
        return Answer(self.get_serializer(prompt).data)


class PromptImportViewSet(ProjectViewSet):
    queryset = Prompt.objects.all()
    parser_classes = (MultiPartParser,)
    serializer_class = ImportOut
    throttle_scope = "importing"

    @extend_schema(request={"multipart/form-data": PromptFile}, responses=ImportOut)
    def import_file(self, request: Request, project: str) -> Answer:
        """Import a file of prompts: all of them, or, where any line is bad, none, with every bad line in `errors`."""
        file = _checked(PromptFile, request)["file"]
        return _told(import_prompts(project=self.project, rows=read_rows(file, file.name)))


class ResponsesViewSet(ProjectViewSet):
    queryset = Response.objects.order_by("pk")
    serializer_class = ResponseOut
    filterset_class = ResponseFilters
    project_path = "prompt__project"

    def list(self, request: Request, project: str) -> Answer:
        """The responses to the project's prompts, with where they came from."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    def retrieve(self, request: Request, pk: int) -> Answer:
        """One response."""
        return Answer(self.get_serializer(self.get_object()).data)


class ResponseImportViewSet(ProjectViewSet):
    queryset = Response.objects.all()
    parser_classes = (MultiPartParser,)
    serializer_class = ImportOut
    throttle_scope = "importing"

    @extend_schema(request={"multipart/form-data": ResponseFile}, responses=ImportOut)
    def import_file(self, request: Request, project: str) -> Answer:
        """Import a file of responses: all or, where any line is bad, none. The same file again changes nothing."""
        given = _checked(ResponseFile, request)
        source = self.project.sources.filter(pk=given["source"]).first()
        if source is None:
            raise Refusal("invalid", f"The project has no source {given['source']}.", field="source")
        report = import_responses(
            project=self.project,
            source=source,
            rows=read_rows(given["file"], given["file"].name),
            drawn_by=given.get("drawn_by") or _name_of(given["file"], source.pk),
        )
        return _told(report)


def _checked(form: type[serializers.Serializer], request: Request) -> dict[str, Any]:
    given = form(data=request.data)
    given.is_valid(raise_exception=True)
    return given.validated_data


def _told(report: ImportReport) -> Answer:
    return Answer(ImportOut(report).data)


def _name_of(file: UploadedFile, source: int) -> uuid.UUID:
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    file.seek(0)
    return uuid.uuid5(uuid.NAMESPACE_OID, f"{source}:{digest.hexdigest()}")
