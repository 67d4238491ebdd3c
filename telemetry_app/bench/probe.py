"""The client of `telemetry bench latency`: appends records at a steady rate and notes when each comes back."""

from __future__ import annotations

import select
import socket
import time
from typing import Final

import msgspec
import psutil

from telemetry_app.bench.flood import Clock, Entries, RedisSocket
from telemetry_app.bench.helper import serve
from telemetry_app.bench.usage import cpu_s
from telemetry_app.bench.wsclient import Address, payloads, subscribe_all
from telemetry_app.simulation.record import iso_ms

_DEVICES: Final = 500
_WARM_UP_S: Final = 0.5
_STALLED_S: Final = 10.0
_READ_BYTES: Final = 1 << 18


class Probe(msgspec.Struct, frozen=True):
    """Append so many records a second and wait for each.

    Attributes:
        redis_url: Where the stream is.
        stream: Its key.
        port: Of the server that sends them back.
        server_pid: Its process.
        topic: What to subscribe to; None for a server that needs no upgrade and sends at once.
        rate: Records per second.
        seconds: How long, after half a second that is not counted.
    """

    redis_url: str
    stream: str
    port: int
    server_pid: int
    topic: str | None
    rate: int
    seconds: float


class Latency(msgspec.Struct, frozen=True):
    """From just before XADD was sent until the frame was received, in microseconds.

    Attributes:
        published: Records appended, those of the warm-up included.
        received: Frames that came, all of them in order.
        counted: Frames of which the latencies are.
        p50_us: Half of them took no longer.
        p99_us: The same for 99 of 100.
        p999_us: The same for 999 of 1000.
        late_us: By how much the client was later with an append than the rate asks for, in 99 of 100.
        server_cpu: Share of one processor the server used, with the warm-up.
    """

    published: int
    received: int
    counted: int
    p50_us: float
    p99_us: float
    p999_us: float
    late_us: float
    server_cpu: float


class _Run:
    """One run: what is appended and when, and what has come.

    Attributes:
        sent_ns: When each record was appended, by the clock of this process.
        taken_ns: How long each took.
        late_ns: How much too late each was appended.
    """

    def __init__(self, order: Probe, clock: Clock) -> None:
        times = [clock.tick()[0] for _ in range(round(order.rate * (order.seconds + _WARM_UP_S)))]
        entries = Entries(order.stream, _DEVICES)
        self._commands = [entries.at(number, iso_ms(ts).encode()) for number, ts in enumerate(times)]
        # A worker writes the time in its own way, the bare path passes the payload on as it is.
        self._marks = [
            iso_ms(ts).encode() if order.topic is None else b'"ts":%d,' % round(ts.timestamp() * 1000) for ts in times
        ]
        self._interval_ns = round(1e9 / order.rate)
        self._unread = bytearray()
        self.sent_ns: list[int] = []
        self.taken_ns: list[int] = []
        self.late_ns: list[int] = []

    def go(self, redis: RedisSocket, server: socket.socket) -> None:
        """Append everything in time and receive it.

        Raises:
            RuntimeError: Something else came than was due, or nothing.
        """
        watched: list[socket.socket | RedisSocket] = [server, redis]
        total, begun_ns = len(self._commands), time.perf_counter_ns()
        while len(self.taken_ns) < total:
            wait_s = _STALLED_S
            if (number := len(self.sent_ns)) < total:
                due_ns = begun_ns + number * self._interval_ns
                now_ns = time.perf_counter_ns()
                if now_ns >= due_ns:
                    self.late_ns.append(now_ns - due_ns)
                    self.sent_ns.append(now_ns)
                    redis.send(self._commands[number])
                    wait_s = 0.0
                else:
                    wait_s = (due_ns - now_ns) / 1e9
            ready, _, _ = select.select(watched, [], [], wait_s)
            if server in ready:
                self._receive(server)
            if redis in ready:
                redis.drop_answers()
            if not ready and wait_s == _STALLED_S:
                raise RuntimeError(f"{len(self.taken_ns)} frames were received of {total}")

    def _receive(self, server: socket.socket) -> None:
        data = server.recv(_READ_BYTES)
        now_ns = time.perf_counter_ns()
        if not data:
            raise RuntimeError("the server hung up")
        self._unread += data
        read = 0
        for begin, end in payloads(self._unread):
            number = len(self.taken_ns)
            if number == len(self.sent_ns) or self._unread.find(self._marks[number], begin, end) < 0:
                raise RuntimeError(f"another frame came than the {number}th: {self._unread[begin:end].decode()}")
            self.taken_ns.append(now_ns - self.sent_ns[number])
            read = end
        del self._unread[:read]


class Prober:
    """Makes runs, whose positions are newer from one to the next."""

    def __init__(self) -> None:
        self._clock = Clock()

    def carry_out(self, order: Probe) -> Latency:
        """Make a run; see `Probe`."""
        run = _Run(order, self._clock)
        redis = RedisSocket(order.redis_url)
        process = psutil.Process(order.server_pid)
        try:
            with _connected(order) as server:
                begun_s, used_s = time.perf_counter(), cpu_s(process)
                run.go(redis, server)
                server_cpu = (cpu_s(process) - used_s) / (time.perf_counter() - begun_s)
        finally:
            redis.close()
        warm_up = round(order.rate * _WARM_UP_S)
        taken, late = sorted(run.taken_ns[warm_up:]), sorted(run.late_ns[warm_up:])
        return Latency(
            published=len(run.sent_ns),
            received=len(run.taken_ns),
            counted=len(taken),
            p50_us=_percentile_us(taken, 0.5),
            p99_us=_percentile_us(taken, 0.99),
            p999_us=_percentile_us(taken, 0.999),
            late_us=_percentile_us(late, 0.99),
            server_cpu=round(server_cpu, 3),
        )


def _connected(order: Probe) -> socket.socket:
    if order.topic is not None:
        (server,) = subscribe_all(Address(order.port, "/live"), order.topic, 1)
        return server
    server = socket.create_connection(("127.0.0.1", order.port), timeout=_STALLED_S)
    # The empty frame says that it is our turn.
    server.recv(2)
    return server


def _percentile_us(ordered: list[int], share: float) -> float:
    """Return the smallest value that is not below so many of the others, in microseconds."""
    return round(ordered[min(int(share * len(ordered)), len(ordered) - 1)] / 1000, 1)


if __name__ == "__main__":
    serve(Probe, Prober().carry_out)
