"""REST: uploads of datasets to the Hugging Face Hub."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from alignment import pushing
from alignment.exporting import SHAPES
from alignment.models import Dataset, HubPush
from annotation.api_access import ProjectViewSet
from annotation.api_fields import Choice, Flag, Input, Text


class HubPushOut(serializers.ModelSerializer):
    shapes = serializers.ListField(child=serializers.ChoiceField(choices=list(SHAPES)))

    class Meta:
        model = HubPush
        fields = [
            "id",
            "repository",
            "private",
            "shapes",
            "state",
            "reason",
            "address",
            "created_at",
            "ended_at",
        ]


class HubPushIn(Input):
    repository = Text(max_length=200, help_text="owner/name; made, if there is none.")
    token = Text(
        max_length=200, help_text="Of who may write there. It is kept sealed, until the upload has ended."
    )
    private = Flag(required=False, help_text="Of a repository that is made; true unless given.")
    shapes = serializers.ListField(
        child=Choice(choices=list(SHAPES)),
        required=False,
        min_length=1,
        max_length=len(SHAPES),
        help_text="All unless given. Each is a configuration, the first one the default.",
    )


class HubPushesViewSet(ProjectViewSet):
    queryset = HubPush.objects.order_by("-pk")
    serializer_class = HubPushOut

    def resources(self) -> QuerySet[Any]:
        return Dataset.objects.select_related("project")

    def get_queryset(self) -> QuerySet[Any]:
        rows = self.queryset.all()
        return rows.none() if self.is_for_schema else rows.filter(dataset=self.get_object())

    @extend_schema(responses=HubPushOut(many=True))
    def pushes(self, request: Request, pk: int) -> Response:
        """Uploads of the dataset to the Hub, newest first: where each is, and why one failed."""
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(request=HubPushIn, responses={201: HubPushOut})
    def push(self, request: Request, pk: int) -> Response:
        """Have a worker upload the dataset to the Hugging Face Hub, with its card, in one commit."""
        given = HubPushIn(data=request.data)
        given.is_valid(raise_exception=True)
        push = pushing.ask_push(self.get_object(), created_by=self.caller, **given.validated_data)
        return Response(HubPushOut(push).data, status.HTTP_201_CREATED)
