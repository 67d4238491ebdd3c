"""How long a position takes from the stream to a subscriber, compared with the shortest way, in one run.

Twice, each time under equal conditions: the live side alone beside the bare path alone, and both sides in one worker
beside the bare path while a worker stores the same records. On a small machine the database's share of the processors
alone multiplies the slowest of a hundred on any way. Beside the first two a third one, the live side for a subscriber
beside stalled ones. Ways that are compared take turns of some seconds: what else the machine does meets all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final, NamedTuple

import asyncpg
import msgspec

from telemetry_app.tools.bench.helper import Helper, serving
from telemetry_app.tools.bench.live import prepare
from telemetry_app.tools.bench.probe import Latency, Probe, Probed, Way
from telemetry_app.tools.bench.targets import TOPIC
from telemetry_app.tools.bench.usage import live_frames
from telemetry_app.tools.bench.wsclient import PONG, Address, subscribe_all
from telemetry_app.tools.embedded.ports import free_port
from telemetry_app.tools.embedded.stack import Stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from telemetry_app.tools.embedded.worker import WorkerProcess

#: Subscribers that never read, and what their systems take before their sockets stand still.
_STALLED: Final = 20
_STALLED_BYTES: Final = 2048
#: They stay for as long as it takes.
_PATIENT: Final = {"LIVE_SLOW_CLIENT_MS": "3600000"}
_PONG_EVERY_S: Final = 10.0
_STORED_TIMEOUT_S: Final = 30.0
_POLL_S: Final = 0.05


class LatencyPlan(NamedTuple):
    """Records per second, one run after the other, and how long each is."""

    rates: Sequence[int]
    seconds: float


class Compared(msgspec.Struct, frozen=True):
    """The bare path and a worker under the same conditions, and what they are to each other."""

    bare: Latency
    worker: Latency
    p50_ratio: float
    p99_ratio: float


class Stalled(msgspec.Struct, frozen=True):
    """A worker with `ROLES=live` whose other subscribers never read.

    Attributes:
        sockets: Such subscribers.
        left_out: Frames that were not written to them, since their sockets stood still.
        worker: Latency of the one that reads.
        p50_ratio: To the same without stalled subscribers.
        p99_ratio: The same.
    """

    sockets: int
    left_out: int
    worker: Latency
    p50_ratio: float
    p99_ratio: float


class RateResult(msgspec.Struct, frozen=True):
    """Both comparisons at one rate.

    Attributes:
        rate: Records per second.
        live_alone: A worker with `ROLES=live`, beside the bare path with nothing else running.
        both_sides: A worker with `ROLES=write,live`, beside the bare path while a worker with `ROLES=write` stores the
            records.
        beside_stalled: The live side alone, with stalled subscribers.
    """

    rate: int
    live_alone: Compared
    both_sides: Compared
    beside_stalled: Stalled


class LatencyResult(msgspec.Struct, frozen=True):
    """All rates, and how many of the records that were to be stored are."""

    rates: list[RateResult]
    to_store: int
    stored: int


async def measure(plan: LatencyPlan, folder: Path, say: Callable[[str, float], None]) -> LatencyResult:
    """Measure all ways at each rate in turn, on the same servers and with the same client.

    Args:
        plan: Rates.
        folder: Data folder for the servers; deleted at the end.
        say: Told what is going on, and how much of it is done (0 to 1).

    Raises:
        EmbeddedServerError: A server or the worker did not start.
        RuntimeError: A frame did not come, came twice or out of order, or a record was not stored.
    """
    async with Stack(folder, {"LIVE_AUTH": "none", "LOG_LEVEL": "warning"}) as stack:
        await prepare(stack.postgres.url)
        async with Helper("telemetry_app.tools.bench.probe") as prober:
            comparison = _Comparison(plan, stack, prober, say)
            rates = [await comparison.at(number) for number in range(len(plan.rates))]
        return LatencyResult(rates, comparison.to_store, await _stored(stack.postgres.url, comparison.to_store))


class _Comparison:
    """Measures the ways at one rate after the other."""

    def __init__(self, plan: LatencyPlan, stack: Stack, prober: Helper, say: Callable[[str, float], None]) -> None:
        self._plan = plan
        self._stack = stack
        self._prober = prober
        self._say = say
        self._done = 0
        self.to_store = 0

    async def at(self, number: int) -> RateResult:
        """Measure all ways at one of the rates."""
        rate = self._plan.rates[number]
        live_alone, beside_stalled = await self._live_side(rate, f"bench:{number}")
        both_sides = await self._both_sides(rate, f"bench:{number}:stored")
        return RateResult(rate, live_alone, both_sides, beside_stalled)

    async def _live_side(self, rate: int, stream: str) -> tuple[Compared, Stalled]:
        alone, beside = f"{stream}:alone", f"{stream}:beside"
        async with (
            self._bare(stream) as bare_way,
            self._worker("live", alone) as (_, alone_way),
            self._worker("live", beside, **_PATIENT) as (worker, beside_way),
        ):
            async with _stalled(beside_way.port):
                bare, live, other = await self._probe("live side", rate, bare_way, alone_way, beside_way)
            left_out = other.published * (1 + _STALLED) - await live_frames(worker, "sent")
        return compared(bare, live), Stalled(_STALLED, left_out, other, *_ratios(other, live))

    async def _both_sides(self, rate: int, stream: str) -> Compared:
        both = f"{stream}:both"
        async with (
            self._bare(stream) as bare_way,
            self._worker("write", stream),
            self._worker("write,live", both) as (_, both_way),
        ):
            bare, worker = await self._probe("both sides", rate, bare_way, both_way)
            self.to_store += bare.published + worker.published
            await _stored(self._stack.postgres.url, self.to_store)
        return compared(bare, worker)

    async def _probe(self, name: str, rate: int, *ways: Way) -> list[Latency]:
        self._say(f"{name}, {rate} records/s", self._done / (2 * len(self._plan.rates)))
        self._done += 1
        order = Probe(self._stack.valkey.url, list(ways), rate, self._plan.seconds)
        return (await self._prober.ask(order, Probed)).ways

    @contextlib.asynccontextmanager
    async def _bare(self, stream: str) -> AsyncIterator[Way]:
        url, port, folder = self._stack.valkey.url, free_port(), self._stack.folder
        with serving("telemetry_app.tools.bench.references.bare", [url, stream], port, folder) as server:
            yield Way(stream, port, server.pid, None)

    @contextlib.asynccontextmanager
    async def _worker(self, roles: str, stream: str, **variables: str) -> AsyncIterator[tuple[WorkerProcess, Way]]:
        """Run a worker with a stream of its own: to a subscriber, positions of others would be ones too many."""
        worker = self._stack.start_worker(ROLES=roles, REDIS_TELEMETRY_STREAM=stream, **variables)
        await worker.wait_ready()
        yield worker, Way(stream, worker.live_port, worker.pid, TOPIC)
        await self._stack.stop_worker(worker)


@contextlib.asynccontextmanager
async def _stalled(port: int) -> AsyncIterator[None]:
    """Subscribe clients that give signs of life, and never read."""
    crowd = subscribe_all(Address(port, "/live"), TOPIC, _STALLED, receive_bytes=_STALLED_BYTES)

    async def live_on() -> None:
        while True:
            await asyncio.sleep(_PONG_EVERY_S)
            for one in crowd:
                one.send(PONG)

    living = asyncio.create_task(live_on())
    try:
        yield
    finally:
        for one in crowd:
            one.close()
        living.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await living


def compared(bare: Latency, worker: Latency) -> Compared:
    """Return both, and what they are to each other."""
    return Compared(bare, worker, *_ratios(worker, bare))


def _ratios(one: Latency, other: Latency) -> tuple[float, float]:
    """Return how many times as long one takes, for p50 and p99."""
    return round(one.p50_us / other.p50_us, 2), round(one.p99_us / other.p99_us, 2)


async def _stored(url: str, published: int) -> int:
    """Wait until everything is stored and return how many rows there are."""
    database = await asyncpg.connect(url)
    deadline = asyncio.get_running_loop().time() + _STORED_TIMEOUT_S
    try:
        while (stored := int(await database.fetchval("SELECT count(*) FROM positions"))) != published:
            if asyncio.get_running_loop().time() > deadline:
                raise RuntimeError(f"stored {stored} rows of {published} records")
            await asyncio.sleep(_POLL_S)
    finally:
        await database.close()
    return stored
