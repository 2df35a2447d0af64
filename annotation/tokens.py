"""API tokens: made, recognised, revoked. Only a key's hash is kept."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from annotation.models import ApiToken, User
from annotation.refusals import Refusal

USE_IS_NOTED_EVERY = timedelta(minutes=1)
"""Finer than people need, and a busy program's token still costs one write a minute."""


@transaction.atomic
def issue_token(*, user: User, name: str, expires_at: datetime | None = None) -> tuple[ApiToken, str]:
    """Make a token. Returns it and its key, which is nowhere to be had again.

    Raises:
        Refusal: the name is empty or too long, or the expiry has passed already.
    """
    name = name.strip()
    if not 1 <= len(name) <= 100:
        raise Refusal(
            "invalid", "Name the token after what will use it, in at most 100 characters.", field="name"
        )
    if expires_at is not None and expires_at <= timezone.now():
        raise Refusal(
            "invalid", f"The expiry {expires_at:%Y-%m-%d %H:%M} has passed already.", field="expires_at"
        )
    key = ApiToken.new_key()
    token = ApiToken.objects.create(
        user=user, name=name, digest=ApiToken.digest_of(key), hint=key[:8], expires_at=expires_at
    )
    return token, key


def user_of(key: str) -> User | None:
    """Whose key it is; None for an unknown, expired or revoked key, and for an inactive user's."""
    now = timezone.now()
    token = (
        ApiToken.objects.select_related("user")
        .filter(Q(expires_at__isnull=True) | Q(expires_at__gt=now), digest=ApiToken.digest_of(key))
        .first()
    )
    if token is None or not token.user.is_active:
        return None
    if token.last_used_at is None or token.last_used_at <= now - USE_IS_NOTED_EVERY:
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
    return token.user


def revoke(token: ApiToken) -> None:
    """End a token: its key is unknown from now on."""
    token.delete()
