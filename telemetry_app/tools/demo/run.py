"""The demo from start to end: servers, worker, race, what one sees of it, and the report."""

from __future__ import annotations

import asyncio
import contextlib
import webbrowser
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import asyncpg
import click

from faust_redis.redis.client import connect
from telemetry_app.tools.demo.display import Display
from telemetry_app.tools.demo.figures import Gauges
from telemetry_app.tools.demo.report import Report, make_report, stored_latencies_ms
from telemetry_app.tools.demo.viewer import Viewer
from telemetry_app.tools.embedded.stack import Stack
from telemetry_app.tools.place import write_place
from telemetry_app.tools.simulation.event import EVENT_ID, enter_devices
from telemetry_app.tools.simulation.imei import imei
from telemetry_app.tools.simulation.publisher import Publisher
from telemetry_app.tools.simulation.race import Race
from telemetry_app.tools.simulation.runner import run_race

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from faust_redis.redis.client import Client
    from telemetry_app.tools.demo.figures import Figures
    from telemetry_app.tools.embedded.worker import WorkerProcess

STREAM = "telemetry:teltonika"
GROUP = "processor"
_REFRESH_S = 1.0
_SETTLE_TIMEOUT_S = 30.0


class DemoPlan(NamedTuple):
    """What to show: how many devices at which rate, for how long (None: until Ctrl-C), and whether in a browser."""

    devices: int
    hz: float
    duration_s: float | None
    open_browser: bool = False


class Running(NamedTuple):
    """Handles on a demo that runs."""

    redis: Client
    database: asyncpg.Connection
    worker: WorkerProcess
    gauges: Gauges
    publisher: Publisher


async def run_demo(plan: DemoPlan, folder: Path) -> Report:
    """Run the demo; return its report when it has an end.

    Args:
        plan: What to show.
        folder: Data folder for the servers; deleted at the end unless something failed.

    Raises:
        EmbeddedServerError: A server or the worker did not start, or ended before its time.
    """
    place = folder / "place.pmtiles"
    async with Stack(folder, {"LIVE_AUTH": "none", "LIVE_BASEMAP": str(place)}) as stack:
        await asyncio.to_thread(write_place, place)
        await _enter_devices(stack, plan.devices)
        worker = stack.start_worker()
        await worker.wait_ready()
        _tell(stack, worker, open_browser=plan.open_browser)
        try:
            return await _show(stack, worker, plan)
        except ExceptionGroup as group:
            # What went wrong first is what is wrong; the other tasks were cancelled for it.
            raise group.exceptions[0] from group


async def _enter_devices(stack: Stack, devices: int) -> None:
    database = await asyncpg.connect(stack.postgres.url)
    await enter_devices(database, [imei(number) for number in range(devices)])
    await database.close()


def _tell(stack: Stack, worker: WorkerProcess, *, open_browser: bool) -> None:
    page = f"{worker.live_url}/#event={EVENT_ID}"
    metrics = worker.metrics_url
    click.echo(f"live map: {page}")
    click.echo(f"metrics:  {metrics}/metrics   health: {metrics}/readyz   log: {worker.log_path}")
    click.echo(f"commands: REDIS_URL={stack.valkey.url} POSTGRES_URL={stack.postgres.url} telemetry faulty list")
    if open_browser:
        webbrowser.open(page)


async def _show(stack: Stack, worker: WorkerProcess, plan: DemoPlan) -> Report:
    viewer = Viewer(f"{worker.live_url}/live", f"event:{EVENT_ID}")
    async with _running(stack, worker) as demo:
        with Display() as display:
            async with asyncio.TaskGroup() as beside:
                tasks = [beside.create_task(_watch(demo, display)), beside.create_task(viewer.watch())]
                await viewer.watching.wait()
                # Not before: its positions would be as old as the servers took to start.
                race = Race(plan.devices, plan.hz, start=datetime.now(UTC))
                await run_race(demo.publisher, race, duration_s=plan.duration_s)
                figures = await _settle(demo)
                display.show(figures)
                for task in tasks:
                    task.cancel()
        stored = await stored_latencies_ms(demo.redis, demo.database, STREAM)
        return make_report(figures, stored, viewer.latencies_ms)


@contextlib.asynccontextmanager
async def _running(stack: Stack, worker: WorkerProcess) -> AsyncIterator[Running]:
    redis = connect(stack.valkey.url)
    database = await asyncpg.connect(stack.postgres.url)
    try:
        gauges = Gauges(redis, database, worker, stream=STREAM, group=GROUP)
        yield Running(redis, database, worker, gauges, Publisher(redis, STREAM, 1))
    finally:
        # Ctrl-C may come in the middle of a query; a polite goodbye is not worth waiting for.
        database.terminate()
        await redis.aclose()


async def _watch(demo: Running, display: Display) -> None:
    while True:
        demo.worker.require_alive()
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
