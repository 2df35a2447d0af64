"""Uploads to the Hub that people ask for on pages and over the API, carried out by a worker.

The row is the truth and the message a hint, as with runs: a worker claims the row with a lease that it renews while it
uploads; one that is lost is followed by another, and what arrived already is not uploaded twice.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import Q
from django.utils import timezone

from alignment.exporting import SHAPES
from alignment.hub import check_push, push_to_hub
from alignment.models import Dataset, HubPush
from annotation.models import User
from annotation.refusals import Refusal, refusing_taken
from config.hints import send_hint

QUEUE = "endpoints"
"""Of the workers that talk to other machines for long: the default ones are needed for ticks."""
LEASE = timedelta(minutes=2)
RENEWED_EVERY = 20.0
RESENT_AFTER = timedelta(minutes=1)
MOST_ATTEMPTS = 3

logger = logging.getLogger(__name__)


@transaction.atomic
def ask_push(
    dataset: Dataset,
    *,
    repository: str,
    token: str,
    private: bool = True,
    shapes: Iterable[str] = tuple(SHAPES),
    created_by: User | None = None,
) -> HubPush:
    """Have a worker upload a dataset; arguments as of `alignment.hub.push_to_hub`.

    Raises:
        Refusal: an argument is malformed, or the same upload is under way.
    """
    chosen = check_push(repository=repository, token=token, shapes=shapes)
    taken = {
        "hub_push_once_at_a_time": f"This version is on its way to {repository} already. Wait until it is there."
    }
    with refusing_taken(taken, field="repository"):
        push = HubPush.objects.create(
            dataset=dataset,
            repository=repository,
            private=private,
            shapes=chosen,
            sealed_token=_seal().encrypt(token.encode()).decode(),
            created_by=created_by,
        )
    transaction.on_commit(partial(_send, push.pk), robust=True)
    return push


def carry_out(push_id: int) -> HubPush | None:
    """Upload, if it waits or its worker is lost; return the row as it then is, None where another worker has it."""
    push = _claim(push_id)
    if push is None or push.state == HubPush.State.FAILED:
        return push
    address, reason = "", ""
    try:
        with _renewed(push):
            address = push_to_hub(
                push.dataset,
                repository=push.repository,
                token=_seal().decrypt(push.sealed_token.encode()).decode(),
                private=push.private,
                shapes=push.shapes,
            )
    except Refusal as refusal:
        reason = refusal.sentence
    except InvalidToken:
        reason = "RANKLOOP_SECRET_KEY has changed, so the token cannot be read. Ask again, with the token."
    except Exception as error:
        logger.exception("%s failed", push)
        reason = (
            f"An unexpected failure, which stands in the worker's log: {type(error).__name__}. Ask again."
        )
    state = HubPush.State.FAILED if reason else HubPush.State.SUCCEEDED
    # Another worker took it for lost meanwhile? Then its outcome counts.
    mine = HubPush.objects.filter(pk=push.pk, state=HubPush.State.RUNNING, attempts=push.attempts)
    mine.update(**_ended(state, reason=reason), address=address)
    push.refresh_from_db()
    return push


def resend_lost() -> int:
    """Send messages for uploads that wait, or whose worker is lost; return for how many."""
    now = timezone.now()
    waiting = Q(state=HubPush.State.QUEUED, created_at__lt=now - RESENT_AFTER)
    lost = Q(state=HubPush.State.RUNNING, lease_until__lt=now)
    found = list(HubPush.objects.filter(waiting | lost).order_by("pk").values_list("pk", flat=True))
    for pk in found:
        _send(pk)
    return len(found)


@transaction.atomic
def _claim(push_id: int) -> HubPush | None:
    now = timezone.now()
    due = Q(state=HubPush.State.QUEUED) | Q(state=HubPush.State.RUNNING, lease_until__lt=now)
    rows = HubPush.objects.filter(due, pk=push_id).select_related("dataset__project")
    push = rows.select_for_update(skip_locked=True, of=("self",)).first()
    if push is None:
        return None
    if push.attempts >= MOST_ATTEMPTS:
        reason = f"Its worker was lost {push.attempts} times. Ask again once the workers stay."
        changes = _ended(HubPush.State.FAILED, reason=reason)
    else:
        changes = {
            "state": HubPush.State.RUNNING,
            "attempts": push.attempts + 1,
            "lease_until": now + LEASE,
        }
    HubPush.objects.filter(pk=push.pk).update(**changes)
    push.refresh_from_db()
    return push


def _ended(state: HubPush.State, *, reason: str) -> dict[str, object]:
    """What the row has once the upload is over: no token, above all."""
    return {
        "state": state,
        "reason": reason,
        "sealed_token": "",
        "lease_until": None,
        "ended_at": timezone.now(),
    }


@contextmanager
def _renewed(push: HubPush) -> Iterator[None]:
    """Renew the lease of this attempt from a thread of its own while the body works."""
    over = threading.Event()
    mine = HubPush.objects.filter(pk=push.pk, state=HubPush.State.RUNNING, attempts=push.attempts)

    def renew() -> None:
        try:
            while not over.wait(RENEWED_EVERY):
                try:
                    mine.update(lease_until=timezone.now() + LEASE)
                except DatabaseError:
                    # The next one may get through before the lease is over.
                    logger.warning("The lease of %s could not be renewed", push, exc_info=True)
                    connection.close()
        finally:
            connection.close()

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _send(push_id: int) -> bool:
    return send_hint("alignment.tasks.push_to_hub", push_id, queue=QUEUE)


def _seal() -> Fernet:
    """What tokens are sealed by: a key that follows from the server's own."""
    key = hashlib.sha256(b"hub tokens:" + settings.SECRET_KEY.encode()).digest()
    return Fernet(base64.urlsafe_b64encode(key))
