"""Who calls: a program with ``Authorization: Bearer rl_…``, or a person's session (with its CSRF token)."""

from __future__ import annotations

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from annotation.models import User
from annotation.tokens import user_of


class TokenAuthentication(BaseAuthentication):
    """A key that `annotation.tokens` issued. A wrong one is refused even where nobody needs to log in."""

    def authenticate(self, request: Request) -> tuple[User, str] | None:
        scheme, _, key = get_authorization_header(request).partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        user = user_of(key.strip().decode("ascii", "replace"))
        if user is None:
            raise AuthenticationFailed(
                "The API token is unknown, revoked or expired. Issue a new one under API tokens."
            )
        return user, "token"

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="rankloop"'


class TokenScheme(OpenApiAuthenticationExtension):
    target_class = TokenAuthentication
    name = "token"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "rl_…"}
