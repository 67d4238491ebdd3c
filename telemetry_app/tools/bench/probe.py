"""The client of `telemetry bench latency`: appends records at a steady rate and notes when each comes back."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from typing import Final

import msgspec
import psutil

from telemetry_app.tools.bench.entries import Clock, Entries, RedisSocket
from telemetry_app.tools.bench.helper import serve
from telemetry_app.tools.bench.usage import cpu_s
from telemetry_app.tools.bench.wsclient import PONG, Address, payloads, subscribe_all
from telemetry_app.tools.simulation.record import iso_ms

_DEVICES: Final = 500
#: Every way is measured a part at a time, so that what else the machine does meets all of them.
_TURNS: Final = 5
_WARM_UP_S: Final = 0.2
_STALLED_S: Final = 30.0
_READ_BYTES: Final = 1 << 18


class Way(msgspec.Struct, frozen=True):
    """A server that sends back what is appended to its stream.

    Attributes:
        stream: Its key.
        port: Of the server.
        server_pid: Its process.
        topic: What to subscribe to; None for a server that needs no upgrade and sends at once.
    """

    stream: str
    port: int
    server_pid: int
    topic: str | None


class Probe(msgspec.Struct, frozen=True):
    """Append records at a rate to one stream after the other, in turns, and wait for each.

    Attributes:
        redis_url: Where the streams are.
        ways: What is measured.
        rate: Records per second.
        seconds: How long each way is measured, without the beginning of each turn.
    """

    redis_url: str
    ways: list[Way]
    rate: int
    seconds: float

    @property
    def warm_up_records(self) -> int:
        """Records at the beginning of each turn, which are not counted."""
        return round(self.rate * _WARM_UP_S)

    @property
    def records_a_turn(self) -> int:
        """Records of each turn."""
        return self.warm_up_records + max(round(self.rate * self.seconds / _TURNS), 1)

    @property
    def records_a_way(self) -> int:
        """Records that are appended for each way."""
        return self.records_a_turn * _TURNS


class Latency(msgspec.Struct, frozen=True):
    """From just before XADD was sent until the frame was received, in microseconds.

    Attributes:
        published: Records appended, those at the beginnings of the turns included.
        received: Frames that came, all of them in order.
        counted: Frames of which the latencies are.
        p50_us: Half of them took no longer.
        p99_us: The same for 99 of 100.
        p999_us: The same for 999 of 1000.
        late_us: By how much the client was later with an append than the rate asks for, in 99 of 100.
        server_cpu: Share of one processor the server used while it was its turn.
    """

    published: int
    received: int
    counted: int
    p50_us: float
    p99_us: float
    p999_us: float
    late_us: float
    server_cpu: float


class Probed(msgspec.Struct, frozen=True):
    """What came of a probe: each way's latency, in their order."""

    ways: list[Latency]


class _Run:
    """All turns of one way: what is appended and when, and what has come.

    Args:
        way: To be measured.
        order: How.
        clock: Tells the positions' times.
        redis: Where to append.
        server: Where they come back.
    """

    def __init__(self, way: Way, order: Probe, clock: Clock, redis: RedisSocket, server: socket.socket) -> None:
        self._warm_up, self._a_turn = order.warm_up_records, order.records_a_turn
        times = [clock.tick()[0] for _ in range(order.records_a_way)]
        entries = Entries(way.stream, _DEVICES)
        self._commands = [entries.at(number, iso_ms(ts).encode()) for number, ts in enumerate(times)]
        # A worker writes the time in its own way, the bare path passes the payload on as it is.
        self._marks = [
            iso_ms(ts).encode() if way.topic is None else b'"ts":%d,' % round(ts.timestamp() * 1000) for ts in times
        ]
        self._interval_ns = round(1e9 / order.rate)
        self._way = way
        self._redis = redis
        self._server = server
        self._process = psutil.Process(way.server_pid)
        self._unread = bytearray()
        self._sent_ns: list[int] = []
        self._taken_ns: list[int] = []
        self._late_ns: list[int] = []
        self._lasted_s = self._used_s = 0.0

    def take_turn(self) -> None:
        """Append some records in time and receive them.

        Raises:
            RuntimeError: Something else came than was due, or nothing.
        """
        if self._way.topic is not None:
            # The server hears nothing while it is the others' turn.
            self._server.send(PONG)
        begun_s, used_s = time.perf_counter(), cpu_s(self._process)
        self._append_and_receive()
        self._lasted_s += time.perf_counter() - begun_s
        self._used_s += cpu_s(self._process) - used_s

    def _append_and_receive(self) -> None:
        watched: list[socket.socket | RedisSocket] = [self._server, self._redis]
        first, begun_ns = len(self._sent_ns), time.perf_counter_ns()
        while len(self._taken_ns) < first + self._a_turn:
            wait_s = _STALLED_S
            if (number := len(self._sent_ns)) < first + self._a_turn:
                due_ns = begun_ns + (number - first) * self._interval_ns
                now_ns = time.perf_counter_ns()
                if now_ns >= due_ns:
                    self._late_ns.append(now_ns - due_ns)
                    self._sent_ns.append(now_ns)
                    self._redis.send(self._commands[number])
                    wait_s = 0.0
                else:
                    wait_s = (due_ns - now_ns) / 1e9
            ready, _, _ = select.select(watched, [], [], wait_s)
            if self._server in ready:
                self._receive()
            if self._redis in ready:
                self._redis.drop_answers()
            if not ready and wait_s == _STALLED_S:
                raise RuntimeError(f"received {len(self._taken_ns)} of {len(self._sent_ns)} frames")

    def _receive(self) -> None:
        data = self._server.recv(_READ_BYTES)
        now_ns = time.perf_counter_ns()
        if not data:
            raise RuntimeError("the server closed the connection")
        self._unread += data
        read = 0
        for begin, end in payloads(self._unread):
            number = len(self._taken_ns)
            if number == len(self._sent_ns) or self._unread.find(self._marks[number], begin, end) < 0:
                raise RuntimeError(f"this is not frame {number}, which is due: {self._unread[begin:end].decode()}")
            self._taken_ns.append(now_ns - self._sent_ns[number])
            read = end
        del self._unread[:read]

    def latency(self) -> Latency:
        """Return what was measured in all turns."""
        taken, late = self._counted(self._taken_ns), self._counted(self._late_ns)
        return Latency(
            published=len(self._sent_ns),
            received=len(self._taken_ns),
            counted=len(taken),
            p50_us=_percentile_us(taken, 0.5),
            p99_us=_percentile_us(taken, 0.99),
            p999_us=_percentile_us(taken, 0.999),
            late_us=_percentile_us(late, 0.99),
            server_cpu=round(self._used_s / self._lasted_s, 3),
        )

    def _counted(self, values: list[int]) -> list[int]:
        """Return those of no turn's beginning, in ascending order."""
        return sorted(value for number, value in enumerate(values) if number % self._a_turn >= self._warm_up)


class Prober:
    """Carries out probes, whose positions are newer from one to the next."""

    def __init__(self) -> None:
        self._clock = Clock()

    def carry_out(self, order: Probe) -> Probed:
        """Measure the ways in turns; see `Probe`."""
        with contextlib.ExitStack() as opened:
            redis = opened.enter_context(contextlib.closing(RedisSocket(order.redis_url)))
            runs = [_Run(way, order, self._clock, redis, opened.enter_context(_connected(way))) for way in order.ways]
            for _ in range(_TURNS):
                for run in runs:
                    run.take_turn()
        return Probed([run.latency() for run in runs])


def _connected(way: Way) -> socket.socket:
    if way.topic is not None:
        (server,) = subscribe_all(Address(way.port, "/live"), way.topic, 1)
        return server
    server = socket.create_connection(("127.0.0.1", way.port), timeout=_STALLED_S)
    # The empty frame says that it is our turn.
    server.recv(2)
    return server


def _percentile_us(ordered: list[int], share: float) -> float:
    """Return the percentile of values in ascending order, in microseconds."""
    return round(ordered[min(int(share * len(ordered)), len(ordered) - 1)] / 1000, 1)


if __name__ == "__main__":
    serve(Probe, Prober().carry_out)
