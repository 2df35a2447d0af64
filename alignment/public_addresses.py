"""Which network addresses webhooks may go to. By default those that anybody could reach, and none of this network's."""

from __future__ import annotations

import ipaddress
import socket
from typing import cast

from django.conf import settings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

NAT64 = ipaddress.ip_network("64:ff9b::/96")
LOCAL_NAMES = ("localhost", ".localhost", ".local", ".internal")


class Unreachable(Exception):
    """No connection may or can be made; the sentence says why."""


def addresses_of(host: str, port: int) -> list[str]:
    """Return the addresses of a host, all of which webhooks may go to.

    A name that leads to one address that is allowed and to one that is not leads nowhere: which of them a connection
    takes would be left to chance, or to whoever made the name.

    Raises:
        Unreachable: the name is unknown, or leads to an address that is not allowed.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Unreachable(f"The host {host} was not found: {reason}.") from error
    addresses = list(dict.fromkeys(cast(str, entry[4][0]) for entry in found))
    for address in addresses:
        require_allowed(address, host)
    return addresses


def require_allowed(address: str, host: str) -> None:
    """Raise Unreachable for an address that is not public and in no network of ``RANKLOOP_WEBHOOK_NETWORKS``.

    Args:
        address: of IP, as text; an interface behind a ``%`` is ignored.
        host: how it is called in the sentence.
    """
    parsed = ipaddress.ip_address(address.partition("%")[0])
    reached = [parsed, *_embedded(parsed)]
    if any(each in network for each in reached for network in settings.RANKLOOP_WEBHOOK_NETWORKS):
        return
    if all(each.is_global and not each.is_multicast for each in reached):
        return
    named = host if host == address else f"{host} ({address})"
    raise Unreachable(
        f"{named} is an address within a network, not a public one. Webhooks go to public addresses, and to those of "
        "the networks in RANKLOOP_WEBHOOK_NETWORKS, which an operator may set."
    )


def require_plausible(host: str) -> None:
    """Raise Unreachable for a host that can be seen to be none to send to without asking the network for its name."""
    try:
        require_allowed(host, host)
    except ValueError:  # a name
        local = host == "localhost" or host.endswith(LOCAL_NAMES)
        if local and not settings.RANKLOOP_WEBHOOK_NETWORKS:
            require_allowed("127.0.0.1", host)


def _embedded(address: Address) -> list[ipaddress.IPv4Address]:
    """The IPv4 addresses that an IPv6 one leads to, by any of the ways of writing or translating one."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in NAT64:
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [each for each in found if each is not None]
