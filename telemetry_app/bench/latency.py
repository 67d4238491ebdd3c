"""How long a position takes from the stream to a subscriber, beside the shortest way there; both in one run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

import asyncpg
import msgspec

from telemetry_app.bench.floods import STREAM, TOPIC
from telemetry_app.bench.helper import Helper, serving
from telemetry_app.bench.live import prepare
from telemetry_app.bench.probe import Latency, Probe
from telemetry_app.demo.stack import Stack
from telemetry_app.embedded.process import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_BARE_STREAM: Final = "bench:bare"
_STORED_TIMEOUT_S: Final = 30.0
_POLL_S: Final = 0.05


class LatencyPlan(NamedTuple):
    """Records per second, one run after the other, and how long each is."""

    rates: Sequence[int]
    seconds: float


class RateResult(msgspec.Struct, frozen=True):
    """Both ways at one rate, and what they are to each other."""

    rate: int
    bare: Latency
    worker: Latency
    p50_ratio: float
    p99_ratio: float


class LatencyResult(msgspec.Struct, frozen=True):
    """All rates, and how many of the worker's records its durable side stored meanwhile."""

    rates: list[RateResult]
    published: int
    stored: int


async def measure(plan: LatencyPlan, folder: Path, say: Callable[[str, float], None]) -> LatencyResult:
    """Measure at each rate the bare path, then the worker with both its sides, on the same servers by the same client.

    Args:
        plan: Rates.
        folder: Data folder for the servers; deleted at the end.
        say: Told what is going on, and how much of it is done (0 to 1).

    Raises:
        EmbeddedServerError: A server or the worker did not start.
        RuntimeError: A frame did not come, came twice or out of order, or a record was not stored.
    """
    port, bare_port = free_port(), free_port()
    variables = {"ROLES": "write,live", "LIVE_AUTH": "none", "LIVE_HOST": "127.0.0.1", "LIVE_PORT": str(port)}
    with Stack(folder, {**variables, "LOG_LEVEL": "warning"}) as stack:
        url = stack.valkey.url
        await prepare(stack.postgres.url)
        server = stack.start_worker()
        server.wait_ready()
        with serving("telemetry_app.bench.bare", [url, _BARE_STREAM], bare_port, folder) as bare_server:
            async with Helper("telemetry_app.bench.probe") as prober:
                results: list[RateResult] = []
                for number, rate in enumerate(plan.rates):
                    say(f"bare path, {rate} records/s", number / len(plan.rates))
                    order = Probe(url, _BARE_STREAM, bare_port, bare_server.pid, None, rate, plan.seconds)
                    bare = await prober.ask(order, Latency)
                    say(f"worker, {rate} records/s", (number + 0.5) / len(plan.rates))
                    order = Probe(url, STREAM, port, server.pid, TOPIC, rate, plan.seconds)
                    worker = await prober.ask(order, Latency)
                    results.append(_compared(rate, bare, worker))
                    published = sum(result.worker.published for result in results)
                    # A new subscriber is sent what is not stored yet, which would not be one of its own.
                    stored = await _stored(stack.postgres.url, published)
    return LatencyResult(results, published, stored)


def _compared(rate: int, bare: Latency, worker: Latency) -> RateResult:
    return RateResult(rate, bare, worker, round(worker.p50_us / bare.p50_us, 2), round(worker.p99_us / bare.p99_us, 2))


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
