"""A key is shown once; only its hash is kept."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from annotation.models import ApiToken, User
from annotation.refusals import Refusal
from annotation.tokens import issue_token, revoke, user_of

pytestmark = pytest.mark.django_db


def test_the_key_is_its_users_and_nowhere_in_the_database(manager: User) -> None:
    token, key = issue_token(user=manager, name="export job")
    assert user_of(key) == manager
    stored = ApiToken.objects.filter(pk=token.pk).values().get()
    assert key not in str(stored)
    assert stored["hint"] == key[:8]
    assert issue_token(user=manager, name="export job")[1] != key


def test_unknown_revoked_and_expired_keys_are_nobodys(manager: User) -> None:
    token, key = issue_token(user=manager, name="a", expires_at=timezone.now() + timedelta(days=1))
    assert user_of(key) == manager
    ApiToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert user_of(key) is None
    ApiToken.objects.update(expires_at=None)
    assert user_of(key) == manager
    revoke(token)
    assert [user_of(k) for k in (key, "", key[:-1], "\x00")] == [None] * 4


def test_an_inactive_users_key_is_nobodys(manager: User) -> None:
    _, key = issue_token(user=manager, name="a")
    User.objects.update(is_active=False)
    assert user_of(key) is None


def test_use_is_noted_at_most_once_a_minute(manager: User) -> None:
    token, key = issue_token(user=manager, name="a")
    user_of(key)
    token.refresh_from_db()
    first = token.last_used_at
    assert first is not None
    user_of(key)
    token.refresh_from_db()
    assert token.last_used_at == first
    ApiToken.objects.update(last_used_at=first - timedelta(minutes=2))
    user_of(key)
    token.refresh_from_db()
    assert token.last_used_at > first


@pytest.mark.parametrize("name", ["", "  ", "x" * 101])
def test_a_token_needs_a_name(manager: User, name: str) -> None:
    with pytest.raises(Refusal) as refused:
        issue_token(user=manager, name=name)
    assert refused.value.field == "name"


def test_a_token_cannot_be_made_expired(manager: User) -> None:
    with pytest.raises(Refusal, match="passed already"):
        issue_token(user=manager, name="a", expires_at=timezone.now())
    assert not ApiToken.objects.exists()
