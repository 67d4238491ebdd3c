"""One client: writing to it, and what happens when it does not read."""

from __future__ import annotations

import asyncio
from os import write
from typing import TYPE_CHECKING, Final, Protocol

from telemetry_app.live.wire.frames import PING, close_frame, text_frame
from telemetry_app.live.wire.protocol import CloseCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from telemetry_app.live.clients.limits import LiveLimits
    from telemetry_app.live.ports import Credentials, LiveObserver


#: How often a full connection is checked for room: transports have no event for it.
_POLL_S: Final = 0.05


class Steady(Protocol):
    """A subscription, as its connection knows it."""

    def disturb(self) -> None:
        """Have it looked at again."""


class Connection:
    """Writes to a client's socket, which has no TLS, and never keeps more for it than `slow_client_bytes`.

    Frames are written whole, so they never interleave. What the socket does not take, the transport keeps, up to the
    limit. Past it the client is *conflated*: only the number of the last position it got is kept, and when the socket
    takes bytes again the client gets the newest position of each device since then. Answers wait for room and come in
    pieces that fit; a single position larger than the limit is kept when nothing else waits.

    Attributes:
        credentials: What the client shows.
        deflates: Whether it agreed to compressed messages.
        descriptor: Of its socket.
        end_is_announced: Whether it is disturbed before its descriptor is closed, which then may become another's.
        steady: Its subscriptions that take whatever passes without a look at it; see `Lane`.
        authenticate_at: Loop time at which its session is checked again, while it has no subscription that is.
        conflated_since_seq: Number of the last position sent; None while the client keeps up.
        conflated_at: Loop time at which it fell behind.
        heard_at: Loop time at which anything last came from the client.
        pinged_at: Loop time of the last ping.
        closing: Whether a close frame was sent or the socket is gone.
    """

    __slots__ = (
        "_has_rest",
        "_limits",
        "_loop",
        "_observer",
        "_skipped",
        "_slow",
        "_transport",
        "authenticate_at",
        "closing",
        "conflated_at",
        "conflated_since_seq",
        "credentials",
        "deflates",
        "descriptor",
        "end_is_announced",
        "heard_at",
        "pinged_at",
        "steady",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        credentials: Credentials,
        limits: LiveLimits,
        observer: LiveObserver,
        slow: set[Connection],
        *,
        deflates: bool,
    ) -> None:
        self._transport = transport
        self._limits = limits
        self._observer = observer
        self._loop = asyncio.get_running_loop()
        self._slow = slow
        # Whether the transport may keep something: in a round to thousands, asking all that do not is half of the work.
        self._has_rest = True
        self._skipped = 0
        self.credentials = credentials
        self.descriptor: int = transport.get_extra_info("socket").fileno()
        self.end_is_announced = False
        self.steady: list[Steady] = []
        self.deflates = deflates
        self.authenticate_at = float("inf")
        self.conflated_since_seq: int | None = None
        self.conflated_at = 0.0
        self.heard_at = self.pinged_at = self._loop.time()
        self.closing = False

    @property
    def unsent_bytes(self) -> int:
        """How much the socket has not taken yet."""
        return self._transport.get_write_buffer_size() if self._has_rest else 0

    @property
    def gone(self) -> bool:
        """Whether the socket is closed, or will be once the rest is sent."""
        return self._transport.is_closing()

    @property
    def keeps_up(self) -> bool:
        """Whether it takes everything until it is disturbed."""
        stays = self.end_is_announced and not self.closing and not self.gone
        return stays and not self._has_rest and self.conflated_since_seq is None

    @property
    def active_at(self) -> float:
        """Loop time at which it was last heard of or asked."""
        return max(self.pinged_at, self.heard_at)

    def disturb(self) -> None:
        """Have each of its subscriptions looked at again at its next turn."""
        for subscription in tuple(self.steady):
            subscription.disturb()

    def fits(self, size: int) -> bool:
        """Tell whether the frames of positions are few enough bytes, with those that wait."""
        return self.unsent_bytes + size <= self._limits.slow_client_bytes

    def may_write(self, size: int, *, caught_up: bool = False) -> bool:
        """Tell whether so many bytes may be written; to a closing connection always, since they are dropped.

        Args:
            size: In bytes; more than a client may cost only when nothing else waits.
            caught_up: Whether a client that is conflated has to catch up first.
        """
        if self.closing or (caught_up and self.conflated_since_seq is not None):
            return self.closing
        unsent = self.unsent_bytes
        return not unsent or unsent + size <= self._limits.slow_client_bytes

    async def wait_for_room(self, size: int, *, caught_up: bool = False) -> None:
        """Wait until so many bytes may be written; a client that reads too little for too long is closed."""
        deadline = self._loop.time() + self._limits.slow_client_s
        while not self.may_write(size, caught_up=caught_up):
            if self._loop.time() > deadline:
                self.close_as_slow()
            await asyncio.sleep(_POLL_S)
        # It has read, which is a sign of life; what it sent meanwhile has not been read.
        self.hear()

    def hear(self) -> float:
        """Note a sign of life; return when it came, in loop time."""
        self.heard_at = self._loop.time()
        return self.heard_at

    def send(self, payload: bytes) -> None:
        """Send an answer: a text frame of JSON. Answers are not conflated; requests wait while the client is slow."""
        self.write(text_frame(payload))

    def write(self, frames: bytes) -> None:
        """Write whole frames; nothing once the connection is closing."""
        if self.closing or self._transport.is_closing():
            return
        if not self._has_rest:
            # The transport's own way takes a twentieth more. What the socket does not take, or refuses, is left to it.
            try:
                sent = write(self.descriptor, frames)
            except OSError:
                sent = 0
            if sent == len(frames):
                return
            frames = frames[sent:]
        self.keep(frames)

    def keep(self, rest: bytes) -> None:
        """Leave to the transport what the socket did not take; nothing once the connection is closing."""
        self.disturb()
        if not self.closing and not self._transport.is_closing():
            self._transport.write(rest)
            self._has_rest = self._transport.get_write_buffer_size() > 0

    def offer(self, frames: bytes, positions: int, before: int) -> bool:
        """Write the frames of some positions, unless the client does not keep up.

        Args:
            frames: Whole frames, one for each position.
            positions: Their number.
            before: Number of the last position before these.

        Returns:
            Whether they were taken.
        """
        if self.closing:
            return False
        if self.conflated_since_seq is None:
            if self.fits(len(frames)):
                self.write(frames)
                return True
            self.conflated_since_seq = before
            self._slow.add(self)
            self.conflated_at = self._loop.time()
        # The last turn of another topic may be longer ago.
        self.conflated_since_seq = min(self.conflated_since_seq, before)
        self._skipped += positions
        return False

    def catch_up(self, missed: Callable[[int], Iterable[tuple[int, bytes, int]]]) -> None:
        """Give a conflated client the newest positions, as far as its socket takes them.

        Args:
            missed: Tells of a number what came after it, in order: the last number of a piece, its frames and how many
                positions they hold.
        """
        # Half of the room must be free, so that a trickling socket does not cost a look for every few bytes.
        if self.conflated_since_seq is None or 2 * self.unsent_bytes > self._limits.slow_client_bytes:
            return
        # It has read, and may never be asked for a sign of life, since bytes are waiting whenever it would be.
        self.hear()
        for number, frames, positions in missed(self.conflated_since_seq):
            unsent = self.unsent_bytes
            if unsent and unsent + len(frames) > self._limits.slow_client_bytes:
                return
            self.write(frames)
            self.conflated_since_seq = number
            self._skipped -= positions
            self._observer.frames("sent", positions)
        self._observer.frames("conflated", max(self._skipped, 0))
        self._skipped = 0
        self.conflated_since_seq = None

    def ping(self) -> None:
        """Ask for a sign of life; later, while bytes are waiting: a ping behind them would prove nothing."""
        if not self.unsent_bytes:
            self.pinged_at = self._loop.time()
            self.write(PING)

    def close_as_slow(self) -> None:
        """Close a client that did not keep up, and count it."""
        if not self.closing:
            self._observer.slow_client()
            self.close(CloseCode.SLOW_CLIENT)

    def close(self, code: int = CloseCode.SHUTDOWN, reason: bytes = b"", grace_s: float | None = None) -> None:
        """Send a close frame, once; end the connection when the client has answered or the time for it is over.

        Until then what the client sends is read and dropped: closing a socket with unread bytes resets it, and the
        client might never see the reason.
        """
        if self.closing:
            return
        self.disturb()
        self.write(close_frame(code, reason))
        self.closing = True
        self._loop.call_later(self._limits.close_grace_s if grace_s is None else grace_s, self.abort)

    def hang_up(self) -> None:
        """Close the socket once the rest is sent."""
        self.disturb()
        self.closing = True
        self._transport.close()

    def abort(self) -> None:
        """Close the socket now and drop the rest."""
        self.disturb()
        self.closing = True
        self._transport.abort()
