"""How fast the live side delivers to many subscribers, compared with the loop one would write first, in one run."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final, NamedTuple

import asyncpg
import msgspec

from telemetry_app.database.migrate import migrate
from telemetry_app.serving.descriptors import needed_for
from telemetry_app.tools.bench import targets
from telemetry_app.tools.bench.helper import Helper
from telemetry_app.tools.bench.targets import Load, Target
from telemetry_app.tools.bench.usage import allow_open_files, rss_kb
from telemetry_app.tools.embedded.stack import Stack
from telemetry_app.tools.simulation.event import enter_devices
from telemetry_app.tools.simulation.imei import imei

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: Positions of a chunk at full load. Three chunks under way stay below what a subscriber may leave unread, so that
#: nothing is ever conflated and every delivery counted is a frame received.
_FULL: Final = 500
#: Positions of a chunk when numbers of subscribers are compared: the same, and little enough for thousands of them.
_SMALL: Final = 100
_FEW: Final = 10
#: Sending may take the whole loop: what it costs is measured, not how it is paced, nor what else a client is told.
_WHOLE_LOOP: Final = {
    "ROLES": "live",
    "LIVE_AUTH": "none",
    "LOG_LEVEL": "warning",
    "LIVE_BROADCAST_SHARE": "1",
    # The crowd comes from this machine.
    "LIVE_MAX_CONNECTIONS_PER_ADDRESS": "100000",
    "LIVE_ENTRY_FIELDS": "",
}


class LivePlan(NamedTuple):
    """How many subscribers, how many in the largest crowd, and how long each load lasts."""

    subscribers: int
    idle: int
    seconds: float


class Idle(msgspec.Struct, frozen=True):
    """Connections that are subscribed and receive nothing."""

    connections: int
    rss_kb_per_connection: float


class LiveResult(msgspec.Struct, frozen=True):
    """Everything measured.

    Attributes:
        worker: Full load.
        reference: The same load through a loop of one `send_str` for each frame and subscriber.
        throughput_ratio: Deliveries per second, worker to reference.
        cpu_ratio: Processor time per delivery, reference to worker.
        crowds: The same small chunks to few, to the ordinary number, and to the largest crowd of subscribers.
        cpu_us_per_further_delivery: What each subscriber more cost for each record, from one crowd to the next: without
            what a record costs before it is delivered to anybody.
        idle: The largest crowd before its load.
    """

    worker: Load
    reference: Load
    throughput_ratio: float
    cpu_ratio: float
    crowds: list[Load]
    cpu_us_per_further_delivery: list[float]
    idle: Idle


async def measure(plan: LivePlan, folder: Path, say: Callable[[str, float], None]) -> LiveResult:
    """Measure all loads on the same servers, with the same client process.

    Args:
        plan: How much.
        folder: Data folder for the servers; deleted at the end.
        say: Told what is going on, and how much of it is done (0 to 1).

    Raises:
        EmbeddedServerError: A server or a worker did not start.
        RuntimeError: A frame was missing or doubled, or the system allows too few open files.
    """
    allow_open_files(needed_for(max(plan.subscribers, plan.idle)))
    async with Stack(folder, _WHOLE_LOOP) as stack:
        await prepare(stack.postgres.url)
        async with Helper("telemetry_app.tools.bench.sink") as sink:
            say(f"{plan.subscribers} subscribers, one send each", 0.1)
            async with targets.reference(stack, sink) as target:
                await target.connect(plan.subscribers)
                reference = await target.measure(_FULL, plan.seconds)
            say(f"{plan.subscribers} subscribers", 0.3)
            async with targets.worker(stack, sink) as target:
                await target.connect(plan.subscribers)
                full, ordinary = [await target.measure(chunk, plan.seconds) for chunk in (_FULL, _SMALL)]
            say(f"{_FEW} subscribers", 0.6)
            async with targets.worker(stack, sink) as target:
                await target.connect(_FEW)
                few = await target.measure(_SMALL, plan.seconds)
            say(f"{plan.idle} connections", 0.8)
            async with targets.worker(stack, sink) as target:
                idle = await _idle(target, plan.idle)
                many = await target.measure(_SMALL, plan.seconds)
    return _result(full, reference, [few, ordinary, many], idle)


def _result(full: Load, reference: Load, crowds: list[Load], idle: Idle) -> LiveResult:
    return LiveResult(
        worker=full,
        reference=reference,
        throughput_ratio=round(full.deliveries_per_s / reference.deliveries_per_s, 1),
        cpu_ratio=round(reference.cpu_us_per_delivery / full.cpu_us_per_delivery, 1),
        crowds=crowds,
        cpu_us_per_further_delivery=[
            round((more.cpu_us_per_record - fewer.cpu_us_per_record) / (more.subscribers - fewer.subscribers), 4)
            for fewer, more in itertools.pairwise(crowds)
            if more.subscribers != fewer.subscribers
        ],
        idle=idle,
    )


async def _idle(target: Target, connections: int) -> Idle:
    """Measure what connections cost that do nothing; the first ones only warm the worker up."""
    await target.connect(_FEW)
    before_kb = rss_kb(target.process)
    await target.connect(connections)
    return Idle(connections, round((rss_kb(target.process) - before_kb) / connections, 1))


async def prepare(url: str) -> None:
    """Make the tables, and an event with enough devices."""
    await migrate(url)
    database = await asyncpg.connect(url)
    await enter_devices(database, [imei(number) for number in range(_FULL)])
    await database.close()
