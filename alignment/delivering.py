"""Sending what is due to webhooks: at least once each, signed, again and again with longer pauses, for three days.

A delivery's row is the truth. It is claimed by counting the attempt and putting off its next one, which commits before
anything is sent: a process that dies while it sends is followed by another one, and what came of an attempt counts only
while no later one was begun. The other side knows by the id what it has already.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from alignment.models import Delivery, DeliveryAttempt, Webhook
from alignment.posting import SECONDS, Answer, post
from alignment.signing import signature_headers
from alignment.webhooks import make_test

PAUSES = (10, 60, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Seconds after each failed try; after the last one a delivery has failed."""
JITTER = 0.2
LONGEST_WISH = 86_400
"""Seconds that an answer's ``Retry-After`` is heeded for at most."""
CLAIM_SECONDS = 60
"""Well above what an attempt may take: then its process is dead."""
AT_ONCE = 8
"""Webhooks that are sent to at the same time, one delivery each: a slow one holds up no other."""
TURN_SECONDS = 20.0
"""A worker's thread is needed for other things, too; the next tick goes on."""
GONE = 410
LOCK = 0x52616E6B
"""One process sends at a time, so that slow webhooks never take all threads of a worker. An advisory lock's number."""


def deliver_due() -> int:
    """Send what is due, until nothing is or it is time for others; return how many attempts were made."""
    made = 0
    with _turn() as mine:
        end = time.monotonic() + TURN_SECONDS
        while mine and time.monotonic() < end and (claimed := _claim()):
            with ThreadPoolExecutor(len(claimed)) as threads:
                answers = list(threads.map(_send, claimed))
            for delivery, answer in zip(claimed, answers, strict=True):
                _settle(delivery, answer)
            made += len(claimed)
    return made


def send_test(webhook: Webhook) -> DeliveryAttempt | None:
    """Make a test and send it while the caller waits; return what came of it, None where the webhook is gone by then.

    Raises:
        Refusal: as `alignment.webhooks.make_test`.
    """
    with transaction.atomic():  # so that no tick finds it due and sends it as well
        (claimed,) = _claim(make_test(webhook))
    return _settle(claimed, _send(claimed))


def body_of(delivery: Delivery) -> bytes:
    """What is sent: the same bytes at each attempt."""
    event = delivery.event
    message = {
        "type": event.type,
        "timestamp": event.created_at.isoformat().replace("+00:00", "Z"),
        "project": event.project.slug,
        "data": event.data,
    }
    return json.dumps(message, ensure_ascii=False, sort_keys=True).encode()


@contextmanager
def _turn() -> Iterator[bool]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
        (mine,) = cursor.fetchone()
    try:
        yield mine
    finally:
        if mine:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])


@transaction.atomic
def _claim(only: Delivery | None = None) -> list[Delivery]:
    """Take up to `AT_ONCE` deliveries that are due, the oldest of each webhook, or ``only`` that one."""
    now = timezone.now()
    rows = Delivery.objects.select_related("webhook", "event__project").filter(state=Delivery.State.PENDING)
    if only is not None:
        found = list(rows.filter(pk=only.pk).select_for_update(of=("self",)))
    else:
        due = rows.filter(due_at__lte=now, webhook__paused_at=None)
        oldest = due.order_by("webhook_id", "due_at", "pk").distinct("webhook_id").values_list("due_at", "pk")
        # Who waited longest comes first, or the webhooks made first would keep those made last from their turn.
        chosen = [pk for _, pk in sorted(oldest)[:AT_ONCE]]
        found = list(due.filter(pk__in=chosen).select_for_update(skip_locked=True, of=("self",)))
    for delivery in found:
        delivery.attempts += 1
        delivery.tries += 1
        delivery.due_at = now + timedelta(seconds=CLAIM_SECONDS)
        delivery.save(update_fields=["attempts", "tries", "due_at"])
    return found


def _send(delivery: Delivery) -> tuple[datetime, Answer]:
    webhook, begun = delivery.webhook, timezone.now()
    body = body_of(delivery)
    headers = {
        "content-type": "application/json",
        "user-agent": "Rankloop-Webhooks",
        **signature_headers(
            id=str(delivery.event_id),
            timestamp=int(begun.timestamp()),
            body=body,
            keys=webhook.secrets_at(begun),
        ),
    }
    return begun, post(webhook.url, body=body, headers=headers, seconds=SECONDS)


@transaction.atomic
def _settle(claimed: Delivery, sent: tuple[datetime, Answer]) -> DeliveryAttempt | None:
    """Log the attempt, and settle when the next one is, if any."""
    begun, answer = sent
    row = Delivery.objects.select_for_update().filter(pk=claimed.pk).first()
    if row is None:  # its webhook was deleted meanwhile
        return None
    attempt = DeliveryAttempt.objects.create(
        delivery=row,
        number=claimed.attempts,
        started_at=begun,
        seconds=answer.seconds,
        status=answer.status,
        error=answer.error or _fault(answer.status),
        response=answer.text,
    )
    if row.attempts == claimed.attempts and row.state == Delivery.State.PENDING:
        changes = _outcome(row, answer)
        Delivery.objects.filter(pk=row.pk).update(**changes)
        if answer.status == GONE:
            Webhook.objects.filter(pk=row.webhook_id, paused_at=None).update(
                paused_at=timezone.now(),
                pause_reason="The address answered 410: it is gone and wants no more. Give it another one.",
            )
    return attempt


def _outcome(row: Delivery, answer: Answer) -> dict[str, Any]:
    if answer.status is not None and 200 <= answer.status < 300:
        return {"state": Delivery.State.DELIVERED, "due_at": None}
    # Sent again while this attempt was under way, it has all its tries before it.
    if row.tries > len(PAUSES):
        return {"state": Delivery.State.FAILED, "due_at": None}
    pause = PAUSES[max(row.tries - 1, 0)] * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret
    return {"due_at": timezone.now() + timedelta(seconds=max(pause, _wish(answer.retry_after)))}


def _wish(retry_after: str) -> float:
    """Seconds that the other side asks to wait; 0 where it does not, or not in a way that can be read."""
    try:
        if retry_after.isascii() and retry_after.isdigit():
            return min(int(retry_after[:9]), LONGEST_WISH)
        then = parsedate_to_datetime(retry_after)
        return min(max((then - timezone.now()).total_seconds(), 0), LONGEST_WISH)
    except (ValueError, TypeError, OverflowError):
        return 0


def _fault(status: int | None) -> str:
    """What is wrong with a status, in a sentence; "" for one that is right."""
    if status is None or 200 <= status < 300:
        return ""
    if 300 <= status < 400:
        return f"It answered {status}: redirections are not followed. Give the webhook the address that it leads to."
    return f"It answered {status}; a status from 200 to 299 says that it has taken the event."
