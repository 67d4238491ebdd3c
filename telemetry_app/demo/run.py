"""The demo from start to end: servers, worker, race, what one sees of it, and the report."""

from __future__ import annotations

import asyncio
import contextlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import asyncpg
import click

from telemetry_app.demo.display import Display
from telemetry_app.demo.figures import Gauges
from telemetry_app.demo.report import Report, make_report, stored_latencies_ms
from telemetry_app.demo.stack import Stack, WorkerProcess
from telemetry_app.faust_redis.connection import connect
from telemetry_app.simulation.publisher import Publisher
from telemetry_app.simulation.race import Race
from telemetry_app.simulation.runner import run as run_race

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from telemetry_app.demo.figures import Figures
    from telemetry_app.faust_redis.connection import Client

STREAM = "telemetry:teltonika"
GROUP = "processor"
_REFRESH_S = 1.0
_SETTLE_TIMEOUT_S = 30.0


class DemoPlan(NamedTuple):
    """What to show: how many devices at which rate, and for how long (None: until Ctrl-C)."""

    devices: int
    hz: float
    duration_s: float | None


class Running(NamedTuple):
    """Handles on a demo that runs."""

    redis: Client
    database: asyncpg.Connection
    gauges: Gauges
    publisher: Publisher


def run_demo(plan: DemoPlan) -> Report | None:
    """Run the demo; return its report when it was given an end.

    Raises:
        EmbeddedServerError: A server or the worker did not start.
    """
    folder = Path(".data").absolute() / f"demo-{os.getpid()}"
    with Stack(folder, {"ROLES": "write"}) as stack:
        worker = stack.start_worker()
        worker.wait_ready()
        click.echo(f"metrics: {worker.url}/metrics   health: {worker.url}/readyz   log: {worker.log_path}")
        return asyncio.run(_show(stack, worker, plan))


async def _show(stack: Stack, worker: WorkerProcess, plan: DemoPlan) -> Report | None:
    async with _running(stack, worker) as demo:
        with Display() as display:
            watching = asyncio.create_task(_watch(demo, display))
            try:
                race = Race(plan.devices, plan.hz, start=datetime.now(UTC))
                await run_race(demo.publisher, race, duration_s=plan.duration_s)
                figures = await _settle(demo)
                display.show(figures)
            finally:
                watching.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await watching
        stored = await stored_latencies_ms(demo.redis, demo.database, STREAM)
        return make_report(figures, stored, [])


@contextlib.asynccontextmanager
async def _running(stack: Stack, worker: WorkerProcess) -> AsyncIterator[Running]:
    redis = connect(stack.valkey.url)
    database = await asyncpg.connect(stack.postgres.url)
    try:
        gauges = Gauges(redis, database, worker, stream=STREAM, group=GROUP)
        yield Running(redis, database, gauges, Publisher(redis, STREAM, 1))
    finally:
        await database.close()
        await redis.aclose()


async def _watch(demo: Running, display: Display) -> None:
    while True:
        display.show(await demo.gauges.read(demo.publisher.published))
        await asyncio.sleep(_REFRESH_S)


async def _settle(demo: Running) -> Figures:
    """Wait until everything published is stored or refused; the figures tell when that did not come true."""
    deadline = asyncio.get_running_loop().time() + _SETTLE_TIMEOUT_S
    while asyncio.get_running_loop().time() < deadline:
        if await demo.gauges.settled():
            break
        await asyncio.sleep(0.1)
    return await demo.gauges.read(demo.publisher.published)
