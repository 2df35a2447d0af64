"""How people get an account, and how they log in."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.forms import LoginForm as AllauthLoginForm
from django.conf import settings
from django.http import HttpRequest


class AccountAdapter(DefaultAccountAdapter):
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return bool(settings.RANKLOOP_SIGNUP)


class LoginForm(AllauthLoginForm):
    """Allauth's, with labels in place of placeholders, and a reset by mail only where mail is sent."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["login"].label = "User name or e-mail"
        if "remember" in self.fields:
            self.fields["remember"].label = "Stay logged in"
        for name in ("login", "password"):
            self.fields[name].widget.attrs.pop("placeholder", None)
        if settings.EMAIL_BACKEND.endswith("console.EmailBackend"):
            self.fields["password"].help_text = ""
