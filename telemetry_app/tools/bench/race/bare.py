"""What a spectator among few sees, beside the shortest way from the stream to a socket."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from telemetry_app.tools.bench.helper import Helper, serving
from telemetry_app.tools.bench.latency import Compared, compared
from telemetry_app.tools.bench.probe import Probe, Probed, Way
from telemetry_app.tools.bench.race.spectators import Connect, Connected, Watch, Watched
from telemetry_app.tools.bench.targets import TOPIC
from telemetry_app.tools.embedded.ports import free_port

if TYPE_CHECKING:
    from telemetry_app.tools.embedded.stack import Stack

#: With the one that is looked at, ten.
_OTHERS: Final = 9


async def beside_the_bare_path(stack: Stack, spectators: Helper, *, rate: int, seconds: float) -> Compared:
    """Measure both in turns, at a steady rate, while a worker stores the same records.

    Args:
        stack: The servers.
        spectators: The client process of the others.
        rate: Records per second.
        seconds: How long each is measured.
    """
    bare, both, port = "bench:bare", "bench:beside", free_port()
    writer = stack.start_worker(ROLES="write", REDIS_TELEMETRY_STREAM=bare)
    worker = stack.start_worker(ROLES="write,live", REDIS_TELEMETRY_STREAM=both)
    for one in (writer, worker):
        await one.wait_ready()
    with serving("telemetry_app.tools.bench.references.bare", [stack.valkey.url, bare], port, stack.folder) as server:
        ways = [Way(bare, port, server.pid, None), Way(both, worker.live_port, worker.pid, TOPIC)]
        order = Probe(stack.valkey.url, ways, rate, seconds)
        await spectators.ask(Connect(worker.live_port, TOPIC, _OTHERS, batch=False, deflate=False), Connected)
        async with Helper("telemetry_app.tools.bench.probe") as prober:
            probed, _ = await asyncio.gather(
                prober.ask(order, Probed), spectators.ask(Watch(order.records_a_way), Watched)
            )
    await spectators.ask(Connect(worker.live_port, TOPIC, 0, batch=False, deflate=False), Connected)
    for one in (writer, worker):
        await stack.stop_worker(one)
    return compared(*probed.ways)
