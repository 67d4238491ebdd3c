"""Addresses of clients: reading them, and as what their connections and questions count."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address

#: Some proxies add the client's port: `192.0.2.1:4711`, `[2001:db8::1]:4711`.
_WITH_PORT: Final = re.compile(r"([\d.]+):\d{1,5}|\[([^\]]*)\](?::\d{1,5})?")
#: Whoever has IPv6 has at least so large a network, and may use a new address of it for every connection.
_IPV6_CLIENT_BITS: Final = 64


def address_in(text: str) -> Address | None:
    """Return the address that a peer or an entry of X-Forwarded-For names; None when it names none."""
    text = text.strip()
    if match := _WITH_PORT.fullmatch(text):
        text = match[1] or match[2]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        # By its number, without the zone of a link.
        return address.ipv4_mapped or IPv6Address(int(address))
    return address


def counted_as(client: str) -> str:
    """Return what an address counts as: an IPv4 address as itself, one of IPv6 as its network."""
    address = address_in(client)
    if not isinstance(address, IPv6Address):
        return client
    return str(ip_network((address, _IPV6_CLIENT_BITS), strict=False))
