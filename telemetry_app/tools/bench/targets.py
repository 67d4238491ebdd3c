"""Servers under a load of positions: the worker, and the reference it is compared with."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

import msgspec
import psutil

from faust_redis.redis.client import connect, execute
from telemetry_app.tools.bench.helper import serving
from telemetry_app.tools.bench.sink import Connect, Connected, Publish, Published
from telemetry_app.tools.bench.usage import live_frames
from telemetry_app.tools.embedded.ports import free_port
from telemetry_app.tools.simulation.event import EVENT_ID

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from telemetry_app.tools.bench.helper import Helper
    from telemetry_app.tools.embedded.stack import Stack
    from telemetry_app.tools.embedded.worker import WorkerProcess

STREAM: Final = "telemetry:teltonika"
TOPIC: Final = f"event:{EVENT_ID}"
_PATH: Final = "/live"


class Load(msgspec.Struct, frozen=True):
    """A load, as the subscribers received it and as the server's processor paid for it.

    Attributes:
        subscribers: Each subscribed to the one event.
        chunk: Positions appended at once.
        records: Positions appended.
        expected: Frames due: one for each record and subscriber.
        received: Frames that came to the subscribers' sockets.
        conflated: Frames the server left out for subscribers that were behind.
        deliveries_per_s: Frames received, per second.
        cpu_us_per_delivery: Processor time of the server process for each frame received.
        cpu_us_per_record: The same for each record.
        server_cpu: Share of one processor the server used.
        client_cpu: Share of one processor the client process used.
    """

    subscribers: int
    chunk: int
    records: int
    expected: int
    received: int
    conflated: int
    deliveries_per_s: float
    cpu_us_per_delivery: float
    cpu_us_per_record: float
    server_cpu: float
    client_cpu: float


class Target:
    """A server with subscribers, all of them in the one client process.

    Args:
        sink: The client process.
        redis_url: Where the stream is.
        port: Of its WebSocket.
        process: The server's process.
        worker: The server, unless it is the reference.
    """

    def __init__(
        self, sink: Helper, redis_url: str, *, port: int, process: psutil.Process, worker: WorkerProcess | None
    ) -> None:
        self._sink = sink
        self._redis_url = redis_url
        self._port = port
        self._worker = worker
        self._subscribers = 0
        self.process = process

    async def connect(self, subscribers: int) -> None:
        """Subscribe this many clients; earlier ones leave."""
        await self._sink.ask(Connect(self._port, _PATH, TOPIC, subscribers), Connected)
        self._subscribers = subscribers

    async def measure(self, chunk: int, seconds: float) -> Load:
        """Send the subscribers chunks of `chunk` positions.

        Raises:
            RuntimeError: A frame is missing, or one too many came.
        """
        conflated = await self._conflated()
        published = await self._sink.ask(Publish(self._redis_url, STREAM, chunk, seconds, self.process.pid), Published)
        if published.received != published.expected:
            raise RuntimeError(f"received {published.received} of {published.expected} frames")
        return Load(
            subscribers=self._subscribers,
            chunk=chunk,
            records=published.records,
            expected=published.expected,
            received=published.received,
            conflated=await self._conflated() - conflated,
            deliveries_per_s=round(published.received / published.elapsed_s),
            cpu_us_per_delivery=round(published.server_cpu_s / published.received * 1e6, 4),
            cpu_us_per_record=round(published.server_cpu_s / published.records * 1e6, 2),
            server_cpu=round(published.server_cpu_s / published.elapsed_s, 2),
            client_cpu=round(published.client_cpu_s / published.elapsed_s, 2),
        )

    async def _conflated(self) -> int:
        return 0 if self._worker is None else await live_frames(self._worker, "conflated")


@contextlib.asynccontextmanager
async def worker(stack: Stack, sink: Helper) -> AsyncIterator[Target]:
    """Run a worker, which finds an empty stream."""
    await _empty_stream(stack)
    started = stack.start_worker()
    await started.wait_ready()
    process = psutil.Process(started.pid)
    yield Target(sink, stack.valkey.url, port=started.live_port, process=process, worker=started)
    await stack.stop_worker(started)


@contextlib.asynccontextmanager
async def reference(stack: Stack, sink: Helper) -> AsyncIterator[Target]:
    """Run the reference, which finds an empty stream."""
    await _empty_stream(stack)
    port = free_port()
    arguments = [stack.valkey.url, STREAM, TOPIC]
    with serving("telemetry_app.tools.bench.references.broadcast", arguments, port, stack.folder) as process:
        yield Target(sink, stack.valkey.url, port=port, process=psutil.Process(process.pid), worker=None)


async def _empty_stream(stack: Stack) -> None:
    """Remove what came shortly before, which a worker would show to each new subscriber."""
    redis = connect(stack.valkey.url)
    await execute(redis, "DEL", STREAM)
    await redis.aclose()
