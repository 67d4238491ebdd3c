"""Upgrading a request to a WebSocket: who may connect, and serving those who do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from telemetry_app.live.http.refusals import RETRY_AFTER_S, Refusal, credentials_of
from telemetry_app.live.http.socket import LiveSocket, converse

if TYPE_CHECKING:
    from aiohttp import web

    from telemetry_app.live.http.door import Door
    from telemetry_app.live.side import LiveSide

_NO_SOCKET: Final = Refusal(426, "upgrade-required", "This is a WebSocket.")
_FULL: Final = Refusal(
    503,
    "full",
    "The server is full. Try again.",
    "as many connections as LIVE_MAX_CONNECTIONS allows: raise it, or run more workers",
    RETRY_AFTER_S,
)
_STARTING: Final = Refusal(
    503,
    "starting",
    "The server is starting or stopping. Try again.",
    "the live side does not let anybody in yet, or no more: /readyz says why",
    RETRY_AFTER_S,
)


class Upgrade:
    """Turns requests into WebSockets, up to the limit of connections, and refuses the others.

    Args:
        live: What the sockets are connected to.
        door: Refuses requests.
    """

    def __init__(self, live: LiveSide, door: Door) -> None:
        self._live = live
        self._door = door
        self._taken = 0

    async def connect(self, request: web.Request) -> web.StreamResponse:
        """Upgrade to a WebSocket, or refuse: foreign origin, no room, no session, in this order."""
        live = self._live
        if foreigner := self._door.refuse_foreigner(request):
            return foreigner
        if not live.accepting:
            return self._door.refuse(_STARTING)
        if self._taken >= live.limits.max_connections:
            return self._door.refuse(_FULL)
        # Counted before Directus is asked: a crowd must not pass the limit while it answers.
        self._taken += 1
        try:
            return await self._door.refuse_stranger(request) or await self._serve(request)
        finally:
            self._taken -= 1

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        live = self._live
        socket = LiveSocket(live.limits)
        if not socket.can_prepare(request):
            return _NO_SOCKET.response(Upgrade="websocket")
        await socket.prepare(request)
        transport = request.transport
        # The client may have left, or the server begun to stop, meanwhile.
        if transport is not None and live.accepting:
            with live.connection(transport, credentials_of(request)) as socket.connection:
                await converse(socket, socket.connection, live.requests)
        return socket
