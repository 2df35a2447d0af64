"""Events reach the other side at least once, signed, in spite of everything."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import json
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.utils import timezone

from alignment import delivering, webhooks
from alignment.delivering import AT_ONCE, PAUSES, deliver_due, send_test
from alignment.models import Delivery, DeliveryAttempt, Project, Webhook
from alignment.posting import Answer
from annotation.refusals import Refusal
from tests.alignment.receiver import Receiver, receiver
from tests.annotation.parallel import all_at_once

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def loopback(settings: Any) -> None:
    settings.RANKLOOP_WEBHOOK_NETWORKS = [ipaddress.ip_network("127.0.0.0/8")]


@pytest.fixture
def other_side() -> Iterator[Receiver]:
    with receiver() as told:
        yield told


@pytest.fixture
def webhook(project: Project, other_side: Receiver) -> Webhook:
    return webhooks.create_webhook(
        project=project, name="builds", url=other_side.url, events=["batch.finished"]
    )


@pytest.fixture
def delivery(webhook: Webhook) -> Delivery:
    return webhooks.make_test(webhook)


def make_due(delivery: Delivery) -> None:
    Delivery.objects.filter(pk=delivery.pk).update(due_at=timezone.now() - timedelta(seconds=1))


def is_signed(headers: dict[str, str], body: bytes, secret: str) -> bool:
    """As a receiver checks it."""
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    right = "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return right in headers["webhook-signature"].split(" ")


def test_a_message_says_what_and_when_and_is_signed(
    webhook: Webhook, delivery: Delivery, other_side: Receiver
) -> None:
    other_side.status, other_side.body = 200, b"thank you"
    assert deliver_due() == 1
    ((headers, body),) = other_side.taken
    assert headers["content-type"] == "application/json"
    assert headers["webhook-id"] == str(delivery.event_id)
    assert abs(int(headers["webhook-timestamp"]) - timezone.now().timestamp()) < 60
    assert is_signed(headers, body, webhook.secret)
    assert not is_signed(headers, body + b" ", webhook.secret)
    message = json.loads(body)
    assert message["type"] == "webhook.test" and message["project"] == "kind-replies"
    assert message["data"] == delivery.event.data and message["timestamp"].endswith("Z")
    delivery.refresh_from_db()
    assert delivery.state == Delivery.State.DELIVERED and delivery.due_at is None
    (attempt,) = delivery.log.all()
    assert (attempt.number, attempt.status, attempt.error, attempt.response) == (1, 200, "", "thank you")
    assert deliver_due() == 0


def test_the_signature_is_the_standards_own() -> None:
    """Worked by another implementation: standardwebhooks' example of a message."""
    from alignment.signing import signature_headers

    headers = signature_headers(
        id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
        body=b'{"test": 2432232314}',
        keys=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_failed_delivery_is_tried_again_with_longer_pauses_and_then_given_up(
    delivery: Delivery, other_side: Receiver
) -> None:
    other_side.status, other_side.body = 503, b"closed for today"
    pauses = []
    for _ in PAUSES:
        make_due(delivery)
        assert deliver_due() == 1
        delivery.refresh_from_db()
        assert delivery.state == Delivery.State.PENDING and delivery.due_at is not None
        pauses.append((delivery.due_at - timezone.now()).total_seconds())
        assert deliver_due() == 0
    assert all(0.75 * asked < pause < 1.25 * asked for asked, pause in zip(PAUSES, pauses, strict=True))
    make_due(delivery)
    deliver_due()
    delivery.refresh_from_db()
    assert delivery.state == Delivery.State.FAILED and delivery.attempts == len(PAUSES) + 1
    assert delivery.log.last().error.startswith("It answered 503; a status from 200 to 299")
    assert len({headers["webhook-id"] for headers, _ in other_side.taken}) == 1
    assert len({body for _, body in other_side.taken}) == 1

    other_side.status = 200
    webhooks.send_again(delivery)
    deliver_due()
    delivery.refresh_from_db()
    assert delivery.state == Delivery.State.DELIVERED
    assert [attempt.number for attempt in delivery.log.all()] == list(range(1, len(PAUSES) + 3))


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [("600", 600), ("999999999999", 86_400), ("nonsense", 0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("", 0)],
)
def test_the_other_side_may_ask_for_a_longer_pause(
    delivery: Delivery, other_side: Receiver, retry_after: str, seconds: int
) -> None:
    other_side.status, other_side.headers = 429, {"Retry-After": retry_after}
    deliver_due()
    delivery.refresh_from_db()
    assert delivery.due_at is not None
    pause = (delivery.due_at - timezone.now()).total_seconds()
    assert max(seconds, 0.75 * PAUSES[0]) - 5 < pause < max(seconds, 1.25 * PAUSES[0]) + 5


def test_an_address_that_is_gone_pauses_its_webhook(
    webhook: Webhook, delivery: Delivery, other_side: Receiver
) -> None:
    other_side.status = 410
    deliver_due()
    webhook.refresh_from_db()
    assert webhook.paused_at is not None and "410" in webhook.pause_reason
    make_due(delivery)
    assert deliver_due() == 0
    webhooks.change_webhook(webhook, url=other_side.url + "/new")
    webhooks.resume_webhook(webhook)
    other_side.status = 200
    assert deliver_due() == 1


def test_a_redirection_is_told_and_not_followed(webhook: Webhook, other_side: Receiver) -> None:
    other_side.status, other_side.headers = 301, {"Location": other_side.url}
    attempt = send_test(webhook)
    assert attempt is not None and "redirections are not followed" in attempt.error
    assert len(other_side.taken) == 1


def test_a_new_secret_and_the_old_one_sign_for_a_day(
    webhook: Webhook, delivery: Delivery, other_side: Receiver
) -> None:
    old = webhook.secret
    new = webhooks.rotate_secret(webhook).secret
    assert new != old
    deliver_due()
    ((headers, body),) = other_side.taken
    assert is_signed(headers, body, old) and is_signed(headers, body, new)

    webhook.refresh_from_db()
    over = (timezone.now() - timedelta(seconds=1)).isoformat()
    webhook.old_secrets = [each | {"until": over} for each in webhook.old_secrets]
    webhook.save()
    send_test(webhook)
    headers, body = other_side.taken[-1]
    assert not is_signed(headers, body, old) and is_signed(headers, body, new)


def test_a_receiver_that_has_not_changed_yet_outlives_a_second_change_within_the_day(
    webhook: Webhook, delivery: Delivery, other_side: Receiver
) -> None:
    secrets = [webhook.secret] + [webhooks.rotate_secret(webhook).secret for _ in range(2)]
    deliver_due()
    ((headers, body),) = other_side.taken
    assert all(is_signed(headers, body, secret) for secret in secrets)

    for _ in range(webhooks.MOST_OLD_SECRETS - 2):
        webhooks.rotate_secret(webhook)
    with pytest.raises(Refusal, match="got 5 new secrets within a day"):
        webhooks.rotate_secret(webhook)


def test_a_process_that_dies_while_it_sends_is_followed_by_another(
    delivery: Delivery, other_side: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(*args: object, **kwargs: object) -> Answer:
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(delivering, "post", die)
        deliver_due()
    delivery.refresh_from_db()
    assert delivery.state == Delivery.State.PENDING and delivery.attempts == 1
    assert deliver_due() == 0, "it may be under way still"
    make_due(delivery)
    assert deliver_due() == 1
    delivery.refresh_from_db()
    assert delivery.state == Delivery.State.DELIVERED and delivery.attempts == 2


def test_what_comes_of_an_attempt_counts_only_while_no_later_one_was_begun(delivery: Delivery) -> None:
    (first,) = delivering._claim()
    make_due(delivery)
    (second,) = delivering._claim()
    begun = timezone.now()
    delivering._settle(second, (begun, Answer(seconds=0.1, status=200)))
    delivering._settle(first, (begun, Answer(seconds=60, error="There was no answer within 10 seconds.")))
    delivery.refresh_from_db()
    assert delivery.state == Delivery.State.DELIVERED
    assert [attempt.number for attempt in delivery.log.all()] == [1, 2]


@pytest.mark.django_db(transaction=True)
def test_many_workers_at_once_send_each_delivery_once(webhook: Webhook, other_side: Receiver) -> None:
    made = [webhooks.make_test(webhook) for _ in range(12)]
    while Delivery.objects.filter(state=Delivery.State.PENDING).exists():
        all_at_once([deliver_due] * 4)
    ids = [headers["webhook-id"] for headers, _ in other_side.taken]
    assert sorted(ids) == sorted(str(delivery.event_id) for delivery in made)
    assert DeliveryAttempt.objects.count() == 12


def test_a_webhook_that_answers_nobody_holds_up_no_other(project: Project, other_side: Receiver) -> None:
    with receiver() as slow:
        slow.pause = 1
        silent = webhooks.create_webhook(
            project=project, name="silent", url=slow.url, events=["batch.finished"]
        )
        quick = webhooks.create_webhook(
            project=project, name="quick", url=other_side.url, events=["batch.finished"]
        )
        for _ in range(3):
            webhooks.make_test(silent)
        webhooks.make_test(quick)
        begun = timezone.now()
        deliver_due()
    (attempt,) = DeliveryAttempt.objects.filter(delivery__webhook=quick)
    assert (attempt.started_at - begun).total_seconds() < 1


def test_the_webhook_that_waited_longest_comes_first(project: Project, other_side: Receiver) -> None:
    made = [
        webhooks.create_webhook(
            project=project, name=f"number {n}", url=other_side.url, events=["batch.finished"]
        )
        for n in range(AT_ONCE + 1)
    ]
    for webhook in [*reversed(made), *reversed(made)]:
        webhooks.make_test(webhook)
    first = {claimed.webhook_id for claimed in delivering._claim()}
    assert first == {webhook.pk for webhook in made[1:]}
    assert made[0].pk in {claimed.webhook_id for claimed in delivering._claim()}


@pytest.mark.django_db(transaction=True)
def test_a_test_is_sent_once_though_a_tick_comes_while_it_is_sent(
    webhook: Webhook, other_side: Receiver
) -> None:
    other_side.pause = 0.5
    attempt, _ = all_at_once([partial(send_test, webhook), tick_soon])
    assert not attempt.error and len(other_side.taken) == 1


def tick_soon() -> None:
    time.sleep(0.2)
    deliver_due()


def test_a_deleted_webhook_is_sent_nothing_any_more(
    webhook: Webhook, delivery: Delivery, other_side: Receiver
) -> None:
    (claimed,) = delivering._claim()
    webhooks.delete_webhook(webhook)
    assert delivering._settle(claimed, (timezone.now(), Answer(seconds=0.1, status=200))) is None
    assert deliver_due() == 0 and other_side.taken == []
