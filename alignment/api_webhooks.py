"""REST: a project's webhooks, what was delivered to them, and sending it again."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from alignment import delivering, webhooks
from alignment.models import Delivery, DeliveryAttempt, Event, Webhook
from annotation.api_access import ProjectViewSet
from annotation.api_fields import Choice, Flag, Input, Text
from annotation.refusals import Refusal

ONCE = "What its messages are signed with. Shown this once."


class WebhookOut(serializers.ModelSerializer):
    events = serializers.ListField(child=serializers.ChoiceField(choices=webhooks.TYPES))
    old_secret_until = serializers.DateTimeField(
        read_only=True, allow_null=True, help_text="Until then the last secret before signs as well."
    )

    class Meta:
        model = Webhook
        fields = [
            "id",
            "name",
            "url",
            "events",
            "paused_at",
            "pause_reason",
            "old_secret_until",
            "created_at",
        ]


class NewWebhookOut(WebhookOut):
    secret = serializers.CharField(help_text=ONCE)

    class Meta(WebhookOut.Meta):
        fields = [*WebhookOut.Meta.fields, "secret"]


class WebhookIn(Input):
    name = Text(max_length=webhooks.LONGEST_NAME, help_text="What it reaches.")
    url = Text(
        max_length=webhooks.LONGEST_URL,
        help_text="https:// or http://, a public address unless RANKLOOP_WEBHOOK_NETWORKS says otherwise.",
    )
    events = serializers.ListField(
        child=Choice(choices=webhooks.TYPES), min_length=1, max_length=20, help_text="What it is sent."
    )


class WebhookChange(WebhookIn):
    paused = Flag(required=False, help_text="Whether nothing is sent; what happens meanwhile waits.")


class AttemptOut(serializers.ModelSerializer):
    class Meta:
        model = DeliveryAttempt
        fields = ["number", "started_at", "seconds", "status", "error", "response"]


class DeliveryOut(serializers.ModelSerializer):
    event = serializers.UUIDField(source="event_id", help_text="The message's `webhook-id`.")
    type = serializers.ChoiceField(source="event.type", choices=Event.Type.choices)
    data = serializers.DictField(  # type: ignore[assignment]
        source="event.data", help_text="What the message says."
    )
    log = AttemptOut(many=True, help_text="The attempts, oldest first.")

    class Meta:
        model = Delivery
        fields = ["id", "event", "type", "data", "state", "attempts", "due_at", "created_at", "log"]


class DeliveryFilters(filters.FilterSet):
    state = filters.ChoiceFilter(choices=Delivery.State.choices)
    type = filters.ChoiceFilter(field_name="event__type", choices=Event.Type.choices)

    class Meta:
        model = Delivery
        fields = ["state"]


class WebhooksViewSet(ProjectViewSet):
    queryset = Webhook.objects.select_related("project").order_by("pk")
    serializer_class = WebhookOut

    def list(self, request: Request, project: str) -> Response:
        """The project's webhooks, without their secrets."""
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(request=WebhookIn, responses={201: NewWebhookOut})
    def create(self, request: Request, project: str) -> Response:
        """Make a webhook. Its secret is in this answer, and in no other."""
        given = WebhookIn(data=request.data)
        given.is_valid(raise_exception=True)
        made = webhooks.create_webhook(project=self.project, created_by=self.caller, **given.validated_data)
        return Response(NewWebhookOut(made).data, status.HTTP_201_CREATED)

    @extend_schema(responses=WebhookOut)
    def retrieve(self, request: Request, pk: int) -> Response:
        """One webhook, without its secret."""
        return Response(WebhookOut(self.get_object()).data)

    @extend_schema(request=WebhookChange, responses=WebhookOut)
    def partial_update(self, request: Request, pk: int) -> Response:
        """Change a webhook, pause it, or resume it. What waits goes to the address that it has then."""
        given = WebhookChange(data=request.data, partial=True)
        given.is_valid(raise_exception=True)
        changes: dict[str, Any] = dict(given.validated_data)
        paused = changes.pop("paused", None)
        webhook = webhooks.change_webhook(self.get_object(), **changes)
        if paused is not None:
            webhook = (webhooks.pause_webhook if paused else webhooks.resume_webhook)(webhook)
        return Response(WebhookOut(webhook).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: int) -> Response:
        """Delete a webhook, with its log and what waits to be sent to it."""
        webhooks.delete_webhook(self.get_object())
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=None, responses=NewWebhookOut)
    def rotate_secret(self, request: Request, pk: int) -> Response:
        """Give a webhook a new secret. For a day its messages are signed with the old one as well."""
        return Response(NewWebhookOut(webhooks.rotate_secret(self.get_object())).data)


class WebhookTestViewSet(ProjectViewSet):
    queryset = Webhook.objects.select_related("project")
    serializer_class = WebhookOut
    throttle_scope = "importing"

    @extend_schema(request=None, responses=DeliveryOut)
    def test(self, request: Request, pk: int) -> Response:
        """Send a `webhook.test` now, and tell what came of it. One that fails is tried again as every other."""
        attempt = delivering.send_test(self.get_object())
        if attempt is None:
            raise Refusal("not_found", "The webhook was deleted at this moment.")
        return Response(
            DeliveryOut(Delivery.objects.select_related("event").get(pk=attempt.delivery_id)).data
        )


class DeliveriesViewSet(ProjectViewSet):
    queryset = Delivery.objects.select_related("event").prefetch_related("log").order_by("-pk")
    serializer_class = DeliveryOut
    filterset_class = DeliveryFilters

    def resources(self) -> QuerySet[Any]:
        return Webhook.objects.select_related("project")

    def get_queryset(self) -> QuerySet[Any]:
        rows = self.queryset.all()
        return rows.none() if self.is_for_schema else rows.filter(webhook=self.get_object())

    @extend_schema(responses=DeliveryOut(many=True))
    def deliveries(self, request: Request, pk: int) -> Response:
        """What was and is to be sent to a webhook, newest first, with every attempt."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)


class DeliveryViewSet(ProjectViewSet):
    queryset = Delivery.objects.select_related("webhook__project")
    serializer_class = DeliveryOut
    project_path = "webhook__project"

    @extend_schema(request=None, responses=DeliveryOut)
    def resend(self, request: Request, pk: int) -> Response:
        """Send it once more, soon, under the same `webhook-id`."""
        return Response(DeliveryOut(webhooks.send_again(self.get_object())).data)
