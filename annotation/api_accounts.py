"""REST: the caller, and their API tokens."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from annotation import tokens
from annotation.api_access import ApiViewSet
from annotation.api_fields import Input, Integer, Text
from annotation.models import ApiToken, Membership, User
from annotation.refusals import Refusal


class MembershipOut(serializers.ModelSerializer):
    project = serializers.CharField(source="project.slug")

    class Meta:
        model = Membership
        fields = ["project", "role"]


class MeOut(serializers.ModelSerializer):
    memberships = MembershipOut(many=True)

    class Meta:
        model = User
        fields = ["username", "email", "is_superuser", "memberships"]


class TokenOut(serializers.ModelSerializer):
    class Meta:
        model = ApiToken
        fields = ["id", "name", "hint", "created_at", "last_used_at", "expires_at"]


class NewTokenOut(TokenOut):
    token = serializers.CharField(
        help_text="What the header says after `Bearer`. Shown this once; only its hash is kept."
    )

    class Meta(TokenOut.Meta):
        fields = [*TokenOut.Meta.fields, "token"]


class TokenIn(Input):
    name = Text(max_length=100, help_text="What it is for.")
    days = Integer(
        required=False, allow_null=True, min_value=1, max_value=3650, help_text="Until it expires."
    )


class MeViewSet(ApiViewSet):
    queryset = User.objects.prefetch_related("memberships__project")
    serializer_class = MeOut

    def retrieve(self, request: Request) -> Response:
        """Who the caller is, and their roles."""
        return Response(self.get_serializer(request.user).data)


class TokensViewSet(ApiViewSet):
    queryset = ApiToken.objects.order_by("-pk")
    serializer_class = TokenOut

    def get_queryset(self) -> QuerySet[ApiToken]:
        rows = super().get_queryset()
        return rows.none() if self.is_for_schema else rows.filter(user=self.request.user)

    def list(self, request: Request) -> Response:
        """The caller's API tokens, each by its first characters."""
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(request=TokenIn, responses={201: NewTokenOut})
    def create(self, request: Request) -> Response:
        """Issue an API token, from a session only. It is in this answer whole, and nowhere else, ever."""
        # One that leaked must end when it is revoked, and not live on in others that it issued.
        if request.auth is not None:
            raise Refusal("forbidden", "Log in to issue API tokens: one cannot make another.")
        given = TokenIn(data=request.data)
        given.is_valid(raise_exception=True)
        days = given.validated_data.get("days")
        token, key = tokens.issue_token(
            user=self.caller,
            name=given.validated_data["name"],
            expires_at=timezone.now() + timedelta(days=days) if days else None,
        )
        return Response({**TokenOut(token).data, "token": key}, status.HTTP_201_CREATED)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: int) -> Response:
        """Revoke an API token: programs that use it are refused from now on."""
        tokens.revoke(get_object_or_404(self.get_queryset(), pk=pk))
        return Response(status=status.HTTP_204_NO_CONTENT)
