"""The subscribers of `telemetry bench live`, all in one process: they fill the stream and count what comes back."""

from __future__ import annotations

import re
import selectors
import time
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import msgspec
import psutil

from telemetry_app.tools.bench.entries import Chunk, Clock, RedisSocket
from telemetry_app.tools.bench.helper import serve
from telemetry_app.tools.bench.usage import cpu_s
from telemetry_app.tools.bench.wsclient import PONG, Address, payloads, subscribe_all

if TYPE_CHECKING:
    import socket

#: Chunks under way: one being read by the server, one being written, one being received.
_WINDOW: Final = 3
_READ_BYTES: Final = 1 << 20
_STALLED_S: Final = 30.0
#: Pongs sent in time keep the server from pinging, so that everything received is a frame.
_PONG_EVERY_S: Final = 10.0
#: Pings that may come nevertheless: far less than a frame.
_MOST_PING_BYTES: Final = 20
#: Buffers of the sockets and caches of the servers have grown by then.
_WARM_UP_S: Final = 0.5
_WITNESS: Final = 0
_TS: Final = re.compile(rb'"ts":(\d+)')


class Connect(msgspec.Struct, frozen=True, tag=True):
    """Subscribe this many clients; earlier ones leave."""

    port: int
    path: str
    topic: str
    subscribers: int


class Publish(msgspec.Struct, frozen=True, tag=True):
    """Append chunks of positions for some time, as fast as every subscriber receives them."""

    redis_url: str
    stream: str
    chunk: int
    seconds: float
    server_pid: int


class Connected(msgspec.Struct, frozen=True):
    """This many clients are subscribed."""

    subscribers: int


class Published(msgspec.Struct, frozen=True):
    """What was received.

    Attributes:
        records: Positions appended.
        expected: Frames due: one for each record and subscriber.
        received: Frames that came.
        elapsed_s: From the first append to the last frame.
        client_cpu_s: Processor time of this process during it.
        server_cpu_s: Processor time of the server during it.
    """

    records: int
    expected: int
    received: int
    elapsed_s: float
    client_cpu_s: float
    server_cpu_s: float


class _Instant(NamedTuple):
    time_s: float
    client_cpu_s: float
    server_cpu_s: float

    @classmethod
    def of(cls, server: psutil.Process) -> Self:
        return cls(time.perf_counter(), time.process_time(), cpu_s(server))


class Sink:
    """Subscribers that count bytes; the first of them is the witness, whose frames are looked at one by one."""

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []
        self._received: list[int] = []
        self._selector = selectors.DefaultSelector()
        self._clock = Clock()
        self._buffer = memoryview(bytearray(_READ_BYTES))
        self._witnessed = bytearray()
        self._total = 0
        self._ponged_at = time.monotonic()

    def carry_out(self, order: Connect | Publish) -> Connected | Published:
        """Do what was ordered."""
        return self.connect(order) if isinstance(order, Connect) else self.publish(order)

    def connect(self, order: Connect) -> Connected:
        """Subscribe; see `Connect`."""
        for one in self._sockets:
            one.close()
        self._selector.close()
        self._selector = selectors.DefaultSelector()
        self._sockets = subscribe_all(Address(order.port, order.path), order.topic, order.subscribers)
        for number, one in enumerate(self._sockets):
            self._selector.register(one, selectors.EVENT_READ, number)
        return Connected(len(self._sockets))

    def publish(self, order: Publish) -> Published:
        """Publish; see `Publish`.

        Raises:
            RuntimeError: Frames are missing, too many, or not in order.
        """
        chunk = Chunk(order.stream, order.chunk)
        server = psutil.Process(order.server_pid)
        redis = RedisSocket(order.redis_url)
        self._selector.register(redis, selectors.EVENT_READ, redis)
        try:
            chunk_bytes = self._chunk_bytes(redis, chunk)
            self._pump(redis, chunk, chunk_bytes, _WARM_UP_S)
            before = _Instant.of(server)
            chunks = self._pump(redis, chunk, chunk_bytes, order.seconds)
            after = _Instant.of(server)
        finally:
            self._selector.unregister(redis)
            redis.close()
        self._check_witness(chunk.size * chunks)
        return Published(
            records=chunks * chunk.size,
            expected=chunks * chunk.size * len(self._sockets),
            received=sum(self._frames(received, chunk_bytes, chunk.size) for received in self._received),
            elapsed_s=after.time_s - before.time_s,
            client_cpu_s=after.client_cpu_s - before.client_cpu_s,
            server_cpu_s=after.server_cpu_s - before.server_cpu_s,
        )

    def _chunk_bytes(self, redis: RedisSocket, chunk: Chunk) -> int:
        """Publish one chunk and return the bytes that a subscriber receives for it."""
        self._forget()
        redis.send(chunk.at(*self._clock.tick()))
        while sum(1 for _ in payloads(self._witnessed)) < chunk.size:
            self._read()
        while min(self._received) < len(self._witnessed):
            self._read()
        return len(self._witnessed)

    def _pump(self, redis: RedisSocket, chunk: Chunk, chunk_bytes: int, seconds: float) -> int:
        """Publish chunks for some time and receive them all; return how many."""
        self._forget()
        published = done = 0
        deadline = time.perf_counter() + seconds
        while done < published or time.perf_counter() < deadline:
            if published - done < _WINDOW and time.perf_counter() < deadline:
                redis.send(chunk.at(*self._clock.tick()))
                published += 1
            else:
                self._read()
            if self._total >= (done + 1) * chunk_bytes * len(self._sockets):
                done = min(self._received) // chunk_bytes
        return published

    def _forget(self) -> None:
        self._received = [0] * len(self._sockets)
        self._witnessed.clear()
        self._total = 0

    def _read(self) -> None:
        """Wait for bytes and count them."""
        ready = self._selector.select(_STALLED_S)
        if not ready:
            raise RuntimeError(f"nothing was received for {_STALLED_S:g} s, after {min(self._received)} bytes")
        received, buffer, total = self._received, self._buffer, 0
        for key, _ in ready:
            number = key.data
            if isinstance(number, RedisSocket):
                number.drop_answers()
                continue
            size = key.fileobj.recv_into(buffer)  # type: ignore[union-attr]  # a socket: see connect
            if not size:
                raise RuntimeError("the server closed a connection")
            received[number] += size
            total += size
            if number == _WITNESS:
                self._witnessed += buffer[:size]
        self._total += total
        if time.monotonic() - self._ponged_at > _PONG_EVERY_S:
            self._give_signs_of_life()

    def _give_signs_of_life(self) -> None:
        self._ponged_at = time.monotonic()
        for one in self._sockets:
            one.send(PONG)

    def _check_witness(self, due: int) -> None:
        times = [int(ts) for ts in _TS.findall(self._witnessed)]
        if len(times) != due or times != sorted(times):
            raise RuntimeError(f"{due} positions were due in order, but {len(times)} were received")

    @staticmethod
    def _frames(received: int, chunk_bytes: int, size: int) -> int:
        """Return how many frames these bytes are; whole chunks are due."""
        chunks, rest = divmod(received, chunk_bytes)
        return chunks * size + (0 if rest <= _MOST_PING_BYTES else rest * size // chunk_bytes)


if __name__ == "__main__":
    serve(Connect | Publish, Sink().carry_out)
