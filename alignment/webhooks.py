"""A project's webhooks: made, changed, tried, paused, taken away. `alignment.delivering` sends what they are for."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import timedelta
from urllib.parse import urlsplit

from django.db import transaction
from django.utils import timezone

from alignment.events import send_soon
from alignment.models import Delivery, Event, Webhook
from alignment.public_addresses import Unreachable, require_plausible
from alignment.signing import new_secret
from annotation.models import Project, User
from annotation.refusals import Refusal, refusing_taken, require_storable

MOST_WEBHOOKS = 20
LONGEST_NAME = 100
LONGEST_URL = 500
MOST_OLD_SECRETS = 5
OVERLAP = timedelta(hours=24)
"""What is sent is signed by the old secret as well for so long after a change."""
TYPES = tuple(type.value for type in Event.Type if type != Event.Type.TEST)
"""What a webhook may be for."""


@transaction.atomic
def create_webhook(
    *, project: Project, name: str, url: str, events: Iterable[str], created_by: User | None = None
) -> Webhook:
    """Make a webhook, with a secret of its own.

    Args:
        events: types of events, of `TYPES`.

    Raises:
        Refusal: the name is empty, too long or taken, the address is none to send to, a type is unknown, or there are
            too many webhooks already.
    """
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    if project.webhooks.count() >= MOST_WEBHOOKS:
        raise Refusal("conflict", f"A project has at most {MOST_WEBHOOKS} webhooks. Delete one first.")
    webhook = Webhook(project=project, secret=new_secret(), created_by=created_by)
    return _save(webhook, name, url, events)


@transaction.atomic
def change_webhook(
    webhook: Webhook,
    *,
    name: str | None = None,
    url: str | None = None,
    events: Iterable[str] | None = None,
) -> Webhook:
    """Change what is given. What waits to be sent goes to the new address.

    Raises:
        Refusal: as `create_webhook`.
    """
    locked = _locked(webhook)
    return _save(
        locked,
        locked.name if name is None else name,
        locked.url if url is None else url,
        locked.events if events is None else events,
    )


@transaction.atomic
def pause_webhook(webhook: Webhook, *, reason: str = "") -> Webhook:
    """Send nothing until it is resumed. What happens meanwhile waits."""
    locked = _locked(webhook)
    if locked.paused_at is None:
        locked.paused_at, locked.pause_reason = timezone.now(), reason
        locked.save(update_fields=["paused_at", "pause_reason"])
    return locked


@transaction.atomic
def resume_webhook(webhook: Webhook) -> Webhook:
    """Send again, what waited first."""
    locked = _locked(webhook)
    if locked.paused_at is not None:
        locked.paused_at, locked.pause_reason = None, ""
        locked.save(update_fields=["paused_at", "pause_reason"])
        send_soon()
    return locked


@transaction.atomic
def rotate_secret(webhook: Webhook) -> Webhook:
    """Give it a new secret. For a day all is signed by the old one too, so that the receiver may change in peace; of
    several changes within a day, by each one's.

    Raises:
        Refusal: it has had too many within a day.
    """
    locked, now = _locked(webhook), timezone.now()
    signing = locked.secrets_at(now)
    kept = [each for each in locked.old_secrets if each["secret"] in signing]
    if len(kept) >= MOST_OLD_SECRETS:
        raise Refusal(
            "conflict",
            f"{locked} got {MOST_OLD_SECRETS} new secrets within a day, and all of them sign still. Wait, or delete "
            "it and make another.",
        )
    locked.old_secrets = [*kept, {"secret": locked.secret, "until": (now + OVERLAP).isoformat()}]
    locked.secret = new_secret()
    locked.save(update_fields=["secret", "old_secrets"])
    return locked


@transaction.atomic
def delete_webhook(webhook: Webhook) -> None:
    """Take it away, with its log and what waits to be sent. The events stay."""
    _locked(webhook).delete()


@transaction.atomic
def make_test(webhook: Webhook) -> Delivery:
    """Make an event of no consequence and its delivery to this webhook alone, due now.

    Raises:
        Refusal: the webhook is paused.
    """
    locked = _locked(webhook)
    if locked.paused_at is not None:
        raise Refusal("conflict", f"{locked.name} is paused, so nothing is sent. Resume it first.")
    event = Event.objects.create(
        project=locked.project,
        type=Event.Type.TEST,
        subject=str(uuid.uuid4()),
        data={"webhook": locked.pk, "path": f"/api/v1/webhooks/{locked.pk}"},
    )
    return Delivery.objects.create(webhook=locked, event=event, due_at=timezone.now())


@transaction.atomic
def send_again(delivery: Delivery) -> Delivery:
    """Have a delivery sent once more, whatever came of it, with as many tries as a new one. Its id stays, so a receiver
    that has it already knows.

    Raises:
        Refusal: it is gone, with its webhook.
    """
    found = Delivery.objects.select_for_update(of=("self",)).select_related("webhook", "event")
    locked = found.filter(pk=delivery.pk).first()
    if locked is None:
        raise Refusal("not_found", "The webhook was deleted at this moment.")
    locked.state, locked.tries, locked.due_at = Delivery.State.PENDING, 0, timezone.now()
    locked.save(update_fields=["state", "tries", "due_at"])
    send_soon()
    return locked


def _locked(webhook: Webhook) -> Webhook:
    found = Webhook.objects.select_for_update(of=("self",)).select_related("project").filter(pk=webhook.pk)
    locked = found.first()
    if locked is None:
        raise Refusal("not_found", "The webhook was deleted at this moment.")
    return locked


def _save(webhook: Webhook, name: str, url: str, types: Iterable[str]) -> Webhook:
    webhook.name = _checked_name(name)
    webhook.url = checked_url(url)
    webhook.events = _checked_types(types)
    sentence = f"{webhook.project} has a webhook named {webhook.name} already."
    if webhook.project.webhooks.filter(name=webhook.name).exclude(pk=webhook.pk).exists():
        raise Refusal("conflict", sentence, field="name")
    with refusing_taken({"webhook_once": sentence}, field="name"):
        webhook.save()
    return webhook


def _checked_name(name: str) -> str:
    name = name.strip()
    require_storable(name, "The name", field="name")
    if not 1 <= len(name) <= LONGEST_NAME:
        raise Refusal(
            "invalid",
            f"Name the webhook after what it reaches, in at most {LONGEST_NAME} characters.",
            field="name",
        )
    return name


def checked_url(url: str) -> str:
    """Return the address as it is kept.

    Raises:
        Refusal: it is no plain http or https address, or evidently none that webhooks may go to.
    """
    url = url.strip()
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        plain = parts.scheme in ("http", "https") and host and parts.port != 0 and parts.username is None
    except ValueError:
        plain, host = False, ""
    printable = url.isascii() and url.isprintable() and " " not in url and "\\" not in url
    if not plain or not printable or "#" in url or len(url) > LONGEST_URL:
        raise Refusal(
            "invalid",
            "The address must begin with https:// or http:// and have a host, as https://hooks.example.org/rankloop, "
            f"without a password, spaces or a #, and in at most {LONGEST_URL} characters of ASCII; not {url!r:.80}.",
            field="url",
        )
    try:
        require_plausible(host)
    except Unreachable as error:
        raise Refusal("invalid", str(error), field="url") from error
    return url


def _checked_types(types: Iterable[str]) -> list[str]:
    given = list(types)
    choices = ", ".join(TYPES)
    for type in given:
        if type not in TYPES:
            raise Refusal("invalid", f"There is no event {type!r:.40}. Choose of {choices}.", field="events")
    if not given:
        raise Refusal("invalid", f"Choose at least one of {choices}.", field="events")
    return [type for type in TYPES if type in given]
