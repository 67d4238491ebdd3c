"""The Faust application of a worker: its settings, and what starts and stops around its streams."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
from typing import TYPE_CHECKING, Any, Final, cast

import mode.loop
from faust.app.base import BootStrategy
from faust.web.drivers import aiohttp as aiohttp_driver

import faust_redis
from faust_redis.partitions.record import OtherPartitions, PartitionRecord
from faust_redis.redis.client import close, connect
from faust_redis.redis.errors import ANY_REDIS_ERROR, InstanceTaken
from telemetry_app.assembly.operations import PROBE_CACHE_S
from telemetry_app.assembly.worker import Worker
from telemetry_app.operations import collector
from telemetry_app.operations.addresses import shown
from telemetry_app.operations.health import Probe
from telemetry_app.operations.listening import listen
from telemetry_app.operations.logging import logging_config
from telemetry_app.settings.environment import service_links

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mode import ServiceT

    from faust_redis.driver.consumer import Consumer
    from telemetry_app.assembly.live_side import LiveAssembly
    from telemetry_app.assembly.operations import Operations
    from telemetry_app.assembly.write_side import WriteAssembly
    from telemetry_app.settings import Settings

logger = logging.getLogger(__name__)

_WRITE_MODULES: Final = ("agents.decode", "agents.writer")
_DISTRIBUTION_MODULES: Final = ("agents.distribute",)
_LIVE_MODULES: Final = ("agents.broadcast",)
#: How long a start waits for Redis before it goes on without.
_FIRST_LOOK_S: Final = 2.0


class Boot(BootStrategy):
    """Starts what the streams need before them, so that it is stopped after they have drained."""

    app: App

    def server(self) -> Iterable[ServiceT]:
        """Return the services in the order in which they start; they stop in reverse."""
        write_side, live_side = self.app.write_side, self.app.live_side
        return [
            self.app.operations.instance,
            self.app.operations.monitoring,
            *(write_side.services if write_side else ()),
            *(live_side.services if live_side else ()),
            *super().server(),
            *(live_side.feeds if live_side else ()),
        ]

    def web_server(self) -> Iterable[ServiceT]:
        """Return the live port's server; without a live side there is nothing to serve."""
        return [self.app.web] if self.app.live_side else []


class LiveServer(aiohttp_driver.Web):
    """Faust's web server, with bounded connections; on both families of addresses when it is told `::`."""

    app: App

    async def start_server(self) -> None:
        """Listen."""
        if self.app.live_side:
            self._runner = self.app.live_side.routes.runner(self.web_app, access_log=None)
        await self._runner.setup()
        await listen(self._runner, self.app.conf.web_bind, self.app.conf.web_port)


class App(faust_redis.App):
    """The application of a worker, which runs one side or both."""

    BootStrategy = Boot
    WebServer = LiveServer
    settings: Settings
    operations: Operations
    write_side: WriteAssembly | None
    live_side: LiveAssembly | None

    async def refuse_other_partitions(self) -> None:
        """Look at the number of partitions in Redis; while that does not answer, it is looked at later.

        Raises:
            OtherPartitions: It is not the one in the settings.
        """
        settings = self.settings
        client = connect(settings.redis_url)
        record = PartitionRecord(
            client,
            settings.redis_telemetry_stream,
            group=settings.redis_consumer_group,
            options=self.operations.transport,
        )
        try:
            async with asyncio.timeout(_FIRST_LOOK_S):
                refusal = await record.why_not(settings.redis_telemetry_partitions)
        except ANY_REDIS_ERROR:
            return
        finally:
            await close(client)
        if refusal:
            raise OtherPartitions(refusal)

    async def on_first_start(self) -> None:
        """Say what is started, what is left out and what is left open."""
        settings = self.settings
        logger.info(
            "starting %s with roles %s: stream %s at %s, database %s",
            settings.instance_id,
            ",".join(sorted(settings.roles, reverse=True)),
            settings.redis_telemetry_stream,
            settings.redis_url,
            settings.postgres_url,
        )
        if links := service_links(type(settings).model_fields):
            logger.warning(
                "left out, since a Kubernetes Service has set it: %s; set enableServiceLinks: false in the Pod's spec",
                ", ".join(links),
            )
        if "live" in settings.roles and not settings.has_live_side:
            logger.error("the live side is not started: neither DIRECTUS_BASE_URL is set nor LIVE_AUTH=none")
        if self.live_side and (most := self.live_side.live.limits.max_connections) < settings.live_max_connections:
            what = (
                "no more than %d of LIVE_MAX_CONNECTIONS=%d are let in: raise the hard limit of open files (ulimit -Hn)"
            )
            logger.warning(what, most, settings.live_max_connections)
        if settings.has_live_side and settings.everybody_may_see:
            logger.warning("LIVE_AUTH=none: everybody may see every event")
        try:
            await self.operations.instance.claim()
        except InstanceTaken as taken:
            logger.error("%s", taken)  # noqa: TRY400 - it says it
            raise SystemExit(1) from None
        await super().on_first_start()

    async def on_started(self) -> None:
        """Say where clients are served; settle the garbage collector, since everything is loaded."""
        if self.live_side:
            address = shown(self.settings.live_host, self.settings.live_port)
            logger.info("live maps on http://%s, their WebSocket on %s", address, self.settings.live_path)
        await super().on_started()
        collector.spare_what_lives()

    async def on_stop(self) -> None:
        """Tell the sides to come to an end, then let Faust drain its streams."""
        logger.info("stopping: no more records are taken")
        self.operations.stopping.set()
        await super().on_stop()
        logger.info("drained: what was taken is stored, or pending for another worker")

    async def on_shutdown(self) -> None:
        """Close what is left, when everything has stopped."""
        if self.live_side:
            await self.live_side.replay.close()


def build_app(
    settings: Settings, operations: Operations, write_side: WriteAssembly | None, live_side: LiveAssembly | None
) -> App:
    """Return the application that runs the sides given; nothing is connected yet."""
    app = App(
        settings.redis_consumer_group,
        broker=settings.redis_url,
        redis_options=operations.transport,
        origin="telemetry_app.app",
        autodiscover=[
            *(_WRITE_MODULES if write_side else ()),
            *(_DISTRIBUTION_MODULES if write_side and write_side.distributor else ()),
            *(_LIVE_MODULES if live_side else ()),
        ],
        Worker=Worker,
        topic_partitions=settings.redis_telemetry_partitions,
        web_bind=settings.live_host,
        web_port=settings.live_port,
        web_application_options=live_side.web_options if live_side else {},
        logging_config=logging_config(settings.log_level, settings.log_format),
    )
    app.settings, app.operations = settings, operations
    app.write_side, app.live_side = write_side, live_side
    app.boot_strategy.enable_kafka = write_side is not None
    for probe in _probes(app):
        operations.readiness.add(*probe)
    app.on_worker_init.connect(_prepare_worker)
    return app


def _probes(app: App) -> list[Probe]:
    """Return what readiness asks, in the order in which it is shown."""

    def consumer() -> Consumer:
        # Made by Faust when it is first needed: it belongs to the event loop that runs it.
        return cast("Consumer", app.consumer)

    transport = [
        Probe("redis", lambda: consumer().redis.why_not_ready(), PROBE_CACHE_S),  # noqa: PLW0108 - there is none yet
        Probe("consumer", lambda: consumer().why_not_ready(), note=lambda: consumer().note()),
    ]
    return [
        *([*transport, *app.write_side.probes] if app.write_side else ()),
        *(app.live_side.probes if app.live_side else ()),
    ]


def _prepare_worker(app: App, /, *_: Any, **__: Any) -> None:
    if importlib.util.find_spec("uvloop"):
        mode.loop.use("uvloop")
    if app.live_side:
        app.live_side.serve(app)
