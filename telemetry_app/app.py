"""Composition root: the Faust app and everything it is made of. Nothing else reads the settings."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import logging
from typing import TYPE_CHECKING, Any, cast

import faust
import mode.loop
from faust.app.base import BootStrategy
from faust.web.base import BlueprintManager

from faust_redis.broadcast.reader import FanOutReader
from faust_redis.broadcast.replay import StreamReplay
from faust_redis.driver.assignor import LeaseAssignor
from faust_redis.driver.channel import DrainingChannel
from faust_redis.driver.schema import BatchSchema
from faust_redis.driver.table import Table
from faust_redis.options import RedisOptions
from faust_redis.stream.batch import RecordBatch
from telemetry_app.assembly.worker import Worker
from telemetry_app.core.write_queue import WriteQueue
from telemetry_app.core.writer import PositionWriter
from telemetry_app.database.migrator import Migrator
from telemetry_app.database.postgres import Postgres
from telemetry_app.live.clients.limits import LiveLimits
from telemetry_app.live.http.routes import APPLICATION_OPTIONS, LivePages, add_views
from telemetry_app.live.positions.database import SnapshotReader
from telemetry_app.live.positions.device_events import DeviceEvents
from telemetry_app.live.positions.stored import StoredPositions
from telemetry_app.live.rights.authentication import Authenticator
from telemetry_app.live.rights.authorization import Authorizer
from telemetry_app.live.rights.directus import Directus
from telemetry_app.live.rights.open_access import OpenAuthenticator, OpenAuthorizer
from telemetry_app.live.side import LiveSide
from telemetry_app.operations.health import Readiness
from telemetry_app.operations.logging import logging_config
from telemetry_app.operations.metrics import Metrics
from telemetry_app.operations.monitoring import MonitoringServer
from telemetry_app.operations.observers import LiveMetrics, TransportMetrics, WriteMetrics
from telemetry_app.settings import SettingsError, load_settings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from faust.types.web import Web
    from mode import ServiceT

    from faust_redis.driver.consumer import Consumer

logger = logging.getLogger(__name__)

#: Database connections of the live side, apart from the writer's, so that neither waits for the other.
_LIVE_POOL_SIZE = 2
#: Probes that cost a round trip are asked this seldom, however many ask.
_PROBE_CACHE_S = 5.0

try:
    settings = load_settings()
    if settings.roles == {"live"}:
        settings.require_live_auth()
except SettingsError as error:
    # The same one sentence, whichever command imports this module.
    raise SystemExit(f"Error: {error}") from None
writes = "write" in settings.roles
#: Beside the write side, a live side that nobody could sign in to is left out, which the log says.
shows = "live" in settings.roles and (settings.live_auth == "none" or settings.directus_base_url is not None)
metrics = Metrics()
readiness = Readiness()
stopping = asyncio.Event()
postgres = Postgres(settings.postgres_url, size=settings.postgres_pool_size)
position_writer = PositionWriter(
    postgres, max_rows=settings.write_batch_size, observer=WriteMetrics(metrics), stopping=stopping
)
write_queue = WriteQueue(position_writer, concurrency=settings.write_concurrency, stopping=stopping)
migrator = Migrator(
    settings.postgres_url, enabled=settings.migrate_on_start, retried=metrics.retries.labels("migrations").inc
)
monitoring = MonitoringServer(settings.metrics_host, settings.metrics_port, metrics, readiness)


broadcast_observer = LiveMetrics(metrics)
live_postgres = Postgres(settings.postgres_url, size=_LIVE_POOL_SIZE)
device_events = DeviceEvents(
    live_postgres, refresh_s=settings.live_device_event_refresh_ms / 1000, observer=broadcast_observer
)
directus = Directus(
    settings.directus_base_url or "",
    timeout_s=settings.directus_timeout_ms / 1000,
    cache_s=settings.directus_cache_ms / 1000,
)
is_open = settings.live_auth == "none"


async def _broadcast(batch: RecordBatch) -> None:
    await broadcast_batches.put(batch)


broadcaster = FanOutReader(
    settings.redis_url,
    topic=settings.redis_telemetry_stream,
    partitions=settings.redis_telemetry_partitions,
    instance_id=settings.instance_id,
    put=_broadcast,
    batch_size=settings.batch_size,
    block_ms=settings.batch_block_ms,
    observer=TransportMetrics(metrics),
)
replay = StreamReplay(settings.redis_url)
live = LiveSide(
    streams=broadcaster.streams,
    source=broadcaster,
    replay=replay,
    authenticator=OpenAuthenticator() if is_open else Authenticator(directus, broadcast_observer),
    authorizer=OpenAuthorizer(live_postgres) if is_open else Authorizer(directus, broadcast_observer),
    device_events=device_events,
    snapshots=SnapshotReader(live_postgres, broadcast_observer),
    stored=StoredPositions(live_postgres),
    limits=LiveLimits(
        max_connections=settings.live_max_connections,
        max_subscriptions=settings.live_max_subscriptions,
        slow_client_bytes=settings.live_slow_client_bytes,
        slow_client_ms=settings.live_slow_client_ms,
        reauthorize_ms=settings.live_reauthorize_ms,
        answer_age_ms=settings.directus_cache_ms,
    ),
    observer=broadcast_observer,
)
pages = LivePages(live, path=settings.live_path, allowed_origins=settings.live_allowed_origins, auth=settings.live_auth)


class Boot(BootStrategy):
    """Starts what the streams need before them, so that it is stopped after they have drained."""

    enable_kafka = writes

    def server(self) -> Iterable[ServiceT]:
        """Return the services in the order in which they start."""
        write_side = [postgres, migrator, write_queue] if writes else []
        live_side = [live_postgres, *([] if is_open else [directus]), device_events, live] if shows else []
        # The broadcast is read last, when its agent listens, and ends first.
        broadcast = [broadcaster] if shows else []
        return [monitoring, *write_side, *live_side, *super().server(), *broadcast]

    def web_server(self) -> Iterable[ServiceT]:
        """Return the live port's server; without a live side there is nothing to serve."""
        return [self.app.web] if shows else []


def _spare_the_garbage_collector() -> None:
    """Leave what is loaded by now out of every collection, and collect less often.

    A batch makes thousands of short-lived containers, none of them in a cycle; with Python's own thresholds a fifth
    of a busy worker's time goes into looking through everything that was ever imported. On the live side what waits
    for stalled clients does the same, and everybody else waits 40 ms for each such look.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


class App(faust.App):
    """The Faust app, which keeps no files and tells its parts when it begins to stop."""

    BootStrategy = Boot
    redis_options: RedisOptions

    async def on_first_start(self) -> None:
        """Say what is left out or left open."""
        if "live" in settings.roles and not shows:
            logger.error("the live side is not started: neither DIRECTUS_BASE_URL is set nor LIVE_AUTH=none")
        if shows and is_open:
            logger.warning("LIVE_AUTH=none: everybody may see every event")
        await super().on_first_start()

    async def on_started(self) -> None:
        """Settle the garbage collector: everything is imported and started, whatever the roles."""
        _spare_the_garbage_collector()
        await super().on_started()

    async def on_stop(self) -> None:
        """Tell the parts that they should come to an end, then let Faust drain its streams."""
        stopping.set()
        await super().on_stop()

    async def on_shutdown(self) -> None:
        """Close what is left, when everything has stopped."""
        await replay.close()

    def _create_directories(self) -> None:
        """Create none: state is in Redis."""

    def _new_web(self) -> Web:
        """Return the web server without Faust's own pages, which show data to anybody."""
        web = super()._new_web()
        web.blueprints = BlueprintManager()
        return web


app = App(
    settings.redis_consumer_group,
    broker=settings.redis_url,
    store="redis://",
    origin="telemetry_app",
    autodiscover=[
        *(["agents.decode", "agents.writer", "tables.device_state"] if writes else []),
        *(["agents.broadcast"] if shows else []),
    ],
    PartitionAssignor=LeaseAssignor,
    Table=Table,
    Worker=Worker,
    topic_partitions=settings.redis_telemetry_partitions,
    topic_disable_leader=True,
    # A slot holds a whole batch: two keep the agents busy while the next one is read.
    stream_buffer_maxsize=2,
    web_bind=settings.live_host,
    web_port=settings.live_port,
    web_application_options=APPLICATION_OPTIONS,
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
#: From the reader of the broadcast to its agent.
broadcast_batches: DrainingChannel = DrainingChannel(app, maxsize=2)


def _consumer() -> Consumer:
    return cast("Consumer", app.consumer)


async def _broadcasting() -> str | None:
    return broadcaster.failure or (None if live.accepting else "clients are not let in yet")


if writes:
    readiness.add("redis", lambda: _consumer().ping(), _PROBE_CACHE_S)
    readiness.add("postgres", postgres.ping, _PROBE_CACHE_S)
    readiness.add("migrations", migrator.status)
    readiness.add("consumer", lambda: _consumer().consuming())
    readiness.add("writer", position_writer.status)
if shows:
    readiness.add("broadcast", _broadcasting)
if not writes:
    readiness.add("postgres", live_postgres.ping, _PROBE_CACHE_S)


@app.on_worker_init.connect
def _prepare_worker(*_: Any, **__: Any) -> None:
    if importlib.util.find_spec("uvloop"):
        mode.loop.use("uvloop")
    if shows:
        add_views(app, pages, live)
