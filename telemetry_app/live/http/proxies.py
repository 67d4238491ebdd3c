"""Whose address a request has: its peer's, or the one that a trusted proxy reports."""

from __future__ import annotations

import logging
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, Final

from telemetry_app.live.ports import Credentials
from telemetry_app.serving.address import address_in, counted_as

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from aiohttp import web

    from telemetry_app.serving.address import Address

logger = logging.getLogger(__name__)

Network = IPv4Network | IPv6Network

_FORWARDED_FOR: Final = "X-Forwarded-For"
#: Of a client that left before anybody asked for its address.
_UNKNOWN: Final = "unknown"
#: Proxies of which the log says that they are not trusted; more would fill it.
_MOST_TOLD: Final = 10


class TrustedProxies:
    """Tells who sends a request.

    X-Forwarded-For is believed of trusted peers alone, and read from the right, since each proxy appends whom it was
    asked by: the first address that is not a trusted proxy's is the client. What stands left of it, or of an entry
    that is no address, may be made up.

    Args:
        trusted: Networks of the proxies; none = the peer is the client.
    """

    def __init__(self, trusted: Collection[Network]) -> None:
        self._trusted = trusted
        self._told: set[str] = set()

    def credentials_of(self, request: web.Request) -> Credentials:
        """Return the Cookie header and the client's address."""
        # Proxies take a header of HTTP/2 apart, one line for each cookie.
        cookie = "; ".join(request.headers.getall("Cookie", ())) or None
        return Credentials(cookie, self.client_of(request))

    def client_of(self, request: web.Request) -> str:
        """Return the address of a client; `unknown` when it has left."""
        client = address_in(request.remote or "")
        if client is None:
            return _UNKNOWN
        forwarded = request.headers.getall(_FORWARDED_FOR, ())
        if forwarded and not self._trusts(client):
            self._tell(client)
        else:
            client = self._first_stranger(client, reversed(",".join(forwarded).split(",")))
        return str(client)

    def peer_of(self, address: str) -> str | None:
        """Return what a peer's connections count as; None for a trusted proxy, whose clients count by themselves."""
        peer = address_in(address)
        return None if peer is None or self._trusts(peer) else counted_as(str(peer))

    def _first_stranger(self, peer: Address, entries: Iterable[str]) -> Address:
        for entry in entries:
            if not self._trusts(peer) or (address := address_in(entry)) is None:
                break
            peer = address
        return peer

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)

    def _tell(self, peer: Address) -> None:
        if len(self._told) < _MOST_TOLD and (name := str(peer)) not in self._told:
            self._told.add(name)
            what = "%s sends %s, which is not believed: if it is a proxy, add it to LIVE_TRUSTED_PROXIES; %s"
            logger.warning(what, name, _FORWARDED_FOR, "until then all its clients count as one")
