"""How long a position takes from the stream to a subscriber, beside the shortest way there; both in one run.

Twice, each time under equal conditions: the live side alone beside the bare path alone, and both sides in one worker
beside the bare path while a worker stores the same records. On a small machine the database's share of the processors
alone multiplies the slowest of a hundred on any way. Then the live side alone once more, for a subscriber beside
stalled ones.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final, NamedTuple

import asyncpg
import msgspec

from telemetry_app.bench.floods import STREAM, TOPIC
from telemetry_app.bench.helper import Helper, serving
from telemetry_app.bench.live import prepare
from telemetry_app.bench.probe import Latency, Probe
from telemetry_app.bench.usage import live_frames
from telemetry_app.bench.wsclient import Address, subscribe_all
from telemetry_app.demo.stack import Stack
from telemetry_app.embedded.process import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from telemetry_app.demo.stack import WorkerProcess

#: Subscribers that never read, and what their systems take before their sockets stand still.
_STALLED: Final = 20
_STALLED_BYTES: Final = 2048
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
    """Measure the ways one after the other, each at every rate, on the same servers by the same client.

    Args:
        plan: Rates.
        folder: Data folder for the servers; deleted at the end.
        say: Told what is going on, and how much of it is done (0 to 1).

    Raises:
        EmbeddedServerError: A server or the worker did not start.
        RuntimeError: A frame did not come, came twice or out of order, or a record was not stored.
    """
    with Stack(folder, {"LIVE_AUTH": "none", "LIVE_HOST": "127.0.0.1", "LOG_LEVEL": "warning"}) as stack:
        await prepare(stack.postgres.url)
        async with Helper("telemetry_app.bench.probe") as prober:
            ways = _Ways(plan, stack, prober, say)
            bare_alone = await ways.bare("bare path", "bench:bare")
            live_alone = await ways.live_side("live side alone", 0)
            with _worker(stack, "write"):
                bare_storing = await ways.bare("bare path while storing", STREAM)
            both_sides = await ways.both_sides()
            stalled = await ways.live_side("live side beside stalled clients", _STALLED)
        compared = zip(plan.rates, bare_alone, live_alone, bare_storing, both_sides, stalled, strict=True)
        rates = [
            RateResult(
                rate,
                Compared(bare, live, *_ratios(live, bare)),
                Compared(bare_busy, both, *_ratios(both, bare_busy)),
                Stalled(_STALLED, left_out, beside, *_ratios(beside, live)),
            )
            for rate, bare, (live, _), bare_busy, both, (beside, left_out) in compared
        ]
        return LatencyResult(rates, ways.to_store, await _stored(stack.postgres.url, ways.to_store))


class _Ways:
    """Measures one way at all rates, one after the other."""

    def __init__(self, plan: LatencyPlan, stack: Stack, prober: Helper, say: Callable[[str, float], None]) -> None:
        self._plan = plan
        self._stack = stack
        self._prober = prober
        self._say = say
        self._done = 0
        self.to_store = 0

    async def bare(self, name: str, stream: str) -> list[Latency]:
        """Measure the bare path."""
        url, port, folder = self._stack.valkey.url, free_port(), self._stack.folder
        with serving("telemetry_app.bench.bare", [url, stream], port, folder) as server:
            return [await self._probe(name, rate, stream, port, server.pid, None) for rate in self._plan.rates]

    async def live_side(self, name: str, stalled: int) -> list[tuple[Latency, int]]:
        """Measure the live side, with a worker and a stream for each rate: what nobody stores is shown again.

        Args:
            name: Of this way.
            stalled: Further subscribers, which never read.

        Returns:
            For each rate the latency and how many frames were not written to a subscriber.
        """
        results = []
        for number, rate in enumerate(self._plan.rates):
            stream, port = f"bench:live:{stalled}:{number}", free_port()
            with (
                _worker(self._stack, "live", REDIS_TELEMETRY_STREAM=stream, LIVE_PORT=str(port)) as worker,
                contextlib.ExitStack() as connected,
            ):
                crowd = subscribe_all(Address(port, "/live"), TOPIC, stalled, receive_bytes=_STALLED_BYTES)
                for one in crowd:
                    connected.enter_context(one)
                latency = await self._probe(name, rate, stream, port, worker.pid, TOPIC)
                due = latency.published * (1 + stalled)
                results.append((latency, due - live_frames(worker.url, "sent")))
        return results

    async def both_sides(self) -> list[Latency]:
        """Measure a worker with both sides."""
        port = free_port()
        with _worker(self._stack, "write,live", LIVE_PORT=str(port)) as worker:
            return [await self._probe("both sides", rate, STREAM, port, worker.pid, TOPIC) for rate in self._plan.rates]

    async def _probe(self, name: str, rate: int, stream: str, port: int, pid: int, topic: str | None) -> Latency:
        self._say(f"{name}, {rate} records/s", self._done / (5 * len(self._plan.rates)))
        self._done += 1
        order = Probe(self._stack.valkey.url, stream, port, pid, topic, rate, self._plan.seconds)
        latency = await self._prober.ask(order, Latency)
        if stream == STREAM:
            self.to_store += latency.published
            # A new subscriber is sent what is not stored yet, which would not be one of its own.
            await _stored(self._stack.postgres.url, self.to_store)
        return latency


@contextlib.contextmanager
def _worker(stack: Stack, roles: str, **variables: str) -> Iterator[WorkerProcess]:
    worker = stack.start_worker(ROLES=roles, **variables)
    try:
        worker.wait_ready()
        yield worker
    finally:
        worker.stop()


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
                raise RuntimeError(f"{stored} rows stored of {published} records")
            await asyncio.sleep(_POLL_S)
    finally:
        await database.close()
    return stored
