"""Upgrading a request to a WebSocket: who may connect, and serving those who do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from telemetry_app.live.http.refusals import RETRY_AFTER_S, credentials_of, refusal, refuse_stranger
from telemetry_app.live.http.socket import LiveSocket, converse

if TYPE_CHECKING:
    from collections.abc import Collection

    from aiohttp import web

    from telemetry_app.live.side import LiveSide

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class Upgrade:
    """Turns requests into WebSockets, up to the limit of connections, and refuses the others.

    Args:
        live: What the sockets are connected to.
        allowed_origins: Pages that may connect; none = only those of the same origin, `*` = any.
    """

    def __init__(self, live: LiveSide, allowed_origins: Collection[str]) -> None:
        self._live = live
        self._allowed_origins = allowed_origins
        self._taken = 0

    async def connect(self, request: web.Request) -> web.StreamResponse:
        """Upgrade to a WebSocket, or refuse: foreign origin, no room, no session, in this order."""
        live = self._live
        if not may_connect(request.headers.get("Origin"), request.host, self._allowed_origins):
            return refusal(403, "This page may not connect.")
        if not live.accepting or self._taken >= live.limits.max_connections:
            return refusal(503, "No room.", RETRY_AFTER_S)
        # Counted before Directus is asked: a crowd must not pass the limit while it answers.
        self._taken += 1
        try:
            return await refuse_stranger(live.authenticator, request) or await self._serve(request)
        finally:
            self._taken -= 1

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        live = self._live
        socket = LiveSocket(live.limits)
        if not socket.can_prepare(request):
            return refusal(426, "This is a WebSocket.", Upgrade="websocket")
        await socket.prepare(request)
        transport = request.transport
        # The client may have left, or the server begun to stop, meanwhile.
        if transport is not None and live.accepting:
            with live.connection(transport, credentials_of(request)) as socket.connection:
                await converse(socket, socket.connection, live.requests)
        return socket


def may_connect(origin: str | None, host: str, allowed_origins: Collection[str]) -> bool:
    """Tell whether the page that connects may. Programs send no Origin; browsers, who lend their session, do.

    Args:
        origin: The Origin header.
        host: The Host header.
        allowed_origins: See `Upgrade`.
    """
    if origin is None or "*" in allowed_origins:
        return True
    if allowed_origins:
        return origin.lower() in allowed_origins
    return _is_origin_of(origin, host)


def _is_origin_of(origin: str, host: str) -> bool:
    """Tell whether a page of an origin came from a host; the scheme may differ, for a proxy may end the TLS."""
    scheme, _, _ = origin.partition("://")
    if scheme not in _DEFAULT_PORTS:
        return False
    try:
        theirs, ours = (
            (parts.hostname, parts.port or _DEFAULT_PORTS[scheme])
            for parts in (urlsplit(origin), urlsplit(f"{scheme}://{host}"))
        )
    except ValueError:
        return False
    return theirs == ours
