"""The live side: from the broadcast to everyone who watches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from faust_redis.broadcast.reader import BroadcastReader
from faust_redis.broadcast.replay import StreamReplay
from telemetry_app.assembly.operations import PROBE_CACHE_S
from telemetry_app.assembly.transport import BROADCAST_PREFIX
from telemetry_app.database.postgres import Postgres
from telemetry_app.live.clients.limits import LiveLimits
from telemetry_app.live.http.pages import PageOptions
from telemetry_app.live.http.routes import APPLICATION_OPTIONS, LiveRoutes
from telemetry_app.live.positions.database import PositionsTable
from telemetry_app.live.positions.device_events import CachedDeviceEvents
from telemetry_app.live.positions.past import AT_A_TIME, READ_S, PastPositions
from telemetry_app.live.rights.authentication import DirectusAuthenticator
from telemetry_app.live.rights.authorization import DirectusAuthorizer
from telemetry_app.live.rights.details import DirectusDetails
from telemetry_app.live.rights.directus import Directus
from telemetry_app.live.rights.open_access import OpenAuthenticator, OpenAuthorizer, OpenDetails
from telemetry_app.live.side import LiveSide
from telemetry_app.operations.health import Probe
from telemetry_app.operations.observers import LiveMetrics
from telemetry_app.serving.descriptors import left_for_clients, most_sockets

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from faust.types import AppT
    from mode import ServiceT

    from faust_redis.stream.batch import RecordBatch
    from telemetry_app.assembly.operations import Operations
    from telemetry_app.live import ports
    from telemetry_app.settings import Settings

    Put = Callable[[RecordBatch], Awaitable[None]]

#: Database connections of the live side, apart from the writer's, so that neither waits for the other.
_POOL_SIZE: Final = 2


@dataclass(frozen=True, slots=True)
class LiveAssembly:
    """The live side of one worker.

    Attributes:
        services: Start in this order before the streams, and stop in reverse once these have drained.
        feeds: Start after the streams, whose agents then listen, and stop first.
        probes: Why the side is not ready.
        live: Takes the batches of the broadcast.
        routes: What the live port serves.
        replay: Reads the streams again; closed when everything has stopped.
    """

    services: tuple[ServiceT, ...]
    feeds: tuple[ServiceT, ...]
    probes: tuple[Probe, ...]
    live: LiveSide
    routes: LiveRoutes
    replay: StreamReplay

    @property
    def web_options(self) -> Mapping[str, Any]:
        """What the live port's application is made with."""
        return APPLICATION_OPTIONS

    def serve(self, app: AppT) -> None:
        """Serve the routes on the live port of a Faust application."""
        self.routes.add_to_faust(app)


@dataclass(frozen=True, slots=True)
class _Rights:
    """Who asks whom: the services to run, who knows sessions, who knows rights, who knows what else may be told."""

    services: tuple[ServiceT, ...]
    authenticator: ports.Authenticator
    authorizer: ports.Authorizer
    details: ports.EventDetails


def build_live_side(settings: Settings, operations: Operations, put: Put) -> LiveAssembly:
    """Return the live side; nothing is connected yet.

    Args:
        settings: Of the worker.
        operations: What the side reports to.
        put: Takes each batch of the broadcast on its way to the agent that delivers it.
    """
    observer = LiveMetrics(operations.metrics)
    postgres = Postgres(settings.postgres_url, size=_POOL_SIZE, pooler=settings.postgres_pooler, writes=False)
    past_postgres = Postgres(
        settings.postgres_url,
        size=AT_A_TIME,
        pooler=settings.postgres_pooler,
        statement_timeout_ms=round(READ_S * 1000),
        writes=False,
    )
    reader = _build_reader(settings, operations, put)
    replay = StreamReplay(settings.redis_url)
    refresh_s = settings.live_device_event_refresh_ms / 1000
    device_events = CachedDeviceEvents(postgres, refresh_s=refresh_s, observer=observer)
    rights = _build_rights(settings, postgres, device_events, observer)
    live = LiveSide(
        streams=reader.streams,
        source=reader,
        replay=replay,
        authenticator=rights.authenticator,
        authorizer=rights.authorizer,
        details=rights.details,
        device_events=device_events,
        stored=PositionsTable(postgres, observer),
        limits=_limits(settings),
        max_ahead_s=settings.quality_max_ahead_s,
        review_s=refresh_s,
        sign_in_url=settings.live_sign_in_url,
        observer=observer,
    )

    async def broadcast_not_ready() -> str | None:
        return await reader.why_not_ready() or (None if live.accepting else "clients are not let in yet")

    async def database_not_ready() -> str | None:
        return await postgres.why_not_ready() or await device_events.why_not_ready()

    # Beside a write side it is the same server, which that side asks already.
    database = () if settings.has_write_side else (Probe("postgres", database_not_ready, PROBE_CACHE_S),)
    return LiveAssembly(
        services=(postgres, past_postgres, *rights.services, device_events, live),
        feeds=(reader,),
        probes=(Probe("broadcast", broadcast_not_ready), *database),
        live=live,
        routes=LiveRoutes(
            live,
            past=PastPositions(past_postgres),
            device_events=device_events,
            page=PageOptions(
                path=settings.live_path,
                authentication=settings.live_auth,
                embed_origins=settings.live_embed_origins,
                basemap=settings.live_basemap,
            ),
            allowed_origins=settings.live_allowed_origins,
            trusted_proxies=settings.live_trusted_proxies,
        ),
        replay=replay,
    )


def _build_reader(settings: Settings, operations: Operations, put: Put) -> BroadcastReader:
    return BroadcastReader(
        settings.redis_url,
        topic=settings.redis_telemetry_stream,
        # Records pass the plain stream first, and are removed from the others when they are stored.
        partitions=1 if settings.distributes else settings.redis_telemetry_partitions,
        group_prefix=BROADCAST_PREFIX,
        put=put,
        options=operations.transport,
        may_read=lambda: operations.instance.held,
    )


def _build_rights(
    settings: Settings, postgres: Postgres, device_events: CachedDeviceEvents, observer: LiveMetrics
) -> _Rights:
    shown = settings.live_entry_fields, settings.live_course_field
    if settings.everybody_may_see:
        return _Rights((), OpenAuthenticator(), OpenAuthorizer(postgres), OpenDetails(postgres, *shown))
    directus = Directus(
        settings.directus_base_url or "",
        timeout_s=settings.directus_timeout_ms / 1000,
        cache_s=settings.directus_cache_ms / 1000,
        allow_public=settings.live_allow_public,
    )
    return _Rights(
        (directus,),
        DirectusAuthenticator(directus, observer),
        DirectusAuthorizer(directus, observer, device_events.can_be_an_event),
        DirectusDetails(directus, *shown),
    )


def _limits(settings: Settings) -> LiveLimits:
    descriptors = left_for_clients()
    return LiveLimits(
        max_connections=min(settings.live_max_connections, most_sockets(descriptors)),
        max_connections_per_user=settings.live_max_connections_per_user,
        max_connections_per_address=settings.live_max_connections_per_address,
        max_descriptors=descriptors,
        max_subscriptions=settings.live_max_subscriptions,
        slow_client_bytes=settings.live_slow_client_bytes,
        slow_client_s=settings.live_slow_client_ms / 1000,
        reauthorize_s=settings.live_reauthorize_ms / 1000,
        answer_age_s=settings.directus_cache_ms / 1000,
        broadcast_share=settings.live_broadcast_share,
        gather_s=settings.live_gather_max_ms / 1000,
    )
