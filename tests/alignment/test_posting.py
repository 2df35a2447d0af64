"""What is posted goes to public addresses alone, ends in time, follows nothing, and reads no more than it keeps."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from alignment import posting
from alignment.posting import post
from alignment.public_addresses import Unreachable, addresses_of, require_allowed, require_plausible
from tests.alignment.receiver import Receiver, receiver

LOOPBACK = [ipaddress.ip_network("127.0.0.0/8")]


@pytest.fixture
def allowed(settings: Any) -> None:
    settings.RANKLOOP_WEBHOOK_NETWORKS = LOOPBACK


@pytest.fixture
def other_side() -> Iterator[Receiver]:
    with receiver() as told:
        yield told


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",  # what clouds tell machines their secrets by
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fd00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",  # 127.0.0.1 behind a translator
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",  # 127.0.0.1 by 6to4
    ],
)
def test_addresses_within_a_network_are_refused(address: str, settings: Any) -> None:
    settings.RANKLOOP_WEBHOOK_NETWORKS = []
    with pytest.raises(Unreachable, match="RANKLOOP_WEBHOOK_NETWORKS"):
        require_allowed(address, "hooks.example.org")


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
def test_public_addresses_are_taken(address: str, settings: Any) -> None:
    settings.RANKLOOP_WEBHOOK_NETWORKS = []
    require_allowed(address, "example.org")


def test_only_what_the_networks_hold_is_allowed_beside_them(settings: Any) -> None:
    settings.RANKLOOP_WEBHOOK_NETWORKS = [ipaddress.ip_network("10.1.0.0/16")]
    require_allowed("10.1.2.3", "builds")
    with pytest.raises(Unreachable):
        require_allowed("10.2.2.3", "builds")


@pytest.mark.parametrize("host", ["localhost", "web.localhost", "printer.local", "10.0.0.1", "::1"])
def test_hosts_that_are_evidently_local_are_told_at_once(host: str, settings: Any) -> None:
    settings.RANKLOOP_WEBHOOK_NETWORKS = []
    with pytest.raises(Unreachable):
        require_plausible(host)


def test_a_name_with_one_private_address_among_public_ones_leads_nowhere(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.RANKLOOP_WEBHOOK_NETWORKS = []
    entries = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 443)) for ip in ("93.184.215.14", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: entries)
    with pytest.raises(Unreachable, match=r"10\.0\.0\.1"):
        addresses_of("rebinding.example.org", 443)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1"])
def test_nothing_is_sent_to_this_machine_by_whatever_name(
    host: str, other_side: Receiver, settings: Any
) -> None:
    settings.RANKLOOP_WEBHOOK_NETWORKS = []
    answer = post(other_side.url.replace("127.0.0.1", host), body=b"{}", headers={})
    assert answer.status is None and answer.error
    assert other_side.taken == []


def test_the_address_that_was_checked_is_the_one_that_is_connected_to(
    monkeypatch: pytest.MonkeyPatch, other_side: Receiver, allowed: None
) -> None:
    """A second look-up, which a name's owner could answer differently, never happens."""
    asked: list[str] = []
    port = int(other_side.url.split(":")[2].split("/")[0])

    def look_up(host: str, *args: object, **kwargs: object) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr("alignment.public_addresses.socket.getaddrinfo", look_up)
    answer = post(f"http://hooks.example.org:{port}/hook", body=b"{}", headers={})
    assert answer.status == 204
    assert asked.count("hooks.example.org") == 1
    (headers, _) = other_side.taken[0]
    assert headers["host"] == f"hooks.example.org:{port}"


def test_an_answer_is_read_as_far_as_it_is_kept(other_side: Receiver, allowed: None) -> None:
    other_side.status, other_side.body = 500, b"\x00no\xff" + b"x" * 100_000
    answer = post(other_side.url, body=b"{}", headers={"x-test": "1"})
    assert answer.status == 500
    assert answer.text.startswith("�no�xxx") and len(answer.text) <= posting.MOST_BYTES
    assert other_side.taken[0][0]["x-test"] == "1"


def test_redirections_are_not_followed(other_side: Receiver, allowed: None) -> None:
    other_side.status, other_side.headers = 302, {"Location": other_side.url}
    assert post(other_side.url, body=b"{}", headers={}).status == 302
    assert len(other_side.taken) == 1


@pytest.mark.parametrize(("pause", "dawdle"), [(3, 0), (0, 0.2)], ids=["silent", "a line at a time"])
def test_the_slowest_other_side_ends_in_time(
    pause: float, dawdle: float, other_side: Receiver, allowed: None
) -> None:
    other_side.pause, other_side.dawdle = pause, dawdle
    begun = time.monotonic()
    answer = post(other_side.url, body=b"{}", headers={}, seconds=0.6)
    assert answer.status is None and answer.error == "There was no answer within 0.6 seconds."
    assert time.monotonic() - begun < 2


def test_who_answers_and_then_dawdles_has_answered(other_side: Receiver, allowed: None) -> None:
    other_side.status, other_side.dawdle, other_side.body = 200, 0.2, b"x" * 100
    begun = time.monotonic()
    answer = post(other_side.url, body=b"{}", headers={}, seconds=0.6)
    assert answer.status == 200 and answer.text.startswith("x")
    assert time.monotonic() - begun < 2


def test_who_listens_to_nobody_is_told_in_a_sentence(allowed: None) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    answer = post(f"http://127.0.0.1:{port}/", body=b"{}", headers={})
    assert answer.error.startswith("The connection failed: ")
    tls = post(f"https://127.0.0.1:{port}/", body=b"{}", headers={})
    assert tls.error.startswith("The connection failed: ")


def test_plain_http_where_tls_was_asked_for_is_a_failed_connection(
    other_side: Receiver, allowed: None
) -> None:
    answer = post(other_side.url.replace("http:", "https:"), body=b"{}", headers={})
    assert answer.status is None and answer.error.startswith("The connection failed: ")
