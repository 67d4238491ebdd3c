"""Composition root: the Faust app and everything it is made of. Nothing else reads the settings."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
from typing import TYPE_CHECKING, Any, cast

import faust
import mode.loop
from faust.app.base import BootStrategy

from telemetry_app.core.write_queue import WriteQueue
from telemetry_app.core.writer import PositionWriter
from telemetry_app.faust_redis.assignor import LeaseAssignor
from telemetry_app.faust_redis.channel import DrainingChannel
from telemetry_app.faust_redis.options import RedisOptions
from telemetry_app.faust_redis.schema import BatchSchema
from telemetry_app.faust_redis.table import Table
from telemetry_app.settings import SettingsError, load_settings
from telemetry_app.shared.health import Readiness
from telemetry_app.shared.logging import logging_config
from telemetry_app.shared.metrics import Metrics
from telemetry_app.shared.migrator import Migrator
from telemetry_app.shared.observers import TransportMetrics, WriteMetrics
from telemetry_app.shared.postgres import Postgres
from telemetry_app.web import MonitoringServer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mode import ServiceT

    from telemetry_app.faust_redis.consumer import Consumer

#: Probes that cost a round trip are asked this seldom, however many ask.
_PROBE_CACHE_S = 5.0

try:
    settings = load_settings()
except SettingsError as error:
    # The same one sentence, whichever command imports this module.
    raise SystemExit(f"Error: {error}") from None
metrics = Metrics()
readiness = Readiness()
stopping = asyncio.Event()
postgres = Postgres(settings.postgres_url, size=settings.postgres_pool_size)
write_queue = WriteQueue(
    PositionWriter(postgres, max_rows=settings.write_batch_size, observer=WriteMetrics(metrics), stopping=stopping),
    concurrency=settings.write_concurrency,
    stopping=stopping,
)
migrator = Migrator(settings.postgres_url, enabled=settings.migrate_on_start)
monitoring = MonitoringServer(settings.metrics_host, settings.metrics_port, metrics, readiness)


class Boot(BootStrategy):
    """Starts what the streams need before them, so that it is stopped after they have drained."""

    def server(self) -> Iterable[ServiceT]:
        """Return the services in the order in which they start."""
        return [monitoring, postgres, migrator, write_queue, *super().server()]

    def web_server(self) -> Iterable[ServiceT]:
        """Return nothing: Faust's own pages show data to anybody."""
        return []


class App(faust.App):
    """The Faust app, which keeps no files and tells its parts when it begins to stop."""

    BootStrategy = Boot
    redis_options: RedisOptions

    async def on_stop(self) -> None:
        """Tell the parts that they should come to an end, then let Faust drain its streams."""
        stopping.set()
        await super().on_stop()

    def _create_directories(self) -> None:
        """Create none: state is in Redis."""


app = App(
    settings.redis_consumer_group,
    broker=settings.redis_url,
    store="redis://",
    origin="telemetry_app",
    autodiscover=["agents.decode", "agents.writer", "tables.device_state"],
    PartitionAssignor=LeaseAssignor,
    Table=Table,
    topic_partitions=settings.redis_telemetry_partitions,
    topic_disable_leader=True,
    # A slot holds a whole batch: two keep the agents busy while the next one is read.
    stream_buffer_maxsize=2,
    web_enabled=False,
    logging_config=logging_config(settings.log_level, settings.log_format),
)
app.redis_options = RedisOptions(
    instance_id=settings.instance_id,
    batch_size=settings.batch_size,
    block_ms=settings.batch_block_ms,
    lease_ttl_ms=settings.lease_ttl_ms,
    dead_letter_after=settings.dead_letter_after,
    observer=TransportMetrics(metrics),
)

telemetry_topic = app.topic(
    settings.redis_telemetry_stream, partitions=settings.redis_telemetry_partitions, schema=BatchSchema()
)
#: From the decode agent to the writer agent; its bound is the back pressure of a slow database.
decoded_batches = DrainingChannel(app, maxsize=settings.write_concurrency)


def _consumer() -> Consumer:
    return cast("Consumer", app.consumer)


readiness.add("redis", lambda: _consumer().ping(), _PROBE_CACHE_S)
readiness.add("postgres", postgres.ping, _PROBE_CACHE_S)
readiness.add("migrations", migrator.status)
readiness.add("consumer", lambda: _consumer().consuming())


@app.on_rebalance_complete.connect
async def _spare_the_garbage_collector(*_: Any, **__: Any) -> None:
    """Leave what is loaded by now out of every collection, and collect less often.

    A batch makes thousands of short-lived containers, none of them in a cycle; with Python's own thresholds a fifth
    of a busy worker's time goes into looking through everything that was ever imported.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@app.on_worker_init.connect
def _use_uvloop(*_: Any, **__: Any) -> None:
    if importlib.util.find_spec("uvloop"):
        mode.loop.use("uvloop")
