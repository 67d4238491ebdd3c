"""What every worker has, whichever sides it runs: metrics, readiness and their port."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from faust_redis.group.instance import InstanceName
from telemetry_app.assembly.transport import redis_options
from telemetry_app.operations.health import Readiness
from telemetry_app.operations.metrics import Metrics
from telemetry_app.operations.monitoring import MonitoringServer

if TYPE_CHECKING:
    from faust_redis.options import RedisOptions
    from telemetry_app.settings import Settings

#: Probes that cost a round trip are asked at most this often, however many clients ask.
PROBE_CACHE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Operations:
    """What the sides report to.

    Attributes:
        metrics: Counts and gauges of the process.
        readiness: Asks the probes of whatever runs.
        monitoring: Serves both.
        transport: How the worker talks to the streams, which is shared since some metrics are sums over all that does.
        instance: Holds the name of this process.
        stopping: Set when the worker begins to stop.
    """

    metrics: Metrics
    readiness: Readiness
    monitoring: MonitoringServer
    transport: RedisOptions
    instance: InstanceName
    stopping: asyncio.Event


def build_operations(settings: Settings) -> Operations:
    """Return the operations of one worker; nothing listens yet."""
    metrics, readiness = Metrics(), Readiness()
    monitoring = MonitoringServer(settings.metrics_host, settings.metrics_port, metrics, readiness)
    transport, stopping = redis_options(settings, metrics), asyncio.Event()
    topic = settings.redis_telemetry_stream
    instance = InstanceName(settings.redis_url, topic, options=transport, stopping=stopping.is_set)
    return Operations(metrics, readiness, monitoring, transport, instance, stopping)
