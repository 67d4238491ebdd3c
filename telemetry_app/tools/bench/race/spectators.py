"""The spectators of `telemetry bench race`, all in one process: they count, and some of them look at what comes."""

from __future__ import annotations

import contextlib
import select
import time
from typing import TYPE_CHECKING, Final

import msgspec

from telemetry_app.tools.bench.helper import serve
from telemetry_app.tools.bench.race.crowd import CROWD, acknowledge, delay_acknowledgements, pause
from telemetry_app.tools.bench.race.incoming import Incoming
from telemetry_app.tools.bench.wsclient import PONG, WAVE, Address, ask, connect, finish_upgrade, read_answer

if TYPE_CHECKING:
    import socket

_PATH: Final = "/live"
#: Spectators that look at what comes when, spread evenly over all: their latencies are those of all.
_WITNESSES: Final = 500
#: From each address of this machine, as if they came through different ones.
_OF_ONE_ADDRESS: Final = 500
_READ_BYTES: Final = 1 << 18
#: When no position came for this long, none will.
_STALLED_S: Final = 30.0
_EXTENSIONS: Final = (
    b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"
)


class Connect(msgspec.Struct, frozen=True, tag=True):
    """Subscribe this many spectators; earlier ones leave.

    Attributes:
        port: Of the WebSocket.
        topic: What to subscribe to.
        spectators: Their number.
        batch: Whether they ask for one frame a round.
        deflate: Whether they offer compression.
    """

    port: int
    topic: str
    spectators: int
    batch: bool
    deflate: bool


class Watch(msgspec.Struct, frozen=True, tag=True):
    """Receive until every spectator has got so many more positions, or nothing comes any more."""

    positions: int


class Compare(msgspec.Struct, frozen=True, tag=True):
    """Tell how long the positions took that the last watch brought.

    Attributes:
        first_ts_ms: Timestamp of the first record, in epoch ms; those of the others follow.
        begun_ns: By the system's monotonic clock.
        sent_us: When each record was sent, in us since then.
    """

    first_ts_ms: int
    begun_ns: int
    sent_us: list[int]


class Connected(msgspec.Struct, frozen=True):
    """The spectators are subscribed; which of their wishes the server granted."""

    batch: bool
    deflate: bool


class Watched(msgspec.Struct, frozen=True):
    """What came.

    Attributes:
        delivered: Positions.
        wire_bytes: Bytes on the sockets.
        reads: Reads of the sockets: writes of the server, unless some came together.
        lost: Spectators whose connections the server closed.
        client_cpu_s: Processor time of this process.
    """

    delivered: int
    wire_bytes: int
    reads: int
    lost: int
    client_cpu_s: float


class Taken(msgspec.Struct, frozen=True):
    """From just before XADD was sent until the socket was read, in ms."""

    p50_ms: float
    p99_ms: float
    max_ms: float


class _Spectator:
    __slots__ = ("arrivals", "got", "is_witness", "rest", "socket")

    def __init__(self, one: socket.socket, *, is_witness: bool) -> None:
        self.socket = one
        self.is_witness = is_witness
        self.rest = b""
        self.got = 0
        self.arrivals: list[tuple[int, tuple[int, ...]]] = []


class Spectators:
    """Carries out the orders."""

    def __init__(self) -> None:
        self._all: dict[int, _Spectator] = {}
        self._poll = select.epoll()
        self._incoming = Incoming()
        self._buffer = memoryview(bytearray(_READ_BYTES))
        self._wire_bytes = self._reads = self._delivered = 0
        self._is_crowd = False

    def carry_out(self, order: Connect | Watch | Compare) -> Connected | Watched | Taken:
        """Do what was ordered."""
        match order:
            case Connect():
                return self._connect(order)
            case Watch():
                return self._watch(order.positions)
            case Compare():
                return self._compare(order)

    def _connect(self, order: Connect) -> Connected:
        for spectator in self._all.values():
            spectator.socket.close()
        self._all.clear()
        granted = Connected(batch=order.batch, deflate=order.deflate)
        every = max(order.spectators // _WITNESSES, 1)
        self._is_crowd = order.spectators > CROWD
        for begin in range(0, order.spectators, WAVE):
            numbers = range(begin, min(begin + WAVE, order.spectators))
            wave, granted = _subscribe(order, numbers)
            for number, one in zip(numbers, wave, strict=True):
                self._poll.register(one.fileno(), select.EPOLLIN)
                self._all[one.fileno()] = _Spectator(one, is_witness=number % every == 0)
            # A large crowd takes minutes on a slow machine, and those who came first are asked for signs of life.
            self._read_ready(0, positions=0)
        return granted

    def _watch(self, positions: int) -> Watched:
        for spectator in self._all.values():
            spectator.got = 0
            spectator.arrivals.clear()
            if self._is_crowd:
                delay_acknowledgements(spectator.socket)
        self._wire_bytes = self._reads = self._delivered = 0
        number, begun_s = len(self._all), time.process_time()
        waiting, delivered, stalled_at = number, 0, time.monotonic() + _STALLED_S
        while waiting and (left_s := stalled_at - time.monotonic()) > 0:
            waiting -= self._read_ready(left_s, positions)
            # Signs of life are asked for whether positions come or not.
            if self._delivered != delivered:
                delivered, stalled_at = self._delivered, time.monotonic() + _STALLED_S
        return Watched(
            self._delivered, self._wire_bytes, self._reads, number - len(self._all), time.process_time() - begun_s
        )

    def _read_ready(self, timeout_s: float, positions: int) -> int:
        """Take what has come; return for how many it is all that is due, or the end."""
        ready = self._poll.poll(timeout_s, max(len(self._all), 1))
        done = sum([self._read(self._all[descriptor], positions) for descriptor, _ in ready])
        if self._is_crowd:
            pause()
        return done

    def _read(self, spectator: _Spectator, positions: int) -> bool:
        """Take what has come for a spectator; return whether it has everything now, or its connection is gone."""
        try:
            size = spectator.socket.recv_into(self._buffer)
        except ConnectionError:
            size = 0
        if not size:
            del self._all[spectator.socket.fileno()]
            spectator.socket.close()
            return spectator.got < positions
        now_ns = time.monotonic_ns()
        if self._is_crowd:
            acknowledge(spectator.socket, self._reads)
        stamps, has_ping, spectator.rest = self._incoming.read(spectator.rest + self._buffer[:size])
        if has_ping:
            # The server may have gone since; then that is the next thing to read.
            with contextlib.suppress(ConnectionError):
                spectator.socket.send(PONG)
        if spectator.is_witness:
            spectator.arrivals.append((now_ns, stamps))
        self._wire_bytes += size
        self._reads += 1
        self._delivered += len(stamps)
        had, spectator.got = spectator.got, spectator.got + len(stamps)
        return had < positions <= spectator.got

    def _compare(self, order: Compare) -> Taken:
        sent_ns = [order.begun_ns + sent_us * 1000 for sent_us in order.sent_us]
        taken_ns: list[int] = []
        for spectator in self._all.values():
            numbers = [ts - order.first_ts_ms for _, stamps in spectator.arrivals for ts in stamps]
            if numbers != sorted(set(numbers)) or min(numbers, default=0) < 0:
                raise RuntimeError("a position came twice, or before an earlier one")
            taken_ns += [
                now_ns - sent_ns[ts - order.first_ts_ms] for now_ns, stamps in spectator.arrivals for ts in stamps
            ]
        taken_ns.sort()
        return Taken(*(round(taken_ns[int(share * (len(taken_ns) - 1))] / 1e6, 2) for share in (0.5, 0.99, 1)))


def _subscribe(order: Connect, numbers: range) -> tuple[list[socket.socket], Connected]:
    """Connect the spectators of these numbers."""
    headers = _EXTENSIONS if order.deflate else b""
    request = b'{"type":"subscribe","topic":"%b"%b}' % (order.topic.encode(), b',"batch":true' if order.batch else b"")
    address, deflate, batch = Address(order.port, _PATH), False, False
    sources = [f"127.1.{number // _OF_ONE_ADDRESS}.1" for number in numbers]
    wave = [connect(address, source=source, headers=headers) for source in sources]
    for one in wave:
        deflate = b"permessage-deflate" in finish_upgrade(one)
        ask(one, request)
    for one in wave:
        batch = b'"batch":true' in read_answer(one)
        one.settimeout(0)
    return wave, Connected(batch, deflate)


if __name__ == "__main__":
    serve(Connect | Watch | Compare, Spectators().carry_out)
