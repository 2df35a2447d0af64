"""REST: runs of a project, with what they tell and what they leave."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from alignment.api_files import CHUNK, send_file
from alignment.api_filters import MetricFilters, RunFilters
from annotation.api_access import ProjectViewSet
from annotation.models import Project
from config.api_negotiation import AnyAccept
from training.api import ArtifactOut, LogOut, MetricOut, RunDetailOut, RunOut, SampleOut
from training.launching import artifact_path, cancel_run, read_log
from training.models import Artifact, Run, RunMetric, RunSample

LONGEST_LOG_PART = 2**20


class LogQuery(serializers.Serializer):
    offset = serializers.IntegerField(
        required=False,
        default=0,
        min_value=-(2**53),
        max_value=2**53,
        help_text="In bytes; negative: from the end.",
    )
    limit = serializers.IntegerField(required=False, default=65_536, min_value=1, max_value=LONGEST_LOG_PART)


class RunViewSet(ProjectViewSet):
    """What belongs to a run, whose row holds its project's number only."""

    queryset: QuerySet[Any] = Run.objects.order_by("-created_at")
    project_path = "project_id"

    def resources(self) -> QuerySet[Any]:
        return Run.objects.order_by("-created_at")

    def project_of(self, resource: Run) -> Project:
        return get_object_or_404(Project.objects.all(), pk=resource.project_id)


class RunsViewSet(RunViewSet):
    serializer_class = RunOut
    filterset_class = RunFilters
    ordering_fields = ("created_at", "ended_at")

    def list(self, request: Request, project: str) -> Response:
        """The project's runs, newest first."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(responses=RunDetailOut)
    def retrieve(self, request: Request, pk: UUID) -> Response:
        """One run: where it is and why, how far, and its spec."""
        return Response(RunDetailOut(self.get_object()).data)

    @extend_schema(parameters=[LogQuery], responses=LogOut)
    def log(self, request: Request, pk: UUID) -> Response:
        """A part of the run's log."""
        asked = LogQuery(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        return Response(LogOut(read_log(self.get_object(), **asked.validated_data)).data)

    @extend_schema(request=None, responses=RunDetailOut)
    def cancel(self, request: Request, pk: UUID) -> Response:
        """Cancel the run: at once if it waits, else its worker stops it soon. One that has ended stays as it is."""
        run = cancel_run(run_id=pk, reason=f"Cancelled by {self.caller.username}.")
        return Response(RunDetailOut(run).data)


class OfRunViewSet(RunViewSet):
    """A list of what one run told."""

    def get_queryset(self) -> QuerySet[Any]:
        rows = self.queryset.all()
        return rows.none() if self.is_for_schema else rows.filter(run=self.get_object())

    def listed(self) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)


class RunMetricsViewSet(OfRunViewSet):
    queryset = RunMetric.objects.order_by("step", "name")
    serializer_class = MetricOut
    filterset_class = MetricFilters

    @extend_schema(responses=MetricOut(many=True))
    def metrics(self, request: Request, pk: UUID) -> Response:
        """What the run measured, by step and name."""
        return self.listed()


class RunSamplesViewSet(OfRunViewSet):
    queryset = RunSample.objects.order_by("pk")
    serializer_class = SampleOut

    @extend_schema(responses=SampleOut(many=True))
    def samples(self, request: Request, pk: UUID) -> Response:
        """Prompts and responses that the run showed on its way."""
        return self.listed()


class RunArtifactsViewSet(OfRunViewSet):
    queryset = Artifact.objects.order_by("name")
    serializer_class = ArtifactOut

    @extend_schema(responses=ArtifactOut(many=True))
    def artifacts(self, request: Request, pk: UUID) -> Response:
        """The files and folders that the run made."""
        return self.listed()


class RunArtifactViewSet(RunViewSet):
    serializer_class = ArtifactOut
    throttle_scope = "files"
    content_negotiation_class = AnyAccept

    @extend_schema(
        responses={
            (200, "application/octet-stream"): OpenApiTypes.BINARY,
            (200, "application/x-tar"): OpenApiTypes.BINARY,
        },
    )
    def download(self, request: Request, pk: UUID, name: str) -> HttpResponseBase:
        """An artifact: a file as it is (with ranges), a folder as an uncompressed tar archive."""
        run = self.get_object()
        artifact = get_object_or_404(run.artifacts, name=name)
        path = artifact_path(run, name)
        if path.is_dir():
            return _send_folder(request, path, f"{name}.tar")
        return send_file(
            request, path, name=path.name, content_type="application/octet-stream", sha256=artifact.sha256
        )


def _send_folder(request: HttpRequest, folder: Path, name: str) -> HttpResponseBase:
    parts = _tar(folder) if request.method == "GET" else iter(())
    headers = {
        "Content-Disposition": content_disposition_header(True, name) or "attachment",
        "Cache-Control": "private, no-cache",
    }
    return StreamingHttpResponse(parts, content_type="application/x-tar", headers=headers)


def _tar(folder: Path) -> Iterator[bytes]:
    """The folder as a tar archive, in parts, so that weights of any size pass through little memory."""
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        entry = tarfile.TarInfo(str(path.relative_to(folder.parent)))
        status = path.stat()
        entry.size, entry.mtime = status.st_size, int(status.st_mtime)
        yield entry.tobuf(tarfile.PAX_FORMAT)
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk
        yield bytes(-entry.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)
