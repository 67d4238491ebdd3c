"""How fast the live side delivers to many subscribers, beside the loop one would write first; both in one run."""

from __future__ import annotations

import urllib.request
from typing import TYPE_CHECKING, Final, NamedTuple

import asyncpg
import msgspec
import psutil
from prometheus_client.parser import text_string_to_metric_families

from telemetry_app.bench.helper import Helper, serving
from telemetry_app.bench.sink import Connect, Connected, Flood, Flooded
from telemetry_app.bench.usage import allow_open_files, cpu_s, rss_kb
from telemetry_app.demo.event import EVENT_ID, enter_devices
from telemetry_app.demo.stack import Stack, WorkerProcess
from telemetry_app.embedded.process import free_port
from telemetry_app.faust_redis.connection import connect, execute
from telemetry_app.shared.migrate import migrate
from telemetry_app.simulation.imei import imei

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STREAM: Final = "telemetry:teltonika"
TOPIC: Final = f"event:{EVENT_ID}"
_PATH: Final = "/live"
#: Positions of a chunk at full load. Three chunks under way stay below what a subscriber may leave unread, so that
#: nothing is ever conflated and every delivery counted is a frame received.
_FULL: Final = 500
#: Positions of a chunk when numbers of subscribers are compared: the same, and little enough for thousands of them.
_SMALL: Final = 100
_FEW: Final = 10
#: Files a process has open beside its sockets.
_OTHER_FILES: Final = 200


class LivePlan(NamedTuple):
    """How many subscribers, how many in the largest crowd, and how long each flood lasts."""

    subscribers: int
    idle: int
    seconds: float


class Load(msgspec.Struct, frozen=True):
    """A flood, as the subscribers received it and the server's processor paid for it.

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


class Idle(msgspec.Struct, frozen=True):
    """Connections that are subscribed and receive nothing."""

    connections: int
    rss_kb_per_connection: float


class LiveResult(msgspec.Struct, frozen=True):
    """Everything measured.

    Attributes:
        worker: Full load.
        reference: The same flood through a loop of one `send_str` for each frame and subscriber.
        throughput_ratio: Deliveries per second, worker to reference.
        cpu_ratio: Processor time per delivery, reference to worker.
        crowds: The same small chunks to few, to the ordinary number, and to the largest crowd of subscribers.
        idle: The largest crowd before its flood.
    """

    worker: Load
    reference: Load
    throughput_ratio: float
    cpu_ratio: float
    crowds: list[Load]
    idle: Idle


async def measure(plan: LivePlan, folder: Path, say: Callable[[str, float], None]) -> LiveResult:
    """Run all floods on the same servers, with the same client process.

    Args:
        plan: How much.
        folder: Data folder for the servers; deleted at the end.
        say: Told what is going on, and how much of it is done (0 to 1).

    Raises:
        EmbeddedServerError: A server or a worker did not start.
        RuntimeError: A frame was missing or doubled, or the system allows too few open files.
    """
    allow_open_files(max(plan.subscribers, plan.idle) + _OTHER_FILES)
    with Stack(folder, {"ROLES": "live", "LIVE_AUTH": "none", "LOG_LEVEL": "warning"}) as stack:
        await _enter_devices(stack)
        async with Helper("telemetry_app.bench.sink") as sink:
            floods = _Floods(stack, sink, plan.seconds)
            say("reference", 0.0)
            reference = await floods.reference(plan.subscribers)
            say("full load", 0.2)
            async with floods.worker() as running:
            ...
