"""The server that mail is sent through, from two environment variables."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.validators import validate_email

# Scheme: usual port, TLS from the first byte, STARTTLS.
SCHEMES = {"smtp": (587, False, True), "smtps": (465, True, False), "smtp+plain": (25, False, False)}
FORM = (
    "smtp://user:password@mail.example.org:587 (STARTTLS), smtps://… (TLS from the start) or smtp+plain://… (no TLS, "
    "for a relay on the same machine or network); an @ in user or password is written %40, and so are other signs"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    """What Django's ``EMAIL_*`` settings are told."""

    backend: str
    host: str = "localhost"
    port: int = 25
    user: str = ""
    password: str = ""
    use_ssl: bool = False
    use_tls: bool = False
    sender: str = "rankloop@localhost"


CONSOLE = MailServer(backend="django.core.mail.backends.console.EmailBackend")
"""Mail goes to the web's log."""


def mail_server(url: str, sender: str) -> MailServer:
    """Return the server of RANKLOOP_EMAIL_URL, with RANKLOOP_EMAIL_FROM as the sender; `CONSOLE` without an address.

    Raises:
        ImproperlyConfigured: one of the two is wrong. The sentence never holds the address, which holds a password.
    """
    if not url:
        return CONSOLE
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except (
        ValueError
    ):  # a port that is no number, such as half a password with a sign in it; the error would show it
        raise ImproperlyConfigured(f"RANKLOOP_EMAIL_URL is no address. Give it as {FORM}.") from None
    if parts.scheme not in SCHEMES or not host or parts.path.strip("/") or parts.query or parts.fragment:
        raise ImproperlyConfigured(f"RANKLOOP_EMAIL_URL must be {FORM}, and nothing after the port.")
    if (parts.username is None) != (parts.password is None):
        raise ImproperlyConfigured(
            "RANKLOOP_EMAIL_URL needs both a user and a password before the @, or neither."
        )
    try:
        validate_email(sender)
    except ValidationError as error:
        raise ImproperlyConfigured(
            f"RANKLOOP_EMAIL_FROM must be an e-mail address that the server of RANKLOOP_EMAIL_URL may send from, not "
            f"{sender!r:.80}."
        ) from error
    usual_port, use_ssl, use_tls = SCHEMES[parts.scheme]
    return MailServer(
        backend="django.core.mail.backends.smtp.EmailBackend",
        host=host,
        port=usual_port if port is None else port,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        use_ssl=use_ssl,
        use_tls=use_tls,
        sender=sender,
    )
