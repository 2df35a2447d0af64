"""Secrets of webhooks, and the signatures that receivers check, as standardwebhooks.com has them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

PREFIX = "whsec_"


def new_secret() -> str:
    """Return a random secret of 256 bits."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def signature_headers(*, id: str, timestamp: int, body: bytes, keys: list[str]) -> dict[str, str]:
    """Return the headers that say what the message is, when it was sent, and that it is the sender's.

    A signature is the HMAC-SHA256 of ``id.timestamp.body``, in Base64.

    Args:
        id: of the message, the same at each attempt: a receiver takes it once.
        timestamp: of the attempt, in seconds since 1970: a receiver refuses old ones, which somebody replays.
        keys: secrets as `new_secret` makes them; a receiver needs to know one of them.
    """
    content = b".".join([id.encode(), str(timestamp).encode(), body])
    return {
        "webhook-id": id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(_signature(key, content) for key in keys),
    }


def _signature(key: str, content: bytes) -> str:
    digest = hmac.digest(base64.b64decode(key.removeprefix(PREFIX)), content, hashlib.sha256)
    return "v1," + base64.b64encode(digest).decode()
