"""Upgrading a request to a WebSocket: who may connect, and serving those who do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from telemetry_app.live.clients.tally import Tally
from telemetry_app.live.http.refusals import RETRY_AFTER_S, Refusal
from telemetry_app.live.http.socket import LiveSocket, converse
from telemetry_app.live.wire.deflate import agree
from telemetry_app.serving.address import counted_as

if TYPE_CHECKING:
    from aiohttp import web

    from telemetry_app.live.http.door import Door
    from telemetry_app.live.ports import Credentials
    from telemetry_app.live.side import LiveSide
    from telemetry_app.serving.lobby import Lobby

_NO_SOCKET: Final = Refusal(426, "upgrade-required", "This is a WebSocket.")
_FULL: Final = Refusal(
    503,
    "full",
    "The server is full. Try again.",
    "as many connections as LIVE_MAX_CONNECTIONS and the hard limit of open files (ulimit -Hn) allow: raise these, or "
    "run more workers",
    RETRY_AFTER_S,
)
_FULL_ADDRESS: Final = Refusal(
    429,
    "address-limit",
    "Too many connections come from your address. Try again.",
    "an address has as many connections as LIVE_MAX_CONNECTIONS_PER_ADDRESS allows: if it is a proxy's, name that in "
    "LIVE_TRUSTED_PROXIES",
    RETRY_AFTER_S,
)
_FULL_USER: Final = Refusal(
    429,
    "user-limit",
    "You have too many connections. Close other maps and try again.",
    "a user has as many connections as LIVE_MAX_CONNECTIONS_PER_USER allows",
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
    """Turns requests into WebSockets, up to the limits of connections, and refuses the others.

    Args:
        live: What the sockets are connected to.
        door: Refuses requests.
        lobby: Where connections wait until they have a place.
    """

    def __init__(self, live: LiveSide, door: Door, lobby: Lobby) -> None:
        self._live = live
        self._door = door
        self._lobby = lobby
        self._by_address = Tally(live.limits.max_connections_per_address)
        self._by_user = Tally(live.limits.max_connections_per_user)
        self._taken = 0

    async def connect(self, request: web.Request) -> web.StreamResponse:
        """Upgrade to a WebSocket, or refuse: no room, no session, enough of its user, in this order."""
        live = self._live
        if request.transport is None or request.transport.is_closing():
            # Cut in the lobby, and counted there, while its request was on its way; or the client has left.
            return _FULL.response()
        if not live.accepting:
            return self._door.refuse(_STARTING)
        if self._taken >= live.limits.max_connections:
            live.observer.refused("full")
            return self._door.refuse(_FULL)
        credentials = self._door.credentials_of(request)
        address = counted_as(credentials.forwarded_for)
        if self._by_address.is_full(address):
            live.observer.refused("address")
            return self._door.refuse(_FULL_ADDRESS)
        # Counted before Directus is asked: a crowd must not pass the limits while it answers.
        self._taken += 1
        try:
            with self._by_address.hold(address), self._lobby.let_in(request.protocol):
                return await self._admit(request, credentials)
        finally:
            self._taken -= 1

    async def _admit(self, request: web.Request, credentials: Credentials) -> web.StreamResponse:
        """Serve a client that has a place, once it is known who it is."""
        answer = await self._live.authenticator.authenticate(credentials)
        if stranger := self._door.refuse_unknown(request, credentials, answer):
            return stranger
        if answer.user_id is None:
            # Whoever else is nobody in particular may see the same, and shares Directus' answers.
            return await self._serve(request, credentials._replace(cookie=None))
        if self._by_user.is_full(answer.user_id):
            self._live.observer.refused("user")
            return self._door.refuse(_FULL_USER)
        with self._by_user.hold(answer.user_id):
            return await self._serve(request, credentials)

    async def _serve(self, request: web.Request, credentials: Credentials) -> web.StreamResponse:
        live = self._live
        socket = LiveSocket(live.limits, agree(", ".join(request.headers.getall("Sec-WebSocket-Extensions", ()))))
        if not socket.can_prepare(request):
            return _NO_SOCKET.response(Upgrade="websocket")
        try:
            await socket.prepare(request)
        except ConnectionError:
            # The client has left. aiohttp finds that out again, and takes it as an ordinary end from there.
            return socket
        transport = request.transport
        # The client may have left, or the server begun to stop, meanwhile.
        if transport is not None and live.accepting:
            with live.connection(transport, credentials, deflates=socket.deflates) as connection:
                await converse(socket, connection, live.requests)
        return socket
