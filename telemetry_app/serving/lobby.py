"""The connections of a port, of which those go that wait for longest when there are too many."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aiohttp import web

    # Ordered by when each connection came, or when its last request began.
    Waiting = OrderedDict[web.RequestHandler, "_Guest"]


#: What is told to who is cut before an answer: written at once, so that it is read even if a request is on its way.
_NO_ROOM: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Type: application/json; charset=utf-8\r\n"
    b"Content-Length: 62\r\nConnection: close\r\n\r\n"
    b'{"code": "full", "message": "The server is full. Try again."}\n'
)


@dataclass(slots=True)
class _Guest:
    """Whom a connection is counted for, and whether it was ever answered."""

    peer: str | None
    is_answered: bool = False


class Lobby:
    """Bounds the descriptors that the clients of a port have.

    A connection waits in the lobby until it is let in for good, as a WebSocket is: it may never send a request, or be
    kept open after one, or read its answer slowly. When there are too many, or too many of one peer, the one is cut
    whose last sign of a request is oldest, so that newcomers can be served, or be told that there is no room.

    Args:
        most: Descriptors that all connections may have.
        most_of_peer: Connections of one peer that may wait.
        peer_of: Tells as what the connections of an address are counted; None = not.
        refused: Told of each connection that is cut before it was ever answered.
    """

    def __init__(
        self,
        most: int,
        *,
        most_of_peer: int | None = None,
        peer_of: Callable[[str], str | None] = lambda _: None,
        refused: Callable[[], None] = lambda: None,
    ) -> None:
        self._most = most
        self._most_of_peer = most if most_of_peer is None else most_of_peer
        self._peer_of = peer_of
        self._refused = refused
        self._waiting: Waiting = OrderedDict()
        self._of_peer: dict[str, Waiting] = {}
        self._let_in = 0

    def enter(self, handler: web.RequestHandler) -> None:
        """Take a connection in, and make room for it."""
        self._take(handler, _Guest(self._peer(handler)))

    def _take(self, handler: web.RequestHandler, guest: _Guest) -> None:
        self._waiting[handler] = guest
        if guest.peer is not None:
            of_peer = self._of_peer.setdefault(guest.peer, OrderedDict())
            of_peer[handler] = guest
            if len(of_peer) > self._most_of_peer:
                self._refuse(next(iter(of_peer)))
        self._make_room()

    def touch(self, handler: web.RequestHandler) -> None:
        """Note that a request begins."""
        if guest := self._waiting.get(handler):
            self._waiting.move_to_end(handler)
            if guest.peer is not None:
                self._of_peer[guest.peer].move_to_end(handler)

    def answer(self, handler: web.RequestHandler) -> None:
        """Note that an answer begins."""
        if guest := self._waiting.get(handler):
            guest.is_answered = True

    def leave(self, handler: web.RequestHandler) -> _Guest | None:
        """Forget a connection, and return what was known of it; None if it does not wait."""
        guest = self._waiting.pop(handler, None)
        if guest is not None and guest.peer is not None:
            of_peer = self._of_peer[guest.peer]
            del of_peer[handler]
            if not of_peer:
                del self._of_peer[guest.peer]
        return guest

    @contextlib.contextmanager
    def let_in(self, handler: web.RequestHandler) -> Iterator[None]:
        """Let a connection in for the time of the block, in which it is not cut."""
        guest = self.leave(handler)
        self._let_in += 1
        try:
            yield
        finally:
            self._let_in -= 1
            if guest is not None and handler.connected:
                self._take(handler, guest)

    @contextlib.contextmanager
    def file(self) -> Iterator[None]:
        """Count a file that is open for a client for the time of the block."""
        self._let_in += 1
        self._make_room()
        try:
            yield
        finally:
            self._let_in -= 1

    def _make_room(self) -> None:
        while len(self._waiting) + self._let_in > self._most and len(self._waiting) > 1:
            self._refuse(next(iter(self._waiting)))

    def _refuse(self, handler: web.RequestHandler) -> None:
        guest, transport = self.leave(handler), handler.transport
        if guest is None or transport is None:
            return
        if guest.is_answered:
            transport.abort()
        else:
            transport.write(_NO_ROOM)
            transport.close()
            self._refused()

    def _peer(self, handler: web.RequestHandler) -> str | None:
        name = handler.peername
        return self._peer_of(str(name[0])) if isinstance(name, tuple) else None
